"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from eprop_brian.devices import DEVICES, DTYPES
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.network.spec import GRADIENTS, UPDATES

__all__ = [
    "BALANCED_OPTIONS",
    "FEEDBACK_OPTION",
    "FORMAT_OPTION",
    "GRADIENT_OPTION",
    "RUN_OPTIONS",
    "SEED_OPTION",
    "UPDATES_OPTION",
    "options",
    "seeds_option",
]

#: What a run of a task can be told, whichever command makes it.
RUN_OPTIONS = (
    click.option("--iterations", type=click.IntRange(min=1), help="Number of updates, in all."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Trials per update."),
    click.option(
        "--neuron",
        metavar="NAME|FILE.toml",
        help="Take this neuron for all recurrent neurons.",
    ),
    click.option("--device", type=click.Choice(list(DEVICES)), help="Where it runs."),
    click.option("--dtype", type=click.Choice(list(DTYPES)), help="Float type of all state."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="TABLE.KEY=VALUE",
        help="Replace a setting, e.g. optimizer.eta=1e-3, neuron.tau_m='30 ms', task.n_cues=5, "
        "size.lif=80, network.c_reg=10. May be given several times.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes that share the trials of a batch (default: one a core if that pays).",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Share the trials among the workers of a running Dask scheduler, e.g. "
        "tcp://host:8786.",
    ),
)


FEEDBACK_OPTION = click.option(
    "--feedback",
    metavar="KIND|FILE.npy|EQUATION",
    help=f"The learning signal: {', '.join(FEEDBACKS)}; a file with the matrix B (n_recurrent, "
    "n_outputs); or an equation of what arrives, e.g. 'B*tanh(error)'.",
)


GRADIENT_OPTION = click.option(
    "--gradient",
    type=click.Choice(GRADIENTS),
    help="Gradient program of e-prop, or bptt: backpropagation through time, in JAX.",
)


UPDATES_OPTION = click.option(
    "--updates",
    type=click.Choice(UPDATES),
    help="When weights change: at the end of a batch, or without trials and resets in every step "
    "or at every presynaptic spike (with --gradient online).",
)


SEED_OPTION = click.option("--seed", type=click.IntRange(min=0), help="Of weights and trials.")


#: What only balanced networks can be told.
BALANCED_OPTIONS = (
    click.option(
        "--teacher",
        metavar="FILE.toml|EQUATIONS",
        help="Balanced networks: learn this system instead of the task's, e.g. "
        "'dx/dt = (x - x**3)/second : 1'.",
    ),
    click.option(
        "--kill",
        type=click.FloatRange(0, 0.95),
        metavar="FRACTION",
        help="Balanced networks: silence this fraction of the neurons in the test.",
    ),
    click.option(
        "--noise",
        type=click.FloatRange(min=0),
        metavar="SIGMA",
        help="Balanced networks: voltage noise in the test, the standard deviation that it alone "
        "would give a potential.",
    ),
)


FORMAT_OPTION = click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "pdf", "svg"]),
    default=("png",),
    show_default=True,
)


def options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator; help lists them in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _seeds(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """``5`` is the seeds 1 to 5, ``3,7`` those two."""
    try:
        numbers = [int(part) for part in text.rstrip(",").split(",")]
    except ValueError:
        numbers = []
    if "," not in text and numbers:
        numbers = list(range(1, numbers[0] + 1))
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise click.BadParameter(
            f"'{text}' is neither a number of seeds, e.g. 5, nor a list of them, e.g. 3,7"
        )
    return numbers


def seeds_option(default: str) -> Callable[..., Any]:
    return click.option(
        "--seeds",
        default=default,
        show_default=True,
        callback=_seeds,
        metavar="NUMBER|SEED,...",
        help="How many seeds, from 1 on, or which (a single one: 7,).",
    )
