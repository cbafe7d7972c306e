"""The command ``eprop-brian``: the Python API for scripts and clusters."""

from __future__ import annotations

import sys
from typing import Any

import click

from eprop_brian.cli.compare import compare_command, gradcheck_command
from eprop_brian.cli.doctor import doctor_command
from eprop_brian.cli.export import export_command, export_nir_command, import_run_command
from eprop_brian.cli.look import (
    cache_command,
    derive_command,
    devices_command,
    evaluate_command,
    plot_command,
    recipe_command,
    tasks_command,
    verify_command,
)
from eprop_brian.cli.output import say
from eprop_brian.cli.record import record_command
from eprop_brian.cli.sweep import sweep_command
from eprop_brian.cli.train import train_command

__all__ = ["main"]


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


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eprop_brian")
def main() -> None:
    """Spiking neurons written as equations, trained with e-prop."""


for _command in (
    cache_command,
    compare_command,
    derive_command,
    devices_command,
    doctor_command,
    evaluate_command,
    export_command,
    export_nir_command,
    gradcheck_command,
    import_run_command,
    plot_command,
    recipe_command,
    record_command,
    sweep_command,
    tasks_command,
    train_command,
    verify_command,
):
    main.add_command(_command)
