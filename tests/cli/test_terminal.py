"""What files hold acts on no terminal, whatever a command says of them."""

import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from eprop_brian import cli, get_neuron
from eprop_brian.base.printable import warn
from eprop_brian.cli import main
from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.cli.output import say
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron

ESCAPE = "\x1b]0;owned\x07"


def said(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
    return result.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("neuron.toml", '[neuron]\nname = "\\u001b]0;owned"\n'),
        ("neuron.toml", f"[neuron]\n{ESCAPE} = 1\n"),
        ("neuron.toml", '[neuron]\n"\\u001b]0;owned" = 1\nname = "lif"\n'),
        ("recipe.toml", '[run]\ntask = "\\u001b]0;owned"\n'),
        ("recipe.toml", '[run]\ntask = "store-recall"\n"\\u001b]0;owned" = 1\n'),
        ("recipe.toml", '[run]\ntask = "store-recall"\n["\\u001b]0;owned"]\na = 1\n'),
        ("recipe.toml", "[run]\nseed = " + "[" * 10000),
        ("recipe.toml", "[run]\nseed = " + "9" * 10000),
        ("config.toml", '[run]\nmodel = "\\u001b]0;owned"\n'),
    ],
)
def test_no_escape_sequence_and_no_traceback(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    command = {
        "neuron.toml": ("derive", path),
        "recipe.toml": ("train", "--recipe", path),
        "config.toml": ("evaluate", tmp_path),
    }[name]
    output = said(*command)
    assert "Error: " in output
    assert all(c.isprintable() or c == "\n" for c in output)


def test_a_setting_that_is_nested_too_deep():
    assert "not readable" in said("train", "store-recall", "--set", "size.lif=" + "[" * 10000)


def test_a_whole_number_that_is_no_float():
    assert "at most 64" in said("train", "store-recall", "--set", f"size.lif={'9' * 400}")


def test_no_escape_sequence_in_what_is_said_or_warned_of(tmp_path):
    """Of a neuron, by the command and by `print`; and of what a library says of it."""
    lines = write_neuron(get_neuron("lif")).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("source"))
    lines[place] = 'source = "\\u001b]0;owned\\u0007"'
    path = tmp_path / "neuron.toml"
    path.write_text("\n".join(lines))
    neuron = read_neuron(path)
    assert "\x1b" in neuron.source and "\x1b" not in str(neuron)
    result = CliRunner().invoke(main, ["derive", str(path)])
    assert result.exit_code == 0 and "\x1b" not in result.output and "\x07" not in result.output

    @click.command()
    @plain_errors
    def command():
        warnings.warn(ESCAPE, stacklevel=1)
        say(ESCAPE)
        conclude(ESCAPE)

    output = CliRunner().invoke(command).output
    assert output.count("?]0;owned?") == 3 and output.count("Warning: ") == 1
    with pytest.warns(UserWarning, match=r"^\?\]0;owned\?$"):
        warn(ESCAPE)


def test_all_text_of_the_command_goes_through_one_place():
    folder = Path(cli.__file__).parent
    others = [path for path in folder.glob("*.py") if path.name != "output.py"]
    assert not any("echo(" in path.read_text() for path in others)
