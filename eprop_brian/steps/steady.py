"""Constants of a step that no step changes: they are computed before the first one.

A compiler cannot do it. What steps write could be where a parameter is, for all it knows, so it
reads every parameter and divides by it again in each step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.blocks import FRAME_NUMBERS, StepCode
from eprop_brian.steps.fusing import texts
from eprop_brian.steps.nodes import Node
from eprop_brian.steps.schedule import Schedule

__all__ = ["steady_constants"]

_DECLARED = re.compile(r"const \w+ (\w+) = ")
_ASSIGNED = re.compile(r"^(\w+) = ", re.MULTILINE)


def steady_constants(
    constants: Mapping[str, Sequence[str]], code: StepCode, schedule: Schedule
) -> dict[str, list[str]]:
    """Find the constants that are the same in all steps of a trial.

    Parameters
    ----------
    constants : mapping of str to sequence of str
        Declarations of every block that are the same for all elements, as C++.
    code : StepCode
    schedule : Schedule
        Whose phase ``step`` runs again and again.

    Returns
    -------
    dict of str to list of str
        Declarations by block, for blocks that no other phase runs.
    """
    phases = [name for name in schedule.phases if name != "step"]
    inside, outside = schedule.nodes("step"), schedule.nodes(*phases)
    in_steps = _blocks(inside, code)
    # Whatever a node itself names, it may change.
    changed = {name for node in inside for text in _own(node, code) for name in _names(text)}
    changed |= {name for block in in_steps for name in _ASSIGNED.findall(code.blocks[block])}
    changed |= {*FRAME_NUMBERS}
    steady: dict[str, list[str]] = {}
    declared: dict[str, str] = {}
    for block in sorted(in_steps - _blocks(outside, code)):
        lines = [line for line in constants[block] if line]
        names = [match[1] if (match := _DECLARED.match(line)) else "" for line in lines]
        pairs = [*zip(names, lines, strict=True)]
        if (
            lines
            and all(names)
            and not changed & _names(code.blocks[block]) & _scalars(code)
            and not {*FRAME_NUMBERS} & _names("\n".join(lines))
            and all(declared.get(name, line) == line for name, line in pairs)
        ):
            steady[block] = lines
            declared.update(pairs)
    return steady


def _scalars(code: StepCode) -> set[str]:
    """Arrays of one number."""
    return {name for name in code.variables if code.variables.indices[name] == "0"}


def _blocks(nodes: Sequence[Node], code: StepCode) -> set[str]:
    """All blocks that some nodes run."""
    return {text for node in nodes for text in texts(node) if text in code.blocks}


def _own(node: Node, code: StepCode) -> list[str]:
    """What a node has written in it beside its blocks."""
    return [text for text in texts(node) if text not in code.blocks]


def _names(text: str) -> set[str]:
    return set(get_identifiers(text))
