"""A synapse brought to statements of a step.

Its variables follow the spikes of the presynaptic neuron alone. What arrives through it is a
`Transmission` (`eprop_brian.symbolic.transmission`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from brian2.equations.equations import (
    DIFFERENTIAL_EQUATION,
    SUBEXPRESSION,
    Equations,
    SingleEquation,
)
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.synapse import Synapse
from eprop_brian.symbolic.declarations import check_parameter, check_unit
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    dimensions_of,
    evaluate,
    require_dimensions,
    require_known,
    split_statements,
)
from eprop_brian.symbolic.model_text import parse_model, read_model
from eprop_brian.symbolic.names import refuse_reserved, substituted
from eprop_brian.symbolic.parameters import UNITS, resolve_parameters, unit_name
from eprop_brian.symbolic.styles import Statement, check_method, updater_statements

__all__ = ["AMOUNT", "SynapseMap", "synapse_map"]

#: What the amount is called among the statements of a spike.
AMOUNT = "amount"
_FLAGS: Mapping[str, tuple[str, ...]] = {
    DIFFERENTIAL_EQUATION: ("event-driven", "clock-driven"),
    SUBEXPRESSION: (),
}
#: A line that declares values: names, unit, flags.
_DECLARED = re.compile(r"^\s*(?P<names>[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*:(?P<unit>[^=]*)$")
_SUMMED = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*=(?P<expr>[^:]*):[^:]*\(\s*summed\s*\)\s*$")


@dataclass(frozen=True)
class SynapseMap:
    """The statements of a synapse.

    Attributes
    ----------
    synapse : Synapse
    states : tuple of str
    clocked, driven : tuple of (str, str)
        Statements of a step of clock-driven equations, and of event-driven ones.
    on_pre : tuple of (str, str)
        Statements of a spike; those for the postsynaptic neuron have names with ``_post``.
    summed : tuple of (str, str)
        What the postsynaptic neuron has in every step, by its name with ``_post``; or nothing.
    parameters : dict of str to float or array
        SI values.
    dimensions : dict of str to Dimension
        Of states, parameters and temporaries.
    temporaries : tuple of str
        What statements of a spike set for those below them: ``r = u*x``.
    """

    synapse: Synapse
    states: tuple[str, ...]
    clocked: tuple[Statement, ...]
    driven: tuple[Statement, ...]
    on_pre: tuple[Statement, ...]
    summed: tuple[Statement, ...]
    parameters: dict[str, np.ndarray | float]
    dimensions: dict[str, Dimension]
    temporaries: tuple[str, ...] = ()

    @property
    def own(self) -> set[str]:
        """Names that are the synapse's own."""
        return {*self.states, *self.parameters, *self.temporaries}

    def check_step(self, dt: float) -> None:
        """Check that a step at the start has values: with equal time constants it may have none.

        Raises
        ------
        EquationError
            If one is not finite.
        """
        units = {name: float(unit) for name, unit in UNITS.items()}
        start = {**units, **self.parameters, **self.initial_values(dt), "dt": dt}
        for code in (self.clocked, self.driven):
            values = dict(start)
            for name, expression in code:
                where = f"synapse '{self.synapse.name}', {name}"
                values[name] = evaluate(expression, values, where)

    def initial_values(self, dt: float) -> dict[str, np.ndarray | float]:
        """SI value of every state at the start of a trial."""
        where = f"synapse '{self.synapse.name}', initial"
        values = {**self.parameters, "dt": dt}
        return {
            state: evaluate(str(self.synapse.initial.get(state, "0")), values, where)
            for state in self.states
        }


def synapse_map(synapse: Synapse) -> SynapseMap:
    """Bring a synapse to its statements, checking names and units.

    Raises
    ------
    EquationError
        For an undefined symbol, a reserved or repeated name, a wrong unit, and whatever would give
        the synapses of one presynaptic neuron values of their own.
    """
    where = f"synapse '{synapse.name}'"
    for key in ("model", "on_pre", "method"):
        if not isinstance(getattr(synapse, key), str):
            raise EquationError(where, repr(getattr(synapse, key)), f"`{key}` is text")
    for key in ("parameters", "initial"):
        if not isinstance(getattr(synapse, key), Mapping):
            line = f"{key} = {getattr(synapse, key)!r}"
            raise EquationError(where, line, "must be a mapping from names")
    parameters, dimensions = resolve_parameters(synapse.parameters, f"{where}, parameters")
    refuse_reserved([*parameters], where)
    model, declared, summed = _split(synapse.model, f"{where}, model")
    _check_declared(synapse, declared, parameters, dimensions, where)
    units = {name: UNITS[name].dim for name in get_identifiers(model) & UNITS.keys()}
    known = {**units, **dimensions}
    equations = _equations(model, known, f"{where}, model")
    moving = [eq for eq in equations.values() if eq.type == DIFFERENTIAL_EQUATION]
    states = tuple(eq.varname for eq in moving)
    refuse_reserved(states, where, ["w", AMOUNT])
    if clash := [name for name in equations.names if name in parameters]:
        raise EquationError(where, clash[0], "is both a variable and a parameter")
    check_method(synapse.method, where)
    kinds = {eq.varname: "event-driven" in (eq.flags or ()) for eq in moving}
    _check_summed(summed, equations, [s for s in states if kinds[s]], f"{where}, model")
    clocked, driven = (
        _flow(synapse, equations, [s for s in states if kinds[s] is event], event, where)
        for event in (False, True)
    )
    dimensions |= {eq.varname: eq.dim for eq in moving}
    written_out = {
        name: f"({expression})"
        for name, expression in equations.get_substituted_expressions(include_subexpressions=True)
        if equations[name].type == SUBEXPRESSION
    }
    on_pre = tuple(
        (name, substituted(expression, {k: str(v) for k, v in written_out.items()}))
        for name, expression in split_statements(synapse.on_pre, f"{where}, on_pre")
    )
    temporaries = _temporaries(on_pre, {*states, *parameters, "w"})
    refuse_reserved(temporaries, f"{where}, on_pre", [AMOUNT])
    result = SynapseMap(
        synapse,
        states,
        clocked,
        driven,
        on_pre,
        tuple((name, substituted(text, written_out)) for name, text in summed),
        parameters,
        dimensions,
        temporaries,
    )
    _check_initial(result, where)
    _check_spike(result, f"{where}, on_pre")
    return result


def _split(model: str, where: str) -> tuple[str, dict[str, str], list[Statement]]:
    """The equations of a model; what it declares, with its unit; its summed variables."""
    kept: list[str] = []
    declared: dict[str, str] = {}
    summed: list[Statement] = []
    for line in re.sub("#.*", "", model).splitlines():
        if match := _SUMMED.match(line):
            summed.append((match["name"], match["expr"].strip()))
        elif match := _DECLARED.match(line):
            declared |= {name.strip(): match["unit"] for name in match["names"].split(",")}
        else:
            kept.append(line)
    if len(summed) > 1:
        raise EquationError(where, summed[1][0], "is a second summed variable; one can be sent")
    return "\n".join(kept), declared, summed


def _check_declared(
    synapse: Synapse,
    declared: Mapping[str, str],
    parameters: Mapping[str, np.ndarray | float],
    dimensions: Mapping[str, Dimension],
    where: str,
) -> None:
    """Check that everything the model declares is the weight, or has its value in its unit."""
    for name, unit in declared.items():
        line = f"{name} :{unit}"
        if name != "w" and name not in dimensions:
            raise EquationError(
                f"{where}, model",
                line,
                f"'{name}' would have a value for each synapse. A trace then needs the synapse's "
                "own variables, where one of the presynaptic neuron serves all its synapses: give "
                "it one value, or one for each presynaptic neuron, in parameters",
            )
        equation = parse_model(line, f"{where}, model")[name]
        check_parameter(equation, f"{where}, model")
        if name != "w":
            assigned = f"{name} = {synapse.parameters[name]}"
            check_unit(assigned, parameters[name], dimensions[name], equation.dim, where)
        elif equation.dim is not DIMENSIONLESS:
            raise EquationError(
                f"{where}, model",
                line,
                "weights are numbers: declare `w : 1`, and multiply by the unit where the weight "
                f"acts, `w*{unit_name(equation.dim)}`",
            )


def _check_summed(
    summed: Sequence[Statement], equations: Equations, driven: Sequence[str], where: str
) -> None:
    """Check that what arrives in every step reads nothing that moves at spikes alone."""
    written = dict(equations.get_substituted_expressions(include_subexpressions=True))
    for name, expression in summed:
        named = get_identifiers(expression)
        named |= {x for n in named & written.keys() for x in get_identifiers(str(written[n]))}
        if event := sorted(named & {*driven}):
            raise EquationError(
                where,
                f"{name} = {expression}",
                f"is a value in every step, and '{event[0]}' is event-driven: Brian2 refuses it "
                "too; make it (clock-driven)",
            )


def _equations(model: str, known: Mapping[str, Dimension], where: str) -> Equations:
    """The equations of a model, which depend on the presynaptic neuron's spikes alone."""
    if not model.strip():
        return Equations([])
    for name in sorted(get_identifiers(model)):
        if name.endswith(("_post", "_pre")) or name == "w":
            raise EquationError(where, name, _why_not(name))
    return read_model(model, known, where, _FLAGS)


def _why_not(name: str) -> str:
    """Why a synapse's variable cannot read something."""
    if name.endswith("_pre"):
        return (
            "is a variable of the presynaptic neuron: a synapse's variables hear spikes alone here"
        )
    whose = "the weight" if name == "w" else "of the postsynaptic neuron"
    return (
        f"is {whose}, so each synapse would have variables of its own, and the trace an "
        "eligibility vector with an entry for each of them: they may depend on presynaptic spikes "
        "alone"
    )


def _flow(
    synapse: Synapse, equations: Equations, states: Sequence[str], event: bool, where: str
) -> tuple[Statement, ...]:
    """The statements of a step of some states."""
    if not states:
        return ()
    written = dict(equations.get_substituted_expressions())
    others = {*equations.diff_eq_names} - {*states}
    for state in states:
        if both := sorted(get_identifiers(str(written[state])) & others):
            raise EquationError(
                f"{where}, model",
                f"d{state}/dt = {equations[state].expr}",
                f"reads '{both[0]}', and only one of them is event-driven: Brian2 refuses it too",
            )
    part = Equations(
        [
            SingleEquation(DIFFERENTIAL_EQUATION, s, equations[s].dim, "float", written[s])
            for s in states
        ]
    )
    method = "exact" if event else synapse.method
    return tuple(updater_statements(method, part, f"{where}, model", synapse.model))


def _check_initial(step: SynapseMap, where: str) -> None:
    known = {**{k: v for k, v in step.dimensions.items() if k not in step.states}, **_DT}
    for name, text in step.synapse.initial.items():
        require_known([name], step.states, f"{where}, initial", f"{name} = {text}")
        if not isinstance(text, str):
            line = f"{name} = {text!r}"
            raise EquationError(f"{where}, initial", line, "must be one value for all synapses")
        named = {u: UNITS[u].dim for u in get_identifiers(str(text)) & UNITS.keys()}
        if str(text).strip() in ("0", "0.0"):
            continue
        require_dimensions(
            str(text),
            step.dimensions[name],
            {**named, **known},
            f"{where}, initial",
            f"{name} = {text}",
        )


def _temporaries(on_pre: Sequence[Statement], known: set[str]) -> tuple[str, ...]:
    """Names that a statement sets without reading them, and that a later one reads."""
    names = []
    for number, (name, expression) in enumerate(on_pre):
        later = {n for _, text in on_pre[number + 1 :] for n in get_identifiers(text)}
        if (
            name in later - known - get_identifiers(expression)
            and not name.endswith(("_post", "_pre"))
            and name not in names
        ):
            names.append(name)
    return tuple(names)


def _check_spike(step: SynapseMap, where: str) -> None:
    """Check the statements of a spike for the synapse's own variables and its temporaries."""
    for name, expression in step.on_pre:
        line = f"{name} = {expression}"
        if name in step.parameters or name == "w":
            raise EquationError(where, line, f"changes '{name}', which is no variable")
        if name.endswith("_pre"):
            raise EquationError(where, line, "changes the presynaptic neuron")
        if name not in {*step.states, *step.temporaries}:
            continue
        used = get_identifiers(expression)
        for other in sorted(used):
            if other.endswith(("_post", "_pre")) or other == "w":
                raise EquationError(where, line, f"'{other}' {_why_not(other)}")
        known = {u: UNITS[u].dim for u in used & UNITS.keys()} | step.dimensions | _DT
        if name in step.dimensions:
            require_dimensions(expression, step.dimensions[name], known, where, line)
        else:
            step.dimensions[name] = dimensions_of(expression, known, where)


_DT = {"dt": second.dim}
