"""What the folder of a balanced network's run holds, without a program that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eprop_brian.balanced.checkpoint import check_arrays
from eprop_brian.balanced.experiment import RECORDED, TEST, TrainingHistory
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.base.files import read_numbers
from eprop_brian.base.printable import pasteable
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import HISTORY, read_state

__all__ = ["SavedExperiment", "read_recording"]


@dataclass(frozen=True)
class SavedExperiment:
    """A trained and tested network.

    Attributes
    ----------
    config : RunConfig
    network : BalancedNetwork
    slow_weights, fast_weights : ndarray
        As learned.
    points : ndarray of shape (n, K) or None
        States that the teacher visited in training.
    killed : ndarray of bool of shape (N,)
        In the test.
    history : TrainingHistory
    """

    config: RunConfig
    network: BalancedNetwork
    slow_weights: np.ndarray
    fast_weights: np.ndarray
    points: np.ndarray | None
    killed: np.ndarray
    history: TrainingHistory

    @classmethod
    def read(cls, folder: Path) -> SavedExperiment:
        """Read a folder (ValueError if it holds no such run, or a file is damaged)."""
        folder = Path(folder)
        config = RunConfig.read(folder)
        network = config.make_network()
        path, arrays = read_state(folder)
        check_arrays(network, arrays, path)
        # Earlier versions kept them beside the weights.
        test = _read_test(folder) if "killed" not in arrays else arrays
        killed = test.get("killed")
        if killed is None or killed.shape != (network.n,):
            raise ValueError(f"{folder / TEST} lacks 'killed' of shape ({network.n},)")
        points = arrays["points"]
        return cls(
            config,
            network,
            np.array(arrays["slow_weights"]),
            np.array(arrays["fast_weights"]),
            points if len(points) else None,
            killed.astype(bool),
            TrainingHistory.read(folder / HISTORY),
        )


def read_recording(folder: Path) -> tuple[Recording, np.ndarray]:
    """Read the test of a run, and its inputs (ValueError if it has not been tested)."""
    arrays = _read_test(folder)
    missing = [name for name in (*RECORDED, "inputs") if name not in arrays]
    if missing:
        raise ValueError(f"{Path(folder) / TEST} lacks '{missing[0]}'")
    parts = {name: arrays[name] for name in RECORDED}
    for name in ("t_start", "t_stop"):
        parts[name] = float(parts[name])
    return Recording(**parts), arrays["inputs"]


def _read_test(folder: Path) -> dict:
    path = Path(folder) / TEST
    if not path.exists():
        raise ValueError(
            f"{folder} has not been tested, its training was stopped: go on with\n"
            f"  eprop-brian train --resume {pasteable(folder)}"
        )
    return read_numbers(path)
