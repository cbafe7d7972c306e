"""Tables of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eprop_brian.base.files import write_text

__all__ = ["read_table", "write_table"]


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table in one step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(
    path: Path,
    columns: Sequence[str],
    further: Sequence[str] = (),
    families: Sequence[str] = (),
) -> Iterator[dict[str, str]]:
    """The rows of a table, by column.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        In their order.
    further : sequence of str
        Columns that may stand behind these, each or none, in their order.
    families : sequence of str
        Beginnings of columns ``family.PART``, any number of which may stand behind all others.

    A `ValueError` that is raised in a loop over them should say what is wrong with a row; that the
    columns are others, or that a row is shorter, is said here.

    Raises
    ------
    ValueError
        If the file is missing or no such table. It names file and line.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = tuple(rows.fieldnames or ())
            others = tuple(name for name in dict.fromkeys(names) if _is_of(families, name))
            if names != (*columns, *(name for name in further if name in names), *others):
                raise ValueError(f"{path}: expected the columns {', '.join(columns)}")
            for row in rows:
                if None in row.values() or None in row:
                    raise ValueError(f"{path}, line {rows.line_num}: not {len(names)} values")
                yield row
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None


def _is_of(families: Sequence[str], name: str) -> bool:
    """Whether a column is one of these families."""
    family, _, part = name.partition(".")
    return family in families and part.isascii() and part.isidentifier()
