"""A history: one row for every iteration or part of a training, in columns."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from eprop_brian.base.table import read_table, write_table

__all__ = ["Rows", "column", "columns_of", "mean_of_last"]

#: Rows at the end of a history over which a final value is the mean.
_LAST = 10


def column(
    write: str = "{!r}",
    optional: bool = False,
    name: str = "",
    special: bool = False,
    incidental: bool = False,
) -> Any:
    """Declare a column of a history.

    Parameters
    ----------
    write : str
        Format of its numbers in a file.
    optional : bool
        Whether an undefined number, NaN, is an empty field.
    name : str
        What it is called, if its name cannot be that of a field.
    special : bool
        Whether it is there only in histories that have numbers in it.
    incidental : bool
        Whether it tells of the computation, such as the time that it took, and may be another in a
        run that is equal otherwise.
    """
    metadata = {
        "write": write,
        "optional": optional or special,
        "name": name,
        "special": special,
        "incidental": incidental,
    }
    return field(default_factory=list, metadata=metadata)


def columns_of(name: str, write: str = "{!r}") -> Any:
    """Declare columns ``name.PART``, one for each part that a row names, such as a population.

    The field is a dictionary of them by part. In a row that does not name a part its number is
    undefined, an empty field of the file.
    """
    metadata = {"write": write, "optional": True, "name": name, "special": True}
    return field(default_factory=dict, metadata={**metadata, "incidental": False, "parts": True})


@dataclass
class Rows:
    """Columns of equal length. A model's history declares them with `column`, in their order.

    Those of `columns_of` come last.
    """

    #: Name of a column that numbers the rows from 1 on; "": there is none.
    numbered: ClassVar[str] = ""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @property
    def columns(self) -> dict[str, list[float]]:
        """Columns by name, without those that are special and have no number."""
        return {name: numbers for name, (_, numbers) in self._written().items()}

    def _every(self) -> dict[str, tuple[Field[Any], list[float]]]:
        """All columns by name, each with the field that declares it."""
        every: dict[str, tuple[Field[Any], list[float]]] = {}
        for f in fields(self):
            numbers = getattr(self, f.name)
            if _has_parts(f):
                every |= {f"{_name(f)}.{part}": (f, numbers[part]) for part in numbers}
            else:
                every[_name(f)] = f, numbers
        return every

    def _written(self) -> dict[str, tuple[Field[Any], list[float]]]:
        """The columns that there are."""
        return {
            name: (f, numbers)
            for name, (f, numbers) in self._every().items()
            if not f.metadata["special"] or not all(math.isnan(value) for value in numbers)
        }

    def append(self, *values: float, **named: float) -> None:
        """Add a row; values that are left out are NaN."""
        for f in filter(_has_parts, fields(self)):
            for part in _parts(f, named):
                getattr(self, f.name).setdefault(part, [math.nan] * len(self))
        every = self._every()
        row = {**dict(zip(every, values, strict=False)), **named}
        for name, (_, numbers) in every.items():
            numbers.append(float(row.get(name, math.nan)))

    def row(self, number: int) -> dict[str, float]:
        """Return a row by its index, by the names of columns, without those that are undefined."""
        values = {name: numbers[number] for name, (_, numbers) in self._every().items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def truncated(self, n: int) -> Self:
        """Return the first `n` rows."""
        every = [getattr(self, f.name) for f in fields(self)]
        return type(self)(
            *(
                {part: numbers[:n] for part, numbers in x.items()} if isinstance(x, dict) else x[:n]
                for x in every
            )
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every column as an array of shape (n_rows,), and the numbers of the rows."""
        arrays = {name: np.array(numbers) for name, numbers in self.columns.items()}
        return {**{name: np.arange(1, len(self) + 1) for name in self._number()}, **arrays}

    @classmethod
    def _number(cls) -> tuple[str, ...]:
        return (cls.numbered,) if cls.numbered else ()

    def write(self, path: Path) -> None:
        """Write a table with these columns."""
        rows = [
            [*(number for _ in self._number()), *texts]
            for number, texts in enumerate(self._texts(), start=1)
        ]
        write_table(path, [*self._number(), *self.columns], rows)

    def _texts(self) -> Iterator[list[str]]:
        """The rows as a file has them."""
        written = self._written().values()
        for values in zip(*(numbers for _, numbers in written), strict=True):
            yield [
                "" if f.metadata["optional"] and math.isnan(v) else f.metadata["write"].format(v)
                for (f, _), v in zip(written, values, strict=True)
            ]

    def digest(self) -> bytes:
        """A hash of all rows, the same after they were written and read, and in an equal run."""
        found = hashlib.sha256()
        kept = [not f.metadata["incidental"] for f, _ in self._written().values()]
        for texts in self._texts():
            found.update(f"{','.join(itertools.compress(texts, kept))}\n".encode())
        return found.digest()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote.

        Raises
        ------
        ValueError
            If it is not such a file.
        """
        history = cls()
        single = {_name(f): f for f in fields(cls) if not _has_parts(f)}
        families = {_name(f): f for f in fields(cls) if _has_parts(f)}
        special = [name for name, f in single.items() if f.metadata["special"]]
        columns = [*cls._number(), *history.columns]
        for number, row in enumerate(read_table(path, columns, special, [*families]), start=1):
            if cls.numbered and row[cls.numbered] != str(number):
                raise ValueError(
                    f"{path}, row {number}: it is numbered {row[cls.numbered]!r}: rows are "
                    "missing, doubled or in another order"
                )
            try:
                history.append(
                    **{
                        name: float(text or ("nan" if f.metadata["optional"] else ""))
                        for name, text in row.items()
                        if (f := single.get(name) or families.get(name.partition(".")[0]))
                    }
                )
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from None
        return history


def _name(column: Field[Any]) -> str:
    """What a column is called."""
    return column.metadata["name"] or column.name


def _has_parts(column: Field[Any]) -> bool:
    """Whether a field holds a column for each part."""
    return column.metadata.get("parts", False)


def _parts(column: Field[Any], names: Iterable[str]) -> list[str]:
    """Parts of a field's columns that are among some names."""
    beginning = f"{_name(column)}."
    return [name.removeprefix(beginning) for name in names if name.startswith(beginning)]


def mean_of_last(values: Sequence[float]) -> float:
    """Return the mean of the last 10 values of a column; NaN without any."""
    return float(np.mean(values[-_LAST:])) if values else math.nan
