"""Derivations for people: a derived system as plain text or LaTeX.

Every equation is printed from the strings and expressions of the system and its gradient programs,
with time indices put in where a recursion is shown.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import sympy
from brian2.parsing.sympytools import str_to_sympy
from sympy.printing.conventions import split_super_sub
from sympy.printing.latex import translate

from eprop_brian.base.description import short_text
from eprop_brian.equations.learning_signals import LEARNING_SIGNAL
from eprop_brian.equations.regularizers import FIRING_RATE
from eprop_brian.symbolic.derivatives import derivative, tidied
from eprop_brian.symbolic.eligibility import (
    Coefficient,
    EligibilitySystem,
    LearnedParameter,
    eps_name,
)
from eprop_brian.symbolic.functions import where
from eprop_brian.symbolic.names import BEFORE, free_name, is_own, shown, substituted
from eprop_brian.symbolic.parameters import expression_text
from eprop_brian.symbolic.programs import (
    FactoredProgram,
    OnlineProgram,
    ReadoutProgram,
    factored_program,
    online_program,
)
from eprop_brian.symbolic.scope import neuron_names, scoped
from eprop_brian.symbolic.step_map import scaled, symbol, total

__all__ = ["derivation_latex", "derivation_text"]

_WIDTH = 100
#: Names of the gradient programs: what they are, and symbol and index in LaTeX.
_NAMES: dict[str, tuple[str, str, str]] = {
    "pre": (
        "presynaptic spike that enters: an input's of this step, a neuron's of the step before",
        r"\mathrm{pre}",
        "i",
    ),
    "psi": ("surrogate of the postsynaptic spike", r"\psi", "j"),
    "eligibility_trace": ("the paper's eligibility trace", "e", "ji"),
    "filtered_trace": ("the same, filtered as the readout filters spikes", r"\bar{e}", "ji"),
    "L": ("learning signal, summed over the readouts", "L", "j"),
    "signal_sum": ("the error's part of the trial's gradient", "G", "ji"),
    "trace_sum": ("the rate regulariser's part, but for its factor", "S", "ji"),
    "error": ("derivative of the loss by the readout", r"\delta", "k"),
    "filtered_error": ("the same, filtered by the readout backwards in time", r"\bar{\delta}", "k"),
    "signal": ("what a readout sends as a learning signal: its error, or made of it", "s", "k"),
    "filtered_signal": ("the same, filtered backwards as traces are forwards", r"\bar{s}", "k"),
    "L_filtered": ("the learning signal made of the filtered signals", "F", "j"),
    "rate_factor": ("factor of the rate regulariser", "r", "j"),
    "_g": ("derivative of the trial's loss by the margin of the threshold", "g", "j"),
    "lambda_": (
        "summed over the steps in which a presynaptic spike enters: the trial's gradient",
        r"\lambda",
        "j",
    ),
}
_PREFIXES = {
    "_mu_": ("derivative of the trial's loss by the new state", r"\mu_{j}"),
    "carry_": ("carried over from step t+1 to step t; 0 at the trial's end", r"\hat{\mu}_{j}"),
}
_FORMULAS = {"L": LEARNING_SIGNAL, "rate_factor": f"rate_factor = {FIRING_RATE}"}


#: What the step map reads of refractoriness.
_REFRACTORY = {
    "not_refractory": "1, or 0 while refractory",
    BEFORE: "1, or 0 where the step before spiked or was refractory",
}


def derivation_text(system: EligibilitySystem, readout: ReadoutProgram) -> str:
    """Write a derivation as plain text, at most 100 columns wide.

    Parameters
    ----------
    system : EligibilitySystem
    readout : ReadoutProgram
        Filter of the readout (`eprop_brian.symbolic.programs.readout_program`).
    """
    sections = [
        *_text_neuron(system),
        *_text_derivative(system),
        *_text_eligibility(system, readout),
        *_text_places(system, readout),
        *_text_programs(system, readout),
    ]
    return "\n".join(sections)


# --- plain text ----------------------------------------------------------------------------------


def _text_neuron(system: EligibilitySystem) -> list[str]:
    step, neuron = system.step, system.step.neuron
    lines = _heading(f"Neuron {neuron.name}", "=")
    if neuron.source:
        lines += [*_prose(f"Source: {neuron.source}")]
    lines += _heading("Step map")
    lines += _prose(
        f"The statements of one step, in the order in which they run. {step.signals.input}: the "
        f"step's summed weighted input. {step.signals.spike}: the neuron's own spike of the step "
        "before. A state on the right has its newest value: of the step before, until a line above "
        "has assigned it."
        + (" where(c, a, b): a where c is 1, b where it is 0." if _chooses(system) else "")
        + "".join(f" {name}: {text}." for name, text in _REFRACTORY.items() if _reads(system, name))
    )
    lines += _block(step.code)
    pairs = [
        ("threshold", step.threshold),
        ("surrogate", f"{step.signals.psi} = {step.surrogate}"),
        ("refractory", neuron.refractory or "none"),
    ]
    lines += ["", *_table(pairs)]
    if neuron.refractory:
        silent = step.refractory_surrogate
        lines += _prose(
            f"While the neuron is refractory, {step.signals.spike} and {step.signals.psi} are 0."
            if _is_zero(silent)
            else f"While the neuron is refractory, {step.signals.spike} = 0 and "
            f"{step.signals.psi} = {silent}."
        )
    lines += _heading("Parameters and constants")
    pairs = [(name, short_text(value)) for name, value in neuron.parameters.items()]
    pairs += [(name, f"= {expression}") for name, expression in neuron.constants.items()]
    pairs += [(name, f"= {x}") for p in system.learned.values() for name, x in p.slopes.items()]
    pairs += [(f"{name}[0]", f"= {value}") for name, value in neuron.initial.items()]
    return lines + _table(pairs or [("none", "")])


def _text_derivative(system: EligibilitySystem) -> list[str]:
    lines, signals = _heading("Derivative of the step map"), system.step.signals
    lines += _prose(
        f"State h = ({', '.join(system.step.states)}), step map "
        f"h[t] = M(h[t-1], {signals.spike}[t-1], {signals.input}[t]). "
        "Entries that are not listed are zero."
    )
    lines += _table(
        [
            *(
                (f"A[{k}, {m}] = dM_{k}/d{m}", _entry(system, entry))
                for (k, m), entry in _nonzero(system.transition)
            ),
            *(
                (f"u[{k}] = dM_{k}/d{signals.spike}", _entry(system, entry))
                for k, entry in _nonzero(system.spike_path)
            ),
            *(
                (f"b[{k}] = dM_{k}/d{signals.input}", _entry(system, entry))
                for k, entry in _nonzero(system.drive)
            ),
            *(
                (
                    f"c[{k}] = d{signals.spike}/d{k}",
                    f"= {scaled(entry.expression, signals.psi)}",
                )
                for k, entry in _nonzero(system.spike_gradient)
            ),
        ]
    )
    lines += ["", *_prose("Together they are the paper's dh[t]/dh[t-1] = A + u c^T:")]
    indices = _indices(system, after=False) | {signals.psi: f"{signals.psi}[t-1]"}
    lines += _table(
        [
            (f"d{k}[t]/d{m}[t-1]", f"= {substituted(expression_text(entry), indices)}")
            for k, m, entry in _dh_dh(system)
        ]
    )
    detached = _detached_paths(system)
    if detached:
        lines += ["", *_prose("Detached: the path through the neuron's own spike is left out in")]
        lines += _table(
            [(f"dM_{k}/d{signals.spike}", f"= {expression_text(x)}") for k, x in detached.items()]
        )
    dropped = [k for k in system.step.states if k not in system.components]
    if dropped:
        lines += ["", *_prose(f"No trace, as no weight acts through it: {', '.join(dropped)}")]
    return lines


def _text_eligibility(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    lines = _heading("Eligibility system")
    lines += _prose(
        "Of a synapse from neuron i to neuron j. e: eligibility trace. ebar: filtered trace. pre: "
        f"{_NAMES['pre'][0]}. With the learning signal L, the gradient dE/dW_ji is the sum over t "
        "of L_j[t]*ebar_ji[t]."
    )
    rows = []
    for k in system.components:
        terms = [
            _times(system, system.transition[k, m], f"{_eps(system, m)}[t-1]")
            for m in system.components
        ]
        terms.append(_times(system, system.spike_path[k], "e[t-1]"))
        terms.append(_times(system, system.drive[k], "pre[t]"))
        rows.append(f"{_eps(system, k)}[t] = {total(*terms)}")
    now = {n: f"{n}[t]" for n in (system.step.signals.psi, *_varying(system, after=True))}
    now |= {_eps(system, k): f"{_eps(system, k)}[t]" for k in system.components}
    now |= {
        _free(system, "eligibility_trace"): "e[t]",
        _free(system, "filtered_trace"): "ebar[t-1]",
    }
    for trace, statement in _trace_statements(system, readout).items():
        short = "e" if trace == "eligibility_trace" else "ebar"
        rows.append(f"{short}[t] = {substituted(statement, now)}")
    lines += _block(rows)
    varying = [
        f"{name}[t] = {substituted(expression_text(x), _indices(system, after=after))}"
        for after in (False, True)
        for name, x in _varying(system, after=after).items()
    ]
    if varying:
        lines += ["", *_prose("Coefficients that change in time, one value per neuron j:")]
        lines += _block(varying)
    return lines


def _text_places(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    lines = _heading("Where each quantity lives")
    if "pre" in system.placement.values():
        lines += _prose(
            "A component whose coefficients are constants that all postsynaptic neurons share is "
            "the same for all synapses of a presynaptic neuron, and is kept there once."
        )
    return lines + _table([(n, f"{p:<20}  {c} values") for n, p, c in _places(system, readout)])


def _text_programs(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    online, factored, backward = _programs(system, readout)
    lines = _heading("Gradient program 'online': forwards, in every synapse")
    if online.pre:
        lines += ["Per presynaptic neuron and step:", *_block(online.pre), ""]
    lines += ["Per synapse and step:", *_block(online.synapse), ""]
    lines += _glossary(system, [*online.pre, *online.synapse])
    lines += _heading("Gradient program 'factored': backwards, inside each neuron")
    lines += _prose(
        "The same sum, rearranged. The forward pass keeps the history of "
        f"{', '.join(factored.history)}: N_post*T values each, for T steps of a trial. After it, "
        "for t = T-1 ... 0:"
    )
    lines += ["", "Per readout:", *_block(backward), ""]
    lines += ["Per postsynaptic neuron:", *_block(factored.backward), ""]
    return lines + _glossary(system, [*backward, *factored.backward])


def _glossary(system: EligibilitySystem, statements: Iterable[str]) -> list[str]:
    used = set(re.findall(r"\w+", " ".join(statements)))
    rows = []
    for variable, (words, *_) in _NAMES.items():
        name = _displayed(system, variable)
        if name in used:
            formula = _displayed(system, _FORMULAS.get(variable, ""))
            rows.append((name, f"{words}: {formula}" if formula else words))
    for prefix, (words, _) in _PREFIXES.items():
        if any(name.startswith(prefix) for name in used):
            rows.append((f"{prefix}...", words))
    return _table(rows)


def _heading(title: str, rule: str = "-") -> list[str]:
    return [*([""] if rule == "-" else []), title, rule * len(title)]


def _prose(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)


def _block(statements: Iterable[str]) -> list[str]:
    return [line for statement in statements for line in _fold(statement, 4, 8)]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return [
        line.rstrip()
        for name, text in rows
        for line in _fold(f"{name:<{width}}  {text}", 4, width + 8)
    ]


def _fold(text: str, indent: int, hanging: int) -> list[str]:
    """Break a long line at a space, else before an operator."""
    lines, lead = [], " " * indent
    # A very long name must not leave its text without room.
    hanging = min(hanging, _WIDTH // 2)
    while len(lead) + len(text) > _WIDTH:
        room = _WIDTH - len(lead)
        spaces = [m.start() for m in re.finditer(r"(?<=\S) ", text[: room + 1])]
        operators = r"(?<=[\w)])(?<![0-9][eE])[-+*/](?=[\w(])"
        signs = [m.start() for m in re.finditer(operators, text[:room])]
        # Outside parentheses if possible.
        late = sorted((text.count(")", 0, x) - text.count("(", 0, x), x) for x in spaces)
        cut = max([x for _, x in late[-1:] if x > room // 3] or signs or spaces or [room])
        lines.append(lead + text[:cut].rstrip())
        text, lead = text[cut:].lstrip(), " " * hanging
    return [*lines, lead + text]


def _entry(system: EligibilitySystem, entry: Coefficient) -> str:
    text = f"= {expression_text(entry.expression)}"
    return f"{text}   (changes in time: {_free(system, entry.name)})" if entry.name else text


def _times(system: EligibilitySystem, entry: Coefficient, factor: str) -> str:
    if entry.name:
        return f"{_free(system, entry.name)}[t]*{factor}"
    return entry.times(factor)


# --- what both kinds of print share --------------------------------------------------------------


def _reads(system: EligibilitySystem, name: str) -> bool:
    return any(x.has(symbol(name)) for x in system.step.composed.values())


def _chooses(system: EligibilitySystem) -> bool:
    return any(x.has(where) for x in system.step.composed.values())


def _is_zero(expression: str) -> bool:
    return str_to_sympy(expression) == 0


def _nonzero(entries: Mapping[Any, Coefficient]) -> list[tuple[Any, Coefficient]]:
    return [(key, entry) for key, entry in entries.items() if not entry.is_zero]


def _dh_dh(system: EligibilitySystem) -> list[tuple[str, str, sympy.Expr]]:
    entries = [(k, m, system.dh_dh(k, m)) for k in system.components for m in system.components]
    return [(k, m, entry) for k, m, entry in entries if entry != 0]


def _detached_paths(system: EligibilitySystem) -> dict[str, sympy.Expr]:
    """dM/dz of the paths that are not differentiated, by state."""
    detached = symbol(system.step.signals.detached)
    slopes = {
        k: tidied(derivative(x, detached).subs(detached, symbol(system.step.signals.spike)))
        for k, x in system.step.composed.items()
    }
    return {k: slope for k, slope in slopes.items() if slope != 0}


def _indices(system: EligibilitySystem, *, after: bool) -> dict[str, str]:
    """Time indices of what a coefficient reads: the step's map, or (`after`) the new state."""
    states = {k: f"{k}[t]" if after else f"{k}[t-1]" for k in system.step.states}
    spike, arriving = system.step.signals.spike, system.step.signals.input
    return {
        **states,
        spike: f"{spike}[t-1]",
        arriving: f"{arriving}[t]",
        "not_refractory": "not_refractory[t]",
        BEFORE: f"{BEFORE}[t]",
    }


def _trace_statements(system: EligibilitySystem, readout: ReadoutProgram) -> dict[str, str]:
    """Right sides of the online program's statements for the two traces."""
    online, _, _ = _programs(system, readout)
    statements = dict(line.split(" = ", 1) for line in online.synapse)
    traces = ("eligibility_trace", "filtered_trace")
    return {name: statements[_displayed(system, name)] for name in traces}


def _displayed(system: EligibilitySystem, statement: str) -> str:
    """A statement of a program, with the names of people.

    Users' names as they are written; a number behind another that would be the same.
    """
    signals = system.step.signals
    known = {"psi": signals.psi, "z": signals.spike, "I": signals.input}

    def name(match: re.Match) -> str:
        word = shown(match.group())
        return word if is_own(match.group()) else known.get(word) or _free(system, word)

    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", name, statement)


def _eps(system: EligibilitySystem, state: str) -> str:
    """A component of the eligibility vector as it is printed."""
    return _free(system, eps_name(state))


def _free(system: EligibilitySystem, name: str) -> str:
    """A name of the toolkit's, with a number behind it if the neuron has a quantity called so."""
    return free_name(name, neuron_names(system.step))


def _varying(system: EligibilitySystem, *, after: bool) -> dict[str, sympy.Expr]:
    """Coefficients that change in time, by the names that they are printed with."""
    return {_free(system, name): x for name, x in system.varying(after=after).items()}


def _programs(
    system: EligibilitySystem, readout: ReadoutProgram
) -> tuple[OnlineProgram, FactoredProgram, list[str]]:
    """Both gradient programs and the readout's way backwards, with the names of people."""

    def displayed(program: Any) -> Any:
        statements = {
            f.name: tuple(_displayed(system, line) for line in getattr(program, f.name))
            for f in fields(program)
        }
        return replace(program, **statements)

    in_scope = scoped(system)
    return (
        displayed(online_program(in_scope, readout)),
        displayed(factored_program(in_scope, readout)),
        [_displayed(system, line) for line in readout.backward],
    )


def _places(system: EligibilitySystem, readout: ReadoutProgram) -> list[tuple[str, str, str]]:
    """Name, place and number of values of what the online program keeps."""
    signals = [_displayed(system, name) for name in ("psi", "L")]
    online, _, _ = _programs(system, readout)
    varying = (*_varying(system, after=False), *_varying(system, after=True))
    return [
        *((name, "presynaptic neuron", "N_pre") for name in online.pre_variables),
        *((name, "synapse", "N_pre*N_post") for name in online.synapse_variables),
        *((name, "postsynaptic neuron", "N_post") for name in (*signals, *varying)),
    ]


# --- LaTeX ---------------------------------------------------------------------------------------


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


def _latex_sections(
    system: EligibilitySystem, readout: ReadoutProgram
) -> list[tuple[str, list[str]]]:
    name = system.step.neuron.name.replace("_", " ")
    online, factored, backward = _programs(system, readout)
    return [
        (f"Step map of {name}", _latex_step(system)),
        ("Parameters and constants", _latex_quantities(system)),
        ("Derivative of the step map", _latex_derivative(system)),
        ("Eligibility system", _latex_eligibility(system, readout)),
        ("Where each quantity lives", _latex_places(system, readout)),
        (
            "Gradient program online: forwards, in every synapse",
            _latex_program(system, [*online.pre, *online.synapse]),
        ),
        (
            "Gradient program factored: backwards, inside each neuron",
            _latex_program(system, [*backward, *factored.backward]),
        ),
    ]


def _latex_step(system: EligibilitySystem) -> list[str]:
    step, source = system.step, system.step.neuron.source
    old, new = _state_names(system, "t-1"), _state_names(system, "t")
    spikes = _latex(str_to_sympy(step.threshold), new)
    silent = _latex(step.refractory_surrogate, new)
    return [
        *([rf"& {_words(source)}"] if source else []),
        *(f"{new[k]} &= {_latex(step.composed[k], old)}" for k in step.states),
        rf"{_tex(step.signals.spike, 'j', 't')} &= 1 {_words(' if ')} {spikes} "
        rf"{_words(' and not refractory, else ')} 0",
        rf"{new[step.signals.psi]} &= {_latex(step.surrogate, new)} "
        rf"{_words(', or ')} {silent} {_words(' while refractory')}",
    ]


def _latex_quantities(system: EligibilitySystem) -> list[str]:
    neuron = system.step.neuron
    rows = [f"{_tex(name)} &= {_words(short_text(x))}" for name, x in neuron.parameters.items()]
    rows += [f"{_tex(name)} &= {_latex(x, {})}" for name, x in neuron.constants.items()]
    for parameter in system.learned.values():
        slopes = _slope_names(parameter)
        rows += [f"{slopes[name]} &= {_latex(x, {})}" for name, x in parameter.slopes.items()]
    rows += [
        f"{_tex(state, 'j', '0')} &= {_latex(str(x), {})}" for state, x in neuron.initial.items()
    ]
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
        *(row(new[k], old[m], x.expression) for (k, m), x in _nonzero(system.transition)),
        *(row(new[k], old[signals.spike], x.expression) for k, x in _nonzero(system.spike_path)),
        *(row(new[k], old[signals.input], x.expression) for k, x in _nonzero(system.drive)),
        *(row(spike, new[k], psi * x.expression, new) for k, x in _nonzero(system.spike_gradient)),
        *(row(new[k], old[m], slope, d="d") for k, m, slope in _dh_dh(system)),
        *(
            f"{row(new[k], old[signals.spike], slope)} {_words(' (detached: left out)')}"
            for k, slope in _detached_paths(system).items()
        ),
    ]


def _latex_eligibility(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    before, now = _program_names(system, "t-1"), _program_names(system, "t")
    recursive = {name: before[name] for name in (_eps(system, k) for k in system.components)}
    trace = _displayed(system, "eligibility_trace")
    recursive[trace] = before[trace]

    def value(entry: Coefficient) -> sympy.Expr:
        return symbol(_free(system, entry.name)) if entry.name else entry.expression

    rows = []
    for k in system.components:
        advanced = value(system.spike_path[k]) * symbol(trace)
        advanced += value(system.drive[k]) * symbol(_displayed(system, "pre"))
        for m in system.components:
            advanced += value(system.transition[k, m]) * symbol(_eps(system, m))
        rows.append(f"{now[_eps(system, k)]} &= {_latex(advanced, now | recursive)}")
    filtered_trace = _displayed(system, "filtered_trace")
    filtered = now | {filtered_trace: before[filtered_trace]}
    for name, statement in _trace_statements(system, readout).items():
        rows.append(f"{now[_displayed(system, name)]} &= {_latex(statement, filtered)}")
    for after in (False, True):
        states = _state_names(system, "t" if after else "t-1")
        rows += [
            f"{now[name]} &= {_latex(x, states)}"
            for name, x in _varying(system, after=after).items()
        ]
    return rows


def _latex_places(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    names = _program_names(system)
    return [
        rf"{names[name]} &: {_words(f'{place}, ')} {_latex(count, {})} {_words(' values')}"
        for name, place, count in _places(system, readout)
    ]


def _latex_program(system: EligibilitySystem, statements: list[str]) -> list[str]:
    names = _program_names(system)

    def row(statement: str) -> str:
        left, right = statement.split(" = ", 1)
        return rf"{names[left]} &\leftarrow {_latex(right, names)}"

    used = set(re.findall(r"\w+", " ".join(statements)))
    return [
        *map(row, statements),
        *(
            row(_displayed(system, formula))
            for name, formula in _FORMULAS.items()
            if _displayed(system, name) in used
        ),
        *(
            f"{names[_displayed(system, name)]} &: {_words(words)}"
            for name, (words, *_) in _NAMES.items()
            if _displayed(system, name) in used
        ),
        *(
            f"{tex} &: {_words(words)}"
            for prefix, (words, tex) in _PREFIXES.items()
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
        signals.input: _tex(signals.input, "j", "t"),
        "not_refractory": r"\mathrm{active}_{j}^{t}",
        BEFORE: r"\mathrm{receptive}_{j}^{t}",
    }


def _program_names(system: EligibilitySystem, time: str = "") -> dict[str, str]:
    """LaTeX of the variables of the gradient programs, optionally with a time index."""

    def name(base: str, index: str, *labels: str, at: str = time) -> str:
        above = ",".join(label for label in (*labels, at) if label)
        return f"{base}^{{{above}}}_{{{index}}}" if above else f"{base}_{{{index}}}"

    def apart(variable: str, base: str) -> str:
        """With the number that tells it from the neuron's own quantity of this name."""
        displayed = _displayed(system, variable)
        number = displayed.removeprefix(f"{variable}_")
        return base if displayed == variable else rf"{{{base}}}^{{({number})}}"

    names = {
        _displayed(system, variable): name(apart(variable, base), index)
        for variable, (_, base, index) in _NAMES.items()
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
            _eps(system, k): name(r"\epsilon", "ji", label),
            f"_{eps_name(k)}": name(r"\tilde{\epsilon}", "ji", label),
            _free(system, f"{eps_name(k)}_before"): name(r"\epsilon", "ji", label, at="t-1"),
            f"_mu_{k}": name(r"\mu", "j", label),
            _free(system, f"carry_{k}"): name(r"\hat{\mu}", "j", label),
        }
    entries = [
        *(("A", (k, m), x) for (k, m), x in system.transition.items()),
        *(("u", (k,), x) for k, x in system.spike_path.items()),
        *(("b", (k,), x) for k, x in system.drive.items()),
        *(("c", (k,), x) for k, x in system.spike_gradient.items()),
    ]
    entries += [("r", (k,), x) for k, x in system.cost_gradient.items()]
    for parameter in system.learned.values():
        of = parameter.name
        names[_free(system, f"gradient_sum_{of}")] = name("G", "j", _tex(of))
        names[_free(system, f"batch_trace_sum_{of}")] = name("S", "j", _tex(of))
        entries += [("b", (k, of), x) for k, x in parameter.drive.items()]
        entries += [("c", (of,), parameter.spike_gradient), ("r", (of,), parameter.cost_gradient)]
        names |= _slope_names(parameter)
    names |= {
        _free(system, x.name): name(base, "j", *map(_tex, of)) for base, of, x in entries if x.name
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
    base, above, below = split_super_sub(name)
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
