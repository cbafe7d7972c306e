"""What Brian2 looks up for equations: names, present values of variables, the method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from brian2 import Function
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.groups.group import Group
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException

from eprop_brian.symbolic.names import RESERVED

__all__ = ["external_values", "method_of", "values_of"]

#: Names that mean the same in every namespace.
_BUILT_IN = {*DEFAULT_CONSTANTS, *DEFAULT_UNITS, *DEFAULT_FUNCTIONS}


def external_values(
    group: Group, names: Iterable[str], namespace: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of some names that are no variables of a group.

    Brian2's functions, constants and units are left out: they need no value.

    Parameters
    ----------
    group : Group
        Its own namespace comes first.
    names : iterable of str
    namespace : mapping of str to Any
        As `brian2.Network.run` takes it, or the variables of the user's script.

    Raises
    ------
    ValueError
        If a name has no value.
    """
    namespaces = [getattr(group, "namespace", None) or {}, namespace]
    values = {}
    for name in sorted(names):
        if name in _BUILT_IN or name in RESERVED or name.startswith("xi_"):
            continue
        matches = [space[name] for space in namespaces if _is_value(space.get(name))]
        if not matches:
            raise ValueError(
                f"'{name}' in the equations of '{group.name}' has no value: it is no variable of "
                "the group, and neither in its namespace nor where it is read; pass "
                f"namespace={{'{name}': ...}}"
            )
        values[name] = matches[0]
    return values


def values_of(group: Any, name: str) -> np.ndarray:
    """The present SI values of a variable of a group, one for each neuron, or a single one."""
    try:
        return np.array(getattr(group, f"{name}_")[:])
    except NotImplementedError:
        raise ValueError(
            f"the values of '{name}' in '{group.name}' are not known before the standalone "
            "program has run: read the group with Brian2's runtime device"
        ) from None


def method_of(owner: Any, choice: Any, external: Mapping[str, Any]) -> str:
    """The name of the method that Brian2 integrates the equations of an object with.

    Parameters
    ----------
    owner : NeuronGroup or Synapses
    choice : str, callable or sequence of str
        As the user gave it.
    external : mapping of str to Any
        Values of names in its equations.

    Raises
    ------
    ValueError
        If it is none of Brian2's, or none of several can integrate them.
    """
    where = f"{type(owner).__name__} '{owner.name}'"
    if isinstance(choice, str):
        return choice.lower()
    if callable(choice):
        known = [name for name, x in StateUpdateMethod.stateupdaters.items() if x is choice]
        if not known:
            raise ValueError(
                f"{where} has a state updater of its own, which cannot be read: name one of "
                f"{', '.join(StateUpdateMethod.stateupdaters)}"
            )
        return known[0]
    equations = owner.equations
    if len(equations.diff_eq_names) == 0:
        return "euler"
    names = {*equations.names, *equations.identifiers, "dt"}
    variables = owner.resolve_all(names, external, user_identifiers=())
    for method in choice:
        try:
            StateUpdateMethod.apply_stateupdater(equations, variables, method)
        except UnsupportedEquationsException:
            continue
        return method
    raise ValueError(
        f"{where}: none of the methods {', '.join(choice)} can integrate its equations: name "
        "another one"
    )


def _is_value(value: Any) -> bool:
    """Whether Brian2 would take a value of a namespace."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float | np.number | np.ndarray | Function) or hasattr(
        value, "_arg_units"
    )
