"""Japanese vowels: say which of nine speakers uttered /ae/.

The recordings are those of Kudo, Toyama and Shimbo 1999: 12 LPC cepstra a frame, 7 to 29 frames an
utterance. They come with the library aeon as text, of which this module reads two files without
importing the library: after lines that begin with ``@`` or ``#``, each line is an utterance,
``value,value,...:value,...:speaker``, with a colon between features and before the speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np

from eprop_brian.tasks.datasets import DataError, Part, held_out, read_bytes
from eprop_brian.tasks.frames import FrameTask, Utterance

__all__ = ["JapaneseVowels", "read_series"]

_FILES = ("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts")


def read_series(path: Path) -> list[Utterance]:
    """Read a file of time series of different length, as the module's text describes.

    Raises
    ------
    DataError
        If the file cannot be read, or a line is no series of equally long features.
    """
    utterances = []
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(("#", "@")):
            continue
        where = f"{path}, line {number}"
        *features, label = line.split(":")
        try:
            values = np.array([[float(value) for value in row.split(",")] for row in features])
        except ValueError:
            values = np.zeros(0)
        if values.ndim != 2 or not np.isfinite(values).all() or not label.strip():
            raise DataError(
                f"{where}: expected features of equal length and a class, "
                "'value,value,...:value,...:class'"
            )
        utterances.append(Utterance(where, values.T, [label.strip()] * values.shape[1]))
    if not utterances:
        raise DataError(f"{path} holds no series")
    return utterances


@dataclass(frozen=True, kw_only=True, eq=False)
class JapaneseVowels(FrameTask):
    """Say which of nine speakers uttered two vowels.

    Parameters
    ----------
    path : str
        Folder with ``JapaneseVowels_TRAIN.ts`` and ``JapaneseVowels_TEST.ts``; default: where the
        library aeon has them.
    answer : {"frames", "utterance"}
        Whether every frame is an answer of its own, or the utterance, by the mean over its frames.
        The loss is the same.
    coding : {"spikes", "analog"}
        How features become inputs (`eprop_brian.tasks.frames`).
    n_frames : int
        Frames of a trial; the longest utterance has 29.
    steps_per_frame : int
        Time steps for which a frame is shown.
    feature_noise : float
        Standard deviation of noise on the normalised features in training (0).
    normalisation : {"training", "utterance"}
        Whose mean and standard deviation are taken out of each feature.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If aeon is not installed, or a file is missing or damaged.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    270 utterances are there to learn from, of which a tenth is held out for validation, whatever
    the seed; half of these confirm what the others say. 370 test.
    """

    name: ClassVar[str] = "japanese-vowels"
    description: ClassVar[str] = "say which of nine speakers uttered two vowels"
    source: ClassVar[str] = (
        "Kudo, Toyama & Shimbo 1999, Multidimensional curve classification using passing-through "
        "regions, Pattern Recognit. Lett. 20:1103"
    )
    one_class: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("frames", "utterance")

    path: str = ""
    answer: str = "frames"
    n_frames: int = 29

    @cached_property
    def utterances(self) -> dict[Part, Sequence[Utterance]]:
        """The utterances of each part."""
        train, test = (read_series(self._folder / name) for name in _FILES)
        return {**held_out(self.name, train), "test": test}

    def read(self, utterance: Utterance) -> Utterance:
        """Return the utterance, which has been read."""
        return utterance

    @property
    def _folder(self) -> Path:
        if self.path:
            folder = Path(self.path).expanduser()
            if not folder.is_dir():
                raise DataError(f"{self.name}: path = {self.path} is not a folder")
            return folder
        # Finding a library does not import it.
        spec = find_spec("aeon")
        if spec is None or not spec.submodule_search_locations:
            raise DataError(
                f"{self.name} reads files of aeon, which is not installed: pip install aeon "
                '(pip install "eprop_brian[speech]" installs all that tasks of speech can need)'
            )
        return Path(spec.submodule_search_locations[0], "datasets", "data", "JapaneseVowels")
