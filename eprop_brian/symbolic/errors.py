"""The error raised for a mistake in an equation, with the line at fault; whose error it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eprop_brian.base.printable import printable

__all__ = ["EquationError", "named"]


class EquationError(ValueError):
    """A mistake in an equation string.

    Parameters
    ----------
    where : str
        Which equation, for example ``"neuron 'lif', update"``.
    line : str
        The offending text, quoted in the message.
    problem : str
        What is wrong and what would be right.
    """

    def __init__(self, where: str, line: str, problem: str) -> None:
        # What is quoted comes from files.
        super().__init__(printable(f"{where}:\n    {line.strip()}\n{problem}"))
        self.where = where
        self.line = line.strip()
        self.problem = problem


@contextmanager
def named(where: str) -> Iterator[None]:
    """Put what an error is about, for example ``"readout 'y'"``, before its message."""
    try:
        yield
    except EquationError as error:
        raise EquationError(f"{where}, {error.where}", error.line, error.problem) from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
