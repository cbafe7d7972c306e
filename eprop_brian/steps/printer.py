"""What the printers of all languages share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from brian2.core.variables import Variables

from eprop_brian.steps.nodes import (
    Column,
    Count,
    Each,
    Fire,
    ForFired,
    If,
    Let,
    Node,
    Once,
    Put,
    Row,
)

__all__ = ["Blocks", "CLikePrinter", "Printer", "indented"]

Lines = list[str]


def indented(lines: Iterable[str]) -> Lines:
    """Lines one level further in."""
    return [f"    {line}" for line in lines]


class Blocks(Protocol):
    """The blocks of a step and the arrays that they use, as `StepCode` has them."""

    blocks: dict[str, str]
    variables: Variables


class Printer:
    """Writes a schedule in one language; it has a method ``print_<node>`` for every kind of node.

    Parameters
    ----------
    code : Blocks
    scalar, vector : mapping of str to sequence of str
        Statements of every block in the language, as Brian2 generates them: those that are the same
        for all elements, and those of an element.
    pointer : callable
        What an array is called in the language, by its name in the blocks.
    real : str
        Float type of all state, ``"double"`` or ``"float"``.
    memory : object, optional
        Where a device keeps the arrays, if its language must know.
    """

    def __init__(
        self,
        code: Blocks,
        scalar: Mapping[str, Sequence[str]],
        vector: Mapping[str, Sequence[str]],
        pointer: Callable[[str], str],
        real: str,
        memory: Any = None,
    ) -> None:
        self.code, self.pointer, self.real, self.memory = code, pointer, real, memory
        self._scalar, self._vector = scalar, vector

    def text(self, schedule: Iterable[Node]) -> str:
        """The schedule as text."""
        return "\n".join(self.lines(schedule))

    def lines(self, nodes: Iterable[Node]) -> Lines:
        """The lines of some nodes."""
        return [
            line
            for node in nodes
            for line in getattr(self, f"print_{type(node).__name__.lower()}")(node)
        ]

    def expression(self, text: str) -> str:
        """An expression with the language's names of its arrays."""
        return re.sub(r"\{(\w+)\}", lambda match: self.pointer(match[1]), text)

    def constants(self, block: str) -> Lines:
        """Statements of a block that are the same for all elements."""
        return [line for lines in self._scalar[block] for line in lines.split("\n")]

    def statements(self, block: str) -> Lines:
        """Statements of a block for one element."""
        return [line for lines in self._vector[block] for line in lines.split("\n")]


class CLikePrinter(Printer):
    """C++ and CUDA, which differ in how a loop runs and in who writes a single element."""

    def loop(self, index: str, n: int, body: Lines) -> Lines:
        """A loop whose iterations may run in any order."""
        raise NotImplementedError

    def single(self, lines: Lines) -> Lines:
        """What must happen once."""
        raise NotImplementedError

    def braces(self, *parts: Lines) -> Lines:
        """A block of statements."""
        return ["{", *indented(line for lines in parts for line in lines), "}"]

    def over(self, block: str, index: str, n: int, rows: Mapping[str, str]) -> Lines:
        """A block for all values of an index; `rows` are where other indices begin."""
        own = [f"const int {name} = {start} + {index};" for name, start in rows.items()]
        return self.braces(
            self.constants(block), self.loop(index, n, [*own, *self.statements(block)])
        )

    def print_each(self, node: Each) -> Lines:
        return self.over(node.block, "_neuron", node.n, node.rows)

    def print_row(self, node: Row) -> Lines:
        rows = {"_synapse": f"_pre*{node.n_post}", **node.rows}
        return self.over(node.block, "_post", node.n_post, rows)

    def print_column(self, node: Column) -> Lines:
        own = [f"const int _synapse = _neuron*{node.width} + _pre;"]
        body = [*own, *self.statements(node.block)]
        return self.braces(self.constants(node.block), self.loop("_neuron", node.n, body))

    def print_once(self, node: Once) -> Lines:
        own = [f"const int {index} = {value};" for index, value in node.indices.items()]
        return self.single([*own, *self.constants(node.block), *self.statements(node.block)])

    def print_let(self, node: Let) -> Lines:
        return [f"const {self.real} {node.name} = {self.pointer(node.array)}[{node.index}];"]

    def print_put(self, node: Put) -> Lines:
        return self.single([f"{self.pointer(node.array)}[{node.index}] = {node.value};"])

    def print_count(self, node: Count) -> Lines:
        return [f"{node.name}++;"]

    def print_if(self, node: If) -> Lines:
        lines = [f"if ({self.expression(node.condition)})", *self.braces(self.lines(node.then))]
        if node.otherwise:
            lines += ["else", *self.braces(self.lines(node.otherwise))]
        return lines

    def print_fire(self, node: Fire) -> Lines:
        candidates, fired = self.pointer(node.candidates), f"{self.pointer(node.into)} + {node.at}"
        found = f"eprop_brian::fire({candidates}, {node.n}, {node.one}, {fired})"
        return [f"const int* const _fired = {fired};", f"const int _n_fired = {found};"]

    def print_forfired(self, node: ForFired) -> Lines:
        return [
            "for (int _s = 0; _s < _n_fired; _s++)",
            *self.braces(["const int _pre = _fired[_s];"], self.lines(node.body)),
        ]
