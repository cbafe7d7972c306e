"""The command ``eprop-brian``: the Python API for scripts and clusters."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from brian2.units.fundamentalunits import DimensionMismatchError

from eprop_brian.base.interrupts import raising_interrupts, uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.devices import (
    COMPILED,
    DEVICES,
    DTYPES,
    CompilerMissingError,
    ProcessProgram,
    Program,
    SimulationError,
)
from eprop_brian.equations import get_neuron
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.network.spec import GRADIENTS, PROGRAMS, UPDATES
from eprop_brian.tasks import TASKS
from eprop_brian.tasks.dynamics import BALANCED, DYNAMICS
from eprop_brian.training.trainer import TrainingError

__all__ = ["main"]

#: What a user's mistake or the machine can raise: shown as one message, without a traceback.
_SHOWN = (
    CompilerMissingError,
    DimensionMismatchError,
    OSError,
    SimulationError,
    TrainingError,
    TypeError,
    ValueError,
)
#: Why options of a run mean nothing with --no-run.
_NOTHING_WRITTEN = "cannot be given with --no-run, which compiles a program and begins no run"


def _plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show errors without a traceback, and end by Ctrl-C or a polite kill with status 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with raising_interrupts():
            try:
                return _interruptible(lambda: command(*args, **kwargs), "interrupted")
            except _SHOWN as error:
                raise click.ClickException(str(error)) from error
            except (MemoryError, OverflowError) as error:
                raise click.ClickException(
                    f"there is not enough memory for sizes as large as these ({error}): take "
                    "fewer neurons, inputs, steps or trials per batch"
                ) from error

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eprop_brian")
def main() -> None:
    """Spiking neurons written as equations, trained with e-prop."""


@main.command()
def tasks() -> None:
    """List the tasks, one line each."""
    described = {name: task.description for name, task in (*TASKS.items(), *DYNAMICS.items())}
    width = max(map(len, described))
    for name, description in described.items():
        click.echo(f"{name:<{width}}  {description}")


@main.command()
@_plain_errors
def devices() -> None:
    """Say what each device needs, what of it is there and what is missing."""
    from eprop_brian.devices.report import report

    for line in report():
        click.echo(line)


#: What a run of a task can be told, whichever command makes it.
_RUN_OPTIONS = (
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
_FEEDBACK_OPTION = click.option(
    "--feedback",
    metavar="KIND|FILE.npy|EQUATION",
    help=f"The learning signal: {', '.join(FEEDBACKS)}; a file with the matrix B (n_recurrent, "
    "n_outputs); or an equation of what arrives, e.g. 'B*tanh(error)'.",
)
_GRADIENT_OPTION = click.option(
    "--gradient",
    type=click.Choice(GRADIENTS),
    help="Gradient program of e-prop, or bptt: backpropagation through time, in JAX.",
)
_UPDATES_OPTION = click.option(
    "--updates",
    type=click.Choice(UPDATES),
    help="When weights change: at the end of a batch, or without trials and resets in every step "
    "or at every presynaptic spike (with --gradient online).",
)
_SEED_OPTION = click.option("--seed", type=click.IntRange(min=0), help="Of weights and trials.")
#: What only balanced networks can be told.
_BALANCED_OPTIONS = (
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
_FORMAT_OPTION = click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "pdf", "svg"]),
    default=("png",),
    show_default=True,
)


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator; help lists them in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@main.command()
@click.argument("task", required=False)
@_options(*_RUN_OPTIONS[:3], _FEEDBACK_OPTION, _GRADIENT_OPTION, _UPDATES_OPTION)
@_options(*_RUN_OPTIONS[3:5], _SEED_OPTION, _RUN_OPTIONS[5])
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run (new)."
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Continue the run in this folder; only --iterations and where it runs can be given too.",
)
@_options(*_RUN_OPTIONS[6:])
@click.option("--no-figures", is_flag=True, help="Write no figures at the end.")
@click.option(
    "--no-run",
    is_flag=True,
    help="Compile the program only, and say where it is: with --device cuda it takes no GPU.",
)
@_options(*_BALANCED_OPTIONS)
@_plain_errors
def train(
    task: str | None,
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    feedback: str | None,
    gradient: str | None,
    updates: str | None,
    device: str | None,
    dtype: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    workers: int | None,
    scheduler: str | None,
    no_figures: bool,
    no_run: bool,
    teacher: str | None,
    kill: float | None,
    noise: float | None,
) -> None:
    """Train a network on TASK; the last line printed is the final loss (and error).

    Of a balanced network (tasks balanced-...) it is the error of a test, NMSE.
    """
    balanced = {"--teacher": teacher, "--kill": kill, "--noise": noise}
    if task is not None and task.startswith(BALANCED):
        _refuse(
            {
                "--iterations": iterations,
                "--batch-size": batch_size,
                "--neuron": neuron,
                "--feedback": feedback,
                "--gradient": gradient,
                "--updates": updates,
                "--resume": resume,
                "--workers": workers,
                "--scheduler": scheduler,
            },
            "is no option of a balanced network; its settings are changed with --set",
        )
        balanced_config = _balanced_config(
            task, settings, teacher, kill, noise, device, dtype, seed
        )
        if no_run:
            from eprop_brian.balanced.experiment import Experiment

            _refuse({"--out": out}, _NOTHING_WRITTEN)
            _show_program(Experiment(balanced_config).simulation.program)
            return
        _train_balanced(balanced_config, _hold(_new_run(out, task)), not no_figures)
        return
    _refuse(balanced, f"is an option of balanced networks only: {', '.join(DYNAMICS)}")
    # Imported here: listing tasks or deriving a neuron should not wait for it.
    from eprop_brian.training.run import Run

    if workers is not None and scheduler is not None:
        raise click.UsageError("a scheduler has workers of its own: give --workers or --scheduler")
    if no_run:
        given = {"--out": out, "--resume": resume, "--workers": workers, "--scheduler": scheduler}
        _refuse(given, _NOTHING_WRITTEN)
    if resume is not None:
        if _is_balanced(resume):
            raise click.UsageError(
                f"{resume} holds a balanced network, whose training is not resumed: train it anew"
            )
        fixed = {
            "TASK": task,
            "--batch-size": batch_size,
            "--neuron": neuron,
            "--feedback": feedback,
            "--gradient": gradient,
            "--updates": updates,
            "--dtype": dtype,
            "--seed": seed,
            "--set": settings or None,
            "--out": out,
        }
        given = [name for name, value in fixed.items() if value is not None]
        if given:
            raise click.UsageError(f"{given[0]} cannot be changed when a run is resumed")
        _hold(claimed(resume))
        run = Run.open(resume, device=device, workers=workers, scheduler=scheduler)
        click.echo(f"resuming {resume} at iteration {run.trainer.iteration}")
        if run.trainer.iteration >= (iterations or run.config.run["iterations"]):
            click.echo("nothing to do: give a larger --iterations to go on")
    else:
        if task is None:
            raise click.UsageError(f"name a task: {', '.join((*TASKS, *DYNAMICS))}")
        config = _config(
            task,
            neuron,
            settings,
            feedback,
            gradient,
            updates,
            iterations=iterations,
            batch_size=batch_size,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        config.refuse_unused_scale(settings)
        if no_run:
            if config.network["gradient"] == "bptt":
                raise click.UsageError("gradient bptt runs in JAX: there is no program to compile")
            _show_program(config.make_trainer(workers=1).session.program)
            return
        folder = _hold(_new_run(out, task))
        if config.run["device"] in COMPILED and config.network["gradient"] != "bptt":
            click.echo("building the program (a few seconds for a new network) ...")
        run = Run.start(config, folder, workers=workers, scheduler=scheduler)
        click.echo(f"training in {folder}")
    _train(run, iterations)
    _interruptible(lambda: _report(run, figures=not no_figures), lambda: _trained(run))


def _report(run: Any, figures: bool) -> None:
    """Draw a run whose training has ended, and print what came of it."""
    trainer = run.trainer
    if trainer.solved:
        found = trainer.confirmation
        examples = "" if found.n_examples is None else f" of {found.n_examples} other examples"
        click.echo(
            f"solved at iteration {trainer.iteration}, confirmed by an error of {found.error:.4f} "
            f"on {found.n_trials} other trials{examples}"
        )
    if figures:
        from eprop_brian.figures.run import plot_run

        for path in plot_run(run.folder):
            click.echo(f"wrote {path}")
    click.echo(f"wrote {run.folder}/history.csv, {run.folder}/checkpoint.npz")
    if trainer.task.loss == "squared_error":
        click.echo(f"loss {trainer.history.loss[-1]:.6g}")
    else:
        # Not the tests that ended training, which were chosen for being low.
        click.echo(str(trainer.evaluate()))


def _trained(run: Any) -> str:
    """What is said when a command is interrupted after training."""
    return (
        f"interrupted after training; the checkpoint of iteration {run.saved_iteration} is saved. "
        f"For what is missing:\n  eprop-brian plot {run.folder}\n"
        f"  eprop-brian evaluate {run.folder}"
    )


def _show_program(program: Program) -> None:
    """Say where a compiled program is."""
    if not isinstance(program, ProcessProgram):
        raise click.UsageError("device runtime compiles nothing: --no-run is for cpp and cuda")
    click.echo(f"{'compiled' if program.compiled else 'found'} {program.folder / 'main'}")


def _refuse(options: dict[str, Any], reason: str) -> None:
    """Raise for the first option that was given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise click.UsageError(f"{given[0]} {reason}")


def _balanced_config(
    task: str,
    settings: tuple[str, ...],
    teacher: str | None = None,
    kill: float | None = None,
    noise: float | None = None,
    device: str | None = None,
    dtype: str | None = None,
    seed: int | None = None,
) -> Any:
    """The configuration of an experiment with a balanced network."""
    from eprop_brian.balanced.config import BalancedConfig

    return BalancedConfig.from_recipe(
        task,
        teacher=teacher,
        run={"device": device, "dtype": dtype, "seed": seed},
        test={"kill": kill, "noise": noise},
        settings=settings,
    )


def _train_balanced(config: Any, folder: Path, figures: bool) -> None:
    from eprop_brian.balanced import command

    _interruptible(
        lambda: command.train(config, folder, click.echo, figures=figures),
        lambda: (
            f"interrupted; {folder} is complete but for figures"
            if (folder / "config.toml").exists()
            else "interrupted; nothing was written"
        ),
    )


def _train(run: Any, iterations: int | None) -> None:
    """Train; when interrupted say where the checkpoint is and how to go on."""
    _interruptible(
        lambda: run.train(iterations),
        lambda: (
            f"interrupted; checkpoint of iteration {run.saved_iteration} saved. "
            f"Resume with:\n  eprop-brian train --resume {run.folder}"
            if run.is_there
            else f"interrupted; nothing is saved: {run.folder} was deleted or moved meanwhile"
        ),
    )


def _interruptible(work: Callable[[], Any], message: str | Callable[[], str]) -> Any:
    """Do some work; when interrupted, end with a message and exit status 130."""
    try:
        return work()
    except KeyboardInterrupt:
        # The terminal may be what was closed.
        with uninterrupted(), contextlib.suppress(OSError):
            click.echo(f"\n{message if isinstance(message, str) else message()}", err=True)
        raise SystemExit(130) from None


def _without_figures(table: Path) -> str:
    """What is said when a command is interrupted that trains nothing any more."""
    return (
        f"interrupted after training; {table} and all runs are written. The same command draws the "
        "figures that are missing"
    )


def _hold(claim: contextlib.AbstractContextManager[Any]) -> Any:
    """Enter a context until the command ends."""
    return click.get_current_context().with_resource(claim)


@contextlib.contextmanager
def _new_run(out: Path | None, task: str) -> Iterator[Path]:
    """Claim the folder of a new run: `out`, or the first one of its task that is not there."""
    with contextlib.ExitStack() as stack:
        for folder in [out] if out else _folders(task):
            with contextlib.suppress(FileExistsError):
                stack.enter_context(claimed(folder, new=out is None))
                break
        yield folder


@contextlib.contextmanager
def _new_folder(task: str) -> Iterator[Path]:
    """Make the first folder of a task that is not there; it does not stay if it stays empty."""
    for folder in _folders(task):
        try:
            folder.parent.mkdir(exist_ok=True)
        except FileExistsError:
            raise ValueError(f"cannot write to {folder}: {folder.parent} is not a folder") from None
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _folders(task: str) -> Iterator[Path]:
    """``runs/<task>``, ``runs/<task>-2`` and so on."""
    names = itertools.chain([task], (f"{task}-{n}" for n in itertools.count(2)))
    return (Path("runs") / name for name in names)


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


def _seeds_option(default: str) -> Callable[..., Any]:
    return click.option(
        "--seeds",
        default=default,
        show_default=True,
        callback=_seeds,
        metavar="NUMBER|SEED,...",
        help="How many seeds, from 1 on, or which (a single one: 7,).",
    )


@main.command()
@click.argument("task", type=click.Choice(list(TASKS)), metavar="TASK")
@click.option(
    "--methods",
    default=",".join((*FEEDBACKS, "bptt")),
    show_default=True,
    metavar="METHOD,...",
    help="Kinds of feedback of e-prop, and bptt: backpropagation through time.",
)
@_options(_seeds_option("5"), *_RUN_OPTIONS)
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the comparison; one that was stopped goes on (default: runs/TASK-comparison).",
)
@_FORMAT_OPTION
@_plain_errors
def compare(
    task: str,
    methods: str,
    seeds: list[int],
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by several methods with several seeds, and draw their learning curves."""
    from eprop_brian.figures.learning import plot_comparison
    from eprop_brian.figures.style import save_figure
    from eprop_brian.training import comparison

    config = _config(
        task, neuron, settings, iterations=iterations, batch_size=batch_size, dtype=dtype
    )
    folder = out or Path("runs") / f"{task}-comparison"
    names = [name.strip() for name in methods.split(",")]
    where = {"device": device, "workers": workers, "scheduler": scheduler}
    _hold(claimed(folder))
    results = _interruptible(
        lambda: comparison.compare(config, folder, names, seeds, **where),
        "interrupted; the same command goes on from the last checkpoint",
    )
    found = comparison.summaries(results)
    table = folder / "comparison.csv"
    comparison.write_summaries(table, found)

    def draw() -> list[Path]:
        threshold = config.make_task().error_threshold
        figure = plot_comparison(comparison.histories(results), threshold)
        return save_figure(figure, folder / "comparison", formats)

    for path in (table, *_interruptible(draw, _without_figures(table))):
        click.echo(f"wrote {path}")
    for result in results:
        if result.failure:
            click.echo(f"{result.folder}: {result.failure}")
    for summary in found:
        click.echo(str(summary))


@main.command()
@click.argument("task", type=click.Choice(list(TASKS)), metavar="TASK")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Iterations between comparisons.",
)
@_options(_seeds_option("1"), *_RUN_OPTIONS[:3], _FEEDBACK_OPTION, *_RUN_OPTIONS[3:])
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with a run for every seed; a check that was stopped goes on "
    "(default: runs/TASK-gradcheck).",
)
@_FORMAT_OPTION
@_plain_errors
def gradcheck(
    task: str,
    every: int,
    seeds: list[int],
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    feedback: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by e-prop, and compare its gradient with backpropagation through time's."""
    from eprop_brian.figures.learning import plot_gradient_check
    from eprop_brian.figures.style import save_figure
    from eprop_brian.training.gradient_check import (
        GradientCheck,
        check_comparable,
        check_gradients,
        read_checks,
        write_checks,
    )
    from eprop_brian.training.run import Run

    numbers = {"iterations": iterations, "batch_size": batch_size, "device": device, "dtype": dtype}
    folder = out or Path("runs") / f"{task}-gradcheck"
    table = folder / "gradients.csv"

    configs = {
        seed: _config(task, neuron, settings, feedback=feedback, **numbers, seed=seed)
        for seed in seeds
    }
    first = configs[seeds[0]]
    first.refuse_unused_scale(settings)
    check_comparable(first.make_network(first.make_task()))
    _hold(claimed(folder))
    for seed, config in configs.items():
        own = folder / f"seed{seed}"
        if (own / "config.toml").exists() and not config.is_of(own):
            raise ValueError(
                f"{own} holds a run with other settings; give the same or choose another folder"
            )

    found = read_checks(table) if table.exists() else {}

    def checked(seed: int) -> None:
        config, own = configs[seed], folder / f"seed{seed}"
        where = {"workers": workers, "scheduler": scheduler}
        exists = (own / "config.toml").exists()
        run = Run.open(own, **where) if exists else Run.start(config, own, **where)
        # What was found after the checkpoint will be found again.
        found[seed] = found.get(seed, GradientCheck()).until(run.trainer.iteration)
        try:
            check_gradients(run.trainer, config.run["iterations"], every, check=found[seed])
        finally:
            with uninterrupted(), claimed(folder):
                # First: rows beyond the checkpoint are found again, but none may be missing.
                write_checks(found, table)
                run.save()
            run.trainer.close()

    for seed in seeds:
        _interruptible(
            lambda s=seed: checked(s), "interrupted; the same command goes on from the checkpoint"
        )
    checks = {seed: found[seed] for seed in seeds}

    def draw() -> list[Path]:
        return save_figure(
            plot_gradient_check(list(checks.values())), folder / "gradients", formats
        )

    for path in (table, *_interruptible(draw, _without_figures(table))):
        click.echo(f"wrote {path}")
    for name in checks[seeds[0]].cosine:
        cosines = [[check.cosine[name][i] for check in checks.values()] for i in (0, -1)]
        # A silent network has no cosine.
        before, after = (
            statistics.median([c for c in known if c == c] or [float("nan")]) for known in cosines
        )
        click.echo(f"{name}: cosine {before:.3f} before, {after:.3f} after training (median)")


def _config(
    task: str,
    neuron: str | None,
    settings: tuple[str, ...],
    feedback: str | None = None,
    gradient: str | None = None,
    updates: str | None = None,
    **run: Any,
) -> Any:
    """The configuration of a run of a task."""
    from eprop_brian.training.config import RunConfig

    network = {"feedback": feedback, "gradient": gradient, "updates": updates}
    return RunConfig.from_recipe(task, neuron=neuron, run=run, network=network, settings=settings)


@main.command()
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
@_options(*_RUN_OPTIONS[:3], _FEEDBACK_OPTION, _GRADIENT_OPTION, _UPDATES_OPTION)
@_options(_RUN_OPTIONS[4], _SEED_OPTION, _RUN_OPTIONS[5])
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
@_plain_errors
def export(
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
    from eprop_brian.training.config import RunConfig

    if what in DYNAMICS or _is_balanced(Path(what)):
        raise ValueError(
            f"{what} is a balanced network, which cannot be exported: Python measures and changes "
            "it between calls"
        )
    run = None
    if what in TASKS:
        config = _config(
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
        _refuse(fixed, "cannot be changed when a run is exported")
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

    _interruptible(write, interrupted)
    click.echo(f"wrote {out}; build and run it with:")
    click.echo(f"  make -C {out} -j2")
    click.echo(f"  {out}/{command}")


@main.command("import-run")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run (new or empty; default: runs/TASK).",
)
@_plain_errors
def import_run(folder: Path, out: Path | None) -> None:
    """Check the run of an exported program, and copy it to where runs are.

    FOLDER is the exported project, or the folder that its program was given with --run.
    """
    from eprop_brian.export import find_run
    from eprop_brian.export import import_run as bring_back
    from eprop_brian.training.config import RunConfig
    from eprop_brian.training.run import own_trials

    task = RunConfig.read(find_run(folder)).run["task"]
    target = out or _hold(_new_folder(task))
    history = bring_back(folder, target)
    click.echo(f"wrote {target}: {len(history)} iterations")
    files = own_trials(target)
    if files:
        click.echo(
            f"Warning: it learned from the trials in {', '.join(files)}, not from its task's; only "
            "its exported program can go on with them",
            err=True,
        )


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--batches", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--device", type=click.Choice(list(DEVICES)))
@_options(*_BALANCED_OPTIONS[1:])
@click.pass_context
@_plain_errors
def evaluate(
    ctx: click.Context,
    folder: Path,
    batches: int,
    batch_size: int,
    device: str | None,
    kill: float | None,
    noise: float | None,
) -> None:
    """Run fresh trials with the weights in FOLDER and print loss and error.

    A balanced network runs freely on a fresh input.
    """
    if _is_balanced(folder):
        from eprop_brian.balanced import command

        for name in ("batches", "batch_size"):
            if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{option} is no option of a balanced network")
        command.evaluate(folder, click.echo, device=device, kill=kill, noise=noise)
        return
    _refuse({"--kill": kill, "--noise": noise}, "is an option of balanced networks only")
    from eprop_brian.training.run import Run

    trainer = Run.open(folder, device=device).trainer
    result = trainer.evaluate(batches, batch_size)
    if result.rate_hz == 0:
        click.echo("no neuron fires in any of these trials", err=True)
    click.echo(
        f"{result.n_trials} fresh trial{'s' * (result.n_trials > 1)} at iteration "
        f"{trainer.iteration}, "
        f"mean rate {result.rate_hz:.1f} Hz"
    )
    click.echo(str(result))


def _is_balanced(folder: Path) -> bool:
    """Whether a folder holds an experiment with a balanced network."""
    return (folder / "teacher.toml").exists()


@main.command()
@click.argument("task", type=click.Choice(list(DYNAMICS)), metavar="TASK")
@click.option(
    "--over",
    type=click.Choice(["n", "kill", "noise", "dt"]),
    required=True,
    help="Neurons, killed fraction, voltage noise (in units of the threshold) or time step (ms).",
)
@click.option(
    "--levels",
    metavar="NUMBER,...",
    required=True,
    callback=lambda _, __, text: _numbers(text),
    help="Values to try, the first is the reference.",
)
@_options(_seeds_option("5"), _BALANCED_OPTIONS[0], *_RUN_OPTIONS[3:6])
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the table and the figure (default: runs/TASK-sweep).",
)
@_FORMAT_OPTION
@_plain_errors
def sweep(
    task: str,
    over: str,
    levels: list[float],
    seeds: list[int],
    teacher: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Measure how the error of a balanced network depends on something, with several seeds."""
    from eprop_brian.balanced import command

    config = _balanced_config(task, settings, teacher, device=device, dtype=dtype)
    folder = out or Path("runs") / f"{task}-sweep"
    _hold(claimed(folder))
    command.sweep(config, over, levels, seeds, folder, click.echo, formats)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise click.BadParameter(f"'{text}' is no list of numbers, for example 10,20,50")
    return numbers


@main.command()
@click.argument("neuron", metavar="NAME|FILE.toml")
@click.option("--latex", is_flag=True, help="LaTeX instead of plain text.")
@click.option("--toml", is_flag=True, help="Print the neuron as a neuron file instead.")
@_plain_errors
def derive(neuron: str, latex: bool, toml: bool) -> None:
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


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_FORMAT_OPTION
@_plain_errors
def plot(folder: Path, formats: tuple[str, ...]) -> None:
    """Draw the run in FOLDER: learning curve, a trial before and after, weights."""
    if _is_balanced(folder):
        from eprop_brian.figures.balanced import plot_experiment as draw
    else:
        from eprop_brian.figures.run import plot_run as draw

    for path in draw(folder, formats=formats):
        click.echo(f"wrote {path}")


@main.command("export-nir")
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
@_plain_errors
def export_nir(folder: Path, out: Path, discretisation: str, portable: bool) -> None:
    """Write the trained network in FOLDER as a NIR graph, or say what has no node there."""
    from eprop_brian.export.nir import export_run

    if _is_balanced(folder):
        raise click.UsageError("NIR has no nodes for balanced networks")
    export_run(folder, out, discretisation=discretisation, portable=portable)
    click.echo(f"wrote {out}")


@main.command()
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
@_plain_errors
def verify(ctx: click.Context, cases: tuple[Path, ...], gradient: str, device: str) -> None:
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
