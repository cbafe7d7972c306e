r"""Handwritten digits: say which digit an image shows.

The images ship with scikit-learn: 1797 of 8 x 8 pixels, of which 512 are kept for testing, 64 for
validation and 64 that confirm what these say. A pixel of intensity :math:`x` from 0 to 1 becomes an
input that

- ``"poisson"``: fires at random at the rate :math:`x` times `max_rate`, throughout the trial;
- ``"latency"``: fires once, the sooner the brighter, at step
  :math:`1 + (1 - x)/(1 - x_0) \cdot (S - 2)` of the :math:`S` steps before the answer, with normal
  noise of the standard deviation `jitter`, rounded; a pixel below the intensity :math:`x_0`, the
  setting `faintest`, never fires: it would speak last, and so the loudest;
- ``"analog"``: is a value instead of a neuron, :math:`x` throughout the trial.

With latency coding, membranes should remember the first spikes when the last arrive, or the order
of the spikes drowns the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_quantity, check_rate
from eprop_brian.base.random import normals, uniforms
from eprop_brian.tasks.datasets import DatasetTask, Part, import_library, shuffled

__all__ = ["CODINGS", "Digits"]

CODINGS = ("poisson", "latency", "analog")
_N_TEST, _N_VALIDATION, _N_CONFIRMATION = 512, 64, 64
_BRIGHTEST = 16.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits(DatasetTask):
    """Say which digit an image shows.

    Parameters
    ----------
    coding : {"poisson", "latency", "analog"}
        How intensities become inputs, as the module's text describes.
    max_rate : Quantity
        Rate of an input whose pixel is brightest, with Poisson coding (500 Hz).
    faintest : float
        Intensity below which a pixel does not fire, with latency coding (0.15).
    jitter : Quantity
        Standard deviation of the normal noise on each spike time, with latency coding (2 ms).
    duration : Quantity
        Length of a trial (40 ms).
    answer_duration : Quantity
        Last part of a trial, in which the error counts (10 ms).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    brian2.DimensionMismatchError
        If a duration is not a time or the rate not a frequency.
    TypeError, ValueError
        If a setting is out of range, or a duration not a whole number of steps.

    Notes
    -----
    Which images are for learning, validation and test does not depend on the seed. Step 0 holds no
    spikes: they reach nobody in the reference simulators. With analog coding nothing is drawn at
    random: an image always looks the same.
    """

    name: ClassVar[str] = "digits"
    description: ClassVar[str] = "say which handwritten digit an image of 8 x 8 pixels shows"
    source: ClassVar[str] = (
        "Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI Machine Learning "
        "Repository, doi:10.24432/C50P49, as it ships with scikit-learn"
    )
    error_threshold: ClassVar[float | None] = 0.01
    n_inputs: ClassVar[int] = 64
    n_outputs: ClassVar[int] = 10

    coding: str = "poisson"
    max_rate: Quantity = field(default_factory=lambda: 500 * Hz)
    faintest: float = 0.15
    jitter: Quantity = field(default_factory=lambda: 2 * ms)
    duration: Quantity = field(default_factory=lambda: 40 * ms)
    answer_duration: Quantity = field(default_factory=lambda: 10 * ms)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coding not in CODINGS:
            raise ValueError(f"coding must be one of {', '.join(CODINGS)}, got {self.coding!r}")
        check_rate("max_rate", self.max_rate, self.dt)
        if not 0 < self.faintest < 1:  # also refuses NaN
            raise ValueError(f"faintest must lie between 0 and 1, got {self.faintest!r}")
        if self._jitter_steps < 0:
            raise ValueError(f"jitter must not be negative, got {self.jitter!s}")
        if self.coding == "latency" and self.n_steps - self.learning_window < 2:
            raise ValueError(
                "latency coding needs at least two steps before the answer: make duration longer "
                f"than answer_duration, got {self.duration!s} and {self.answer_duration!s}"
            )
        _digits("test")  # raises now if the library is missing

    @property
    def _jitter_steps(self) -> float:
        return check_quantity("jitter", self.jitter, ms) / check_quantity("dt", self.dt, ms)

    def labels(self, part: Part) -> NDArray[np.intp]:
        """Return the digit of each image of a part, shape (n_images,)."""
        return _digits(part)[1]

    def images(self, part: Part) -> NDArray[np.float64]:
        """Return the images of a part, intensities from 0 to 1, shape (n_images, 64)."""
        return _digits(part)[0]

    def inputs(
        self, part: Part, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.bool_] | NDArray[np.float64]:
        """Return images as input spikes or values, shape (n_rows, n_steps, 64)."""
        images = self.images(part)[rows]
        shape = (len(rows), self.n_steps, self.n_inputs)
        if self.coding == "analog":
            return np.broadcast_to(images[:, np.newaxis], shape)
        if self.coding == "poisson":
            probability = check_rate("max_rate", self.max_rate, self.dt) * images
            spikes = uniforms(rng, shape) < probability[:, np.newaxis]
            spikes[:, 0] = False
            return spikes
        seen = self.n_steps - self.learning_window
        spikes = np.zeros(shape, dtype=bool)
        image, pixel = np.nonzero(images >= self.faintest)
        # Brightest in step 1, faintest in the last step before the answer.
        step = 1 + (1 - images[image, pixel]) / (1 - self.faintest) * (seen - 2)
        step += self._jitter_steps * normals(rng, len(step))
        step = np.clip(np.rint(step), 1, seen - 1).astype(np.intp)
        spikes[image, step, pixel] = True
        return spikes


@cache
def _digits(part: Part) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return images and digits of a part, read-only."""
    data = import_library("sklearn.datasets", "scikit-learn").load_digits()
    order = shuffled(len(data.target))
    ends = np.cumsum([_N_TEST, _N_VALIDATION, _N_CONFIRMATION])
    parts = ("test", "validation", "confirmation", "train")
    rows = dict(zip(parts, np.split(order, ends), strict=True))[part]
    images, labels = data.data[rows] / _BRIGHTEST, data.target[rows].astype(np.intp)
    images.flags.writeable = False
    labels.flags.writeable = False
    return images, labels
