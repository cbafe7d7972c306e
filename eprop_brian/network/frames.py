"""Frames: readouts that take a step for several of the network.

Speech comes in frames, of which each is put in for some steps of the network. The readout sums the
spikes of a frame and filters once a frame, and the loss is that of frames. (Bellec et al. 2020, in
the networks for TIMIT: 5 steps a frame.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved
    from eprop_brian.tasks.trials import Trials

__all__ = ["check_frames", "check_whole_frames", "n_frames"]


_Steps = TypeVar("_Steps", int, NDArray[np.integer])


def n_frames(steps: _Steps, every: int) -> _Steps:
    """Steps of a readout among the last steps of a trial."""
    return -(-steps // every)


def check_frames(network: Resolved) -> None:
    """Refuse what readouts that take fewer steps than the network cannot have.

    Raises
    ------
    ValueError
        It names the part, and what would be right.
    """
    if network.frame_steps == 1:
        return
    first, *others = network.readouts
    for other in others:
        if other.every != first.every:
            raise ValueError(
                f"readouts '{first.name}' and '{other.name}' take their steps every {first.every} "
                f"and {other.every} of the network: give them the same `every`"
            )
    what = f"readout '{first.name}' takes a step every {first.every} of the network"
    for readout in network.readouts:
        if readout.loss.of_labels:
            raise ValueError(
                f"{what}, but the loss of labels of '{readout.name}' averages the outputs of a "
                "frame itself: leave `every` away"
            )
    if network.gradient == "online":
        raise ValueError(
            f"{what}, but gradient = 'online' filters the traces of synapses in each of these: "
            "choose 'factored' or 'bptt', or leave `every` away"
        )
    if network.agent is not None:
        raise ValueError(f"{what}, but an agent acts by it: leave `every` away")
    if network.readout_delay:
        raise ValueError(
            f"{what}, which sums up spikes of its own step: leave the delays of projections to "
            "readouts away"
        )
    for signal in network.signals:
        if signal.delay_steps is not None or signal.diffusion is not None:
            how = "diffuses" if signal.delay_steps is None else "is delayed"
            raise ValueError(
                f"{what}, but learning signal '{signal.name}' {how}, in steps of the network: "
                "choose other feedback, or leave `every` away"
            )


def check_whole_frames(network: Resolved, trials: Trials) -> None:
    """Raise ValueError unless trials have whole frames."""
    every = network.frame_steps
    if every > 1 and (trials.steps % every).any():
        odd = int(trials.steps[trials.steps % every > 0][0])
        raise ValueError(
            f"readout '{network.readouts[0].name}' takes a step every {every} of the network, but "
            f"a trial has {odd} steps: trials must have whole frames"
        )
