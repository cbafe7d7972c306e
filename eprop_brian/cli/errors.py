"""What a user sees of errors and interrupts, and the exit statuses.

A mistake in an option ends with status 2 (click's own), any other error with 1, an interrupt
(Ctrl-C, SIGTERM, SIGHUP) with 130, from the first import to the result: a command that has printed
its result ends with 0. A reader of the output that is gone (``eprop-brian tasks | head -1``) ends a
command with 1 and no message.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from eprop_brian.base.interrupts import (
    INTERRUPTED,
    end_without_libraries,
    raising_interrupts,
    uninterrupted,
)
from eprop_brian.base.printable import printable
from eprop_brian.cli.output import say, say_result, shown_warnings

__all__ = ["conclude", "interruptible", "plain_errors", "without_figures"]

#: Where the context of a command keeps what has signals change nothing any more.
_CONCLUDE = f"{__name__}.conclude"


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show errors without a traceback, and end by Ctrl-C or a polite kill with status 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with shown_warnings(), raising_interrupts(to_the_end=True) as end_interrupts:
            click.get_current_context().meta[_CONCLUDE] = end_interrupts
            try:
                with interruptible("interrupted"):
                    return command(*args, **kwargs)
            except BrokenPipeError:
                raise  # nobody reads any more: click ends the command without a word
            except click.UsageError as error:
                raise click.UsageError(printable(error.message), error.ctx) from error
            except Exception as error:
                if _is_lack_of_memory(error):
                    raise click.ClickException(
                        f"there is not enough memory for sizes as large as these ({error}): take "
                        "fewer neurons, inputs, steps or trials per batch"
                    ) from error
                if not _is_shown(error):
                    raise
                raise click.ClickException(printable(str(error))) from error
            finally:
                end_interrupts()

    return wrapped


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy or JAX, which has a class of its own for it, got no memory."""
    by_jax = isinstance(error, RuntimeError) and str(error).startswith("RESOURCE_EXHAUSTED")
    return by_jax or isinstance(error, MemoryError | OverflowError)


def _is_shown(error: Exception) -> bool:
    """Whether a user's mistake or the machine can raise it: one message says it, no traceback."""
    if isinstance(error, OSError | TypeError | ValueError):
        return True
    # Imported here, where Brian2 mostly has been: the help should not wait for it.
    from brian2.units.fundamentalunits import DimensionMismatchError

    from eprop_brian.base.cache import CacheError
    from eprop_brian.devices import CompilerMissingError, SimulationError
    from eprop_brian.tasks import EnvironmentFailed
    from eprop_brian.training.diagnosis import TrainingError

    shown = (
        CompilerMissingError,
        DimensionMismatchError,
        EnvironmentFailed,
        CacheError,
        SimulationError,
        TrainingError,
    )
    return isinstance(error, shown)


def conclude(*lines: str) -> None:
    """Print the result of a command, which has nothing left to do: signals change nothing now."""
    click.get_current_context().meta[_CONCLUDE]()
    say_result(*lines)


@contextlib.contextmanager
def interruptible(message: str | Callable[[], str]) -> Iterator[None]:
    """When a block is interrupted, end with a message and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        # The terminal may be what was closed.
        with uninterrupted():
            say(f"\n{message if isinstance(message, str) else message()}", err=True)
            # All is said: nothing is interrupted once more.
            click.get_current_context().meta[_CONCLUDE]()
        end_without_libraries()
        raise SystemExit(INTERRUPTED) from None


def without_figures(table: Path) -> str:
    """The message when a command is interrupted while it draws, after all training."""
    return (
        f"interrupted after training; {table} and all runs are written. The same command draws the "
        "figures that are missing"
    )
