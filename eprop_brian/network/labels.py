"""What a program keeps of sequences of labels, and which networks can learn them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.network.graph import ReadoutGroup
from eprop_brian.steps.labels import room_for_labels

if TYPE_CHECKING:
    from eprop_brian.network.groups import NetworkGroups
    from eprop_brian.network.resolved import Resolved

__all__ = ["LABELS", "FrameStores", "check_labels", "make_frames"]

#: The store of the labels of trials.
LABELS = "label_data"


@dataclass(frozen=True)
class FrameStores:
    """Names of the stores that a readout with a loss of labels has.

    Attributes
    ----------
    frames : str
        By frame and output: ``y``, ``p`` and ``y_target`` of `eprop_brian.equations.losses.CTC`.
    durations : str
        Steps of each frame.
    ways : str
        Logarithms of the probabilities of all ways to show a sequence, in double precision.
    """

    frames: str
    durations: str
    ways: str

    @classmethod
    def of(cls, readout: str) -> FrameStores:
        """Those of a readout, by its name."""
        return cls(f"{readout}_frames", f"{readout}_durations", f"{readout}_ways")


def make_frames(groups: NetworkGroups, readout: ReadoutGroup) -> None:
    """Make the stores of a readout with a loss of labels."""
    capacity, stores = groups.capacity, FrameStores.of(readout.name)
    n_frames = capacity.n_answers
    groups.store(stores.frames, n_frames * readout.size, ["y", "p", "y_target"])
    groups.store(stores.durations, n_frames, ["frame_steps"], np.int32)
    room = room_for_labels(n_frames, capacity.most_labels)
    groups.store(stores.ways, room, ["log_probability"], np.float64)


def check_labels(network: Resolved) -> None:
    """Refuse a loss of labels where its errors would be needed before they are known."""
    for readout in (r for r in network.readouts if r.loss.of_labels):
        where = f"readout '{readout.name}': its loss '{readout.loss.name}' becomes known at a"
        where += " trial's end,"
        if network.gradient == "online":
            raise ValueError(
                f"{where} and gradient = 'online' needs errors step by step: choose 'factored'"
            )
        if any(s.diffusion is not None and readout.name == s.source for s in network.signals):
            raise ValueError(
                f"{where} and a learning signal that diffuses is computed step by step: leave "
                "diffusion away"
            )
