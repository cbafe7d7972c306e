"""Derivations as LaTeX: one ``align*`` environment per section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from brian2.parsing.sympytools import str_to_sympy
from sympy.printing.conventions import split_super_sub
from sympy.printing.latex import translate

from eprop_brian.base.description import short_text
from eprop_brian.symbolic.coefficients import Coefficient, LearnedParameter, eps_name
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.exogenous import Draw, Sample, Time
from eprop_brian.symbolic.expressions import symbol
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.notation import (
    FORMULAS,
    PREFIXES,
    chain,
    detached_paths,
    dh_dh,
    displayed,
    names_of,
    nonzero,
    places,
    printed_eps,
    printed_name,
    readable_programs,
    timed_arrays,
    trace_statements,
    varying_by_name,
)
from eprop_brian.symbolic.programs import ReadoutProgram
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["derivation_latex", "derivation_markdown"]


def derivation_latex(system: EligibilitySystem, readout: ReadoutProgram) -> str:
    """Write a derivation as LaTeX: one ``align*`` environment per section, no preamble.

    It needs the package amsmath, or MathJax.

    Parameters
    ----------
    system : EligibilitySystem
    readout : ReadoutProgram
        Filter of the readout (`eprop_brian.symbolic.programs.readout_program`).
    """
    environments = []
    for title, rows in _latex_sections(system, readout):
        body = " \\\\\n".join([rf"& \textbf{{{title}}}", *rows])
        environments.append(f"\\begin{{align*}}\n{body}\n\\end{{align*}}")
    return "\n".join(environments)


def derivation_markdown(system: EligibilitySystem, readout: ReadoutProgram) -> str:
    """Write step map and eligibility system as Markdown with formulas, for notebooks.

    Parameters
    ----------
    system : EligibilitySystem
    readout : ReadoutProgram
        Filter of the readout (`eprop_brian.symbolic.programs.readout_program`).
    """
    step = _latex_step(system)[bool(system.step.neuron.source) :]
    sections = {
        "A step of neuron j": step,
        "Eligibility trace of a synapse from i to j": _latex_eligibility(system, readout),
    }
    parts = []
    for title, rows in sections.items():
        body = " \\\\\n".join(rows)
        parts.append(f"**{title}**\n\n$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$")
    return "\n\n".join(parts)


def _latex_sections(
    system: EligibilitySystem, readout: ReadoutProgram
) -> list[tuple[str, list[str]]]:
    name = system.step.neuron.name.replace("_", " ")
    online, factored, backward = readable_programs(system, readout)
    return [
        (f"Step map of {name}", _latex_step(system)),
        ("Parameters and constants", _latex_quantities(system)),
        ("Derivative of the step map", _latex_derivative(system)),
        ("Eligibility system", _latex_eligibility(system, readout)),
        ("Where each quantity lives", _latex_places(system, readout)),
        (
            "Gradient program online: forwards, in every synapse",
            _latex_program(system, {r: [*p.pre, *p.synapse] for r, p in online.items()}),
        ),
        (
            "Gradient program factored: backwards, inside each neuron",
            _latex_program(system, {"": [*backward, *factored.backward]}),
        ),
    ]


def _latex_step(system: EligibilitySystem) -> list[str]:
    step, source = system.step, system.step.neuron.source
    old, new = _state_names(system, "t-1"), _state_names(system, "t")
    spikes = _latex(str_to_sympy(step.threshold), new)
    silent = _latex(step.refractory_surrogate, new)
    return [
        *([rf"& {_words(source)}"] if source else []),
        *(f"{new[k]} &= {_latex(x, old)}" for k, x in step.composed.items()),
        *_latex_statements(step),
        rf"{_tex(step.signals.spike, 'j', 't')} &= 1 {_words(' if ')} {spikes} "
        rf"{_words(' and not refractory, else ')} 0",
        rf"{new[step.signals.psi]} &= {_latex(step.surrogate, new)} "
        rf"{_words(', or ')} {silent} {_words(' while refractory')}",
    ]


def _latex_statements(step: StepMap) -> list[str]:
    """The statements of a long step, each with the newest values."""
    if step.composed:
        return []
    names = {f"_{state}": rf"\tilde{{{_tex(state)}}}" for state in step.states}
    names |= {step.signals.detached: _tex(step.signals.spike), **_exogenous_names(step)}
    return [
        rf"{names.get(name) or _tex(name)} &\leftarrow {_latex(x, names)}"
        for name, x in step.statements
    ]


def _initial(value: Any) -> str:
    """An initial value; with random numbers, or one for each neuron, as words."""
    if isinstance(value, str) and "rand" not in value:
        return _latex(value, {})
    return _words(short_text(value))


def _latex_quantities(system: EligibilitySystem) -> list[str]:
    neuron = system.step.neuron
    rows = [f"{_tex(name)} &= {_words(short_text(x))}" for name, x in neuron.parameters.items()]
    rows += [f"{_tex(name)} &= {_words(x)}" for name, x in timed_arrays(system)]
    rows += [f"{_tex(name)} &= {_latex(x, {})}" for name, x in neuron.constants.items()]
    for parameter in system.learned.values():
        slopes = _slope_names(parameter)
        rows += [f"{slopes[name]} &= {_latex(x, {})}" for name, x in parameter.slopes.items()]
    rows += [f"{_tex(state, 'j', '0')} &= {_initial(x)}" for state, x in neuron.initial.items()]
    if neuron.refractory:
        time = neuron.refractory
        shown = _tex(time) if time in neuron.parameters else _words(time)
        rows.append(f"{_words('refractory time')} &= {shown}")
    return rows


def _latex_derivative(system: EligibilitySystem) -> list[str]:
    old, new = _state_names(system, "t-1"), _state_names(system, "t")

    def row(above: str, below: str, slope: sympy.Expr, names=old, d: str = r"\partial") -> str:
        return rf"\frac{{{d} {above}}}{{{d} {below}}} &= {_latex(slope, names)}"

    signals = system.step.signals
    spike, psi = _tex(signals.spike, "j", "t"), symbol(signals.psi)
    return [
        *(f"{_tex(name)} &= {_latex(x, {})}" for slopes in chain(system) for name, x in slopes),
        *([r"d_{a,b} &= \sum_{y} p_{a,y} d_{y,b}"] * bool(system.slopes)),
        *(row(new[k], old[m], x.expression) for (k, m), x in nonzero(system.transition)),
        *(row(new[k], old[signals.spike], x.expression) for k, x in nonzero(system.spike_path)),
        *(
            row(new[k], old[signals.inputs[r]], x.expression)
            for r, drive in system.drive.items()
            for k, x in nonzero(drive)
        ),
        *(row(spike, new[k], psi * x.expression, new) for k, x in nonzero(system.spike_gradient)),
        *(row(new[k], old[m], slope, d="d") for k, m, slope in dh_dh(system) * (not system.slopes)),
        *(
            f"{row(new[k], old[signals.spike], slope)} {_words(' (detached: left out)')}"
            for k, slope in detached_paths(system).items()
        ),
    ]


def _latex_eligibility(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    before, now = _program_names(system, "t-1"), _program_names(system, "t")
    recursive = {name: before[name] for name in (printed_eps(system, k) for k in system.components)}
    trace = displayed(system, "eligibility_trace")
    recursive[trace] = before[trace]

    def value(entry: Coefficient) -> sympy.Expr:
        return symbol(printed_name(system, entry.name)) if entry.name else entry.expression

    rows = []
    filtered_trace = displayed(system, "filtered_trace")
    filtered = now | {filtered_trace: before[filtered_trace]}
    for receptor, placement in system.placement.items():
        if receptor:
            rows.append(_at_receptor(receptor))
        for k in placement:
            advanced = value(system.spike_path[k]) * symbol(trace)
            advanced += value(system.drive[receptor][k]) * symbol(displayed(system, "pre"))
            for m in placement:
                advanced += value(system.transition[k, m]) * symbol(printed_eps(system, m))
            rows.append(f"{now[printed_eps(system, k)]} &= {_latex(advanced, now | recursive)}")
        for name, statement in trace_statements(system, readout, receptor).items():
            rows.append(f"{now[displayed(system, name)]} &= {_latex(statement, filtered)}")
    for after in (False, True):
        states = _state_names(system, "t" if after else "t-1")
        rows += [
            f"{now[name]} &= {_latex(x, states)}"
            for name, x in varying_by_name(system, after=after).items()
        ]
    return rows


def _at_receptor(receptor: str) -> str:
    """A row before those of a receptor's synapses."""
    return rf"& {_words(f'Of a synapse of receptor {receptor}:')}"


def _latex_places(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    names = _program_names(system)
    return [
        rf"{names[name]} &: {_words(f'{place}, ')} {_latex(count, {})} {_words(' values')}"
        for name, place, count in places(system, readout)
    ]


def _latex_program(system: EligibilitySystem, statements: Mapping[str, Sequence[str]]) -> list[str]:
    """Statements by receptor, and what their variables are."""
    names = _program_names(system)

    def row(statement: str) -> str:
        left, right = statement.split(" = ", 1)
        return rf"{names[left]} &\leftarrow {_latex(right, names)}"

    rows = []
    for receptor, lines in statements.items():
        rows += [*([_at_receptor(receptor)] if receptor else []), *map(row, lines)]
    used = {name for lines in statements.values() for name in re.findall(r"\w+", " ".join(lines))}
    return [
        *rows,
        *(
            row(displayed(system, formula))
            for name, formula in FORMULAS.items()
            if displayed(system, name) in used
        ),
        *(
            f"{names[displayed(system, name)]} &: {_words(words)}"
            for name, (words, *_) in names_of(system).items()
            if displayed(system, name) in used
        ),
        *(
            f"{tex} &: {_words(words)}"
            for prefix, (words, tex) in PREFIXES.items()
            if any(name.startswith(prefix) for name in used)
        ),
    ]


def _state_names(system: EligibilitySystem, time: str) -> dict[str, str]:
    """LaTeX of what the step map reads, with the states at `time`."""
    signals = system.step.signals
    return {
        **{k: _tex(k, "j", time) for k in system.step.states},
        signals.psi: _tex(signals.psi, "j", time),
        signals.spike: _tex(signals.spike, "j", "t-1"),
        signals.detached: _tex(signals.spike, "j", "t-1"),
        **{name: _tex(name, "j", "t") for name in signals.inputs.values()},
        "not_refractory": r"\mathrm{active}_{j}^{t}",
        BEFORE: r"\mathrm{receptive}_{j}^{t}",
        **_exogenous_names(system.step),
    }


def _exogenous_names(step: StepMap) -> dict[str, str]:
    """LaTeX of times, random numbers, timed arrays and places of neurons."""
    names = {}
    for quantity in step.exogenous:
        if isinstance(quantity, Draw):
            base = r"\xi" if quantity.kind == "normal" else "u"
            names[quantity.name] = f"{base}_{{{quantity.number},j}}^{{t}}"
        elif isinstance(quantity, Sample):
            clock = {"t": r"t - \delta t" if quantity.steps_ago else "t", "i": "j"}
            arguments = [_latex(x, clock) for x in (quantity.time, quantity.column) if x]
            names[quantity.name] = f"{_tex(quantity.array)}({', '.join(arguments)})"
        elif isinstance(quantity, Time):
            names[quantity.name] = r"\left(t - \delta t\right)" if quantity.steps_ago else "t"
        else:
            # The neuron itself.
            names[quantity.name] = "j" if quantity.several else "N"
    return names


def _program_names(system: EligibilitySystem, time: str = "") -> dict[str, str]:
    """LaTeX of the variables of the gradient programs, optionally with a time index."""

    def name(base: str, index: str, *labels: str, at: str = time) -> str:
        above = ",".join(label for label in (*labels, at) if label)
        return f"{base}^{{{above}}}_{{{index}}}" if above else f"{base}_{{{index}}}"

    def apart(variable: str, base: str) -> str:
        """With the number that tells it from the neuron's own quantity of this name."""
        printed = displayed(system, variable)
        number = printed.removeprefix(f"{variable}_")
        return base if printed == variable else rf"{{{base}}}^{{({number})}}"

    names = {
        displayed(system, variable): name(apart(variable, base), index)
        for variable, (_, base, index) in names_of(system).items()
    }
    names |= {
        "B": "B_{jk}",
        "spike_count": r"n^{\mathrm{spikes}}_{j}",
        "n_steps": "T",
        "carry_z": name(r"\hat{\mu}", "j", "z"),
    }
    for k in system.components:
        label = _tex(k)
        names |= {
            printed_eps(system, k): name(r"\epsilon", "ji", label),
            f"_{eps_name(k)}": name(r"\tilde{\epsilon}", "ji", label),
            printed_name(system, f"{eps_name(k)}_before"): name(r"\epsilon", "ji", label, at="t-1"),
            f"_mu_{k}": name(r"\mu", "j", label),
            printed_name(system, f"carry_{k}"): name(r"\hat{\mu}", "j", label),
        }
    entries = [
        *(("A", (k, m), x) for (k, m), x in system.transition.items()),
        *(("u", (k,), x) for k, x in system.spike_path.items()),
        *(("b", (k, r), x) for r, drive in system.drive.items() for k, x in drive.items()),
        *(("c", (k,), x) for k, x in system.spike_gradient.items()),
    ]
    entries += [("r", (k,), x) for k, x in system.cost_gradient.items()]
    for parameter in system.learned.values():
        of = parameter.name
        names[printed_name(system, f"gradient_sum_{of}")] = name("G", "j", _tex(of))
        names[printed_name(system, f"batch_trace_sum_{of}")] = name("S", "j", _tex(of))
        entries += [("b", (k, of), x) for k, x in parameter.drive.items()]
        entries += [("c", (of,), parameter.spike_gradient), ("r", (of,), parameter.cost_gradient)]
        names |= _slope_names(parameter)
    names |= {
        printed_name(system, x.name): name(base, "j", *(_tex(label) for label in of if label))
        for base, of, x in entries
        if x.name
    }
    return names


def _slope_names(parameter: LearnedParameter) -> dict[str, str]:
    """LaTeX of the derivatives of constants by a learned parameter."""
    return {
        slope: rf"\frac{{d {_tex(constant)}}}{{d {_tex(parameter.name)}}}"
        for slope, constant in zip(parameter.slopes, parameter.constants, strict=True)
    }


def _latex(expression: sympy.Basic | str, names: Mapping[str, str]) -> str:
    parsed = str_to_sympy(expression) if isinstance(expression, str) else expression
    parsed = sympy.sympify(parsed)
    # sympy sorts factors by name: parameters first, then what changes in time.
    renamed = {
        s: symbol(f"{'varying' if s.name in names else 'fixed'}_{s.name}")
        for s in parsed.free_symbols
    }
    symbols = {new: names.get(s.name) or _tex(s.name) for s, new in renamed.items()}
    return sympy.latex(parsed.xreplace(renamed), symbol_names=symbols)


def _tex(name: str, index: str = "", time: str = "") -> str:
    """LaTeX of a name, with the parts behind its underscores as indices."""
    if name == "dt":
        return r"\delta t"
    base, above, below = split_super_sub(name.strip("_"))
    lower = ",".join([*map(_upright, below), *([index] if index else [])])
    upper = ",".join([*map(_upright, above), *([time] if time else [])])
    lower, upper = f"_{{{lower}}}" if lower else "", f"^{{{upper}}}" if upper else ""
    return f"{_upright(base)}{lower}{upper}"


def _upright(part: str) -> str:
    translated = translate(part)
    is_word = translated == part and len(part) > 1 and not part.isdigit()
    return rf"\mathrm{{{part}}}" if is_word else translated


def _words(text: str) -> str:
    return rf"\text{{{_escaped(text)}}}"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c) or (f"\\{c}" if c in "&%$#_{}" else c) for c in text)
