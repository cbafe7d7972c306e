"""Neuromorphic MNIST: say which digit an event camera saw.

Each recording is a file of events, 40 bits each, most significant bit first::

    | x: 8 | y: 8 | polarity: 1 | time in microseconds: 23 |

An event with y = 240 marks that the clock has run over: all later times are 8192
microseconds later. The camera has 34 x 34 pixels, each with an input neuron per polarity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, ms, second
from numpy.typing import NDArray

from eprop_brian.base.checks import check_quantity
from eprop_brian.tasks.datasets import DataError, DatasetTask, Part, data_folder, held_out

__all__ = ["NMnist", "read_events"]

_WIDTH = 34
_OVERFLOW_Y, _OVERFLOW_TIME = 240, 1 << 13
_WHERE = "https://www.garrickorchard.com/datasets/n-mnist"


def read_events(path: Path) -> tuple[NDArray[np.int64], ...]:
    """Read a recording of N-MNIST.

    Parameters
    ----------
    path : Path
        A ``.bin`` file.

    Returns
    -------
    x, y, polarity, time : int arrays, shape (n_events,)
        Pixel, 0 or 1 for darker or brighter, and time in microseconds.

    Raises
    ------
    DataError
        If the file cannot be read or holds something else.
    """
    try:
        raw = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) % 5:
        raise DataError(f"{path} is not a recording of N-MNIST: its size must be a multiple of 5")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    time = (high & 127) << 16 | middle << 8 | low
    overflow = y == _OVERFLOW_Y
    time += _OVERFLOW_TIME * np.cumsum(overflow)
    events = x, y, high >> 7, time
    x, y, polarity, time = (values[~overflow] for values in events)
    if np.any(x >= _WIDTH) or np.any(y >= _WIDTH):
        raise DataError(f"{path} is not a recording of N-MNIST: a pixel lies outside 34 x 34")
    return x, y, polarity, time


@dataclass(frozen=True, kw_only=True, eq=False)
class NMnist(DatasetTask):
    """Say which digit an event camera saw.

    Timing is that of NEST's example.

    Parameters
    ----------
    path : str
        Folder with the data set's folders ``Train`` and ``Test``, each with a folder per digit.
    duration : Quantity
        Length of a trial (300 ms, three saccades); later events are left out.
    answer_duration : Quantity
        Last part of a trial, in which the error counts (10 ms).
    dt : Quantity
        Length of a time step, 1 ms by default. Events of an input in one step are one spike.

    Raises
    ------
    DataError
        If there is no such folder, or it holds no recordings of each digit; later, if a recording
        is damaged.
    brian2.DimensionMismatchError
        If a duration is not a time.
    TypeError, ValueError
        If a setting is out of range, or a duration not a whole number of steps.

    Notes
    -----
    Input neuron ``1156 * polarity + 34 * y + x``. A tenth of the recordings for training is held
    out for validation, whatever the seed; half of these confirm what the others say.
    """

    name: ClassVar[str] = "n-mnist"
    description: ClassVar[str] = "say which digit an event camera saw (needs task.path)"
    source: ClassVar[str] = (
        "Orchard et al. 2015, Converting static image datasets to spiking neuromorphic datasets "
        "using saccades, Front. Neurosci. 9:437, doi:10.3389/fnins.2015.00437; timing of NEST's "
        "example eprop_supervised_classification_neuromorphic_mnist"
    )
    n_inputs: ClassVar[int] = 2 * _WIDTH**2
    n_outputs: ClassVar[int] = 10

    path: str = ""
    duration: Quantity = field(default_factory=lambda: 300 * ms)
    answer_duration: Quantity = field(default_factory=lambda: 10 * ms)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._recordings  # noqa: B018  raises now if something is missing

    def labels(self, part: Part) -> NDArray[np.intp]:
        """Return the digit of each recording of a part, shape (n_recordings,)."""
        return self._labels[part]

    def inputs(
        self, part: Part, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Return recordings as input spikes, shape (n_rows, n_steps, 2312)."""
        spikes = np.zeros((len(rows), self.n_steps, self.n_inputs), dtype=bool)
        microseconds = 1e6 * check_quantity("dt", self.dt, second)
        for row, trial in zip(rows, spikes, strict=True):
            x, y, polarity, time = read_events(self._recordings[part][row][0])
            step = (time / microseconds).astype(np.intp)
            seen = step < self.n_steps
            trial[step[seen], (_WIDTH**2 * polarity + _WIDTH * y + x)[seen]] = True
        return spikes

    @cached_property
    def _labels(self) -> dict[Part, NDArray[np.intp]]:
        return {
            part: np.array([digit for _, digit in recordings], dtype=np.intp)
            for part, recordings in self._recordings.items()
        }

    @cached_property
    def _recordings(self) -> dict[Part, list[tuple[Path, int]]]:
        """File and digit of each recording."""
        holds = "the folders Train and Test of N-MNIST, unpacked"
        folder = data_folder(self.name, self.path, holds, _WHERE)
        recordings: dict[str, list[tuple[Path, int]]] = {"Train": [], "Test": []}
        for half, of_half in recordings.items():
            for digit in range(self.n_outputs):
                files = sorted((folder / half / str(digit)).glob("*.bin"))
                if not files:
                    raise DataError(
                        f"{self.name}: there are no recordings in {folder / half / str(digit)}; "
                        f"path must be a folder with {holds} (get them from {_WHERE})"
                    )
                of_half += [(path, digit) for path in files]
        return {**held_out(self.name, recordings["Train"]), "test": recordings["Test"]}
