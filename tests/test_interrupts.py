"""Ctrl-C and polite kills: a call that was interrupted raises, and nothing of it is saved."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time

import brian2
import click
import numpy as np
import pytest
from brian2.core.network import Network as Brian2Network
from click.testing import CliRunner

from eprop_brian.balanced.simulation import Simulation
from eprop_brian.base.files import read_arrays
from eprop_brian.base.interrupts import (
    answer_as_command,
    end_without_libraries,
    raising_interrupts,
    uninterrupted,
)
from eprop_brian.base.sparse import dense
from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.devices import SimulationError
from eprop_brian.devices.codeobjects import NumpyStepCodeObject
from eprop_brian.runs import run as runs
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.training.history import History

pytestmark = pytest.mark.usefixtures("answered_signals")

CONFIG = RunConfig.from_recipe(
    "pattern-generation",
    run={"device": "runtime", "batch_size": 2},
    settings=["task.n_steps=40", "task.n_inputs=10", "size.lif=6"],
)


@pytest.fixture
def in_step(monkeypatch):
    """Have something done in the middle of a run on the runtime device: in one of its steps."""

    def arrange(number, action, *arguments):
        run_block, steps = NumpyStepCodeObject.run_block, itertools.count(1)

        def counted(code, block):
            if block == "run" and next(steps) == number:
                action(*arguments)
            return run_block(code, block)

        monkeypatch.setattr(NumpyStepCodeObject, "run_block", counted)

    return arrange


def assert_whole(trainer):
    """What a trainer holds is what as many iterations without any interrupt give."""
    expected = CONFIG.make_trainer()
    expected.train(trainer.iteration, progress=False)
    assert trainer.session.n_updates == trainer.iteration
    for name, value in expected.session.state().items():
        np.testing.assert_array_equal(dense(trainer.session.state()[name]), dense(value))
    assert trainer.history.loss == expected.history.loss


def test_ctrl_c_on_the_runtime_device_raises(in_step):
    trainer = CONFIG.make_trainer()
    trainer._feed.per_call = 3
    # Of 240 steps of the first call, and 80 of the second.
    in_step(300, signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(4, progress=False)
    assert trainer.iteration == 3
    assert not Brian2Network._globally_running
    assert_whole(trainer)


def test_brian2s_stop_makes_no_result(in_step):
    trainer = CONFIG.make_trainer()
    trainer._feed.per_call = 3
    in_step(300, brian2.stop)
    with pytest.raises(SimulationError, match="20 steps before the end of a call of 80"):
        trainer.train(4, progress=False)
    assert trainer.iteration == 3
    assert_whole(trainer)


def test_an_interrupted_balanced_network_has_to_be_reset(in_step):
    config = RunConfig.from_recipe("balanced-oscillator", settings=["network.n=10"])
    network = config.make_network()
    inputs = np.ones((200, network.n_dimensions))
    simulation = Simulation(network, "runtime")
    in_step(50, signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        simulation.run(inputs)
    with pytest.raises(SimulationError, match="reset it first"):
        simulation.run(inputs[:10])
    simulation.reset()
    found, expected = (s.run(inputs[:50]) for s in (simulation, Simulation(network, "runtime")))
    np.testing.assert_array_equal(found.estimate, expected.estimate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_wait_until_a_block_is_done(number):
    done = []
    with pytest.raises(KeyboardInterrupt), raising_interrupts(), uninterrupted():
        with uninterrupted():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_a_signal_is_not_lost_when_the_block_fails():
    with pytest.raises(KeyboardInterrupt) as interrupt, raising_interrupts(), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise OSError("disk full")
    assert str(interrupt.value.__context__) == "disk full"


def test_every_signal_that_waited_is_answered():
    """The first that raises does not drop the others."""
    answered = []

    def answer(number, _):
        answered.append(number)
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, answer) for number in numbers}
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            for number in numbers:
                signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert sorted(answered) == sorted(numbers)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising_interrupts(), uninterrupted():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_block_that_is_concluded_is_not_interrupted():
    with raising_interrupts() as conclude:
        conclude()
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Dropping:
    """Python drops what is raised while an object is deleted."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_an_interrupt_that_python_drops_comes_again():
    with pytest.raises(KeyboardInterrupt), raising_interrupts():
        Dropping()
        time.sleep(10)


def test_an_interrupt_that_python_drops_comes_before_the_block_is_left():
    """Not to what follows, which may be another block."""
    with pytest.raises(KeyboardInterrupt), raising_interrupts():
        Dropping()
    with raising_interrupts() as conclude:
        Dropping()
        conclude()
    with raising_interrupts():
        time.sleep(0.1)


@pytest.fixture
def command_process(monkeypatch):
    """This process as that of the command, as far as signals go."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/eprop-brian", "train"])
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_command_answers_from_its_first_import_to_its_end(command_process, monkeypatch):
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    monkeypatch.setattr("os.write", lambda _, text: ended.append(text))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert answer_as_command()
    signal.raise_signal(signal.SIGTERM)
    assert ended == [b"\ninterrupted\n", 130]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt), raising_interrupts(to_the_end=True):
        signal.raise_signal(signal.SIGTERM)
    # Nothing follows: neither Python's end nor a handler is interrupted.
    assert {signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_IGN}


def test_an_interrupted_command_does_not_wait_for_libraries(command_process, monkeypatch):
    """They come in the middle of the work of their threads."""
    registered, ended = [], []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr("os._exit", ended.append)
    end_without_libraries()
    (leave,) = registered
    leave()
    assert ended == [130]
    monkeypatch.setattr(sys, "argv", ["script.py"])
    end_without_libraries()
    assert registered == [leave]


def test_other_programs_keep_their_answers(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    before = signal.getsignal(signal.SIGTERM)
    assert not answer_as_command()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_command_is_interrupted_among_its_imports(number, tmp_path):
    """It says so as soon as its own code runs, and ends within the time that imports take."""
    code = (
        "import os, signal, sys; sys.argv = ['eprop-brian', 'tasks']; import builtins\n"
        "imported = builtins.__import__\n"
        "def interrupting(name, *rest):\n"
        f"    name == 'brian2' and os.kill(os.getpid(), {int(number)})\n"
        "    return imported(name, *rest)\n"
        "builtins.__import__ = interrupting\n"
        "from eprop_brian.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ninterrupted\n")
    # Brian2 opens its log while it is imported; what is left, the next command removes.
    assert all(path.name.startswith("eprop_brian_~") for path in tmp_path.iterdir())


def test_a_result_that_is_printed_is_not_interrupted(monkeypatch):
    @click.command()
    @plain_errors
    def command():
        conclude("loss 1")
        signal.raise_signal(signal.SIGTERM)

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output) == (0, "loss 1\n")


@pytest.mark.parametrize("kind", ["closed", "full", "none"])
def test_the_standard_error_is_not_worth_a_training(kind, monkeypatch):
    with open(os.devnull if kind == "closed" else "/dev/full", "w", buffering=1) as file:
        if kind == "closed":
            file.close()
        monkeypatch.setattr(sys, "stderr", None if kind == "none" else file)
        trainer = CONFIG.make_trainer()
        trainer.train(3, progress=True)
        assert trainer.iteration == 3
        with contextlib.suppress(OSError):
            file.close()


def test_a_training_of_any_length_begins_at_once():
    trainer = CONFIG.make_trainer()

    def enough(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(10**12, progress=False, after_call=enough)
    assert trainer.iteration == trainer._feed.per_call


def test_saving_cannot_be_interrupted(tmp_path, monkeypatch):
    run = Run.start(CONFIG, tmp_path / "run")
    write = runs.write_arrays

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        write(*arguments)

    monkeypatch.setattr(runs, "write_arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train(2, progress=False)
    assert run.saved_iteration == 2
    assert int(read_arrays(run.folder / "checkpoint.npz")["n_updates"]) == 2
    assert len(History.read(run.folder / "history.csv")) == 2


def test_what_was_interrupted_twice_is_not_saved(tmp_path, monkeypatch):
    """The second time before the state that was before the call is back."""
    run = Run.start(CONFIG, tmp_path / "run")
    run.train(2, progress=False)
    trainer = run.trainer
    take_back, interrupts = trainer.take_back, iter([KeyboardInterrupt])

    def run_half(*_):
        trainer.session.weights["w_in"] = trainer.session.weights["w_in"] + 1.0
        raise KeyboardInterrupt

    def interrupted_once():
        for interrupt in interrupts:
            raise interrupt
        take_back()

    monkeypatch.setattr(trainer.session, "run", run_half)
    monkeypatch.setattr(trainer, "take_back", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        run.train(4, progress=False)
    assert run.saved_iteration == 2
    assert_whole(Run.open(run.folder).trainer)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGHUP]])
def test_the_command_says_what_it_saved(tmp_path, numbers):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "eprop_brian", "train", "pattern-generation"]
    command += ["--device", "runtime", "--batch-size", "2", "--no-figures"]
    # It goes on as it begins: a network that falls silent has a rate of 0.
    settings = ("task.n_steps=40", "task.n_inputs=10", "size.lif=6", "optimizer.eta=1e-12")
    for setting in settings:
        command += ["--set", setting]
    command += ["--iterations", "1000000", "--checkpoint-every", "0.2", "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            history = folder / "history.csv"
            if history.exists() and len(history.read_text().splitlines()) > 1:
                break
            time.sleep(0.1)
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.02)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    # Also where the second of two comes when the command has said all and Python ends.
    assert process.returncode == 130
    run = Run.open(folder)
    assert f"checkpoint of iteration {run.saved_iteration} saved" in errors
    assert run.saved_iteration > 0
    assert np.min(run.trainer.history.loss) > 0
    assert np.min(run.trainer.history.rate_hz[-3:]) > 0
    run.train(run.saved_iteration + 1, progress=False)
