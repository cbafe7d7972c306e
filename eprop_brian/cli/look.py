"""Commands that look at what is there and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.cli.models import model_of_run, refuse_unused
from eprop_brian.cli.options import (
    FOLDER,
    EvaluationChoices,
    NeuronName,
    RunChoices,
    format_option,
    run_options,
)
from eprop_brian.cli.output import say, say_result
from eprop_brian.devices.choices import DEVICES
from eprop_brian.network.choices import PROGRAMS

__all__ = [
    "cache_command",
    "derive_command",
    "devices_command",
    "evaluate_command",
    "plot_command",
    "verify_command",
]


@click.command("devices")
@plain_errors
def devices_command() -> None:
    """Say what each device needs, what of it is there and what is missing."""
    from eprop_brian.devices.report import report

    for line in report():
        say_result(line)


@click.command("cache")
@click.option("--clear", is_flag=True, help="Remove all that is kept.")
@plain_errors
def cache_command(clear: bool) -> None:
    """Say where compiled programs and features of speech are kept, and how much room they take.

    $EPROP_BRIAN_CACHE names another folder, $EPROP_BRIAN_CACHE_MB another limit in megabytes: those
    that were not used for longest are removed when all together are larger.
    """
    from eprop_brian.base.cache import cache_folder, cache_limit, clear_cache, kept_builds

    if clear:
        say_result(f"removed {clear_cache() / 1e6:.1f} MB from {cache_folder()}")
        return
    builds = kept_builds()
    say_result(
        f"{cache_folder()}: {len(builds)} compiled programs and parts of them, "
        f"{sum(builds.values()) / 1e6:.1f} MB of at most {cache_limit() / 1e6:.0f} MB"
    )


@click.command("derive")
@click.argument("neuron", type=NeuronName(), metavar="NAME|FILE.toml")
@click.option("--latex", is_flag=True, help="LaTeX instead of plain text.")
@click.option("--toml", is_flag=True, help="Print the neuron as a neuron file instead.")
@plain_errors
def derive_command(neuron: str, latex: bool, toml: bool) -> None:
    """Print a neuron's step map, eligibility system and where each trace lives.

    With the name balanced, the equations of balanced networks and their learning rules.
    """
    if neuron.lower() == "balanced":
        from eprop_brian.balanced.printing import balanced_text

        if latex or toml:
            raise click.UsageError("balanced is printed as text only")
        say_result(balanced_text())
        return
    from eprop_brian.equations.neurons import get_neuron
    from eprop_brian.symbolic.derivation import derive as derive_rule
    from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron

    is_file = neuron.endswith(".toml") or Path(neuron).is_file()
    chosen = read_neuron(Path(neuron)) if is_file else get_neuron(neuron.lower())
    if toml:
        say_result(write_neuron(chosen).rstrip("\n"))
        return
    rule = derive_rule(chosen)
    say_result(rule.latex if latex else str(rule))


@click.command("evaluate")
@click.argument("folder", type=FOLDER)
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    show_default="8; of episodes, 1",
    help="Number of batches of fresh trials.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    show_default="64; of episodes, 100",
    help="Trials per batch.",
)
@click.option(
    "--sampled",
    is_flag=True,
    help="In an environment: draw actions from the policy, as in training; else the best is taken.",
)
@click.option(
    "--beam",
    type=click.IntRange(min=1),
    metavar="WIDTH",
    help="Of a task with labels: search for the most probable ones with a beam of so many "
    "beginnings; else the most probable output of each frame counts.",
)
@click.option("--best", is_flag=True, help="Take the weights with the best validation.")
@run_options(("device", "kill", "noise"))
@plain_errors
def evaluate_command(
    folder: Path,
    choices: RunChoices,
    **evaluation: Any,
) -> None:
    """Run fresh trials with the weights in FOLDER and print loss and error, or the return.

    A balanced network runs freely on a fresh input.
    """
    model = model_of_run(folder)
    refuse_unused(model, choices)
    model.evaluate(folder, choices, EvaluationChoices(**evaluation))


@click.command("plot")
@click.argument("folder", type=FOLDER)
@format_option
@click.option(
    "--animate",
    is_flag=False,
    flag_value="gif",
    type=click.Choice(["gif", "mp4"]),
    help="Draw a film too: of the trial or episode after training, trial.gif or episode.gif, or of "
    "a balanced network's bounding box, bounding_box.gif; mp4 takes ffmpeg.",
)
@plain_errors
def plot_command(folder: Path, formats: tuple[str, ...], animate: str | None) -> None:
    """Draw the run in FOLDER: learning curve, a trial before and after, weights.

    In an environment, trials are episodes.
    """
    from eprop_brian.figures.animation import film_name, plot_animation
    from eprop_brian.figures.run import plot_run

    drawn = plot_run(folder, formats)
    if animate:
        drawn.append(plot_animation(folder, folder / f"{film_name(folder)}.{animate}"))
    conclude(*(f"wrote {path}" for path in drawn))


@click.command("verify")
@click.argument(
    "cases",
    metavar="CASE.npz...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--gradient", type=click.Choice(PROGRAMS), default="factored", show_default=True)
@click.option("--device", type=click.Choice(DEVICES), default="cpp", show_default=True)
@click.pass_context
@plain_errors
def verify_command(ctx: click.Context, cases: tuple[Path, ...], gradient: str, device: str) -> None:
    """Replay recorded runs of another simulator; exit 0 only if every case holds."""
    from eprop_brian.training.reference import load_case
    from eprop_brian.training.verification import verify as verify_case

    failed = 0
    for path in cases:
        try:
            result = verify_case(load_case(path, gradient), device)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            # Any damage to a recording fails its case, and the next one is still replayed.
            say_result(f"{path.name}: FAILED: {error}")
            failed += 1
            continue
        say_result(f"{path.name}: {result}")
        failed += not result.ok
    conclude()
    if failed:
        say(f"{failed} of {len(cases)} cases deviate", err=True)
        ctx.exit(1)
