"""History of a training run, one row per iteration."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eprop_brian.training.files import write_text

__all__ = ["COLUMNS", "History"]

COLUMNS = ("iteration", "loss", "error", "rate_hz", "seconds")


@dataclass
class History:
    """Loss, error, rate and time of every iteration.

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
    """

    loss: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    rate_hz: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def append(self, loss: float, error: float, rate_hz: float, seconds: float) -> None:
        """Add an iteration."""
        self.loss.append(float(loss))
        self.error.append(float(error))
        self.rate_hz.append(float(rate_hz))
        self.seconds.append(float(seconds))

    def truncated(self, n: int) -> History:
        """The first `n` iterations."""
        return History(self.loss[:n], self.error[:n], self.rate_hz[:n], self.seconds[:n])

    def arrays(self) -> dict[str, np.ndarray]:
        """Every column as an array of shape (n_iterations,); iterations count from 1."""
        columns = [getattr(self, name) for name in COLUMNS[1:]]
        return {
            "iteration": np.arange(1, len(self) + 1),
            **{name: np.array(values) for name, values in zip(COLUMNS[1:], columns, strict=True)},
        }

    def write(self, path: Path) -> None:
        """Write ``history.csv``; an undefined error is an empty field."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        rows = zip(self.loss, self.error, self.rate_hz, self.seconds, strict=True)
        for number, (loss, error, rate, seconds) in enumerate(rows, start=1):
            shown = "" if np.isnan(error) else repr(error)
            writer.writerow([number, repr(loss), shown, f"{rate:.6g}", f"{seconds:.6g}"])
        write_text(path, text.getvalue())

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a file that `write` wrote.

        Raises
        ------
        ValueError
            If it is not such a file.
        """
        history = cls()
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}")
            try:
                for row in rows:
                    history.append(
                        float(row["loss"]),
                        float(row["error"] or "nan"),
                        float(row["rate_hz"]),
                        float(row["seconds"]),
                    )
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {rows.line_num}: {error}") from None
        return history
