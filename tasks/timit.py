"""Phones, frame by frame, of recordings in the layout of TIMIT.

Below ``TRAIN`` and ``TEST`` stand, by dialect region and speaker, pairs of files: ``NAME.WAV``, an
utterance (NIST SPHERE in TIMIT itself, any WAV elsewhere), and ``NAME.PHN``, its phones
(`eprop_brian.tasks.phones`). TIMIT is licensed; ``eprop-brian synthesize`` writes synthetic speech
in the same layout (`eprop_brian.tasks.synthetic_speech`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from eprop_brian.tasks.audio import Extracted
from eprop_brian.tasks.datasets import DataError, Part, files_of_halves, held_out
from eprop_brian.tasks.frames import Utterance
from eprop_brian.tasks.phones import fold, frame_labels, label_file
from eprop_brian.tasks.speech import SpeechTask

__all__ = ["Timit"]

_HOLDS = "the folders TRAIN and TEST, each with pairs of files NAME.WAV and NAME.PHN at any depth"
_WHERE = "https://catalog.ldc.upenn.edu/LDC93S1, or make synthetic speech: eprop-brian synthesize"


@dataclass(frozen=True, kw_only=True, eq=False)
class Timit(SpeechTask):
    """Say for every frame of an utterance which phone it is.

    Parameters
    ----------
    path : str
        Folder in the layout of TIMIT.
    folded : bool
        Whether the classes are the 39 to which TIMIT's 61 are usually folded
        (`eprop_brian.tasks.phones`).
    dialect_sentences : bool
        Whether the sentences SA1 and SA2 are used, which all speakers read.
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
        Features of a frame (`eprop_brian.tasks.speech.SpeechTask`).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If soundfile or kaldi-native-fbank is not installed, there is no such folder, a file is
        missing or damaged, or recording and phones do not fit together.
    brian2.DimensionMismatchError
        If a setting has the wrong units.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    Every frame is a separate answer; the classes are those of the recordings for training. A tenth
    of the utterances for training is held out for validation, whatever the seed; half of these
    confirm what the others say.
    """

    name: ClassVar[str] = "timit"
    description: ClassVar[str] = "say which phone each frame of a recording is (needs task.path)"
    source: ClassVar[str] = (
        "frame-wise TIMIT of Bellec et al. 2020, Nat. Commun. 11:3625, "
        "doi:10.1038/s41467-020-17236-y; Garofolo et al. 1993, TIMIT, LDC93S1"
    )

    path: str = ""
    folded: bool = False
    dialect_sentences: bool = False

    @cached_property
    def utterances(self) -> dict[Part, Sequence[Utterance]]:
        """The utterances of each part."""
        halves = files_of_halves(self.name, self.path, ".wav", _HOLDS, _WHERE)
        halves = [_without_copies(half) for half in halves]
        if not self.dialect_sentences:
            halves = [[f for f in half if not f.stem.lower().startswith("sa")] for half in halves]
        parts = {**held_out(self.name, halves[0]), "test": halves[1]}
        if not halves[1]:
            raise DataError(f"{self.name}: there are only dialect sentences (SA) in {self.path}")
        files = [file for members in parts.values() for file in members]
        extracted = self.extracted([[file] for file in files])
        read = {
            file: self._utterance(file, one) for file, one in zip(files, extracted, strict=True)
        }
        return {part: [read[file] for file in members] for part, members in parts.items()}

    def read(self, utterance: Utterance) -> Utterance:
        """Return the utterance, which has been read."""
        return utterance

    def _utterance(self, file: Path, extracted: Extracted) -> Utterance:
        """Label the frames by the phone that sounds in their middle."""
        path, features = label_file(file), extracted.features
        rate = float(extracted.rates[0])
        labels = frame_labels(path, len(features), self.front_end.period, rate)
        if self.folded:
            try:
                labels = [fold(label) for label in labels]
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
        return Utterance(str(file), features, labels)


def _without_copies(files: Sequence[Path]) -> list[Path]:
    """Leave out NAME.WAV.wav beside NAME.WAV: some copies of TIMIT have each file as RIFF too."""
    names = set(files)
    return [file for file in files if file.with_suffix("") not in names]
