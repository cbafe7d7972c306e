"""Neighbouring loops that can be one: what one block computes, the next finds in a register."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.nodes import Each, Node

__all__ = ["fused"]


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
