"""Options that several commands share, and the object in which a command gets them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from eprop_brian.base import plugins
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.choices import DEVICES, DTYPES
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.figures import FORMATS
from eprop_brian.network.choices import GRADIENTS, UPDATES
from eprop_brian.recipes import recipe_names

__all__ = [
    "FOLDER",
    "DeviceName",
    "EvaluationChoices",
    "NeuronName",
    "RunChoices",
    "TaskName",
    "format_option",
    "new_file_option",
    "new_folder_option",
    "optional_file_option",
    "refuse",
    "run_options",
    "seeds_option",
    "task_names",
]

#: An existing folder.
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def refuse(options: Iterable[str], reason: str) -> None:
    """Raise for the first of these options, if there is one.

    Parameters
    ----------
    options : iterable of str
        Options that the user chose, ``"--batch-size"``.
    reason : str
        What follows the option's name in the message: "cannot be combined with --inference".
    """
    for option in options:
        raise click.UsageError(f"{option} {reason}")


def _chosen_by(name: str, default: Any = None, *, alias: str = "", **attributes: Any) -> Any:
    """A field of `RunChoices` with the option of the command that fills it."""
    names = tuple(filter(None, (name, alias)))
    metadata = {"option": name, "names": names, "attributes": attributes}
    return field(default=default, metadata=metadata)


class DeviceName(click.Choice):
    """The name of a device of the package, or of one that an installed package offers."""

    def __init__(self) -> None:
        super().__init__(DEVICES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or say which ones there are."""
        if value not in DEVICES and value in plugins.plugins(plugins.DEVICES):
            return value
        return super().convert(value, param, ctx)


class TaskName(click.ParamType):
    """The name of a task, perhaps with an argument: ``NAME:ARGUMENT``."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or say which one may be meant."""
        names = recipe_names()
        name = value.partition(":")[0]
        if name not in names:
            names = task_names()
        if name not in names:
            takes_recipe = ctx is not None and any(p.name == "recipe" for p in ctx.command.params)
            if takes_recipe and value.endswith(".toml"):
                self.fail(f"{value} is no task: write --recipe {value}", param, ctx)
            self.fail(unknown("task", name, names), param, ctx)
        if ":" in value:
            # Imported here: the help and a mistyped name should not wait for them.
            from eprop_brian.tasks import split_name

            try:
                split_name(value)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Give the names that begin as what is typed does."""
        return [CompletionItem(name) for name in task_names() if name.startswith(incomplete)]


class NeuronName(click.ParamType):
    """The name of a neuron of the library, or a neuron file."""

    name = "neuron"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Give the names that begin as what is typed does; if there are none, files."""
        from eprop_brian.equations.neurons import NEURONS, PUBLISHED

        names = [name for name in (*NEURONS, *PUBLISHED) if name.startswith(incomplete)]
        return [*map(CompletionItem, names)] or [CompletionItem(incomplete, type="file")]


@dataclass(frozen=True)
class EvaluationChoices:
    """What a user chose for a network's test: options of ``evaluate``; None keeps the default."""

    batches: int | None
    batch_size: int | None
    sampled: bool
    beam: int | None
    best: bool

    def chosen(self, *, without: Iterable[str] = ()) -> list[str]:
        """Options that the user gave, as they are typed, but for the fields named `without`."""
        return [
            f"--{option.name.replace('_', '-')}"
            for option in fields(self)
            if option.name not in without and getattr(self, option.name) not in (None, False)
        ]


@dataclass(frozen=True)
class RunChoices:
    """What a user chose for a run; None (of `settings`, nothing) keeps the recipe's value.

    Every field is an option of the commands that `run_options` decorates, in this order.
    """

    recipe: Path | None = _chosen_by(
        "--recipe",
        alias="--from",
        type=click.Path(exists=True, path_type=Path),
        metavar="FILE.toml|RUN",
        help="Start from this recipe, not from the task's (eprop-brian recipe prints one to copy), "
        "or from the settings of the run in this folder.",
    )
    iterations: int | None = _chosen_by(
        "--iterations", type=click.IntRange(min=1), help="Number of updates, in all."
    )
    batch_size: int | None = _chosen_by(
        "--batch-size", type=click.IntRange(min=1), help="Trials per update."
    )
    neuron: str | None = _chosen_by(
        "--neuron",
        type=NeuronName(),
        metavar="NAME|FILE.toml",
        help="Take this neuron for all recurrent neurons; eprop-brian neurons lists those of the "
        "library.",
    )
    feedback: str | None = _chosen_by(
        "--feedback",
        metavar="KIND|FILE.npy|EQUATION",
        help=f"The learning signal: {', '.join(FEEDBACKS)}; a file with the matrix B (n_recurrent, "
        "n_outputs); or an equation of what arrives, e.g. 'B*tanh(error)'.",
    )
    gradient: str | None = _chosen_by(
        "--gradient",
        type=click.Choice(GRADIENTS),
        help="Gradient program of e-prop, or bptt: backpropagation through time, in JAX.",
    )
    updates: str | None = _chosen_by(
        "--updates",
        type=click.Choice(UPDATES),
        help="When weights change: at the end of a batch, at every action of an agent, or without "
        "trials and resets in every step or at every presynaptic spike (with --gradient online).",
    )
    device: str | None = _chosen_by("--device", type=DeviceName(), help="Where it runs.")
    dtype: str | None = _chosen_by(
        "--dtype", type=click.Choice(DTYPES), help="Float type of all state."
    )
    seed: int | None = _chosen_by(
        "--seed", type=click.IntRange(min=0), help="Seed of weights and trials."
    )
    settings: tuple[str, ...] = _chosen_by(
        "--set",
        (),
        multiple=True,
        metavar="TABLE.KEY=VALUE",
        help="Replace a setting, e.g. optimizer.eta=1e-3, neuron.tau_m='30 ms', task.n_cues=5, "
        "size.lif=80, network.c_reg=10. May be given several times.",
    )
    validate_every: int | None = _chosen_by(
        "--validate-every",
        type=click.IntRange(min=1),
        help="Test fresh trials (of a data set, examples that are held out) after so many "
        "iterations each, note it in history.csv, and keep the best weights.",
    )
    patience: int | None = _chosen_by(
        "--patience",
        type=click.IntRange(min=1),
        help="Stop after so many validations in a row without a better one (default of "
        "--validate-every then: 50).",
    )
    workers: int | None = _chosen_by(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes that share the trials of a batch (default: one per core if that pays).",
    )
    scheduler: str | None = _chosen_by(
        "--scheduler",
        metavar="ADDRESS",
        help="Share the trials among the workers of a running Dask scheduler, e.g. "
        "tcp://host:8786.",
    )
    teacher: str | None = _chosen_by(
        "--teacher",
        metavar="FILE.toml|EQUATIONS",
        help="Balanced networks: learn this system instead of the task's, e.g. "
        "'dx/dt = (x - x**3)/second : 1'.",
    )
    kill: float | None = _chosen_by(
        "--kill",
        type=click.FloatRange(0, 0.95),
        metavar="FRACTION",
        help="Balanced networks: silence this fraction of the neurons in the test.",
    )
    noise: float | None = _chosen_by(
        "--noise",
        type=click.FloatRange(min=0),
        metavar="SIGMA",
        help="Balanced networks: voltage noise in the test, the standard deviation that it alone "
        "would give a potential.",
    )

    def __post_init__(self) -> None:
        if self.workers is not None and self.scheduler is not None:
            raise click.UsageError(
                "a scheduler has workers of its own: give --workers or --scheduler"
            )

    def chosen(self, *, without: Iterable[str] = ()) -> list[str]:
        """Options that the user gave, as they are typed, but for the fields named `without`."""
        return [
            option.metadata["option"]
            for option in fields(self)
            if option.name not in without and getattr(self, option.name) not in (None, ())
        ]

    def values(self, *names: str) -> dict[str, Any]:
        """Some of the fields, by name."""
        return {name: getattr(self, name) for name in names}

    @property
    def place(self) -> dict[str, Any]:
        """Where the trials of a run are computed: workers and scheduler."""
        return self.values("workers", "scheduler")

    def with_seed(self, seed: int) -> RunChoices:
        """Return a copy with another seed."""
        return replace(self, seed=seed)


def run_options(
    only: Iterable[str] = (), *, without: Iterable[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command options of a run; it gets them as one argument, ``choices``.

    Parameters
    ----------
    only : iterable of str, optional
        Fields of `RunChoices`; default: all.
    without : iterable of str, optional
        Fields to leave out.
    """
    known = {option.name: option for option in fields(RunChoices)}
    unknown_names = {*only, *without} - set(known)
    if unknown_names:
        raise ValueError(f"RunChoices has no field {', '.join(sorted(unknown_names))}")
    names = [name for name in known if (not only or name in only) and name not in without]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            choices = RunChoices(**{name: kwargs.pop(name) for name in names})
            return command(*args, choices=choices, **kwargs)

        decorated: Callable[..., Any] = wrapped
        # The option that is added last comes first in the help.
        for name in reversed(names):
            metadata = known[name].metadata
            add = click.option(*metadata["names"], name, **metadata["attributes"])
            decorated = add(decorated)
        return decorated

    return decorate


def task_names() -> list[str]:
    """Names of recipes, and of tasks that installed packages offer."""
    return [*recipe_names(), *plugins.plugins(plugins.TASKS)]


def new_folder_option(text: str, *, required: bool = False) -> Callable[..., Any]:
    """The option ``--out`` for a folder, with its help; the command gets `out`."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--out", "--output", type=kind, required=required, help=text)


def new_file_option(text: str) -> Callable[..., Any]:
    """The required option ``--out`` for a file, with its help; the command gets `out`."""
    return _file_option(text, required=True)


def optional_file_option(text: str) -> Callable[..., Any]:
    """The option ``--out`` for a file, with its help; the command gets `out`, perhaps None."""
    return _file_option(text, required=False)


def _file_option(text: str, *, required: bool) -> Callable[..., Any]:
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option("--out", "--output", type=kind, required=required, help=text)


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--format`` of commands that draw; the command gets `formats`."""
    return click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(FORMATS),
        default=("png",),
        show_default=True,
        help="File type of the figures. May be given several times.",
    )(command)


#: Most seeds of a command.
_MOST_SEEDS = 10_000


def _seeds(_: click.Context, __: click.Parameter, text: str) -> list[int]:
    """``5`` is the seeds 1 to 5, ``3,7`` those two, ``4-6`` the seeds 4 to 6."""
    numbers: list[int] = []
    try:
        for part in [f"1-{text}"] if text.isdecimal() else text.rstrip(",").split(","):
            first, dash, last = part.partition("-")
            seeds = range(int(first), int(last if dash else first) + 1)
            if len(numbers) + len(seeds) > _MOST_SEEDS:
                raise click.BadParameter(
                    f"'{text}' is more than {_MOST_SEEDS} seeds, each of them a training"
                )
            numbers += seeds
    except (ValueError, OverflowError):
        numbers = []
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise click.BadParameter(
            f"'{text}' is neither a number of seeds, e.g. 5, nor a list of different ones, e.g. "
            "3,7 or 4-6"
        )
    return numbers


def seeds_option(default: str) -> Callable[..., Any]:
    """The option ``--seeds``; the command gets a list of int."""
    return click.option(
        "--seeds",
        default=default,
        show_default=True,
        callback=_seeds,
        metavar="NUMBER|SEED,...",
        help="How many seeds, from 1 on, or which: 3,7 or 4-6 (a single one: 7,).",
    )
