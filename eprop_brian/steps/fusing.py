"""Neighbouring loops that can be one: what one block computes, the next finds in a register.

So does what spikes deliver: sums of it are made where the neurons that it reaches are advanced, a
tile of them at a time. Who spikes is listed once all neurons have been advanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.nodes import Each, Node, Show, Sync
from eprop_brian.steps.schedule import Schedule
from eprop_brian.steps.spiking import Deliver, ListSpikes

__all__ = ["Tiled", "Tiling", "fused", "texts"]


@dataclass(frozen=True)
class Tiled(Node):
    """Sums what arrives at neurons and advances these, tile by tile.

    Attributes
    ----------
    delivers : tuple of Deliver
        All of which do no more than add weights to arrays of the neurons.
    advance : Each
    spikes : ListSpikes or None
        Who spikes, where every tile lists it for itself.
    transient : tuple of str
        Arrays of the sums that only these nodes use, and that are 0 before and after them.
    """

    delivers: tuple[Deliver, ...]
    advance: Each
    spikes: ListSpikes | None
    transient: tuple[str, ...]

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of the sums."""
        return tuple(dict.fromkeys(into for into, _ in (d.adds for d in self.delivers if d.adds)))


class Tiling:
    """Finds nodes that neurons can go through tile by tile.

    Parameters
    ----------
    code : StepCode
    schedule : Schedule
    fits : callable
        Whether a row of so many numbers can be in tiles.
    lists : callable
        Whether each tile of such a row lists its spikes.
    """

    def __init__(
        self,
        code: StepCode,
        schedule: Schedule,
        fits: Callable[[int], bool],
        lists: Callable[[int], bool],
    ) -> None:
        self._code, self._fits, self._lists_in_tiles = code, fits, lists
        # What every node of the schedule mentions: it is looked at once.
        self._mentions = [
            (node, _mentioned(node, code.blocks)) for node in schedule.nodes(*schedule.phases)
        ]

    def tiled(self, nodes: Iterable[Node]) -> list[Node]:
        """Nodes, of which those that can be done tile by tile are one."""
        done: list[Node] = []
        waiting = [*nodes]
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, Each):
                node = self._together(done, node, waiting)
            done.append(node)
        return self._listed_late(done)

    def _listed_late(self, nodes: Iterable[Node]) -> list[Node]:
        """The nodes, with spikes listed as late as they may be.

        How many there are is a loop whose end a processor often guesses wrong. What it has begun
        after that is lost: if all neurons have been advanced before, it is little.
        """
        done: list[Node] = []
        waiting: list[ListSpikes] = []
        for node in nodes:
            if isinstance(node, ListSpikes) and not node.analog:
                waiting.append(node)
                continue
            if not all(self._can_wait(spikes, node) for spikes in waiting):
                done += waiting
                waiting = []
            done.append(node)
        return [*done, *waiting]

    def _can_wait(self, spikes: ListSpikes, node: Node) -> bool:
        """Whether spikes of a step may be listed after a node as well as before."""
        if isinstance(node, Tiled):
            parts = (*node.delivers, node.advance)
            return node.spikes is None and all(self._can_wait(spikes, part) for part in parts)
        if isinstance(node, Deliver) and node.source == spikes.spikes:
            return node.delay > 0 and node.step == "_step"
        if isinstance(node, Deliver | Each):
            mentioned = _mentioned(node, self._code.blocks)
            arrays = (spikes.spikes.z, *spikes.sets())
            return not any(self._names(array) & mentioned for array in arrays)
        return isinstance(node, Sync | Show)

    def _together(self, before: list[Node], advance: Each, after: list[Node]) -> Node:
        """A loop with what comes right before it and after it; both are taken off the lists."""
        width = advance.padded or advance.n
        if advance.index != "_neuron" or not self._fits(width):
            return advance
        # There is one thread, and nobody looks at neurons between two of its loops.
        n_before, n_after = len(before), 0
        while n_before and (
            isinstance(before[n_before - 1], Sync) or self._arrives(before[n_before - 1], advance)
        ):
            n_before -= 1
        delivers = [node for node in before[n_before:] if isinstance(node, Deliver)]
        while n_after < len(after) and isinstance(after[n_after], Show):
            n_after += 1
        spikes = after[n_after] if n_after < len(after) else None
        if (
            self._lists_in_tiles(width)
            and isinstance(spikes, ListSpikes)
            and self._lists(spikes, advance)
        ):
            del after[: n_after + 1]
        else:
            spikes = None
        if not (delivers or spikes):
            return advance
        del before[n_before:]
        sums = {d.adds[0] for d in delivers if d.adds}
        transient = tuple(
            sorted(name for name in sums if self._is_transient(name, advance, delivers))
        )
        return Tiled(tuple(delivers), advance, spikes, transient)

    def _lists(self, spikes: ListSpikes, advance: Each) -> bool:
        """Whether spikes are those of the neurons that a loop advances."""
        s = spikes.spikes
        return not spikes.analog and (s.n, s.width) == (advance.n, advance.padded)

    def _arrives(self, node: Node, advance: Each) -> bool:
        """Whether a node adds weights to what the neurons that a loop advances have."""
        if not (isinstance(node, Deliver) and node.adds):
            return False
        s, into = node.synapses, node.adds[0]
        return (
            not s.sparse
            and s.extra is None
            and s.width == (advance.padded or advance.n)
            and self._name(into, advance) is not None
        )

    def _name(self, array: str, advance: Each) -> str | None:
        """What a block calls the element of an array that its neuron has."""
        variables = self._code.variables
        used = get_identifiers(self._code.blocks[advance.block]) & self._names(array)
        return next((name for name in used if variables.indices[name] == advance.index), None)

    def _names(self, array: str) -> set[str]:
        """All names of an array."""
        variables = self._code.variables
        return {name for name in variables if variables[name] is variables[array]}

    def _is_transient(self, array: str, advance: Each, delivers: Sequence[Deliver]) -> bool:
        """Whether only a loop reads sums, which it sets to 0 afterwards."""
        name, names = self._name(array, advance), self._names(array)
        lines = self._code.blocks[advance.block].split("\n")
        if [line for line in lines if line.startswith(f"{name} = ")][-1:] != [f"{name} = 0"]:
            return False
        others = (
            (node, mentioned)
            for node, mentioned in self._mentions
            if node != advance and node not in delivers
        )
        return all(
            not names & mentioned or self._only_clears(node, names) for node, mentioned in others
        )

    def _only_clears(self, node: Node, names: set[str]) -> bool:
        """Whether all that a node does with an array is to set it to 0."""
        if not isinstance(node, Each):
            return False
        lines = self._code.blocks[node.block].split("\n")
        return all(
            line in {f"{name} = 0" for name in names}
            for line in lines
            if get_identifiers(line) & names
        )


def _mentioned(node: Node, blocks: Mapping[str, str]) -> set[str]:
    """All names in a node, and in the blocks that it runs, without the nodes inside of it."""
    names: set[str] = set()
    for text in texts(node):
        names |= get_identifiers(blocks.get(text, text))
    return names


def texts(value: Any) -> Iterator[str]:
    """All texts in a value, and in the values that it has."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            inner = getattr(value, one.name)
            if not isinstance(inner, Node):
                yield from texts(inner)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*texts(key), *texts(inner))
    elif isinstance(value, Sequence):
        for inner in value:
            if not isinstance(inner, Node):
                yield from texts(inner)


def fused(nodes: Iterable[Node], blocks: Mapping[str, str], variables: Any) -> list[list[Node]]:
    """Nodes, with neighbouring loops that can be one in a group.

    These have the same elements, and an array that one of them writes is used by another at the
    loop's own element alone.

    Parameters
    ----------
    nodes : iterable of Node
    blocks : mapping of str to str
        Statements of every block.
    variables : brian2 Variables
        What the blocks read and write.
    """
    groups: list[list[Node]] = []
    for node in nodes:
        last = groups[-1] if groups else []
        fits = isinstance(node, Each) and all(
            isinstance(other, Each) and _can_be_one(other, node, blocks, variables)
            for other in last
        )
        if last and fits:
            last.append(node)
        else:
            groups.append([node])
    return groups


def _can_be_one(a: Each, b: Each, blocks: Mapping[str, str], variables: Any) -> bool:
    if (a.n, a.padded, a.index) != (b.n, b.padded, b.index):
        return False
    cells_a, cells_b = (_cells(node, blocks[node.block], variables) for node in (a, b))
    shared = cells_a.keys() & cells_b.keys()
    written = _written(blocks[a.block], variables) | _written(blocks[b.block], variables)
    moving = {a.index, *a.rows}
    return all(
        cells_a[array] == cells_b[array]
        and len(cells_a[array]) == 1
        and {index for index, _ in cells_a[array]} <= moving
        for array in shared & written
    )


def _cells(node: Each, block: str, variables: Any) -> dict[int, set[tuple[str, str]]]:
    """Which elements of every array a block uses: by an index, and where its row begins."""
    cells: dict[int, set[tuple[str, str]]] = {}
    for name in get_identifiers(block) & set(variables):
        variable = variables[name]
        if isinstance(variable, ArrayVariable):
            index = variables.indices[name]
            cells.setdefault(id(variable), set()).add((index, node.rows.get(index, "")))
    return cells


def _written(block: str, variables: Any) -> set[int]:
    """The arrays that a block writes."""
    names = {line.split(" = ")[0] for line in block.split("\n")}
    found = (variables.get(name) for name in names)
    return {id(variable) for variable in found if isinstance(variable, ArrayVariable)}
