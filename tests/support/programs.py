"""Exported programs, built and run as a user would, and the same training in the tool."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from eprop_brian.base.cache import cache_folder
from eprop_brian.base.files import beside, read_arrays
from eprop_brian.base.sparse import dense
from eprop_brian.devices.project import digest
from eprop_brian.export import export_project
from eprop_brian.runs.config import RunConfig
from eprop_brian.training.history import History

#: Networks and trials that take no time.
SMALL_CUES = (
    *("task.n_cues=3", "task.cue_duration='10 ms'", "task.pause_duration='5 ms'"),
    *("task.delay='20 ms'", "task.recall_duration='15 ms'", "task.cue_rate='150 Hz'"),
    *("task.group_size=9", "size.lif=5", "size.alif=6"),
)
SMALL_PATTERN = ("task.n_steps=70", "task.n_inputs=35", "size.lif=9", "optimizer.eta=1e-3")

#: What only `program.cpp` includes, where a network needs it.
_OF_SOME_NETWORKS = ("ctc.h", "fire.h", "noise.h", "tiles.h")


def configure(task: str, *settings: str, **run) -> RunConfig:
    network = {key: run.pop(key) for key in ("feedback", "gradient", "updates") if key in run}
    return RunConfig.from_recipe(task, run=run, network=network, settings=settings)


CUES = configure("evidence-accumulation", *SMALL_CUES, batch_size=4)
DIGITS = configure("digits", "size.lif=10", "task.coding=analog", batch_size=8)


def build(project: Path) -> Path:
    """Build with make, or take what was built of the same sources before; return the program."""
    program = project / "train"
    kept = cache_folder() / "exported" / digest(project / "src", "g++")
    if not kept.exists():
        generated = ("program.cpp", "network_description.cpp")
        with sharing(project, ("driver/train.o", "access.o", "threads.o"), generated):
            subprocess.run(["make", "-j2"], cwd=project, check=True, capture_output=True)
        with beside(kept) as copy:
            shutil.copyfile(program, copy)
    shutil.copyfile(kept, program)
    program.chmod(0o755)
    return program


@contextmanager
def sharing(project: Path, objects: Sequence[str], generated: Sequence[str]) -> Iterator[None]:
    """Have make take those objects that another project with the same sources has made.

    Of the sources only the `generated` ones, which `objects` do not include, are a project's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        common = Path(folder) / "common"
        others = shutil.ignore_patterns(*generated, *_OF_SOME_NETWORKS)
        shutil.copytree(project / "src", common, ignore=others)
        shutil.copy(project / "Makefile", common)
        (common / "compiler").write_text(os.environ.get("CXX", "g++"))
        kept = cache_folder() / "objects" / digest(common, "g++")
    # In this order: objects are younger than the settings that they were made with.
    names, built = ("settings", *objects), project / "build"
    if all((kept / name).exists() for name in names):
        for name in names:
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept / name, built / name)
    yield
    for name in names:
        with beside(kept / name) as copy:
            shutil.copyfile(built / name, copy)


def exported(folder: Path, config: RunConfig, **options) -> Path:
    """Export, build, and return the program."""
    return build(export_project(config, folder, **options))


def run(program: Path, *arguments, code: int = 0) -> str:
    """Run a program, elsewhere and without the environment; return its errors and output."""
    found = subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=program.parent.parent,
        env={"PATH": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == code, found.stdout + found.stderr
    return found.stderr + found.stdout


def write_recorded(path: Path, trials, **more) -> None:
    """Trials as a file for ``--trials``."""
    arrays = {name: getattr(trials, name) for name in ("inputs", "targets", "pattern", "target")}
    np.savez(path, **arrays, **more)


def in_tool(config: RunConfig, iterations: int, **options):
    """Train the same in the tool."""
    trainer = config.make_trainer(workers=1)
    trainer.train(iterations, progress=False, **options)
    return trainer


def assert_same(run_folder: Path, trainer, tolerance: float = 1e-12) -> None:
    """The files of a run hold the state and the history of a trainer."""
    found, expected = read_arrays(run_folder / "checkpoint.npz"), trainer.session.state()
    # Which run it is of, which a state does not say.
    found = {name: value for name, value in found.items() if not name.startswith("identity.")}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.shape(found[name]) == np.shape(value)
        a, b = dense(found[name]), dense(value)
        assert np.max(np.abs(a - b), initial=0) <= tolerance * np.max(np.abs(b), initial=1), name
    initial = read_arrays(run_folder / "initial.npz")
    inner = [c.name for c in trainer.session.resolved.connections if not c.to_readout]
    assert any(np.any(dense(found[name]) != dense(initial[name])) for name in inner)
    history = History.read(run_folder / "history.csv")
    for name in ("loss", "error"):
        given, wanted = getattr(history, name), getattr(trainer.history, name)
        np.testing.assert_allclose(given, wanted, rtol=tolerance, err_msg=name)
    np.testing.assert_allclose(history.rate_hz, trainer.history.rate_hz, rtol=1e-5)
    assert history.rates_hz.keys() == trainer.history.rates_hz.keys()
    for name, rates in trainer.history.rates_hz.items():
        np.testing.assert_allclose(history.rates_hz[name], rates, rtol=1e-5, err_msg=name)
