"""A history: one row for every iteration or part of a training, in columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from eprop_brian.base.table import read_table, write_table

__all__ = ["Rows", "column", "mean_of_last"]

#: Rows at the end of a history over which a final value is the mean.
_LAST = 10


def column(write: str = "{!r}", optional: bool = False) -> Any:
    """Declare a column of a history.

    Parameters
    ----------
    write : str
        Format of its numbers in a file.
    optional : bool
        Whether an undefined number, NaN, is an empty field.
    """
    return field(default_factory=list, metadata={"write": write, "optional": optional})


@dataclass
class Rows:
    """Columns of equal length. A model's history declares them with `column`, in their order."""

    #: Name of a column that numbers the rows from 1 on; "": there is none.
    numbered: ClassVar[str] = ""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @property
    def columns(self) -> dict[str, list[float]]:
        """Columns by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def append(self, *values: float, **named: float) -> None:
        """Add a row; values that are left out are NaN."""
        row = {**dict(zip(self.columns, values, strict=False)), **named}
        for name, numbers in self.columns.items():
            numbers.append(float(row.get(name, math.nan)))

    def truncated(self, n: int) -> Self:
        """Return the first `n` rows."""
        return type(self)(*(numbers[:n] for numbers in self.columns.values()))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every column as an array of shape (n_rows,), and the numbers of the rows."""
        arrays = {name: np.array(numbers) for name, numbers in self.columns.items()}
        return {**{name: np.arange(1, len(self) + 1) for name in self._number()}, **arrays}

    @classmethod
    def _number(cls) -> tuple[str, ...]:
        return (cls.numbered,) if cls.numbered else ()

    def write(self, path: Path) -> None:
        """Write a table with these columns."""
        rows = []
        for number, values in enumerate(zip(*self.columns.values(), strict=True), start=1):
            texts = [
                "" if f.metadata["optional"] and math.isnan(v) else f.metadata["write"].format(v)
                for f, v in zip(fields(self), values, strict=True)
            ]
            rows.append([*(number for _ in self._number()), *texts])
        write_table(path, [*self._number(), *self.columns], rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote.

        Raises
        ------
        ValueError
            If it is not such a file.
        """
        history = cls()
        columns = [*cls._number(), *history.columns]
        for number, row in enumerate(read_table(path, columns), start=1):
            try:
                history.append(
                    *(
                        float(row[f.name] or ("nan" if f.metadata["optional"] else ""))
                        for f in fields(cls)
                    )
                )
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from None
        return history


def mean_of_last(values: Sequence[float]) -> float:
    """Return the mean of the last 10 values of a column; NaN without any."""
    return float(np.mean(values[-_LAST:])) if values else math.nan
