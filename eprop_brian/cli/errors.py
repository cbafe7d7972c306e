"""What a user sees of errors and interrupts, and the exit statuses.

A mistake in an option ends with status 2 (click's own), any other error with 1, an interrupt with
130. A reader of the output that is gone (``eprop-brian tasks | head -1``) ends a command with 1
and no message.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from brian2.units.fundamentalunits import DimensionMismatchError

from eprop_brian.base.interrupts import raising_interrupts, uninterrupted
from eprop_brian.devices import CompilerMissingError, SimulationError
from eprop_brian.training.diagnosis import TrainingError

__all__ = ["interruptible", "plain_errors", "without_figures"]

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
#: What shells report of a command that Ctrl-C ended.
_INTERRUPTED = 130


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show errors without a traceback, and end by Ctrl-C or a polite kill with status 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with raising_interrupts():
            try:
                with interruptible("interrupted"):
                    return command(*args, **kwargs)
            except BrokenPipeError:
                raise  # nobody reads any more: click ends the command without a word
            except _SHOWN as error:
                raise click.ClickException(str(error)) from error
            except (MemoryError, OverflowError) as error:
                raise click.ClickException(
                    f"there is not enough memory for sizes as large as these ({error}): take "
                    "fewer neurons, inputs, steps or trials per batch"
                ) from error

    return wrapped


@contextlib.contextmanager
def interruptible(message: str | Callable[[], str]) -> Iterator[None]:
    """When a block is interrupted, end with a message and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        # The terminal may be what was closed.
        with uninterrupted(), contextlib.suppress(OSError):
            click.echo(f"\n{message if isinstance(message, str) else message()}", err=True)
        raise SystemExit(_INTERRUPTED) from None


def without_figures(table: Path) -> str:
    """The message when a command is interrupted while it draws, after all training."""
    return (
        f"interrupted after training; {table} and all runs are written. The same command draws the "
        "figures that are missing"
    )
