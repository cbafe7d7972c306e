"""Writing a project that runs a trained network without Python and without learning."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from string import Template

import numpy as np

from eprop_brian.base.files import read_numbers, write_array, write_text
from eprop_brian.devices.cpp import generate
from eprop_brian.export.folders import new_project
from eprop_brian.native import copy_native
from eprop_brian.network.build import build
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.graph import ReadoutGroup
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.training.state import SessionState

__all__ = ["export_inference", "inference_state", "network_arrays"]

_TEMPLATES = Path(__file__).parent / "templates"
#: Of networks whose trials differ in length.
_LENGTHS = (
    "\n| `--lengths` | whole numbers | (trials,) | steps of each trial, after which nothing is "
    "read and results are 0; without this file all have all steps |"
)
#: Files of `eprop_brian.native` of which the program around the network consists.
_NATIVE = ("inference.cpp", "npy.h", "common", "draws.h", "philox.h")


def export_inference(run: Path, folder: Path, task: Task | None = None) -> Path:
    """Write a project that runs the trained network of a run, with a compiler and nothing else.

    The program takes trials of the run's length, from a file.

    Parameters
    ----------
    run : Path
        A run (`eprop_brian.runs.run`), however it was trained.
    folder : Path
        New or empty.
    task : Task, optional
        The task of the run, if it is one of your own that no installed package offers.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If there is no run, its network acts in an environment, its weights are not finite, or the
        folder is not empty.
    """
    folder = Path(folder)
    config = RunConfig.read(run, task)
    state = inference_state(config, Path(run))
    if not state.is_finite():
        raise ValueError(f"{Path(run) / CHECKPOINT}: numbers are not finite")
    with new_project(folder) as beside:
        code = beside / "src"
        dtype = np.dtype(config.run["dtype"]).type
        project = generate(state.resolved, state.capacity, dtype, build=build)
        project.without("calls.cpp").write(code)
        copy_native(_NATIVE, code)
        arrays = {
            name: values.astype(project.types[name])
            for name, values in network_arrays(project.built, state).items()
        }
        write_text(code / "trial.h", _trial_header(state, dtype, arrays))
        for name, values in arrays.items():
            write_array(beside / "network" / f"{name}.npy", values)
        shutil.copyfile(_TEMPLATES / "Makefile.inference", beside / "Makefile")
        write_text(beside / "README.md", _readme(state, config.run["task"]))
    return folder


def inference_state(config: RunConfig, run: Path) -> SessionState:
    """The trained network of a run, in a program that takes one trial in a call."""
    task = config.make_task()
    if isinstance(task, EpisodicTask):
        raise ValueError(
            f"the network of task '{task.name}' acts in an environment, and a program that only "
            "runs takes its inputs from a file: export without --inference, whose program trains "
            "and plays episodes"
        )
    network = config.make_network(task)
    trial = hand_out(task, config.run["seed"], "test", 0, 1)
    arrays = read_numbers(run / CHECKPOINT)
    names = network.resolved.keys.shapes()
    weights = {name: arrays[name] for name in names if name in arrays}
    # Periods belong to the trials of a task; the program reports readouts of every step instead.
    trial = replace(trial, labels=None, periods=None, n_answers=None)
    return SessionState(network, trial, task.learning_window, weights, learning=False)


def network_arrays(built: BuiltNetwork, state: SessionState) -> dict[str, np.ndarray]:
    """Arrays that are set once before a program runs, keyed ``"group.variable"``."""
    return {
        **built.parameter_arrays(),
        **built.synaptic_arrays("w", state.weights),
        **{name: state.weights[name] for name in state.keys.learned},
        **built.initial_state(),
        "control.window_start": np.array([state.n_steps - state.learning_window]),
    }


def _trial_header(state: SessionState, dtype: type, arrays: Mapping[str, np.ndarray]) -> str:
    """The header with the constants of the network for ``inference.cpp``."""
    network, capacity = state.resolved, state.capacity
    numbers = {
        "n_steps": state.n_steps,
        "n_inputs": network.n_inputs,
        "n_outputs": network.n_outputs,
        "n_recurrent": network.n_recurrent,
    }
    groups = ", ".join(str(where.stop - where.start) for where in network.input_slices.values())
    readouts = ", ".join(
        f'{{"{r.name}", {r.size}, {r.window(state.learning_window)}, {r.every}}}'
        for r in network.readouts
    )
    populations = ", ".join(
        f'{{"{p.name}", {p.size}, {str(p.reverse_time).lower()}}}' for p in network.populations
    )
    files = ",\n    ".join(
        f'{{"{name}", "{values.dtype.str}", "{values.shape}", {zlib.crc32(values.tobytes())}u}}'
        for name, values in arrays.items()
    )
    return "\n".join(
        [
            "// The network and its trials in numbers.",
            "#ifndef EPROP_BRIAN_TRIAL_H",
            "#define EPROP_BRIAN_TRIAL_H",
            "",
            "namespace eprop_brian",
            "{",
            "namespace trial",
            "{",
            f"typedef {'float' if dtype == np.float32 else 'double'} Real;",
            *(f"const int {name} = {value};" for name, value in numbers.items()),
            f"const int input_groups[] = {{{groups}}};",
            "// Outputs: a name, how many, the last steps of a trial that count, and how many of "
            "them are one of the readout.",
            "struct Readout { const char* name; int size, window, every; };",
            f"const Readout readouts[] = {{{readouts}}};",
            f"const bool analog = {str(capacity.analog).lower()};",
            f"const bool has_lengths = {str(capacity.has_lengths).lower()};",
            "struct Population { const char* name; int size; bool reverse_time; };",
            f"const Population populations[] = {{{populations}}};",
            "// Arrays that stand in files; the sum (CRC32) is that of whole numbers.",
            "struct Given { const char *name, *type, *shape; unsigned sum; };",
            f"const Given given[] = {{\n    {files}}};",
            "}",
            "}",
            "#endif",
            "",
        ]
    )


def _readme(state: SessionState, task: str) -> str:
    network, analog = state.resolved, state.capacity.analog
    template = Template((_TEMPLATES / "README.inference.md").read_text(encoding="utf-8"))
    return template.substitute(
        task=task,
        neurons=", ".join(f"{p.size} {p.name}" for p in network.populations),
        n_inputs=network.n_inputs,
        n_outputs=network.n_outputs,
        n_recurrent=network.n_recurrent,
        n_steps=state.n_steps,
        dt=network.dt,
        outputs="; ".join(_means(readout, state) for readout in network.readouts),
        inputs="any" if analog else "bool, or 0 and 1",
        input_meaning="analog values" if analog else "spikes",
        lengths=_LENGTHS if state.capacity.has_lengths else "",
        version=version("eprop_brian"),
    )


def _means(readout: ReadoutGroup, state: SessionState) -> str:
    """What the program says of the outputs of a readout."""
    name = f"{readout.size} of {readout.name}, " if len(state.resolved.readouts) > 1 else ""
    what = "softmax probabilities" if readout.loss.softmax else "readouts y"
    return f"{name}{what} over the last {readout.window(state.learning_window)} steps"
