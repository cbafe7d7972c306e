"""The command ``eprop-brian``: the Python API for scripts and clusters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from eprop_brian.cli.compare import compare_command, gradcheck_command
from eprop_brian.cli.completion import completion_command
from eprop_brian.cli.doctor import doctor_command
from eprop_brian.cli.export import export_command, export_nir_command, import_run_command
from eprop_brian.cli.lists import (
    neurons_command,
    recipe_command,
    recipes_command,
    settings_command,
    tasks_command,
)
from eprop_brian.cli.look import (
    cache_command,
    derive_command,
    devices_command,
    evaluate_command,
    plot_command,
    verify_command,
)
from eprop_brian.cli.output import say
from eprop_brian.cli.record import record_command
from eprop_brian.cli.sweep import sweep_command
from eprop_brian.cli.synthesize import synthesize_command
from eprop_brian.cli.train import train_command

__all__ = ["main"]

#: Commands by what they are for, in the order of the help.
_SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Train": (train_command, compare_command, sweep_command, gradcheck_command),
    "Look at a run": (plot_command, evaluate_command, record_command, doctor_command),
    "Take a network along": (export_command, import_run_command, export_nir_command),
    "Make data": (synthesize_command,),
    "See what there is": (
        tasks_command,
        settings_command,
        recipes_command,
        recipe_command,
        neurons_command,
        derive_command,
    ),
    "This installation": (devices_command, cache_command, verify_command, completion_command),
}


class _Command(click.Group):
    """The command; that its help cannot be written is an error like any other."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command. Click itself ends one whose output nobody reads."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            reason = error.strerror or str(error)
            say(f"Error: cannot write to the standard output: {reason}", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the help."""
        return [name for name, _ in _in_order()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for, each with its whole first sentence."""
        width = max(len(name) for name, _ in _in_order())
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                rows = [(str(c.name).ljust(width), _first_sentence(c)) for c in commands]
                formatter.write_dl(rows)


def _in_order() -> Iterator[tuple[str, click.Command]]:
    return ((str(c.name), c) for commands in _SECTIONS.values() for c in commands)


def _first_sentence(command: click.Command) -> str:
    """The first paragraph of a command's help, in one line."""
    return " ".join((command.help or "").strip().partition("\n\n")[0].split())


@click.group(
    cls=_Command,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="eprop_brian")
def main() -> None:
    """Spiking neurons written as equations, trained with e-prop."""


for _name, _command in _in_order():
    main.add_command(_command, _name)
