"""Optimizers: checked, and written as the statements of an update."""

from __future__ import annotations

from brian2.utils.stringtools import word_substitute

from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, parse_expression, require_known
from eprop_brian.symbolic.names import refuse_reserved

__all__ = ["check_optimizer", "learning_rate", "update_statements"]


def check_optimizer(optimizer: Optimizer) -> None:
    """Check an optimizer's equations.

    Raises
    ------
    EquationError
        If a statement or the schedule cannot be read or names something unknown, or the schedule
        becomes negative or no number.
    """
    where = f"optimizer '{optimizer.name}'"
    refuse_reserved([*optimizer.states, *optimizer.parameters], where, ("w", "g", "k"))
    known = {"w", "g", "k", *optimizer.states, *optimizer.parameters}
    for line in _lines(optimizer):
        name, equals, expression = (part.strip() for part in line.partition("="))
        if not equals or not (name in ("w", *optimizer.states) or name.startswith("_")):
            states = ", ".join(("w", *optimizer.states))
            raise EquationError(
                f"{where}, update",
                line,
                f"must be a statement for one of {states}, or for an intermediate value whose "
                "name begins with _",
            )
        _require_known(f"{where}, update", expression, known)
        known.add(name)
    if "w" not in {line.partition("=")[0].strip() for line in _lines(optimizer)}:
        raise EquationError(f"{where}, update", optimizer.update, "has no statement for w")
    _require_known(f"{where}, schedule", optimizer.schedule, {"k", *optimizer.parameters})
    for k in (1, 2, 10, 100, 1000, 10_000, 100_000):
        factor = evaluate(
            optimizer.schedule, {**optimizer.parameters, "k": float(k)}, f"{where}, schedule"
        )
        if factor < 0:
            raise EquationError(
                f"{where}, schedule",
                optimizer.schedule,
                f"is {factor:g} in update {k}: a learning rate cannot be negative",
            )
    if _is_scheduled(optimizer) and "eta" not in optimizer.parameters:
        raise EquationError(
            f"{where}, schedule", optimizer.schedule, "multiplies eta, which this optimizer has not"
        )


def update_statements(optimizer: Optimizer) -> list[str]:
    """The statements of an update, with the schedule in them."""
    lines = _lines(optimizer)
    if not _is_scheduled(optimizer):
        return lines
    return [word_substitute(line, {"eta": f"(eta*({optimizer.schedule}))"}) for line in lines]


def learning_rate(optimizer: Optimizer, k: int) -> float:
    """The learning rate ``eta`` of update `k`, with the schedule."""
    where = f"optimizer '{optimizer.name}', schedule"
    values = {**optimizer.parameters, "k": float(k)}
    return optimizer.parameters["eta"] * float(evaluate(optimizer.schedule, values, where))


def _lines(optimizer: Optimizer) -> list[str]:
    return [line.strip() for line in optimizer.update.split("\n") if line.strip()]


def _is_scheduled(optimizer: Optimizer) -> bool:
    return optimizer.schedule.strip() != "1"


def _require_known(where: str, text: str, known: set[str]) -> None:
    expression = parse_expression(text, where)
    require_known(sorted(s.name for s in expression.free_symbols), known, where, text)
