"""A schedule: the phases of a program, each a list of nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from eprop_brian.steps.nodes import Node

__all__ = ["Schedule", "blocks_of", "walk"]


@dataclass(frozen=True)
class Schedule:
    """The phases of a program, and what a device must know to launch them.

    Attributes
    ----------
    template : str
        The frame of a call, which says when a phase runs.
    frame : object
        What the frame reads.
    phases : mapping of str to sequence of Node
        In the order in which they run.
    trial : sequence of str
        Phases that trials which run side by side go through, each on arrays of its own; none if
        one trial runs after the other. Sums over trials are what ``begin_call`` sets to 0.
    most_trials : int
        Trials that may run side by side.
    alone : bool
        Whether one trial must have ended before the next begins.
    most_elements : int
        Elements of the largest loop that threads can share out.
    refusal : str
        Why a device whose trials run side by side cannot run it, if that is so.
    """

    template: str
    frame: Any
    phases: Mapping[str, Sequence[Node]]
    trial: Sequence[str] = ()
    most_trials: int = 1
    alone: bool = False
    most_elements: int = 1
    refusal: str = ""

    def nodes(self, *phases: str) -> list[Node]:
        """All nodes of some phases, those inside of others too."""
        return [node for phase in phases for node in walk(self.phases.get(phase, ()))]


def walk(nodes: Iterable[Any]) -> Iterator[Node]:
    """Nodes, and those inside of them."""
    for node in nodes:
        if isinstance(node, Node):
            yield node
            yield from walk(getattr(node, f.name) for f in fields(node))  # type: ignore[arg-type]
        elif isinstance(node, list | tuple):
            yield from walk(node)


def blocks_of(node: Node, blocks: Collection[str]) -> list[str]:
    """Those of the given blocks that a node runs itself, without the nodes inside of it."""
    values = (getattr(node, f.name) for f in fields(node))  # type: ignore[arg-type]
    return [value for value in values if isinstance(value, str) and value in blocks]
