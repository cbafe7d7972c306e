"""Derivations as plain text.

Every equation is printed from the strings and expressions of the system and its gradient programs,
with time indices put in where a recursion is shown.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from brian2.parsing.sympytools import str_to_sympy

from eprop_brian.base.description import short_text
from eprop_brian.symbolic.coefficients import Coefficient
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.exogenous import uniform_draws
from eprop_brian.symbolic.expressions import expression_text, scaled, symbol, total
from eprop_brian.symbolic.functions import where
from eprop_brian.symbolic.names import BEFORE, substituted
from eprop_brian.symbolic.notation import (
    FORMULAS,
    NAMES,
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
from eprop_brian.symbolic.spike_condition import chance_of

__all__ = ["derivation_text"]

_WIDTH = 100
#: What the step map reads of refractoriness.
_REFRACTORY = {
    "not_refractory": "1, or 0 while refractory",
    BEFORE: "1, or 0 where the step before spiked or was refractory",
}

#: Functions of pieces, and what their slopes are.
_PIECES = {
    ("clip",): "clip has a slope of 1 from bound to bound, both included, and 0 outside",
    ("abs",): "abs(x) has the slope sign(x)",
    ("%",): "x % y has the slope of x",
    ("int", "floor", "ceil", "sign", "timestep", "//"): (
        "int, floor, ceil, sign and timestep have the slope 0, conditions among them"
    ),
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


def _text_neuron(system: EligibilitySystem) -> list[str]:
    step, neuron = system.step, system.step.neuron
    lines = _heading(f"Neuron {neuron.name}", "=")
    if neuron.source:
        lines += [*_prose(f"Source: {neuron.source}")]
    lines += _heading("Step map")
    lines += _prose(
        f"The statements of one step, in the order in which they run. {_inputs(system)}: the "
        f"step's summed weighted {'input' if len(step.signals.inputs) == 1 else 'inputs'}. "
        f"{step.signals.spike}: the neuron's own spike of the step before. A state on the right "
        "has its newest value: of the step before, until a line above has assigned it."
        + (" where(c, a, b): a where c is 1, b where it is 0." if _chooses(system) else "")
        + "".join(f" {name}: {text}." for name, text in _REFRACTORY.items() if _reads(system, name))
        + "".join(f" {quantity.name}: {quantity.words}." for quantity in step.exogenous)
        + "".join(
            f" {step.signals.inputs[receptor]} sums f(w) = {function.text(function.expression)} in "
            f"the place of the weights w: a gradient by w is that by f(w) times "
            f"{function.text(function.slope)}."
            for receptor, function in step.weight_functions.items()
        )
    )
    lines += _block(step.code)
    lines += _pieces([*step.code, step.threshold])
    pairs = [
        ("threshold", step.threshold),
        ("surrogate", f"{step.signals.psi} = {step.surrogate}"),
        ("refractory", neuron.refractory or "none"),
    ]
    lines += ["", *_table(pairs)]
    if not neuron.surrogate.strip():
        chance = chance_of(step.margin, uniform_draws(step.exogenous)) is not None
        lines += _prose(
            "The surrogate is the default, with which the gradient is that of the spike's "
            "probability."
            if chance
            else "The surrogate is the default: piecewise linear (Bellec et al. 2020), as wide as "
            "the threshold is away at the start of a trial."
        )
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
    pairs += timed_arrays(system)
    pairs += [(name, f"= {expression}") for name, expression in neuron.constants.items()]
    pairs += [(name, f"= {x}") for p in system.learned.values() for name, x in p.slopes.items()]
    pairs += [(f"{name}[0]", f"= {short_text(value)}") for name, value in neuron.initial.items()]
    return lines + _table(pairs or [("none", "")])


def _pieces(statements: Iterable[str]) -> list[str]:
    """What the derivatives of functions are that consist of pieces."""
    called = set(re.findall(r"\w+(?=\()|%|//", " ".join(statements)))
    texts = [text for names, text in _PIECES.items() if called & set(names)]
    return ["", *_prose(f"The slope is that of the piece: {'; '.join(texts)}.")] if texts else []


def _text_derivative(system: EligibilitySystem) -> list[str]:
    lines, signals = _heading("Derivative of the step map"), system.step.signals
    lines += _prose(
        f"State h = ({', '.join(system.step.states)}), step map "
        f"h[t] = M(h[t-1], {signals.spike}[t-1], "
        f"{', '.join(f'{name}[t]' for name in signals.inputs.values())}). "
        "Entries that are not listed are zero."
    )
    if system.slopes:
        lines += _text_chain(system)
    lines += _table(
        [
            *(
                (f"A[{k}, {m}] = dM_{k}/d{m}", _entry(system, entry))
                for (k, m), entry in nonzero(system.transition)
            ),
            *(
                (f"u[{k}] = dM_{k}/d{signals.spike}", _entry(system, entry))
                for k, entry in nonzero(system.spike_path)
            ),
            *(
                (f"b{_at(r)}[{k}] = dM_{k}/d{signals.inputs[r]}", _entry(system, entry))
                for r, drive in system.drive.items()
                for k, entry in nonzero(drive)
            ),
            *(
                (
                    f"c[{k}] = d{signals.spike}/d{k}",
                    f"= {scaled(entry.expression, signals.psi)}",
                )
                for k, entry in nonzero(system.spike_gradient)
            ),
        ]
    )
    together = "Together they are the paper's dh[t]/dh[t-1] = A + u c^T"
    if system.slopes:
        lines += ["", *_prose(f"{together}.")]
    else:
        lines += ["", *_prose(f"{together}:")]
        indices = _indices(system, after=False) | {signals.psi: f"{signals.psi}[t-1]"}
        lines += _table(
            [
                (f"d{k}[t]/d{m}[t-1]", f"= {substituted(expression_text(entry), indices)}")
                for k, m, entry in dh_dh(system)
            ]
        )
    detached = detached_paths(system)
    if detached:
        lines += ["", *_prose("Detached: the path through the neuron's own spike is left out in")]
        of = "the statement of " if system.slopes else "dM_"
        lines += _table(
            [(f"{of}{k}/d{signals.spike}", f"= {expression_text(x)}") for k, x in detached.items()]
        )
    dropped = [k for k in system.step.states if k not in system.components]
    if dropped:
        lines += ["", *_prose(f"No trace, as no weight acts through it: {', '.join(dropped)}")]
    return lines


def _text_chain(system: EligibilitySystem) -> list[str]:
    """Derivatives of the statements of a long step."""
    lines = _prose(
        "Written out, the new states would be long: the step is differentiated statement by "
        "statement. Right before a statement are computed: _x: what it reads; _s: what several "
        "derivatives share; _p_a_b: the derivative of what is assigned to a by b that it reads. "
        "The chain rule adds them up to _d_a_b, the derivative of a by the state b of the step "
        "before (or of b, once spikes have entered and a reset has acted): _d_a_b is the sum of "
        "_p_a_y*_d_y_b over all y. A number behind a name tells it from others of the same form."
    )
    rows = [row for slopes in chain(system) for row in slopes]
    return [*lines, *_table([(name, f"= {expression_text(x)}") for name, x in rows]), ""]


def _text_eligibility(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    lines = _heading("Eligibility system")
    lines += _prose(
        "Of a synapse from neuron i to neuron j. e: eligibility trace. ebar: filtered trace. pre: "
        f"{NAMES['pre'][0]}. With the learning signal L, the gradient dE/dW_ji is the sum over t "
        "of L_j[t]*ebar_ji[t]."
    )
    for receptor in system.drive:
        if receptor:
            lines += ["", *_prose(f"Of a synapse of receptor {receptor}:")]
        lines += _block(_recursion(system, readout, receptor))
    coefficients = [
        f"{name}[t] = {substituted(expression_text(x), _indices(system, after=after))}"
        for after in (False, True)
        for name, x in varying_by_name(system, after=after).items()
    ]
    if coefficients:
        lines += ["", *_prose("Coefficients that change in time, one value per neuron j:")]
        lines += _block(coefficients)
    return lines


def _recursion(system: EligibilitySystem, readout: ReadoutProgram, receptor: str) -> list[str]:
    """Eligibility vector and traces of a receptor's synapse."""
    rows, components = [], [*system.placement[receptor]]
    for k in components:
        terms = [
            _times(system, system.transition[k, m], f"{printed_eps(system, m)}[t-1]")
            for m in components
        ]
        terms.append(_times(system, system.spike_path[k], "e[t-1]"))
        terms.append(_times(system, system.drive[receptor][k], "pre[t]"))
        rows.append(f"{printed_eps(system, k)}[t] = {total(*terms)}")
    now = {n: f"{n}[t]" for n in (system.step.signals.psi, *varying_by_name(system, after=True))}
    now |= {printed_eps(system, k): f"{printed_eps(system, k)}[t]" for k in system.components}
    now |= {
        printed_name(system, "eligibility_trace"): "e[t]",
        printed_name(system, "filtered_trace"): "ebar[t-1]",
    }
    for trace, statement in trace_statements(system, readout, receptor).items():
        short = "e" if trace == "eligibility_trace" else "ebar"
        rows.append(f"{short}[t] = {substituted(statement, now)}")
    return rows


def _text_places(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    lines = _heading("Where each quantity lives")
    if any("pre" in placement.values() for placement in system.placement.values()):
        lines += _prose(
            "A component whose coefficients are constants that all postsynaptic neurons share is "
            "the same for all synapses of a presynaptic neuron, and is kept there once."
        )
    rows = places(system, readout)
    width = max(20, *(len(place) for _, place, _ in rows))
    return lines + _table([(name, f"{p:<{width}}  {count} values") for name, p, count in rows])


def _text_programs(system: EligibilitySystem, readout: ReadoutProgram) -> list[str]:
    online, factored, backward = readable_programs(system, readout)
    lines = _heading("Gradient program 'online': forwards, in every synapse")
    for receptor, program in online.items():
        of = f" of receptor {receptor}" if receptor else ""
        if program.pre:
            lines += [f"Per presynaptic neuron{of} and step:", *_block(program.pre), ""]
        lines += [f"Per synapse{of} and step:", *_block(program.synapse), ""]
    statements = [line for p in online.values() for line in (*p.pre, *p.synapse)]
    lines += _glossary(system, statements)
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
    for variable, (words, *_) in names_of(system).items():
        name = displayed(system, variable)
        if name in used:
            formula = displayed(system, FORMULAS.get(variable, ""))
            rows.append((name, f"{words}: {formula}" if formula else words))
    for prefix, (words, _) in PREFIXES.items():
        if any(name.startswith(prefix) for name in used):
            rows.append((f"{prefix}...", words))
    return _table(rows)


def _inputs(system: EligibilitySystem) -> str:
    return ", ".join(system.step.signals.inputs.values())


def _at(receptor: str) -> str:
    """A receptor's name as an index."""
    return f"_{receptor}" if receptor else ""


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
    return f"{text}   (changes in time: {printed_name(system, entry.name)})" if entry.name else text


def _times(system: EligibilitySystem, entry: Coefficient, factor: str) -> str:
    if entry.name:
        return f"{printed_name(system, entry.name)}[t]*{factor}"
    return entry.times(factor)


def _reads(system: EligibilitySystem, name: str) -> bool:
    return any(x.has(symbol(name)) for x in system.step.expressions)


def _chooses(system: EligibilitySystem) -> bool:
    return any(x.has(where) for x in system.step.expressions)


def _is_zero(expression: str) -> bool:
    return str_to_sympy(expression) == 0


def _indices(system: EligibilitySystem, *, after: bool) -> dict[str, str]:
    """Time indices of what a coefficient reads: the step's map, or (`after`) the new state."""
    states = {k: f"{k}[t]" if after else f"{k}[t-1]" for k in system.step.states}
    spike = system.step.signals.spike
    return {
        **states,
        spike: f"{spike}[t-1]",
        **{arriving: f"{arriving}[t]" for arriving in system.step.signals.inputs.values()},
        "not_refractory": "not_refractory[t]",
        BEFORE: f"{BEFORE}[t]",
    }
