"""The command, called as a user types it."""

from pathlib import Path

from click.testing import CliRunner

from eprop_brian.cli import main


def call(*arguments: str | Path | float, code: int = 0) -> str:
    """What the command prints; `code` is the status that it must end with."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def last_line(output: str) -> str:
    return output.rstrip().splitlines()[-1]
