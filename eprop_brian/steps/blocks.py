"""Blocks: equation strings bound to the arrays of Brian2 groups.

A block is a few statements that run over one loop. The strings keep the short names of the papers
(``v``, ``psi``, ``w``); a `View` gives the group a name belongs to and the loop index it takes.
Brian2 generates the inner code of every block from the resulting statements; the device's template
owns the loops around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from brian2.core.base import BrianObject
from brian2.core.clocks import Clock
from brian2.core.variables import AuxiliaryVariable, Variables
from brian2.groups.group import Group
from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.layout import MOST_STEPS
from eprop_brian.symbolic.names import free_name, is_own, shown, substituted

__all__ = [
    "FRAME_NUMBERS",
    "LOOP_INDICES",
    "StepCode",
    "Store",
    "View",
    "keep_names",
    "name_variables",
    "repeat",
    "stored_name",
]

#: Loop indices that the templates define.
LOOP_INDICES = (
    *("_neuron", "_pre", "_post", "_synapse"),
    *("_history", "_sent", "_tile", "_window", "_sample", "_record"),
    *("_later", "_arriving", "_feedback", "_answered", "_value", "_sampled"),
    *(
        "_trial",
        "_moment",
        "_target_step",
        "_of_environment",
        "_coded",
        "_acted",
        "_frame",
        "_in_frame",
    ),
    *(
        f"_{index}_{k}"
        for index in ("pre", "post", "synapse", "tile", "output", "value")
        for k in range(MOST_STEPS)
    ),
)
#: Integers of the frame around a step that statements may read: the step since the start, and the
#: halves of the key of a trial's noise.
FRAME_NUMBERS = ("_now", "_noise_low", "_noise_high")
_ASSIGNED = re.compile(r"^\s*([A-Za-z_]\w*)\s*=(?!=)", re.MULTILINE)


def name_variables(
    group: str, variables: Iterable[str], taken: Iterable[str] = ()
) -> dict[str, str]:
    """Names in a Brian2 group for variables that have another name in the statements.

    A variable of a neuron is called what its user calls it, and what else would be called the same
    gets a number. `taken` are names of arrays, ``group_variable``, that others have.
    """
    variables, arrays = list(variables), {*taken}
    users = [name for name in variables if is_own(name)]
    names = {name: shown(name) for name in users}
    for name in variables:
        if name not in names:
            used = {*names.values()}
            candidate = free_name(shown(name), used)
            while f"{group}_{candidate}" in arrays:
                used.add(candidate)
                candidate = free_name(shown(name), used)
            names[name] = candidate
    return names


def keep_names(group: Group, names: Mapping[str, str]) -> None:
    """Remember what a group's variables are called in the statements."""
    group.__dict__["_stored_names"] = dict(names)


def stored_name(group: Group, variable: str) -> str:
    """The name that a group has for a variable of the statements."""
    return group.__dict__.get("_stored_names", {}).get(variable, variable)


class _LoopIndex(AuxiliaryVariable):
    """An index that the template's loop provides; no two iterations share a value."""

    unique = True


@dataclass(frozen=True)
class View:
    """Variables of a group as a block sees them.

    Attributes
    ----------
    group : brian2 Group
    index : str
        Loop index of its arrays (scalars need none).
    names : mapping of str to str, optional
        Local name to the variable's name in the statements; default: all variables.
    """

    group: Group
    index: str
    names: Mapping[str, str] | None = None

    def find(self, name: str) -> str | None:
        """The group's variable behind a local name, or None."""
        if self.names is not None:
            variable = self.names.get(name)
            return None if variable is None else stored_name(self.group, variable)
        stored = self.group.__dict__.get("_stored_names", {})
        if name in stored:
            return stored[name]
        # What Brian2 itself gives a group: dt, N.
        return name if name in self.group.variables and name not in stored.values() else None


class Store(Group):
    """Arrays that belong to no neuron and no synapse: trials, histories, lists of spikes.

    A `NeuronGroup` would keep an array of indices besides, as large as any of these.

    Parameters
    ----------
    size : int
    variables : mapping of str to type
        Names in the statements, and element types.
    name : str
    clock : Clock
    taken : iterable of str
        Names of arrays, ``group_variable``, that others have.
    """

    def __init__(
        self,
        size: int,
        variables: Mapping[str, type],
        name: str,
        clock: Clock,
        taken: Iterable[str] = (),
    ) -> None:
        BrianObject.__init__(self, clock=clock, name=name)
        self.names = tuple(variables)
        self.variables = Variables(self)
        self.variables.add_constant("N", int(size))
        stored = name_variables(name, variables, taken)
        for variable, dtype in variables.items():
            self.variables.add_array(stored[variable], size=int(size), dtype=dtype)
        keep_names(self, stored)
        self._enable_group_attributes()


def repeat(
    statements: Iterable[str], n: int, *sides: tuple[Group, str, Iterable[str]]
) -> tuple[list[str], list[View]]:
    """Statements several times over, each time with other elements of some arrays.

    Parameters
    ----------
    statements : iterable of str
    n : int
        Times, at most `MOST_STEPS`.
    *sides : (group, index, names)
        Variables of a group that take loop index ``<index>_0``, ``<index>_1`` and so on in turn.

    Returns
    -------
    list of str
        The statements, the names in question numbered (``_psi_0``), temporaries (``_x``) too.
    list of View
        The views that know the numbered names.
    """
    statements = list(statements)
    temporary = {line.split(" = ")[0] for line in statements if line.startswith("_")}
    code, views = [], []
    for k in range(n):
        varying = {name for _, _, names in sides for name in names} | temporary
        numbered = {name: f"_{name}_{k}" for name in varying}
        code += [substituted(line, numbered) for line in statements]
        views += [
            View(group, f"{index}_{k}", {numbered[name]: name for name in names})
            for group, index, names in sides
        ]
    return code, views


class StepCode:
    """The blocks of one network and the variables they use.

    Attributes
    ----------
    variables : brian2 Variables
        Every array under the name it has in the blocks.
    blocks : dict of str to str
        Abstract code of each block.
    """

    def __init__(self) -> None:
        self.variables = Variables(None)
        for index in LOOP_INDICES:
            self.variables._variables[index] = _LoopIndex(name=index, dtype=np.int32)
            self.variables.indices[index] = index
        for number in FRAME_NUMBERS:
            self.variables._variables[number] = AuxiliaryVariable(
                name=number, dtype=np.int32, scalar=True
            )
        self._names: dict[tuple[str, str, str], str] = {}
        self.blocks: dict[str, str] = {}

    def block(self, name: str, statements: Iterable[str], *views: View) -> str:
        """Add a block; of several views that know a name the first wins. Returns `name`."""
        code = "\n".join(statements)
        # What is assigned and no array is a step of a calculation: by a name of its own, as some
        # are made of users' names and could be a loop index or a variable of the template.
        renamed = {target: f"_value_of_{target}" for target in _ASSIGNED.findall(code)}
        for identifier in sorted(get_identifiers(code), key=lambda name: (shown(name), name)):
            for view in views:
                variable = view.find(identifier)
                if variable is not None:
                    renamed[identifier] = self._array(view.group, variable, view.index)
                    break
        self.blocks[name] = substituted(code, renamed)
        return name

    def unknown(self) -> list[str]:
        """What the blocks use that is neither an array nor assigned in them: functions."""
        found: set[str] = set()
        for block in self.blocks.values():
            found |= get_identifiers(block) - {*_ASSIGNED.findall(block)}
        return sorted(found - set(self.variables))

    def array(self, group: Group, variable: str, index: str = "_neuron") -> str:
        """Register a variable of the statements under a name of its own and return that name."""
        return self._array(group, stored_name(group, variable), index)

    def _array(self, group: Group, variable: str, index: str) -> str:
        if group.variables[variable].scalar:
            index = "0"
        key = (group.name, variable, index)
        if key not in self._names:
            end = "" if index == "0" else index
            name = f"{group.name}_{variable}{end}"
            # Group "a" with "b_c" and group "a_b" with "c".
            number = 2
            while name in self.variables:
                name, number = f"{group.name}_{variable}_{number}{end}", number + 1
            self.variables.add_reference(name, group, variable, index=index)
            self._names[key] = name
        return self._names[key]
