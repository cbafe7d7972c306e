"""Settings that are for all neurons of a network: the table ``neuron`` of a recipe, and --set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from eprop_brian.base.suggestions import unknown
from eprop_brian.equations import NEURONS, Neuron, get_neuron
from eprop_brian.symbolic.per_neuron import resolve_values
from eprop_brian.symbolic.step_map import step_map

__all__ = ["detached", "neurons_of_recipe", "with_setting", "with_shared"]


def detached(neurons: Mapping[str, Neuron], value: Any, where: str) -> dict[str, Neuron]:
    """Return neurons that detach the states in `value`, each those that it has."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f"{where}: write a list of states, for example neuron.detach='[\"v\"]', or "
            "neuron.detach=[] to differentiate through the reset too"
        )
    states = {name: step_map(neuron).states for name, neuron in neurons.items()}
    names = sorted({state for of_neuron in states.values() for state in of_neuron})
    for state in value:
        if state not in names:
            raise ValueError(unknown("state", state, names, where))
    return {
        name: replace(neuron, detach=tuple(s for s in value if s in states[name]))
        for name, neuron in neurons.items()
    }


def with_setting(
    neurons: Mapping[str, Neuron], key: str, value: Any, where: str
) -> dict[str, Neuron]:
    """Return neurons with a parameter replaced in all that have it, or what they detach."""
    if key == "detach":
        return detached(neurons, value, where)
    if not any(key in {*n.parameters, *n.constants} for n in neurons.values()):
        names = [*_parameter_names(neurons), "detach"]
        raise ValueError(unknown("parameter", key, names, where))
    return {
        name: n.with_parameters(**{key: value}) if key in {*n.parameters, *n.constants} else n
        for name, n in neurons.items()
    }


def neurons_of_recipe(size: Iterable[str], parameters: Mapping[str, Any]) -> dict[str, Neuron]:
    """Return the library's neurons with a recipe's parameters, each with those that it has."""
    try:
        library = {name: get_neuron(name) for name in size}
    except ValueError as error:
        raise ValueError(f"[size]: {error}") from None
    neurons = {name: with_shared(neuron, parameters) for name, neuron in library.items()}
    for key, value in parameters.items():
        having = [n for n in library.values() if key in {*n.parameters, *n.constants}]
        # A recipe may have parameters of neurons that --neuron puts in place of its own.
        if not having and key not in {"detach", *_parameter_names(NEURONS)}:
            names = [*_parameter_names(library), "detach"]
            raise ValueError(unknown("parameter", key, names, "[neuron]"))
        if having and not any(_value_of(neurons[n.name], key) == value for n in having):
            raise ValueError(
                f"[neuron]: {key} = {value!r} has another unit than {_value_of(having[0], key)!r}, "
                f"the value in the library's neuron '{having[0].name}'"
            )
    return neurons


def _parameter_names(neurons: Mapping[str, Neuron]) -> list[str]:
    return sorted({name for n in neurons.values() for name in (*n.parameters, *n.constants)})


def _value_of(neuron: Neuron, key: str) -> Any:
    """Return the value of a parameter, or the expression of a constant."""
    return neuron.parameters.get(key, neuron.constants.get(key))


def with_shared(neuron: Neuron, settings: Mapping[str, Any]) -> Neuron:
    """Apply those settings that the neuron has, with the same unit if it is a parameter."""
    _, units = resolve_values(neuron.parameters, f"neuron '{neuron.name}', parameters")
    parameters = {k: v for k, v in settings.items() if k in units}
    _, given_units = resolve_values({**neuron.parameters, **parameters}, "recipe, neuron")
    # A threshold without a unit means nothing to a membrane in volt.
    shared = {k for k in parameters if given_units[k] is units[k]} | {*neuron.constants}
    return neuron.with_parameters(**{k: v for k, v in settings.items() if k in shared})
