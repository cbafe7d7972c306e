"""The error raised for a mistake in an equation, with the line at fault."""

from __future__ import annotations

__all__ = ["EquationError"]


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
        super().__init__(f"{where}:\n    {line.strip()}\n{problem}")
        self.where = where
        self.line = line.strip()
        self.problem = problem
