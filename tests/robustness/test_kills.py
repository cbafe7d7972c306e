"""Commands that are killed at any moment, politely or not, and called again.

Nothing is lost: what is said to be saved is what is in the folder, and a training that was killed
again and again ends with the state, bit for bit, of one that nobody disturbed. Nothing is left:
neither processes nor temporary files.

The short form is a part of all tests; ``pytest tests/robustness --kills 125`` is the long one, of
1,000 kills.
"""

import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays
from eprop_brian.runs.config import CONFIG
from eprop_brian.runs.run import CHECKPOINT, HISTORY, Run
from support.arrays import assert_same_state
from support.killing import POLITE, Command, call_program, check_end, saved_updates
from support.programs import SMALL_CUES, configure, exported
from support.robustness import COUNTS

SMALL = ("--batch-size", 2, "--set", "task.n_steps=40", "--set", "task.n_inputs=10")
SMALL += ("--set", "size.lif=6", "--no-figures")
BALANCED = ("--device", "runtime", "--set", "network.n=10", "--set", "training.duration=0.2")
BALANCED += ("--set", "network.n_basis=8", "--set", "test.duration=0.1", "--no-figures")
#: What the table calls the kills of a test.
_WHAT = {
    "test_a_training_survives": "kills of trainings, {name}",
    "test_an_exported_program_survives": "kills of exported programs",
    "test_an_export_is_whole_or_not_there": "kills of exports",
    "test_a_check_of_gradients_survives": "kills of checks of gradients",
    "test_a_sweep_survives": "kills of sweeps",
}
#: Calls that a killed training gets before one of them is left in peace.
_MOST_CALLS = 8


class Kind(NamedTuple):
    """A training: how it is begun, and the line that ends it."""

    arguments: tuple
    result: str


KINDS = {
    "runtime": Kind(
        ("pattern-generation", *SMALL, "--device", "runtime", "--iterations", 60), r"^loss "
    ),
    "cpp": Kind(("pattern-generation", *SMALL, "--iterations", 4000), r"^loss "),
    "workers": Kind(("pattern-generation", *SMALL, "--workers", 2, "--iterations", 500), r"^loss "),
    "balanced": Kind(("balanced-bistable", *BALANCED), r"^NMSE "),
}


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    made = Command(tmp_path_factory.mktemp("kills"))
    yield made
    made.close()


def any_signal(rng):
    return int(rng.choice([*POLITE, signal.SIGKILL]))


def check_saved(run: Path, ended) -> int:
    """Check that a run is whole, and that what was said to be saved is; return its updates."""
    done = saved_updates(run)
    assert len((run / HISTORY).read_text().splitlines()) - 1 >= done
    said = re.search(r"checkpoint of \w+ (\d+) (is )?saved", ended.errors)
    assert said is None or int(said[1]) == done, ended
    return done


@pytest.fixture
def counts(request):
    """What came of the kills of a test, for the table."""
    return COUNTS.setdefault(
        _WHAT[request.node.originalname].format(**_name_of(request)), Counter()
    )


def _name_of(request) -> dict:
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    return {"name": name}


class Call(NamedTuple):
    """A command, or a program, and its calls: to begin a training, and to go on with it."""

    call: Callable
    begin: tuple
    resume: tuple
    result: str


def survives(training: Call, folder: Path, n_kills: int, counts: Counter, whole: Callable) -> None:
    """Kill a training and go on with it, again and again, until it is done; `whole` checks it."""
    rng, call = np.random.default_rng(n_kills), training.call
    undisturbed = folder / "undisturbed"
    begun = time.monotonic()
    ended = call(*training.begin, undisturbed)
    assert ended.status == 0, ended
    seconds = time.monotonic() - begun
    expected = read_arrays(undisturbed / CHECKPOINT)
    killed, run = 0, folder / "run"
    while killed < n_kills:
        done = 0
        for attempt in count():
            arguments = (
                (*training.begin, run) if not (run / CONFIG).exists() else (*training.resume, run)
            )
            if attempt == _MOST_CALLS:
                ended = call(*arguments)
                assert ended.status == 0, ended
                break
            number = any_signal(rng)
            ended = call(*arguments, number=number, after=rng.uniform(0, seconds))
            check_end(ended, number, training.result, counts)
            killed += ended.status != 0
            try:
                if (run / CONFIG).exists():
                    saved = check_saved(run, ended)
                    assert saved >= done, "what was saved is gone"
                    done = saved
            except (AssertionError, ValueError):
                counts["lost"] += 1
                raise
            if ended.status == 0:
                break
        try:
            assert_same_state(read_arrays(run / CHECKPOINT), expected)
        except AssertionError:
            counts["lost"] += 1
            raise
        assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []
        whole(run)
        shutil.rmtree(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long_form] * (name == "workers")) for name in KINDS],
)
def test_a_training_survives(command, name, n_kills, tmp_path, counts):
    kind = KINDS[name]
    device = {} if name == "balanced" else {"device": "runtime"}

    def whole(run):
        assert Run.open(run, **device).is_trained

    training = Call(
        partial(command, "train"),
        (*kind.arguments, "--out"),
        ("--no-figures", "--resume"),
        kind.result,
    )
    survives(training, tmp_path, n_kills, counts, whole)
    command("tasks")  # removes what killed processes left
    assert list(command.temporary.glob("eprop_brian_*")) == []


@pytest.mark.slow
def test_an_exported_program_survives(n_kills, tmp_path, counts):
    config = configure("evidence-accumulation", *SMALL_CUES, batch_size=4)
    program = exported(tmp_path / "project", config)
    always = ("--iterations", 3000, "--no-stop")

    def whole(run):
        assert Run.open(run, workers=1).trainer.iteration == 3000

    training = Call(
        partial(call_program, program),
        (*always, "--run"),
        ("--no-stop", "--resume", "--run"),
        "^loss ",
    )
    survives(training, tmp_path, n_kills, counts, whole)


@pytest.mark.slow
def test_an_export_is_whole_or_not_there(command, n_kills, tmp_path, counts):
    rng, call = np.random.default_rng(n_kills), ("export", "pattern-generation", *SMALL[:-1])

    def files(folder):
        return sorted(path.relative_to(folder) for path in folder.rglob("*"))

    begun = time.monotonic()
    assert command(*call, "--out", tmp_path / "undisturbed").status == 0
    seconds, expected = time.monotonic() - begun, files(tmp_path / "undisturbed")
    killed = 0
    while killed < n_kills:
        number, folder = any_signal(rng), tmp_path / "project"
        ended = command(*call, "--out", folder, number=number, after=rng.uniform(0, seconds))
        check_end(ended, number, "build and run it with", counts)
        killed += ended.status != 0
        if folder.exists():
            assert files(folder) == expected
            shutil.rmtree(folder)
        if number == signal.SIGKILL:
            assert command(*call, "--out", folder).status == 0
            shutil.rmtree(folder)
        assert [path.name for path in tmp_path.iterdir()] == ["undisturbed"]


@pytest.mark.slow
@pytest.mark.long_form
def test_a_check_of_gradients_survives(command, n_kills, tmp_path, counts):
    """It runs JAX, whose threads outlast a call that is interrupted."""
    rng, folder = np.random.default_rng(n_kills), tmp_path / "check"
    call = ("gradcheck", "pattern-generation", *SMALL[:-1], "--iterations", 20, "--out", folder)
    begun = time.monotonic()
    assert command(*call).status == 0
    seconds, expected = time.monotonic() - begun, (folder / "gradients.csv").read_text()
    killed = 0
    while killed < n_kills:
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(2):
            number = any_signal(rng)
            ended = command(*call, number=number, after=rng.uniform(0, seconds))
            check_end(ended, number, r"^w_rec: cosine|: cosine ", counts)
            killed += ended.status != 0
        assert command(*call).status == 0
        assert (folder / "gradients.csv").read_text() == expected


@pytest.mark.slow
@pytest.mark.long_form
def test_a_sweep_survives(command, n_kills, tmp_path, counts):
    """Its runs are trained by processes of their own, which end with it."""
    rng, folder = np.random.default_rng(n_kills), tmp_path / "sweep"
    call = ("sweep", "pattern-generation", *SMALL[:-1], "--device", "runtime", "--seeds", 2)
    call += ("--set", "optimizer.eta=1e-3,2e-3", "--iterations", 30, "--out", folder)
    begun = time.monotonic()
    assert command(*call).status == 0
    seconds, expected = time.monotonic() - begun, (folder / "sweep.csv").read_text()
    killed = 0
    while killed < n_kills:
        shutil.rmtree(folder, ignore_errors=True)
        number = any_signal(rng)
        ended = command(*call, number=number, after=rng.uniform(0, seconds))
        check_end(ended, number, r"^optimizer.eta ", counts)
        killed += ended.status != 0
        assert command(*call).status == 0
        assert (folder / "sweep.csv").read_text() == expected


@pytest.mark.slow
def test_a_stopped_program_ends_with_the_process_that_started_it(command, tmp_path):
    process = command.begin(
        *("train", "pattern-generation", *SMALL, "--iterations", 10**9),
        *("--checkpoint-every", 0.2, "--out", tmp_path / "run"),
    )
    try:
        deadline, history = time.monotonic() + 60, tmp_path / "run" / HISTORY
        # A compiler runs before, too.
        while not history.exists() or len(history.read_text()) < 100:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (program,) = (p for p in command.processes() if p != process)
        os.kill(program, signal.SIGSTOP)
    finally:
        os.kill(process, signal.SIGKILL)
    begun = time.monotonic()
    assert command.end(process).status == -signal.SIGKILL
    assert time.monotonic() - begun < 2
