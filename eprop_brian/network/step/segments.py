"""Segments of a trial whose steps run again in the backward pass, the last segment first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eprop_brian.network.step.running import Running
from eprop_brian.steps.gradients import WHOLE_TRIAL, Again, Steps
from eprop_brian.steps.nodes import Choose, Copy, For, If, Int, Node, Sync

__all__ = ["keep_state", "segment_by_segment"]


def keep_state(running: Running) -> list[Node]:
    """Keep the state that a segment begins with."""
    rules = running.rules
    if not rules.in_segments:
        return []
    rows = rules.history_rows
    copies: list[Node] = [
        Copy(kept.segments, f"_begun*{kept.n}", kept.array, "0", kept.n)
        for p in running.parts.populations
        for kept in p.kept
    ]
    begun = Int("_begun", f"_step / {rows}")
    return [If("_learning", [If(f"_step % {rows} == 0", [begun, *copies])])]


def segment_by_segment(
    running: Running, step: Sequence[Node], backwards: Callable[[Steps], list[Node]]
) -> list[Node]:
    """What goes backwards through steps: for a whole trial or, with their history, by segments.

    The history of the last segment is still there.
    """
    rules = running.rules
    if not rules.in_segments:
        return backwards(WHOLE_TRIAL)
    rows, steps = rules.history_rows, Steps("_from", "_until")
    number = "_n_segments - 1 - _segment"
    copies: list[Node] = [
        Copy(kept.array, "0", kept.segments, f"({number})*{kept.n}", kept.n)
        for p in running.parts.populations
        for kept in p.kept
    ]
    return [
        Int("_n_segments", f"(_T + {rows - 1}) / {rows}"),
        For(
            "_segment",
            "0",
            "_n_segments",
            [
                Int("_from", f"({number})*{rows}"),
                Choose("_until", "_segment == 0", "_T", f"_from + {rows}"),
                If("_segment > 0", [*copies, Sync(), Again(steps, step), Sync()]),
                *backwards(steps),
            ],
        ),
    ]
