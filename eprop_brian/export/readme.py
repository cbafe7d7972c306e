"""The README of an exported project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from scipy.sparse import issparse

from eprop_brian.network.resolved import Resolved
from eprop_brian.runs.config import RunConfig
from eprop_brian.symbolic.environment_file import write_environment
from eprop_brian.symbolic.printing import derivation_text
from eprop_brian.tasks.base import Task
from eprop_brian.training.state import SessionState

if TYPE_CHECKING:
    from eprop_brian.export.project import Flavour

__all__ = ["readme"]

_TEMPLATES = Path(__file__).parent / "templates"
#: What stands in the history of episodes besides.
_COLUMNS = (
    "; of the episodes, means over the batch: return (the sum of the rewards), length (actions), "
    "entropy (of the policy), value_error (mean squared error of the value)"
)
_OWN_FILES = "| `trials.txt` | only with `--trials`: CRC32 and path of each of its files |\n"


def readme(
    config: RunConfig,
    task: Task,
    state: SessionState,
    flavour: Flavour,
    recorded: Mapping[str, int],
    has_run: bool,
) -> str:
    """Write what an exported project is, how to build and run it, and its equations.

    Parameters
    ----------
    config : RunConfig
    task : Task
    state : SessionState
    flavour : Flavour
        Device of the project, with its compiler and flags.
    recorded : mapping of str to int
        Recorded trials by stream; empty if the program draws them.
    has_run : bool
        Whether the project has a run to resume.
    """
    network, capacity = state.resolved, state.capacity
    neurons = ", ".join(f"{p.size} {p.name}" for p in network.populations)
    source = (
        "The program draws the same trials as eprop_brian's task, from the same random numbers: "
        "with `--seed` it gives eprop_brian's run of that seed."
    )
    acts = capacity.environment is not None
    environment, length = "", f"{capacity.n_steps} steps a trial"
    if capacity.environment is not None:
        source = (
            "The network acts in an environment, which runs in the program. Random numbers are "
            "those of eprop_brian: with `--seed` the program gives eprop_brian's run of that seed. "
            "Its last line is the mean return of the last episodes."
        )
        written = _indented(write_environment(capacity.environment))
        environment = f"\n\nThe environment, as in a file of eprop_brian:\n\n{written}"
        length = f"{capacity.n_steps} steps an episode at most"
    if recorded:
        counts = ", ".join(f"{n} in `data/{stream}.npz`" for stream, n in recorded.items())
        source = (
            f"The trials are recorded ({counts}). The program uses them in order and starts over "
            "at their end; `--seed` changes only the initial weights."
        )
    begin = [
        ("./train", f"{config.run['iterations']} updates, seed {config.run['seed']}; writes run/"),
        ("./train --resume --iterations N", "resume, to N updates in all"),
    ]
    if has_run:
        begin = [
            (begin[1][0], f"resume the run in run/, which has {state.n_updates} updates"),
        ]
    template = Template((_TEMPLATES / "README.md").read_text(encoding="utf-8"))
    return template.substitute(
        task=task.name,
        task_description=task.description,
        neurons=neurons,
        n_inputs=network.n_inputs,
        n_outputs=network.n_outputs,
        length=length,
        batch_size=config.run["batch_size"],
        iterations=config.run["iterations"],
        seed=config.run["seed"],
        version=version("eprop_brian"),
        compiler=flavour.compiler,
        flags=flavour.flags,
        parts=flavour.parts,
        source=source,
        columns=_COLUMNS if acts else "",
        own_files="" if acts else _OWN_FILES,
        own_trials="" if acts else f"{_own_trials(state)}\n",
        begin="\n".join(f"    {call:<33} # {meaning}" for call, meaning in begin),
        matrix_shapes="\n".join(
            f"| `{name}` | {' x '.join(map(str, matrix.shape))}"
            f"{' (sparse)' if issparse(matrix) else ''} |"
            for name, matrix in state.weights.items()
        ),
        updates="\n\n".join(_updates(network)),
        environment=environment,
        equations="\n\n".join(
            _indented(derivation_text(p.system, network.readouts[0].program))
            for p in network.populations
        ),
    )


def _own_trials(state: SessionState) -> str:
    """How to write trials for the program."""
    network, capacity = state.resolved, state.capacity
    template = Template((_TEMPLATES / "README.trials.md").read_text(encoding="utf-8"))
    zeros = f"np.zeros((1, {capacity.target_steps}, {network.n_outputs}))"
    # A class, or a signal.
    example_targets = (
        f"{zeros} + np.eye({network.n_outputs})[0]" if network.readouts[0].loss.softmax else zeros
    )
    periods = ""
    if capacity.n_answers:
        periods = (
            f"\n| `periods` | whole numbers (targets, {capacity.n_steps}) | 0 in steps that do not "
            f"count, n in those that count for answer n, up to {capacity.n_answers} |"
        )
    labels = example_labels = ""
    if capacity.most_labels:
        labels = (
            f"\n| `labels` | whole numbers (targets, {capacity.most_labels}) | what each trial "
            "shows, in this order; -1 behind the last |"
        )
        row = [0, *[-1] * (capacity.most_labels - 1)]
        example_labels = f"\n        labels=np.array([{row}]),"
    lengths = ""
    if capacity.has_lengths:
        lengths = (
            f"\n| `lengths` | whole numbers (trials,) | steps of each trial, 1 to "
            f"{capacity.n_steps}; without this array all have {capacity.n_steps} |"
        )
    return template.substitute(
        n_steps=capacity.n_steps,
        n_inputs=network.n_inputs,
        n_outputs=network.n_outputs,
        target_steps=capacity.target_steps,
        inputs="float" if capacity.analog else "bool",
        input_meaning="analog values" if capacity.analog else "spikes",
        words=""
        if capacity.analog
        else (
            f"\n| or `words` | int32 (patterns, {capacity.n_steps}, {-(-network.n_inputs // 32)}) "
            "| the same, input i in bit i % 32 of word i // 32 |"
        ),
        periods=periods + labels + lengths,
        example_inputs=f"rng.random((10, {capacity.n_steps}, {network.n_inputs}))"
        + ("" if capacity.analog else " < 0.02"),
        example_targets=example_targets,
        example_periods=f"\n        periods=np.ones((1, {capacity.n_steps}), dtype=int),"
        + example_labels
        if capacity.n_answers
        else "",
    )


def _updates(network: Resolved) -> Iterator[str]:
    """What each optimizer does, and to which weights if there are several."""
    for optimizer in network.optimizers:
        names = [x for x, own in network.keys.optimizers.items() if own == optimizer]
        if not names:
            continue
        several = len(names) < len(network.keys.trained)
        of = f" of {', '.join(names)}" if several else ""
        yield (
            f"The optimizer, {optimizer.name}, for every weight w{of} with gradient g in update k:"
            f"\n\n{_indented(optimizer.update)}"
        )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
