"""Blocks: equation strings bound to the arrays of Brian2 groups.

A block is a few statements that run over one loop. The strings keep the short names of the papers
(``v``, ``psi``, ``w``); a `View` says which group a name belongs to and which loop index it takes.
Brian2 generates the inner code of every block from the resulting statements; the device's template
owns the loops around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from brian2.core.base import BrianObject
from brian2.core.clocks import Clock
from brian2.core.variables import AuxiliaryVariable, Variables
from brian2.groups.group import Group
from brian2.utils.stringtools import get_identifiers, word_substitute

__all__ = ["LOOP_INDICES", "MOST_STEPS", "StepCode", "Store", "View", "repeat"]

#: Most times that a block can repeat its statements in one iteration of its loop.
MOST_STEPS = 8
#: Loop indices that the templates define.
LOOP_INDICES = (
    *("_neuron", "_pre", "_post", "_synapse"),
    *("_history", "_sent", "_tile", "_window", "_sample", "_record"),
    *("_later", "_arriving", "_feedback", "_answered", "_value"),
    *(
        f"_{index}_{k}"
        for index in ("pre", "post", "synapse", "tile", "output", "value")
        for k in range(MOST_STEPS)
    ),
)


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
        Local name to the group's name for it; default: all variables under their own names.
    """

    group: Group
    index: str
    names: Mapping[str, str] | None = None

    def find(self, name: str) -> str | None:
        """The group's variable behind a local name, or None."""
        if self.names is not None:
            return self.names.get(name)
        return name if name in self.group.variables else None


class Store(Group):
    """Arrays that belong to no neuron and no synapse: trials, histories, lists of spikes.

    A `NeuronGroup` would keep an array of indices besides, as large as any of these.

    Parameters
    ----------
    size : int
    variables : mapping of str to type
        Names and element types.
    name : str
    clock : Clock
    """

    def __init__(self, size: int, variables: Mapping[str, type], name: str, clock: Clock) -> None:
        BrianObject.__init__(self, clock=clock, name=name)
        self.names = tuple(variables)
        self.variables = Variables(self)
        self.variables.add_constant("N", int(size))
        for variable, dtype in variables.items():
            self.variables.add_array(variable, size=int(size), dtype=dtype)
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
        # A name that no user's variable can have.
        numbered = {name: f"_{name}_{k}" for name in varying}
        code += [word_substitute(line, numbered) for line in statements]
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
        self.blocks: dict[str, str] = {}

    def block(self, name: str, statements: Iterable[str], *views: View) -> str:
        """Add a block; of several views that know a name the first wins. Returns `name`."""
        code = "\n".join(statements)
        renamed = {}
        for identifier in sorted(get_identifiers(code)):
            for view in views:
                variable = view.find(identifier)
                if variable is not None:
                    renamed[identifier] = self.array(view.group, variable, view.index)
                    break
        self.blocks[name] = word_substitute(code, renamed)
        return name

    def unknown(self) -> list[str]:
        """What the blocks use that is neither an array nor assigned in them: functions."""
        found: set[str] = set()
        for block in self.blocks.values():
            assigned = {line.split(" = ")[0] for line in block.split("\n")}
            found |= get_identifiers(block) - assigned
        return sorted(found - set(self.variables))

    def array(self, group: Group, variable: str, index: str = "_neuron") -> str:
        """Register an array under a name of its own and return that name."""
        if group.variables[variable].scalar:
            index = "0"
        name = f"{group.name}_{variable}{'' if index == '0' else index}"
        if name not in self.variables:
            self.variables.add_reference(name, group, variable, index=index)
        return name
