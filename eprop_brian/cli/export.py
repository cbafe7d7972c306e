"""The commands `export`, `import-run` and `export-nir`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprop_brian.base.printable import pasteable
from eprop_brian.base.suggestions import unknown
from eprop_brian.cli.errors import conclude, interruptible, plain_errors
from eprop_brian.cli.folders import hold, new_folder
from eprop_brian.cli.models import check_supported, model_of_run, model_of_task, task_of
from eprop_brian.cli.options import (
    FOLDER,
    RunChoices,
    new_file_option,
    new_folder_option,
    refuse,
    run_options,
    task_names,
)
from eprop_brian.cli.output import say

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["export_command", "export_nir_command", "import_run_command"]


@click.command("export")
@click.argument("what", metavar="TASK|FOLDER")
@click.option(
    "--device",
    type=click.Choice(["cpp", "cuda", "brian2"]),
    default="cpp",
    show_default=True,
    help="What the program runs on; brian2: a script of plain Brian2.",
)
@click.option(
    "--out",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the project (new or empty); of the device brian2 the script, ending in .py.",
)
@run_options(
    without=(
        "device",
        "workers",
        "scheduler",
        "teacher",
        "kill",
        "noise",
        "validate_every",
        "patience",
    )
)
@click.option(
    "--trial-iterations",
    type=click.IntRange(min=1),
    help="Iterations whose trials are recorded, of a task that the program cannot draw itself "
    "(default: 100), and of the device brian2 those that it learns from (default: 1).",
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

    It builds with make or CMake and a compiler. With --device brian2 it is a script of plain
    Brian2, which needs nothing of this package.
    """
    names = task_names()
    # Perhaps with its argument: ``environment:mine.toml``.
    is_task, folder = what.partition(":")[0] in names, Path(what)
    if not is_task and not (folder / "config.toml").exists():
        raise ValueError(
            unknown("task", what, names)
            + f". To export a trained network, name the folder of its run: {what} has no run"
        )
    from eprop_brian.export import export_inference, export_project
    from eprop_brian.runs.config import RunConfig

    model = model_of_task(choices.recipe or what) if is_task else model_of_run(folder)
    check_supported("export", model, what)
    if is_task:
        config = model.configure(task_of(what, choices), choices)
        config.refuse_unused(choices.settings)
    else:
        refuse(choices.chosen(), "cannot be changed when a run is exported")
        config = RunConfig.read(folder)
    run = None if is_task else folder
    if device == "brian2":
        if inference:
            raise click.UsageError("--device brian2 cannot be combined with --inference")
        if choices.iterations is not None:
            raise click.UsageError(
                "--iterations cannot be combined with --device brian2: --trial-iterations says how "
                "many batches the script learns from"
            )
        if run is None and config.run["dtype"] == "float32":
            raise ValueError("a script of Brian2 computes in float64: leave dtype = float32 away")
        _export_script(config, out, run, trial_iterations or 1)
        return
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
        conclude()
    say(f"wrote {out}; build and run it with:")
    say(f"  make -C {pasteable(out)} -j2")
    name, _, options = command.partition(" ")
    say(f"  {pasteable(out / name)} {options}".rstrip())


def _export_script(config: RunConfig, out: Path, run: Path | None, iterations: int) -> None:
    """Write a script of plain Brian2."""
    from eprop_brian.base.files import read_numbers
    from eprop_brian.brian import export_script
    from eprop_brian.runs.run import CHECKPOINT

    task = config.make_task()
    network = config.make_network(task)
    options = {"seed": config.run["seed"], "batch_size": config.run["batch_size"]}
    weights = None
    if run is not None:
        arrays = read_numbers(run / CHECKPOINT)
        weights = {key: arrays[key] for key in network.resolved.keys.shapes() if key in arrays}
    export_script(network, task, out, iterations=iterations, weights=weights, **options)
    conclude()
    say(f"wrote {out} and {out.with_suffix('.npz')}; run it with:")
    say(f"  python {pasteable(out)}")
    if run is not None:
        say(
            "it has the weights of the run; its optimizer begins anew, with the task's first trials"
        )


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
    conclude()
    say(f"wrote {target}: {len(history)} iterations")
    files = own_trials(target)
    if files:
        say(
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
    conclude(f"wrote {out}")
