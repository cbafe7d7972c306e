"""The command `completion`: what lets a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from eprop_brian.base.interrupts import COMMAND
from eprop_brian.cli.errors import plain_errors
from eprop_brian.cli.output import say_result

__all__ = ["completion_command"]

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS), metavar="|".join(_SHELLS))
@click.pass_context
@plain_errors
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options, tasks and neurons in a shell.

    \b
    bash:  eprop-brian completion bash >> ~/.bashrc
    zsh:   eprop-brian completion zsh >> ~/.zshrc
    fish:  eprop-brian completion fish > ~/.config/fish/completions/eprop-brian.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    variable = f"_{COMMAND.replace('-', '_').upper()}_COMPLETE"
    script = kind(ctx.find_root().command, {}, COMMAND, variable).source()
    say_result(script.strip("\n"))
