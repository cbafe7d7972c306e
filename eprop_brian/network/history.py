"""How much of a trial's history the factored program keeps: all of it, or a segment at a time.

With a segment of K of T steps, the state at the beginning of each segment is kept besides, and the
backward pass runs the steps of one segment after the other again, from the last to the first. K
rows of the history and T/K of the state take least memory where K is the root of T.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eprop_brian.base.checks import check_choice, check_count
from eprop_brian.base.memory import available_memory, shown_bytes

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["HISTORY_DTYPES", "check_history", "history_rows"]

#: Types that a history may have in the place of the program's own.
HISTORY_DTYPES = ("float32",)


def check_history(network: Resolved) -> None:
    """Refuse options of the history that a network cannot have."""
    for option in ("history_steps", "history_dtype"):
        if getattr(network, option) is not None and network.gradient != "factored":
            raise ValueError(
                f"{option} is for gradient = 'factored': '{network.gradient}' keeps no history of "
                "the neurons"
            )
    if network.history_dtype is not None:
        check_choice("history_dtype", network.history_dtype, HISTORY_DTYPES)
    if network.history_steps is None:
        return
    check_count("history_steps", network.history_steps, minimum=1)
    refusal = next(_refusals(network), "")
    if refusal:
        raise ValueError(f"history_steps: {refusal}. Leave it out")


def _refusals(network: Resolved) -> Iterator[str]:
    """Why the steps of a segment cannot run again, as sentences without an end."""
    if network.agent is not None:
        yield "an agent acts step by step, and an episode's steps do not run again"
    for c in network.connections:
        if c.learned_delay is not None:
            yield f"delays of {c.name} learn from the steps around an arrival, in two segments"
        elif not c.to_readout and c.spread and c.delay_each:
            yield f"with a delay for each synapse of {c.name} a spike arrives in two segments"
        if c.reads or c.transmission is not None:
            yield f"{c.name} hands on values, which are not recomputed"
    for signal in network.signals:
        if signal.emitted or signal.diffusion is not None:
            kind = "that is emitted" if signal.emitted else "that diffuses"
            yield f"learning signal '{signal.name}', {kind}, is not recomputed"


def history_rows(
    network: Resolved, n_steps: int, can_recompute: bool, needed: Callable[[int], int]
) -> int:
    """Steps of which the history is kept at a time.

    Parameters
    ----------
    network : Resolved
    n_steps : int
        Of a trial.
    can_recompute : bool
        Whether the device can run steps again.
    needed : callable
        Bytes that the network needs with the history of so many steps.

    Raises
    ------
    ValueError
        If the device cannot do what the network asks for.
    """
    if network.history_steps is not None:
        if not can_recompute and network.history_steps < n_steps:
            raise ValueError(
                "history_steps: this device runs trials side by side and keeps the whole history "
                "of each. Take device 'cpp', or leave it out"
            )
        return min(network.history_steps, n_steps)
    # The memory of a machine decides about speed alone: with segments every bit is the same.
    rows, whole, there = math.isqrt(n_steps - 1) + 1, needed(n_steps), available_memory()
    if whole <= there or not can_recompute or next(_refusals(network), ""):
        return n_steps
    if needed(rows) > there:
        # The check of all sizes says how much too large it is.
        return n_steps
    warnings.warn(
        f"with the history of a whole trial the network would need {shown_bytes(whole)}, of which "
        f"there are {shown_bytes(there)}: {rows} of its {n_steps} steps are kept at a time, and "
        f"steps run again in the backward pass. history_steps = {rows} does this without a warning",
        stacklevel=2,
    )
    return rows
