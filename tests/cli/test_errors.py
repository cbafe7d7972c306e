"""Errors of a command: one sentence, no traceback."""

import click
import pytest
from click.testing import CliRunner

from eprop_brian.cli.errors import plain_errors


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 5 bytes"),
        OverflowError("5 bytes"),
        # As JAX says it, by a class of its own.
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes."),
    ],
)
def test_a_lack_of_memory_is_said_in_a_sentence(error):
    @click.command()
    @plain_errors
    def command():
        raise error

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is not enough memory for sizes as large as")
    assert "5 bytes" in result.output


def test_an_error_of_the_program_itself_keeps_its_traceback():
    @click.command()
    @plain_errors
    def command():
        raise RuntimeError("a mistake of ours")

    result = CliRunner().invoke(command)
    assert isinstance(result.exception, RuntimeError)
    assert "memory" not in result.output
