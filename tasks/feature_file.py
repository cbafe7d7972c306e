r"""Frame-wise classification of features read from files, as phones in TIMIT.

Each utterance is two files of the same name: ``NAME.mfc`` with the features of its frames in the
format of the HTK toolkit (a header of 12 bytes: number of frames, frame period in 100 ns, bytes per
frame, kind of parameter; then 32-bit floats; all big-endian), and ``NAME.phn`` with its phones as
TIMIT has them (a line each: first sample, sample after the last, phone). A frame has the phone that
sounds in the middle of its period.

Each feature, with its mean and standard deviation over the training files taken out (:math:`z`),
becomes, by the setting `coding`,

- ``"spikes"``: two input neurons, one for values above the mean, one for those below. In every step
  each adds :math:`\min(|z|/3, 1)` to a sum while the value is on its side, and fires when the sum
  passes the next whole number: three standard deviations away from the mean an input fires in every
  step, and nothing is left to chance;
- ``"analog"``: one input with the value :math:`z` in every step of the frame, as in the published
  network.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, kHz
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.base.random import integers, rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.datasets import (
    DataError,
    Part,
    data_folder,
    examples_in_order,
    held_out,
    part_of,
)
from eprop_brian.tasks.trials import Trials

__all__ = ["CODINGS", "FeatureFile", "frame_labels", "read_htk", "spike_code"]

CODINGS = ("spikes", "analog")

_HOLDS = "the folders train and test, each with pairs of files NAME.mfc and NAME.phn at any depth"
_WHERE = "https://catalog.ldc.upenn.edu/LDC93S1, with features made by HTK's HCopy"
#: Bits of the kind of parameter: compressed, with a checksum at the end.
_COMPRESSED, _CHECKSUM = 0o2000, 0o10000
#: The kind's basic part; waveforms, 16-bit reflection coefficients and discrete data are no floats.
_BASIC, _NO_FLOATS = 0o77, (0, 5, 10)
#: Frames after the last phone at which labels and features are taken to fit together.
_MOST_LATE = 5
#: Standard deviations from the mean at which an input fires in every step.
_FULL_SCALE = 3.0


def read_htk(path: Path) -> tuple[NDArray[np.float64], float]:
    """Read a file of features in the format of HTK.

    Returns
    -------
    features : float array, shape (n_frames, n_features)
    period : float
        Time from one frame to the next in seconds.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or holds no plain floats.
    """
    raw = _read(path)
    if len(raw) < 12:
        raise DataError(f"{path} is no HTK file: it is shorter than the header of 12 bytes")
    n_frames, period, n_bytes, kind = struct.unpack(">iihH", raw[:12])
    if kind & _COMPRESSED or kind & _BASIC in _NO_FLOATS:
        raise DataError(
            f"{path} holds compressed, 16-bit or discrete data: features must be 32-bit floats "
            "(in HCopy's configuration SAVECOMPRESSED = F)"
        )
    expected = 12 + n_frames * n_bytes + (2 if kind & _CHECKSUM else 0)
    if n_frames < 1 or period < 1 or n_bytes < 4 or n_bytes % 4 or len(raw) != expected:
        raise DataError(f"{path} is no HTK file of floats, or damaged: its header and size differ")
    values = np.frombuffer(raw, dtype=">f4", offset=12, count=n_frames * n_bytes // 4)
    features = values.reshape(n_frames, -1).astype(float)
    if not np.isfinite(features).all():
        raise DataError(f"{path} holds values that are not finite")
    return features, 1e-7 * period


def frame_labels(path: Path, n_frames: int, period: float, sample_rate: float) -> list[str]:
    """Read the phone of each frame from a label file of TIMIT.

    Parameters
    ----------
    path : Path
        A ``.phn`` file.
    n_frames : int
    period : float
        Time from one frame to the next in seconds.
    sample_rate : float
        Samples per second that the file counts.

    Raises
    ------
    DataError
        If the file cannot be read or a line is not of the form "0 3050 h#".
    """
    ends, phones = [], []
    for number, line in enumerate(_read(path).decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 3 or not fields[0].isdecimal() or not fields[1].isdecimal():
            raise DataError(
                f"{path}, line {number}: expected first sample, last sample and phone such as "
                f"'0 3050 h#', got {line.strip()!r}"
            )
        ends.append(int(fields[1]))
        phones.append(fields[2])
    if not phones or np.any(np.diff(ends) < 0):
        raise DataError(f"{path} must hold at least one phone, and later ones further down")
    middle = (np.arange(n_frames) + 0.5) * period * sample_rate
    # Windows of features overlap the end by a few frames, which belong to the last phone.
    late = int(np.sum(middle >= ends[-1]))
    if late > _MOST_LATE:
        raise DataError(
            f"{path} ends {late} frames before the features do: is sample_rate "
            f"({sample_rate:g} Hz) the rate of the samples that it counts?"
        )
    phone = np.minimum(np.searchsorted(ends, middle, side="right"), len(phones) - 1)
    return [phones[k] for k in phone]


def spike_code(z: ArrayLike, steps_per_frame: int) -> NDArray[np.bool_]:
    """Turn normalised features into spikes, as the module's text describes.

    Parameters
    ----------
    z : array of float, shape (n_frames, n_features)
    steps_per_frame : int

    Returns
    -------
    spikes : bool array, shape (n_frames * steps_per_frame, 2 * n_features)
        First the inputs for values above the mean, then those for values below.
    """
    z = np.asarray(z, dtype=float)
    drive = np.clip(np.concatenate([z, -z], axis=1) / _FULL_SCALE, 0.0, 1.0)
    # From a half: a constant drive then fires in the middle of its intervals.
    total = 0.5 + np.cumsum(np.repeat(drive, steps_per_frame, axis=0), axis=0)
    return np.diff(np.floor(total), axis=0, prepend=0.0) > 0


def _same_width(
    path: Path, features: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the features, once they are as many as those of other files (0-d: of none)."""
    if others.ndim and features.shape[1] != len(others):
        raise DataError(f"{path} has {features.shape[1]} features a frame, others {len(others)}")
    return features


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureFile(Task):
    """Say for every frame of an utterance which phone it is.

    Parameters
    ----------
    path : str
        Folder with the folders ``train`` and ``test`` (or ``TRAIN`` and ``TEST``), each with pairs
        of files ``NAME.mfc`` and ``NAME.phn`` at any depth.
    coding : {"spikes", "analog"}
        How features become inputs, as the module's text describes.
    n_frames : int
        Frames of a trial; of longer utterances, as many in a row from a place drawn at random.
    steps_per_frame : int
        Time steps for which a frame is shown.
    sample_rate : Quantity
        Rate of the samples that the ``.phn`` files count (16 kHz).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If there is no such folder, a file is missing or damaged, or files do not fit together.
    brian2.DimensionMismatchError
        If a setting has the wrong units.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    Every frame is a separate answer; after the end of an utterance shorter than a trial nothing
    counts. The classes are the phones of the training files, in alphabetical order (61 in TIMIT),
    and `n_inputs` is the number of features, or twice that with spikes. A tenth of the utterances
    for training is held out for validation, whatever the seed; half of these confirm what the
    others say.
    """

    name: ClassVar[str] = "feature-file"
    description: ClassVar[str] = "say which phone each frame of speech is (needs task.path)"
    source: ClassVar[str] = (
        "frame-wise TIMIT of Bellec et al. 2020, Nat. Commun. 11:3625, "
        "doi:10.1038/s41467-020-17236-y, which feeds features in as analog values; "
        "Garofolo et al. 1993, TIMIT, LDC93S1"
    )
    loss: ClassVar[str] = "softmax_cross_entropy"

    path: str = ""
    coding: str = "spikes"
    n_frames: int = 100
    steps_per_frame: int = 5
    sample_rate: Quantity = field(default_factory=lambda: 16 * kHz)

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise ValueError(f"coding must be one of {', '.join(CODINGS)}, got {self.coding!r}")
        check_count("n_frames", self.n_frames)
        check_count("steps_per_frame", self.steps_per_frame)
        if check_quantity("sample_rate", self.sample_rate, Hz) <= 0:
            raise ValueError(f"sample_rate must be positive, got {self.sample_rate!s}")
        super().__post_init__()

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps, 500 by default."""
        return self.n_frames * self.steps_per_frame

    @property
    def learning_window(self) -> int:
        """The whole trial; `Trials.periods` marks the steps that count."""
        return self.n_steps

    @property
    def n_inputs(self) -> int:
        """One input for each feature, two with spikes."""
        return len(self._training[1]) * (1 if self.coding == "analog" else 2)

    @property
    def n_outputs(self) -> int:
        """One readout for each phone."""
        return len(self.phones)

    @property
    def phones(self) -> list[str]:
        """The classes: the phones of the training files, in alphabetical order."""
        return self._training[0]

    def n_examples(self, stream: str) -> int:
        """Return how many utterances there are in the part that belongs to the stream."""
        return len(self._utterances[part_of(stream)])

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Show utterances, or parts of them, of the part that belongs to the stream.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs), `targets` holds the
        one-hot phones of each trial's frames, shape (n_trials, n_steps, n_outputs), and `periods`
        numbers the frames from 1.
        """
        utterances = self._utterances[part_of(stream)]
        which = examples_in_order(seed, stream, index, n_trials, len(utterances))
        rng = rng_for(seed, stream, index)
        _, mean, deviation = self._training
        analog = self.coding == "analog"
        inputs = np.zeros((n_trials, self.n_steps, self.n_inputs), dtype=float if analog else bool)
        targets = np.zeros((n_trials, self.n_steps, self.n_outputs))
        periods = np.zeros((n_trials, self.n_steps), dtype=np.int32)
        for trial, utterance in enumerate(which):
            features, phones = self._read_utterance(utterances[utterance])
            first = int(integers(rng, max(1, len(features) - self.n_frames + 1), 1)[0])
            frames = slice(first, first + self.n_frames)
            z = (features[frames] - mean) / deviation
            frame = np.repeat(np.arange(len(z)), self.steps_per_frame)
            coded = z[frame] if analog else spike_code(z, self.steps_per_frame)
            inputs[trial, : len(frame)] = coded
            targets[trial, np.arange(len(frame)), phones[frames][frame]] = 1.0
            periods[trial, : len(frame)] = 1 + frame
        return Trials(
            inputs=inputs,
            targets=targets,
            pattern=np.arange(n_trials),
            target=np.arange(n_trials),
            periods=periods,
            n_answers=self.n_frames,
        )

    def _read_utterance(self, path: Path) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return features (n_frames, n_features) and phones (n_frames,) of an utterance."""
        features, labels = self._read_pair(path)
        _same_width(path, features, self._training[1])
        number = {phone: k for k, phone in enumerate(self.phones)}
        unknown = sorted(set(labels) - set(number))
        if unknown:
            raise DataError(
                f"{path.with_suffix('.phn')}: phone {unknown[0]!r} is in no training file"
            )
        return features, np.array([number[label] for label in labels], dtype=np.intp)

    def _read_pair(self, path: Path) -> tuple[NDArray[np.float64], list[str]]:
        features, period = read_htk(path)
        rate = check_quantity("sample_rate", self.sample_rate, Hz)
        # TIMIT comes in capitals.
        capital = path.with_suffix(".PHN")
        phones = capital if capital.exists() else path.with_suffix(".phn")
        labels = frame_labels(phones, len(features), period, rate)
        return features, labels

    @cached_property
    def _utterances(self) -> dict[Part, list[Path]]:
        folder = data_folder(self.name, self.path, _HOLDS, _WHERE)
        halves = {}
        for half in ("train", "test"):
            places = [folder / half, folder / half.upper()]
            # As a set: where case does not matter, both names are the same folder.
            files = sorted({file.resolve() for place in places for file in place.rglob("*.mfc")})
            if not files:
                raise DataError(
                    f"{self.name}: there are no .mfc files in {folder / half}; path must be a "
                    f"folder with {_HOLDS} (get it from {_WHERE})"
                )
            halves[half] = files
        return {**held_out(self.name, halves["train"]), "test": halves["test"]}

    @cached_property
    def _training(self) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
        """Phones of the files for training, and mean and standard deviation of each feature."""
        phones: set[str] = set()
        count, total, squares = 0, np.zeros(()), np.zeros(())
        parts = [files for part, files in self._utterances.items() if part != "test"]
        paths = [path for files in parts for path in files]
        for path in paths:
            features, labels = self._read_pair(path)
            phones.update(labels)
            count += len(features)
            total = total + _same_width(path, features, total).sum(axis=0)
            squares = squares + np.square(features).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        # A constant feature carries no information, and must not lead to a division by 0.
        return sorted(phones), mean, np.where(deviation > 0, deviation, 1.0)
