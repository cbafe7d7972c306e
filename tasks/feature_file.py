"""Frame-wise classification of features read from files, as phones in TIMIT.

Each utterance is two files of the same name: ``NAME.mfc`` with the features of its frames in the
format of the HTK toolkit (`eprop_brian.tasks.htk`), and ``NAME.phn`` with its phones as TIMIT has
them (`eprop_brian.tasks.phones`). A frame has the phone that sounds in the middle of its period.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from brian2.units import Hz, Quantity, kHz

from eprop_brian.base.checks import check_quantity
from eprop_brian.tasks.datasets import Part, files_of_halves, held_out
from eprop_brian.tasks.frames import FrameTask, Utterance
from eprop_brian.tasks.htk import read_htk
from eprop_brian.tasks.phones import frame_labels, label_file

__all__ = ["FeatureFile"]

_HOLDS = "the folders train and test, each with pairs of files NAME.mfc and NAME.phn at any depth"
_WHERE = "https://catalog.ldc.upenn.edu/LDC93S1, with features made by HTK's HCopy"


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureFile(FrameTask):
    """Say for every frame of an utterance which phone it is.

    Parameters
    ----------
    path : str
        Folder with the folders ``train`` and ``test`` (or ``TRAIN`` and ``TEST``), each with pairs
        of files ``NAME.mfc`` and ``NAME.phn`` at any depth.
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

    path: str = ""
    sample_rate: Quantity = field(default_factory=lambda: 16 * kHz)

    def __post_init__(self) -> None:
        if check_quantity("sample_rate", self.sample_rate, Hz) <= 0:
            raise ValueError(f"sample_rate must be positive, got {self.sample_rate!s}")
        super().__post_init__()

    @cached_property
    def utterances(self) -> dict[Part, list[Path]]:
        """The files of features of each part."""
        train, test = files_of_halves(self.name, self.path, ".mfc", _HOLDS, _WHERE)
        return {**held_out(self.name, train), "test": test}

    def read(self, utterance: Path) -> Utterance:
        """Read features, and the phones of their frames."""
        features, period = read_htk(utterance)
        rate = check_quantity("sample_rate", self.sample_rate, Hz)
        labels = frame_labels(label_file(utterance), len(features), period, rate)
        return Utterance(str(utterance), features, labels)
