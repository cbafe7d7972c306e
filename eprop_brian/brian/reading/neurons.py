"""A `Neuron` read from a Brian2 `NeuronGroup`: equations, names they use, and present values.

Nothing is run and nothing is changed: objects are read as they stand, before or after a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from brian2 import Equations, NeuronGroup, SpatialNeuron, Subgroup, Synapses
from brian2.core.namespace import get_local_namespace
from brian2.equations.equations import PARAMETER
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity, have_same_dimensions
from brian2.utils.stringtools import get_identifiers

from eprop_brian.brian.reading.namespaces import external_values, method_of, values_of
from eprop_brian.brian.reading.receptors import Receptor, receptors_of
from eprop_brian.equations.brian_arguments import text_of
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.symbolic.names import free_name, substituted

__all__ = ["check_group", "neuron_from_brian2", "neuron_with_receptors"]


def neuron_from_brian2(
    group: NeuronGroup,
    synapses: Synapses | Iterable[Synapses] | Mapping[str, Any] | None = None,
    *,
    namespace: Mapping[str, Any] | None = None,
    level: int = 0,
    **fields: Any,
) -> Neuron:
    """The neurons of a `NeuronGroup` as a `Neuron`; see `Neuron.from_brian2`.

    Parameters
    ----------
    group : NeuronGroup
    synapses : Synapses, iterable of Synapses or mapping, optional
    namespace : mapping, optional
    level : int
        Frames between the user's and this function's.
    **fields
        Fields of the `Neuron` in place of what the objects say.
    """
    check_group(group)
    names = get_local_namespace(level + 1) if namespace is None else namespace
    receptors: dict[str, Receptor] = {}
    if synapses is not None:
        receptors = receptors_of(group, synapses, names)
    return neuron_with_receptors(group, receptors, names, **fields)


def neuron_with_receptors(
    group: NeuronGroup,
    receptors: Mapping[str, Receptor],
    namespace: Mapping[str, Any],
    autapses: Mapping[str, tuple[Receptor, np.ndarray]] | None = None,
    **fields: Any,
) -> Neuron:
    """The neurons of a group whose synapses are read already.

    Parameters
    ----------
    group : NeuronGroup
    receptors : mapping of str to Receptor
        As `receptors_of` returns them; none if `fields` say what a spike does.
    namespace : mapping of str to Any
    autapses : mapping of str to (Receptor, array), optional
        Weights by which each neuron acts on itself at its spike, by the name of the synapses. That
        becomes part of the reset.
    **fields
        Fields of the `Neuron` in place of what the objects say.
    """
    if receptors and "on_pre" in fields:
        raise ValueError(
            f"NeuronGroup '{group.name}' has synapses and is given on_pre: both say what a spike "
            "does, so leave one of them away"
        )
    if receptors:
        on_pre = {name: receptor.on_pre for name, receptor in receptors.items()}
        fields["on_pre"] = on_pre.get("", on_pre)
        if any(receptor.sequential for receptor in receptors.values()):
            fields.setdefault("on_pre_order", "sequential")
    if "spike" not in group.events and "threshold" not in fields:
        raise ValueError(
            f"NeuronGroup '{group.name}' has no threshold, so it never spikes: give it one, or "
            "name it where the group is read, threshold='v > -20*mV'"
        )
    texts = {
        "threshold": group.events.get("spike", ""),
        "reset": group.event_codes.get("spike", ""),
        "refractory": text_of(group._refractory),
        **fields,
    }
    equations = group.user_equations
    assigned = _assigned(texts["reset"], *_statements(texts.get("on_pre", "")))
    declared = {eq.varname for eq in equations.values() if eq.type == PARAMETER} - assigned
    states = {*equations.diff_eq_names, *(assigned & {*equations.parameter_names})}
    external = external_values(group, _used(equations, texts) - {*group.variables}, namespace)
    for receptor in receptors.values():
        _add_constants(external, receptor, group)
    parameters = {name: _with_unit(group, name, values_of(group, name)) for name in declared}
    for name, (receptor, weights) in (autapses or {}).items():
        weight = free_name(f"{name}_autapse", [*group.variables, *external])
        parameters[weight] = weights
        own = substituted(receptor.on_pre, {"w": weight, "w_post": "w"})
        # Before the group's own reset, as in Brian2.
        texts["reset"] = f"{own}\n{texts['reset'] or ''}"
    present = {name: _with_unit(group, name, values_of(group, name)) for name in sorted(states)}
    # A state without an equation has no value but this one.
    without = equations.parameter_names
    initial = {n: value for n, value in present.items() if np.any(value) or n in without}
    return Neuron(
        **{
            "name": group.name,
            "model": equations,
            "method": method_of(group, group.method_choice, external),
            "surrogate": "",
            **texts,
            "parameters": {**external, **parameters, **fields.get("parameters", {})},
            "initial": {**initial, **fields.get("initial", {})},
        }
    )


def _add_constants(external: dict[str, Any], receptor: Receptor, group: NeuronGroup) -> None:
    """Add the values of names in the effects of synapses to those in the group's equations."""
    for name, value in receptor.constants.items():
        same = name not in external or (
            have_same_dimensions(value, external[name])
            and np.array_equal(np.asarray(value), np.asarray(external[name]))
        )
        if not same:
            raise ValueError(
                f"'{name}' is {external[name]} in the equations of '{group.name}' and {value} in "
                "those of its synapses: rename one of them"
            )
        external[name] = value


def check_group(group: Any) -> None:
    """Raise ValueError for what a `Neuron` does not have."""
    if isinstance(group, SpatialNeuron) or not isinstance(group, NeuronGroup):
        hint = ": write its compartments as states of one neuron"
        if isinstance(group, Subgroup):
            hint = f": read the whole group, '{group.source.name}'"
        elif not isinstance(group, SpatialNeuron):
            hint = ""
        raise ValueError(
            f"a Neuron is read from a NeuronGroup, not from {type(group).__name__}{hint}"
        )
    where = f"NeuronGroup '{group.name}'"
    others = sorted({*group.events} - {"spike"})
    if others:
        raise ValueError(f"{where} has the event '{others[0]}': only spikes are read")
    for eq in group.user_equations.values():
        if "linked" in eq.flags:
            raise ValueError(
                f"{where} has '{eq.varname}' linked to another group, which moves it in every "
                "step: write its equation here, or give its values as a TimedArray"
            )
    if group.state_updater.method_options:
        raise ValueError(
            f"{where} has method_options: only a method's defaults are read, leave them away"
        )
    runners = {group.state_updater: "groups"}
    runners |= dict.fromkeys(group.thresholder.values(), "thresholds")
    runners |= dict.fromkeys(group.resetter.values(), "resets")
    for runner, slot in runners.items():
        if runner.when != slot:
            raise ValueError(
                f"{where} has moved '{runner.name}' to the slot '{runner.when}'; it is read in "
                f"'{slot}' alone"
            )
    # A part that runs code of its own is contained, and so are such synapses, which are read apart.
    contained = [x for x in group.contained_objects if not isinstance(x, Synapses)]
    contained += [y for x in contained if isinstance(x, Subgroup) for y in x.contained_objects]
    known = [*runners, group.subexpression_updater]
    for runner in contained:
        if not isinstance(runner, Subgroup) and runner not in known:
            code = getattr(runner, "abstract_code", None) or runner.name
            raise ValueError(
                f"{where} has run_regularly ('{code.strip()}'), which has no counterpart: write "
                "what it does as part of the equations"
            )
    if "not_refractory" in group.variables and not np.all(values_of(group, "not_refractory")):
        raise ValueError(
            f"{where} has neurons that are refractory at present, which no trial begins with: read "
            "it before it is run, or after restore()"
        )


def _statements(on_pre: str | Mapping[str, str]) -> list[str]:
    return [on_pre] if isinstance(on_pre, str) else [*on_pre.values()]


def _assigned(*codes: str | None) -> set[str]:
    """Names of the neuron that statements change."""
    return {
        name.removesuffix("_post")
        for code in codes
        for name, _ in split_statements(code or "", "statement")
    }


def _used(equations: Equations, texts: Mapping[str, Any]) -> set[str]:
    """Names in equations and statements."""
    used = {name for eq in equations.values() if eq.expr is not None for name in eq.identifiers}
    for field in ("threshold", "reset", "refractory", "surrogate", "refractory_surrogate"):
        text = texts.get(field)
        used |= get_identifiers(text) if isinstance(text, str) else set()
    for text in _statements(texts.get("on_pre", "")):
        used |= {name.removesuffix("_post") for name in get_identifiers(text)} - {"w"}
    return used - {*equations.names}


def _with_unit(group: NeuronGroup, name: str, values: np.ndarray) -> Any:
    """Values as a number or quantity: one where all neurons have the same."""
    values = values.astype(float)
    if values.ndim and np.all(values == values[0]):
        values = values[0]
    dim = group.variables[name].dim
    if dim is not DIMENSIONLESS:
        return Quantity(values, dim=dim)
    return values if values.ndim else float(values)
