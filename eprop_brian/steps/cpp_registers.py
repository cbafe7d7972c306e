"""What a block keeps in vector registers, in C++, while it runs again and again.

A few vectors of neurons, or of synapses, go through all steps or spikes before the next ones do.
Their variables are in small arrays meanwhile, of a size that the compiler knows: it unrolls the
loops over them, and makes a register of each vector.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.blocks import StepCode

__all__ = ["LANES", "Registers", "registers"]

#: Numbers in the widest vectors, by type; a multiple of those of any processor does no harm.
LANES = {"double": 8, "float": 16}


@dataclass(frozen=True)
class _Kept:
    """A variable in a small array: its type, how statements write its element, and whether they
    set it."""

    array: str
    kind: str
    element: str
    is_set: bool


@dataclass(frozen=True)
class Registers:
    """The variables of a block that are in small arrays, whose elements are ``[_lane]``.

    Attributes
    ----------
    kept : tuple
    """

    kept: tuple[_Kept, ...]

    def declared(self, size: int) -> list[str]:
        """The arrays."""
        return [f"{one.kind} {one.array}[{size}];" for one in self.kept]

    def filled(self) -> list[str]:
        """Statements that fill an element."""
        return [f"{one.array}[_lane] = {one.element};" for one in self.kept]

    def stored(self) -> list[str]:
        """Statements that copy back an element of what the block sets."""
        return [f"{one.element} = {one.array}[_lane];" for one in self.kept if one.is_set]

    def fetched(self, ahead: int) -> list[str]:
        """Statements that fetch what the block will set so many elements ahead."""
        return [
            f"__builtin_prefetch(&{one.element} + {ahead}, 1);" for one in self.kept if one.is_set
        ]

    def statements(self, lines: Iterable[str]) -> list[str]:
        """The statements of the block with its arrays."""
        lines = list(lines)
        for one in self.kept:
            lines = [line.replace(one.element, f"{one.array}[_lane]") for line in lines]
        return lines


def registers(
    code: StepCode,
    pointer: Callable[[str], str],
    block: str,
    indices: Collection[str],
    but: Collection[str] = (),
) -> Registers:
    """Find what a block uses at some indices, except for the variables `but`."""
    text, variables = code.blocks[block], code.variables
    is_set = {line.split(" = ")[0] for line in text.split("\n")}
    kept = []
    for name in sorted(get_identifiers(text) & set(variables)):
        variable, index = variables[name], variables.indices[name]
        if isinstance(variable, ArrayVariable) and index in indices and name not in but:
            element = f"{pointer(name)}[{index}]"
            kept.append(
                _Kept(f"_kept_{name}", c_data_type(variable.dtype), element, name in is_set)
            )
    return Registers(tuple(kept))
