"""Spiking Heidelberg Digits: say which spoken digit a model of the inner ear heard.

The data set is two HDF5 files. In each, ``spikes/times`` holds the times in seconds and
``spikes/units`` the channels (0 to 699) of the spikes of every recording, and ``labels`` its class:
the digits zero to nine in English, then in German.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from brian2.units import Quantity, ms, second
from numpy.typing import NDArray

from eprop_brian.base.checks import check_quantity
from eprop_brian.tasks.datasets import (
    DataError,
    DatasetTask,
    Part,
    data_folder,
    held_out,
    import_library,
)

__all__ = ["Shd"]

_FILES: dict[Part, str] = {
    "train": "shd_train.h5",
    "validation": "shd_train.h5",
    "confirmation": "shd_train.h5",
    "test": "shd_test.h5",
}
_WHERE = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shd(DatasetTask):
    """Say which spoken digit a model of the inner ear heard.

    Parameters
    ----------
    path : str
        Folder with ``shd_train.h5`` and ``shd_test.h5``, unpacked.
    duration : Quantity
        Length of a trial (1 s); later spikes are left out.
    answer_duration : Quantity
        Last part of a trial, in which the error counts (500 ms).
    dt : Quantity
        Length of a time step, 1 ms by default. Spikes of a channel in one step are one.

    Raises
    ------
    DataError
        If h5py is not installed, there is no such folder or a file is missing or damaged.
    brian2.DimensionMismatchError
        If a duration is not a time.
    TypeError, ValueError
        If a setting is out of range, or a duration not a whole number of steps.

    Notes
    -----
    A tenth of the recordings for training is held out for validation, whatever the seed; half of
    these confirm what the others say.
    """

    name: ClassVar[str] = "shd"
    description: ClassVar[str] = "say which of 20 spoken digits was heard (needs task.path)"
    source: ClassVar[str] = (
        "Cramer et al. 2020, The Heidelberg spiking data sets for the systematic evaluation of "
        "spiking neural networks, IEEE Trans. Neural Netw. Learn. Syst., "
        "doi:10.1109/TNNLS.2020.3044364"
    )
    n_inputs: ClassVar[int] = 700
    n_outputs: ClassVar[int] = 20

    path: str = ""
    duration: Quantity = field(default_factory=lambda: 1000 * ms)
    answer_duration: Quantity = field(default_factory=lambda: 500 * ms)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._recordings  # noqa: B018  raises now if something is missing

    def labels(self, part: Part) -> NDArray[np.intp]:
        """Return the class of each recording of a part, shape (n_recordings,)."""
        return self._recordings[part][1]

    def inputs(
        self, part: Part, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Return recordings as input spikes, shape (n_rows, n_steps, 700)."""
        spikes = np.zeros((len(rows), self.n_steps, self.n_inputs), dtype=bool)
        dt = check_quantity("dt", self.dt, second)
        at = self._recordings[part][0][rows]
        with self._opened(_FILES[part]) as file:
            for recording, trial in zip(at, spikes, strict=True):
                # In double precision, or a spike at a step's border may fall into another one.
                times = file["spikes/times"][recording].astype(float)
                units = file["spikes/units"][recording].astype(np.intp)
                if len(times) != len(units) or np.any((units < 0) | (units >= self.n_inputs)):
                    raise DataError(
                        f"{file.filename}: recording {recording} is damaged: every spike needs a "
                        "channel from 0 to 699"
                    )
                step = np.floor(times / dt + 1e-6).astype(np.intp)
                seen = (step >= 0) & (step < self.n_steps)
                trial[step[seen], units[seen]] = True
        return spikes

    @cached_property
    def _folder(self) -> Path:
        return data_folder(self.name, self.path, "shd_train.h5 and shd_test.h5", _WHERE)

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """Open one of the files; whatever is wrong with it is a `DataError`."""
        path = self._folder / name
        if not path.is_file():
            raise DataError(
                f"{self.name}: there is no {path} (get it from {_WHERE}, and unpack it)"
            )
        try:
            with import_library("h5py", "h5py").File(path, "r") as file:
                yield file
        except OSError as error:
            raise DataError(f"{path} is not a file of SHD: {error}") from None
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            # Groups where arrays should be, text for numbers, and so on.
            raise DataError(
                f"{path} is not a file of SHD: it must hold the arrays labels (classes), "
                "spikes/times and spikes/units (an array for each recording)"
            ) from None

    @cached_property
    def _recordings(self) -> dict[Part, tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Where in its file each recording is, and its class."""
        classes = {}
        for name in ("shd_train.h5", "shd_test.h5"):
            with self._opened(name) as file:
                classes[name] = file["labels"][:].astype(np.intp)
                n_recordings = len(file["spikes/times"])
                if n_recordings != len(file["spikes/units"]):
                    raise DataError(f"{file.filename} is damaged: times and units differ in number")
            labels = classes[name]
            if len(labels) != n_recordings or np.any((labels < 0) | (labels >= self.n_outputs)):
                raise DataError(
                    f"{self._folder / name} is damaged: every recording needs a class from 0 to 19"
                )
        parts = {
            **held_out(self.name, range(len(classes["shd_train.h5"]))),
            "test": range(len(classes["shd_test.h5"])),
        }
        return {
            part: (np.array(which, dtype=np.intp), classes[_FILES[part]][which])
            for part, which in parts.items()
        }
