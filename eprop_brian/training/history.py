"""History of a training run, one row per iteration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eprop_brian.base.description import Described, Description
from eprop_brian.base.table import read_table, write_table

__all__ = ["COLUMNS", "History"]

COLUMNS = ("iteration", "loss", "error", "rate_hz", "seconds", "alignment")


@dataclass
class History(Described):
    """Loss, error, rate and time of every iteration, and how well the feedback is aligned.

    Attributes
    ----------
    loss : list of float
        Mean loss of the batch before its update.
    error : list of float
        Fraction of wrong trials in the batch; NaN where the task defines no error.
    rate_hz : list of float
        Mean firing rate of the recurrent neurons.
    seconds : list of float
        Wall time of the iteration (of a call of several iterations, their mean).
    alignment : list of float
        Cosine of the angle between the feedback weights B and the transposed readout weights after
        the last iteration of a call; NaN within one.
    """

    loss: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    rate_hz: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    alignment: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def append(
        self,
        loss: float,
        error: float,
        rate_hz: float,
        seconds: float,
        alignment: float = float("nan"),
    ) -> None:
        """Add an iteration."""
        self.loss.append(float(loss))
        self.error.append(float(error))
        self.rate_hz.append(float(rate_hz))
        self.seconds.append(float(seconds))
        self.alignment.append(float(alignment))

    def description(self) -> Description:
        """First, last and lowest values, for `print` and notebooks."""
        columns = self.arrays()
        alignment = columns["alignment"][np.isfinite(columns["alignment"])]
        rows = [
            ("loss", _course(columns["loss"])),
            ("wrong trials (%)", _course(100 * columns["error"])),
            ("firing rate (Hz)", _course(columns["rate_hz"])),
            ("alignment of the feedback", f"{alignment[-1]:.3f}" if len(alignment) else ""),
            ("time (s)", f"{columns['seconds'].sum():.3g}" if len(self) else ""),
        ]
        iterations = "1 iteration" if len(self) == 1 else f"{len(self)} iterations"
        return Description(f"History of {iterations}", rows)

    def __repr__(self) -> str:
        course = f": loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}" if self.loss else ""
        return f"<history of {len(self)} iterations{course}>"

    def truncated(self, n: int) -> History:
        """The first `n` iterations."""
        return History(*(getattr(self, name)[:n] for name in COLUMNS[1:]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every column as an array of shape (n_iterations,); iterations count from 1."""
        columns = [getattr(self, name) for name in COLUMNS[1:]]
        return {
            "iteration": np.arange(1, len(self) + 1),
            **{name: np.array(values) for name, values in zip(COLUMNS[1:], columns, strict=True)},
        }

    def write(self, path: Path) -> None:
        """Write ``history.csv``; an undefined error or alignment is an empty field."""
        rows = []
        values = zip(*(getattr(self, name) for name in COLUMNS[1:]), strict=True)
        for number, (loss, error, rate, seconds, alignment) in enumerate(values, start=1):
            error, alignment = ("" if np.isnan(x) else repr(x) for x in (error, alignment))
            rows.append([number, repr(loss), error, f"{rate:.6g}", f"{seconds:.6g}", alignment])
        write_table(path, COLUMNS, rows)

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a file that `write` wrote.

        Raises
        ------
        ValueError
            If it is not such a file.
        """
        history = cls()
        for number, row in enumerate(read_table(path, COLUMNS), start=1):
            try:
                history.append(
                    float(row["loss"]),
                    float(row["error"] or "nan"),
                    float(row["rate_hz"]),
                    float(row["seconds"]),
                    float(row["alignment"] or "nan"),
                )
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from None
        return history


def _course(values: np.ndarray) -> str:
    """First, last and lowest of some values; nothing where none is defined."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    return f"{finite[0]:.4g} first, {finite[-1]:.4g} last, {np.min(finite):.4g} lowest"
