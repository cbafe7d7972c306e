"""The commands `export`, `import-run` and `export-nir`."""

from __future__ import annotations

from pathlib import Path

import click

from eprop_brian.base.suggestions import unknown
from eprop_brian.cli.errors import interruptible, plain_errors
from eprop_brian.cli.folders import hold, new_folder
from eprop_brian.cli.models import all_tasks, check_supported, model_of_run, model_of_task, task_of
from eprop_brian.cli.options import (
    FOLDER,
    RunChoices,
    new_file_option,
    new_folder_option,
    refuse,
    run_options,
)

__all__ = ["export_command", "export_nir_command", "import_run_command"]


@click.command("export")
@click.argument("what", metavar="TASK|FOLDER")
@click.option(
    "--device",
    type=click.Choice(["cpp", "cuda"]),
    default="cpp",
    show_default=True,
    help="What the program runs on.",
)
@new_folder_option("Folder of the project (new or empty).", required=True)
@run_options(without=("device", "workers", "scheduler", "teacher", "kill", "noise"))
@click.option(
    "--trial-iterations",
    type=click.IntRange(min=1),
    help="Iterations whose trials are recorded, of a task that the program cannot draw itself "
    "(default: 100).",
)
@click.option(
    "--inference",
    is_flag=True,
    help="Of the run in FOLDER, write a program that runs trials and does not learn.",
)
@plain_errors
def export_command(
    what: str,
    device: str,
    out: Path,
    choices: RunChoices,
    trial_iterations: int | None,
    inference: bool,
) -> None:
    """Write a project that trains TASK, or goes on with the run in FOLDER, without Python.

    It builds with make or CMake and a compiler.
    """
    from eprop_brian.export import export_inference, export_project
    from eprop_brian.runs.config import RunConfig

    is_task, folder = what in all_tasks(), Path(what)
    if not is_task and not (folder / "config.toml").exists():
        raise ValueError(
            unknown("task", what, all_tasks())
            + f". To export a trained network, name the folder of its run: {what} has no run"
        )
    model = model_of_task(what) if is_task else model_of_run(folder)
    check_supported("export", model, what)
    if is_task:
        config = model.configure(task_of(what, choices), choices)
        config.refuse_unused(choices.settings)
    else:
        refuse(choices.chosen(), "cannot be changed when a run is exported")
        config = RunConfig.read(folder)
    run = None if is_task else folder
    if inference:
        if run is None:
            raise click.UsageError(
                "--inference exports a trained network: name the folder of a run"
            )
        if device != "cpp" or trial_iterations is not None:
            option = "--device cuda" if device != "cpp" else "--trial-iterations"
            raise click.UsageError(f"{option} cannot be combined with --inference")
        command = "infer --help"

        def write() -> Path:
            return export_inference(run, out)
    else:
        command = f"train{' --resume' if run else ''}"

        def write() -> Path:
            return export_project(
                config, out, device=device, trial_iterations=trial_iterations, run=run
            )

    def interrupted() -> str:
        whole = out.is_dir() and any(out.iterdir())
        return f"interrupted; {f'{out} is complete' if whole else 'nothing was written'}"

    with interruptible(interrupted):
        write()
    click.echo(f"wrote {out}; build and run it with:")
    click.echo(f"  make -C {out} -j2")
    click.echo(f"  {out}/{command}")


@click.command("import-run")
@click.argument("folder", type=FOLDER)
@new_folder_option("Folder of the run (new or empty; default: runs/TASK).")
@plain_errors
def import_run_command(folder: Path, out: Path | None) -> None:
    """Check the run of an exported program, and copy it to where runs are.

    FOLDER is the exported project, or the folder that its program was given with --run.
    """
    from eprop_brian.export import find_run, import_run
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.runs.run import own_trials

    task = RunConfig.read(find_run(folder)).run["task"]
    target = out or hold(new_folder(task))
    history = import_run(folder, target)
    click.echo(f"wrote {target}: {len(history)} iterations")
    files = own_trials(target)
    if files:
        click.echo(
            f"Warning: it learned from the trials in {', '.join(files)}, not from its task's; only "
            "its exported program can go on with them",
            err=True,
        )


@click.command("export-nir")
@click.argument("folder", type=FOLDER)
@new_file_option("File of the graph, ending in .nir.")
@click.option(
    "--discretisation",
    type=click.Choice(["exact", "euler"]),
    default="exact",
    show_default=True,
    help="How the reader takes a time step.",
)
@click.option(
    "--portable",
    is_flag=True,
    help="One node a population, as most importers want it; reset and recurrence are then told in "
    "the metadata alone.",
)
@plain_errors
def export_nir_command(folder: Path, out: Path, discretisation: str, portable: bool) -> None:
    """Write the trained network in FOLDER as a NIR graph, or say what has no node there."""
    from eprop_brian.export.nir import export_run

    check_supported("export-nir", model_of_run(folder), folder)
    export_run(folder, out, discretisation=discretisation, portable=portable)
    click.echo(f"wrote {out}")
