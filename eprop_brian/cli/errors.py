"""What a user sees of errors and interrupts, and the exit status."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from brian2.units.fundamentalunits import DimensionMismatchError

from eprop_brian.base.interrupts import raising_interrupts, uninterrupted
from eprop_brian.devices import CompilerMissingError, SimulationError
from eprop_brian.training.trainer import TrainingError

__all__ = ["interruptible", "plain_errors", "refuse", "without_figures"]

#: What a user's mistake or the machine can raise: shown as one message, without a traceback.
_SHOWN = (
    CompilerMissingError,
    DimensionMismatchError,
    OSError,
    SimulationError,
    TrainingError,
    TypeError,
    ValueError,
)


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show errors without a traceback, and end by Ctrl-C or a polite kill with status 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with raising_interrupts():
            try:
                return interruptible(lambda: command(*args, **kwargs), "interrupted")
            except _SHOWN as error:
                raise click.ClickException(str(error)) from error
            except (MemoryError, OverflowError) as error:
                raise click.ClickException(
                    f"there is not enough memory for sizes as large as these ({error}): take "
                    "fewer neurons, inputs, steps or trials per batch"
                ) from error

    return wrapped


def interruptible(work: Callable[[], Any], message: str | Callable[[], str]) -> Any:
    """Do some work; when interrupted, end with a message and exit status 130."""
    try:
        return work()
    except KeyboardInterrupt:
        # The terminal may be what was closed.
        with uninterrupted(), contextlib.suppress(OSError):
            click.echo(f"\n{message if isinstance(message, str) else message()}", err=True)
        raise SystemExit(130) from None


def without_figures(table: Path) -> str:
    """What is said when a command is interrupted that trains nothing any more."""
    return (
        f"interrupted after training; {table} and all runs are written. The same command draws the "
        "figures that are missing"
    )


def refuse(options: dict[str, Any], reason: str) -> None:
    """Raise for the first option that was given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise click.UsageError(f"{given[0]} {reason}")
