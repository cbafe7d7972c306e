"""Spoken digits: say which digit was spoken, in English, by one of six speakers.

The recordings are those of the Free Spoken Digit Dataset, in a folder that the user names: files
``DIGIT_SPEAKER_INDEX.wav``, 3000 of them at 8 kHz.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, kHz, ms, second

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.base.random import integers, rng_for
from eprop_brian.tasks.audio import Extracted
from eprop_brian.tasks.datasets import DataError, Part, data_folder, held_out
from eprop_brian.tasks.frames import Utterance
from eprop_brian.tasks.phones import UNCOUNTED
from eprop_brian.tasks.speech import SpeechTask

__all__ = ["SpokenDigits"]

_HOLDS = "recordings DIGIT_SPEAKER_INDEX.wav, or with a folder recordings of them"
_WHERE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav", re.IGNORECASE)
#: Recordings of each digit and speaker that the official test set consists of: those before it.
_N_TEST = 5


@dataclass(frozen=True)
class _Recording:
    path: Path
    digit: str
    speaker: str
    index: int


@dataclass(frozen=True, kw_only=True, eq=False)
class SpokenDigits(SpeechTask):
    """Say which digit was spoken, or which digits a string consists of.

    Parameters
    ----------
    path : str
        Folder with the recordings, or with a folder ``recordings`` of them.
    n_digits : int
        Most digits of an utterance (1). With more, each recording begins a string of 1 to
        `n_digits` recordings of its speaker, drawn once for all seeds.
    pause : Quantity
        Faint noise between the digits of a string (100 ms); it does not count.
    answer : {"utterance", "frames", "labels"}
        Whether the utterance is the answer, by the mean over its frames; every frame is one of its
        own; or the answer is the sequence of digits, learned by CTC. The loss of the first two is
        the same.
    coding : {"spikes", "analog"}
        How features become inputs (`eprop_brian.tasks.frames`).
    n_frames : int
        Frames of a trial; of longer utterances, as many in a row from a place drawn at random.
    steps_per_frame : int
        Time steps for which a frame is shown.
    feature_noise : float
        Standard deviation of noise on the normalised features in training (0).
    normalisation : {"training", "utterance"}
        Whose mean and standard deviation are taken out of each feature.
    features, n_coefficients, n_bands, deltas, window, frame_period, sample_rate
        Features of a frame (`eprop_brian.tasks.speech.SpeechTask`); the rate is 8 kHz here.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If soundfile or kaldi-native-fbank is not installed, there is no such folder or no
        recordings in it, or one is damaged.
    brian2.DimensionMismatchError
        If a setting has the wrong units.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    Those with index 0 to 4 test, as in the official division. A tenth of the others is held out for
    validation, whatever the seed; half of these confirm what the others say.
    """

    name: ClassVar[str] = "spoken-digits"
    description: ClassVar[str] = "say which digit was spoken (needs task.path)"
    source: ClassVar[str] = (
        "Jakobovski et al., Free Spoken Digit Dataset, 2016 to 2020, doi:10.5281/zenodo.1342401"
    )

    path: str = ""
    n_digits: int = 1
    pause: Quantity = field(default_factory=lambda: 100 * ms)
    answer: str = "utterance"
    n_frames: int = 64
    sample_rate: Quantity = field(default_factory=lambda: 8 * kHz)

    def __post_init__(self) -> None:
        check_count("n_digits", self.n_digits)
        if self.n_digits > 1 and self.answer == "utterance":
            raise ValueError(
                "answer must be 'labels' or 'frames' where utterances have several digits, not "
                "'utterance'"
            )
        pause = check_quantity("pause", self.pause, second)
        if self.n_digits > 1 and pause < 2 * self.front_end.period:
            raise ValueError(
                f"pause must be two frames or longer, {2 * self.frame_period!s}, got {self.pause!s}"
            )
        super().__post_init__()

    @property
    def one_class(self) -> bool:
        """Whether an utterance has one digit."""
        return self.n_digits == 1

    @cached_property
    def utterances(self) -> dict[Part, Sequence[Utterance]]:
        """The utterances of each part."""
        recordings = self._recordings
        test = [recording for recording in recordings if recording.index < _N_TEST]
        others = [recording for recording in recordings if recording.index >= _N_TEST]
        if not test:
            raise DataError(f"{self.name}: there are no recordings with index 0 to 4, which test")
        parts = {**held_out(self.name, others), "test": test}
        strings = {part: self._strings(part, members) for part, members in parts.items()}
        joined = [string for part in strings.values() for string in part]
        pause = check_quantity("pause", self.pause, second)
        features = iter(self.extracted([[r.path for r in string] for string in joined], pause))
        return {
            part: [self._utterance(string, next(features)) for string in members]
            for part, members in strings.items()
        }

    def read(self, utterance: Utterance) -> Utterance:
        """Return the utterance, which has been read."""
        return utterance

    def _utterance(self, string: Sequence[_Recording], extracted: Extracted) -> Utterance:
        """Label the frames by the digit that is spoken in their middle."""
        middle = (np.arange(len(extracted.features)) + 0.5) * self.front_end.period
        labels = np.full(len(middle), UNCOUNTED, dtype="U1")
        for recording, (start, end) in zip(string, extracted.spans, strict=True):
            labels[(middle >= start) & (middle < end)] = recording.digit
        return Utterance(str(string[0].path), extracted.features, labels.tolist())

    def _strings(self, part: Part, members: Sequence[_Recording]) -> list[list[_Recording]]:
        """Strings of the recordings of a part, one beginning with each."""
        if self.n_digits == 1:
            return [[recording] for recording in members]
        rng = rng_for(0, f"strings of {part}")
        lengths = 1 + integers(rng, self.n_digits, len(members))
        by_speaker: dict[str, list[_Recording]] = {}
        for recording in members:
            by_speaker.setdefault(recording.speaker, []).append(recording)
        strings = []
        for recording, length in zip(members, lengths, strict=True):
            own = by_speaker[recording.speaker]
            following = [own[int(k)] for k in integers(rng, len(own), int(length) - 1)]
            strings.append([recording, *following])
        return strings

    @cached_property
    def _recordings(self) -> list[_Recording]:
        folder = data_folder(self.name, self.path, _HOLDS, _WHERE)
        inner = folder / "recordings"
        names = [
            (p, _NAME.fullmatch(p.name)) for p in (inner if inner.is_dir() else folder).iterdir()
        ]
        recordings = [
            _Recording(path, match["digit"], match["speaker"], int(match["index"]))
            for path, match in names
            if match
        ]
        if not recordings:
            raise DataError(
                f"{self.name}: there are no recordings in {folder}; path must be a folder with "
                f"{_HOLDS} (get it from {_WHERE})"
            )
        return sorted(recordings, key=lambda r: (r.digit, r.speaker, r.index))
