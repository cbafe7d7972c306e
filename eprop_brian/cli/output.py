"""What a command says: the one place where text goes to the terminal.

Whatever files hold, it acts on no terminal. What only tells how a command gets on is left out where
it cannot be written, on a full disk for example, since no training should end of that. That its
result cannot be written is an error.
"""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from eprop_brian.base.printable import printable, uncoloured
from eprop_brian.base.progress import TERMINAL

if TYPE_CHECKING:
    from eprop_brian.runs.run import Run

__all__ = ["say", "say_figures", "say_result", "shown_warnings"]


def say(*lines: str, err: bool = False) -> None:
    """Write lines to the standard output, or to the standard error, if they can be.

    Raises
    ------
    BrokenPipeError
        If nobody reads the standard output any more.
    """
    try:
        _write(lines, err)
    except OSError as error:
        if not err and error.errno == errno.EPIPE:
            raise


def say_figures(run: Run, formats: Sequence[str]) -> None:
    """Draw a run in these formats, if there are any, and say which files were written."""
    if formats:
        for path in run.config.model.figures(run.folder, formats):
            say(f"wrote {path}")


def say_result(*lines: str) -> None:
    """Write the lines that a command was called for to the standard output.

    Raises
    ------
    BrokenPipeError
        If nobody reads it any more.
    OSError
        If it cannot be written.
    """
    try:
        _write(lines, err=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"cannot write the result to the standard output: {reason}") from error


def _write(lines: tuple[str, ...], err: bool) -> None:
    for line in lines:
        click.echo(printable(line), err=err)


@contextlib.contextmanager
def shown_warnings() -> Iterator[None]:
    """Show warnings as sentences, each on a line of its own beside a progress bar."""
    before = warnings.showwarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = f"Warning: {printable(uncoloured(str(message)))}"
        with contextlib.suppress(OSError, ValueError, AttributeError):
            from tqdm import tqdm

            with tqdm.external_write_mode(file=TERMINAL):
                click.echo(text, err=True)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
