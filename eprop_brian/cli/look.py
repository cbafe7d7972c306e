"""Commands that look at what is there and change nothing."""

from __future__ import annotations

from pathlib import Path

import click

from eprop_brian.cli.errors import plain_errors
from eprop_brian.cli.models import all_tasks, model_of_run, refuse_unused
from eprop_brian.cli.options import FOLDER, RunChoices, TaskName, format_option, run_options
from eprop_brian.devices import DEVICES
from eprop_brian.equations import get_neuron
from eprop_brian.network.checks import PROGRAMS

__all__ = [
    "derive_command",
    "devices_command",
    "evaluate_command",
    "plot_command",
    "recipe_command",
    "tasks_command",
    "verify_command",
]


@click.command("tasks")
def tasks_command() -> None:
    """List the tasks, one line each."""
    descriptions = all_tasks()
    width = max(map(len, descriptions))
    for name, description in descriptions.items():
        click.echo(f"{name:<{width}}  {description}")


@click.command("devices")
@plain_errors
def devices_command() -> None:
    """Say what each device needs, what of it is there and what is missing."""
    from eprop_brian.devices.report import report

    for line in report():
        click.echo(line)


@click.command("derive")
@click.argument("neuron", metavar="NAME|FILE.toml")
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
        click.echo(balanced_text())
        return
    from eprop_brian.symbolic.derivation import derive as derive_rule
    from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron

    is_file = neuron.endswith(".toml") or Path(neuron).is_file()
    chosen = read_neuron(Path(neuron)) if is_file else get_neuron(neuron.lower())
    if toml:
        click.echo(write_neuron(chosen), nl=False)
        return
    rule = derive_rule(chosen)
    click.echo(rule.latex if latex else str(rule))


@click.command("evaluate")
@click.argument("folder", type=FOLDER)
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    show_default="8",
    help="Number of batches of fresh trials.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), show_default="64", help="Trials per batch."
)
@run_options(("device", "kill", "noise"))
@plain_errors
def evaluate_command(
    folder: Path, batches: int | None, batch_size: int | None, choices: RunChoices
) -> None:
    """Run fresh trials with the weights in FOLDER and print loss and error.

    A balanced network runs freely on a fresh input.
    """
    model = model_of_run(folder)
    refuse_unused(model, choices)
    model.evaluate(folder, choices, batches, batch_size)


@click.command("plot")
@click.argument("folder", type=FOLDER)
@format_option
@plain_errors
def plot_command(folder: Path, formats: tuple[str, ...]) -> None:
    """Draw the run in FOLDER: learning curve, a trial before and after, weights."""
    from eprop_brian.figures.run import plot_run

    for path in plot_run(folder, formats):
        click.echo(f"wrote {path}")


@click.command("recipe")
@click.argument("task", type=TaskName("recipe"), metavar="TASK")
@plain_errors
def recipe_command(task: str) -> None:
    """Print the recipe of TASK: a file to copy, change and train with --recipe."""
    from eprop_brian.runs.recipes import get_recipe

    click.echo(str(get_recipe(task)), nl=False)


@click.command("verify")
@click.argument(
    "cases",
    metavar="CASE.npz...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--gradient", type=click.Choice(PROGRAMS), default="factored", show_default=True)
@click.option("--device", type=click.Choice(list(DEVICES)), default="cpp", show_default=True)
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
            click.echo(f"{path.name}: FAILED: {error}")
            failed += 1
            continue
        click.echo(f"{path.name}: {result}")
        failed += not result.ok
    if failed:
        click.echo(f"{failed} of {len(cases)} cases deviate", err=True)
        ctx.exit(1)
