"""Writing a project that trains a network without Python."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eprop_brian.base.files import write_arrays, write_text
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices import cpp, cuda
from eprop_brian.devices.project import Project
from eprop_brian.export.folders import new_project
from eprop_brian.export.network import constants, description, places
from eprop_brian.export.readme import readme
from eprop_brian.export.runs import copy_run
from eprop_brian.export.trials import source_of, write_trials
from eprop_brian.native import copy_native
from eprop_brian.network.build import build
from eprop_brian.network.exogenous import draws
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import INITIAL
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.training.calls import example_of_call
from eprop_brian.training.kept import Kept
from eprop_brian.training.requirements import check_continuous, check_fit
from eprop_brian.training.state import SessionState

__all__ = ["FLAVOURS", "Flavour", "export_project"]

_TEMPLATES = Path(__file__).parent / "templates"
#: Default number of iterations whose trials are recorded if the program cannot draw them.
_TRIAL_ITERATIONS = 100
#: Bound of the program's seeds: its options have 18 digits.
_SEEDS = 10**18
#: Files of `eprop_brian.native` of which the program around the network consists.
_NATIVE = ("common", "driver", "draws.h", "philox.h")


@dataclass(frozen=True)
class Flavour:
    """How a project for a device is generated and built.

    Attributes
    ----------
    generate : callable
        As `eprop_brian.devices.cpp.generate`.
    makefile, cmake : str
        Templates of the build files.
    compiler, flags, parts : str
        For the README: the compiler, how to compile for another machine, and licences.
    """

    generate: Callable[..., Project]
    makefile: str
    cmake: str
    compiler: str
    flags: str
    parts: str


FLAVOURS = {
    "cpp": Flavour(
        generate=cpp.generate,
        makefile="Makefile.cpp",
        cmake="CMakeLists.cpp.txt",
        compiler="a C++17 compiler (g++)",
        flags="Compiled with `-O3 -march=native`; for another processor: `make CXXFLAGS=-O3`.",
        parts="Brian2 (CeCILL 2.1, https://brian2.readthedocs.io) translated the statements in "
        "`src/program.cpp`, and brought a few functions that they call.",
    ),
    "cuda": Flavour(
        generate=cuda.generate,
        makefile="Makefile.cuda",
        cmake="CMakeLists.cuda.txt",
        compiler="nvcc of CUDA 12 or later, an NVIDIA GPU to run it",
        flags="Compiled for sm_90; for another GPU: `make ARCH=sm_80`, or "
        "`-DCMAKE_CUDA_ARCHITECTURES=80` with CMake; `make NVCC=...` names the compiler.",
        parts="Brian2CUDA (GPL 3, https://brian2cuda.readthedocs.io) translated the statements in "
        "`src/program.cu`, and brought a few functions that they call.",
    ),
}


def export_project(
    config: RunConfig,
    folder: Path,
    *,
    device: str = "cpp",
    trial_iterations: int | None = None,
    run: Path | None = None,
) -> Path:
    """Write a project that trains a network with a compiler and nothing else.

    Parameters
    ----------
    config : RunConfig
    folder : Path
        New or empty.
    device : str
        A key of `FLAVOURS`.
    trial_iterations : int, optional
        Iterations whose trials are recorded (default: 100). Only for a task whose trials the
        program cannot draw itself.
    run : Path, optional
        A run with this configuration, which the program can resume.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If the folder is not empty, the network needs Python between its updates, or the seed has
        more digits than the program's `--seed` takes.
    """
    folder = Path(folder)
    if device not in FLAVOURS:
        raise ValueError(unknown("device", device, FLAVOURS))
    flavour = FLAVOURS[device]
    task, network = _exportable(config)
    source = source_of(task)
    if trial_iterations is not None and source != "recorded":
        raise ValueError(
            f"the program draws the trials of {task.name} itself: leave out trial_iterations"
        )
    state = _session_state(config, task, network)
    # Trials from a file may have a pattern and a target each.
    n_trials = state.capacity.n_trials
    capacity = replace(
        state.capacity,
        n_patterns=max(state.capacity.n_patterns, n_trials),
        n_targets=max(state.capacity.n_targets, n_trials),
    )
    with new_project(folder) as beside:
        code, data = beside / "src", beside / "data"
        project = flavour.generate(
            network, capacity, np.dtype(config.run["dtype"]).type, build=build
        )
        built, types = project.built, project.types
        project.without("calls.cpp").write(code)
        copy_native(_NATIVE, code)
        state.carried = Kept(built.initial_state())
        start = data / "start"
        start.mkdir(parents=True)
        config.write(start)
        copied = sorted(path.name for path in start.iterdir() if path.name != "config.toml")
        write_arrays(start / INITIAL, state.state())
        if run is not None:
            copy_run(run, beside / "run", config, state)
        write_arrays(data / "constants.npz", constants(state, built, types))
        write_arrays(data / "places.npz", places(state, built))
        recorded = write_trials(
            task,
            data,
            config.run["seed"],
            config.run["batch_size"],
            trial_iterations or _TRIAL_ITERATIONS,
            draws(network.resolved.populations),
        )
        trials = {f"{stream}.npz" for stream in recorded}
        own = {path.name for path in data.iterdir() if path.is_file()} - trials
        sums = {name: zlib.crc32((data / name).read_bytes()) for name in sorted(own)}
        write_text(
            code / "driver" / "network_description.cpp",
            description(config, task, state, built, types, source, copied, sums),
        )
        shutil.copyfile(_TEMPLATES / flavour.makefile, beside / "Makefile")
        shutil.copyfile(_TEMPLATES / flavour.cmake, beside / "CMakeLists.txt")
        write_text(
            beside / "README.md", readme(config, task, state, flavour, recorded, run is not None)
        )
    return folder


def _session_state(config: RunConfig, task: Task, network: Network) -> SessionState:
    """The initial state of a run, with the sizes of its calls."""
    size = config.run["batch_size"]
    example = example_of_call(network, task, config.run["seed"], size)
    weights = network.initial_weights(config.run["seed"])
    return SessionState(network, example, task.learning_window, weights)


def _exportable(config: RunConfig) -> tuple[Task, Network]:
    """Task and network of a configuration; ValueError if they cannot be exported."""
    if config.run["seed"] >= _SEEDS:
        raise ValueError(f"seed must be below 10^18 to be exported, not {config.run['seed']}")
    if config.network.get("gradient") == "bptt":
        raise ValueError(
            "gradient = 'bptt' runs in JAX, which compiled programs do not have: choose factored "
            "or online"
        )
    if config.network.get("rewiring") is not None:
        raise ValueError(
            "network.rewiring cannot be exported: Python rewires between updates. Export without "
            "it, or train here"
        )
    task = config.make_task()
    if isinstance(task, EpisodicTask) and task.environment.external:
        raise ValueError(
            f"task '{task.name}' is an environment outside of the program, which an exported one "
            "does not have: train here, or write the environment as equations"
        )
    network = config.make_network(task)
    check_fit(network, task)
    reading = network.resolved.reads_advantage
    if reading and not isinstance(task, EpisodicTask):
        raise ValueError(
            f"the loss of readout '{reading}' reads the advantage, which the trials of an exported "
            "program do not have: train here"
        )
    sharing = [c.name for c in network.resolved.connections if c.shared is not None]
    if sharing:
        raise ValueError(
            f"'{sharing[0]}' shares weights among synapses, which an exported training program "
            "cannot draw: train here, and export the trained network (--inference)"
        )
    if network.continuous:
        check_continuous(network, config.run["batch_size"])
    return task, network
