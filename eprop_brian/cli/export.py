"""The commands `export`, `import-run` and `export-nir`."""

from __future__ import annotations

from pathlib import Path

import click

from eprop_brian.cli.errors import interruptible, plain_errors, refuse
from eprop_brian.cli.folders import hold, new_folder
from eprop_brian.cli.models import is_balanced, run_config
from eprop_brian.cli.options import (
    FEEDBACK_OPTION,
    GRADIENT_OPTION,
    RUN_OPTIONS,
    SEED_OPTION,
    UPDATES_OPTION,
    options,
)
from eprop_brian.tasks import TASKS
from eprop_brian.tasks.dynamics import DYNAMICS

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
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the project (new or empty).",
)
@options(*RUN_OPTIONS[:3], FEEDBACK_OPTION, GRADIENT_OPTION, UPDATES_OPTION)
@options(RUN_OPTIONS[4], SEED_OPTION, RUN_OPTIONS[5])
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
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    feedback: str | None,
    gradient: str | None,
    updates: str | None,
    dtype: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    trial_iterations: int | None,
    inference: bool,
) -> None:
    """Write a project that trains TASK, or goes on with the run in FOLDER, without Python.

    It builds with make or CMake and a compiler.
    """
    from eprop_brian.export import export_inference, export_project
    from eprop_brian.runs.config import RunConfig

    if what in DYNAMICS or is_balanced(Path(what)):
        raise ValueError(
            f"{what} is a balanced network, which cannot be exported: Python measures and changes "
            "it between calls"
        )
    run = None
    if what in TASKS:
        config = run_config(
            what,
            neuron,
            settings,
            feedback,
            gradient,
            updates,
            iterations=iterations,
            batch_size=batch_size,
            seed=seed,
            dtype=dtype,
        )
        config.refuse_unused_scale(settings)
    elif (Path(what) / "config.toml").exists():
        fixed = {
            "--iterations": iterations,
            "--batch-size": batch_size,
            "--neuron": neuron,
            "--feedback": feedback,
            "--gradient": gradient,
            "--updates": updates,
            "--dtype": dtype,
            "--seed": seed,
            "--set": settings or None,
        }
        refuse(fixed, "cannot be changed when a run is exported")
        run = Path(what)
        config = RunConfig.read(run)
    else:
        raise ValueError(
            f"{what} is neither a folder with a run nor a task; tasks: {', '.join(TASKS)}"
        )
    if inference:
        if run is None:
            raise click.UsageError(
                "--inference exports a trained network: name the folder of a run"
            )
        if device != "cpp" or trial_iterations is not None:
            option = "--device cuda" if device != "cpp" else "--trial-iterations"
            raise click.UsageError(f"{option} is no option of a program for inference")
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

    interruptible(write, interrupted)
    click.echo(f"wrote {out}; build and run it with:")
    click.echo(f"  make -C {out} -j2")
    click.echo(f"  {out}/{command}")


@click.command("import-run")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run (new or empty; default: runs/TASK).",
)
@plain_errors
def import_run_command(folder: Path, out: Path | None) -> None:
    """Check the run of an exported program, and copy it to where runs are.

    FOLDER is the exported project, or the folder that its program was given with --run.
    """
    from eprop_brian.export import find_run
    from eprop_brian.export import import_run as bring_back
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.runs.run import own_trials

    task = RunConfig.read(find_run(folder)).run["task"]
    target = out or hold(new_folder(task))
    history = bring_back(folder, target)
    click.echo(f"wrote {target}: {len(history)} iterations")
    files = own_trials(target)
    if files:
        click.echo(
            f"Warning: it learned from the trials in {', '.join(files)}, not from its task's; only "
            "its exported program can go on with them",
            err=True,
        )


@click.command("export-nir")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.nir."
)
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

    if is_balanced(folder):
        raise click.UsageError("NIR has no nodes for balanced networks")
    export_run(folder, out, discretisation=discretisation, portable=portable)
    click.echo(f"wrote {out}")
