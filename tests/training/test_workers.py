"""Workers: the same result to the bit for any number of them, also when some are killed."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network, Trainer
from eprop_brian.devices import CppProgram, SimulationError
from eprop_brian.network.built import SHARE
from eprop_brian.tasks import get_task
from eprop_brian.training import cluster as cluster_module
from eprop_brian.training.cluster import fingerprint
from eprop_brian.training.local_workers import _Turns
from eprop_brian.training.session import RETRIES, Session
from eprop_brian.training.workers import useful_workers
from support.arrays import assert_same_state

TASK = get_task("evidence-accumulation")
#: Not a whole number of shares.
BATCH_SIZE = 2 * SHARE + 4


def trainer(**options):
    where = {k: options.pop(k) for k in ("workers", "scheduler", "dtype") if k in options}
    settings = {"c_reg": 300.0, "feedback": "random", "average_gradient": True, **options}
    network = Network.standard(
        TASK.n_inputs, TASK.n_outputs, [(LIF, 6), (ALIF, 5)], loss=TASK.loss, **settings
    )
    return Trainer(network, TASK, batch_size=BATCH_SIZE, seed=3, **where)


def trained(iterations=3, **options):
    made = trainer(**options)
    made.train(iterations, progress=False)
    result = made.session.state(), made.history, made.evaluate(2, BATCH_SIZE)
    made.close()
    return result


@pytest.mark.parametrize("rate_averaging", ["trial", "batch"])
def test_any_number_of_workers_gives_the_same_to_the_bit(rate_averaging):
    alone, *others = (trained(workers=n, rate_averaging=rate_averaging) for n in (1, 2, 3))
    assert np.any(alone[0]["w_in"] != trainer(workers=1).session.weights["w_in"])
    for state, history, evaluation in others:
        assert_same_state(state, alone[0])
        assert history.loss == alone[1].loss
        assert evaluation == alone[2]


def test_a_batch_is_summed_share_by_share():
    """The program itself sums as the workers do, so an update changes by no bit."""
    made = trainer(workers=1)
    session = made.session
    trials = TASK.trials(3, "train", 0, BATCH_SIZE)
    start = session.state()
    session.run(trials, BATCH_SIZE)
    expected = session.state()
    session.restore(start)
    parts = [trials.part(slice(i, min(i + SHARE, BATCH_SIZE))) for i in range(0, BATCH_SIZE, SHARE)]
    shares = session.shares([session.data(part) for part in parts], BATCH_SIZE)
    session.update([share.sums for share in shares], BATCH_SIZE)
    assert_same_state(session.state(), expected)


def test_a_program_killed_in_mid_batch_costs_time_and_nothing_else(monkeypatch):
    expected, *_ = trained(workers=2)
    share, killed, one_by_one = Session.share, [], threading.Lock()

    def killing_once(self, *args, **kwargs):
        with one_by_one:
            if not killed:
                self.program.set({})
                killed.append(self.program._process.pid)
                os.kill(killed[0], signal.SIGKILL)
        return share(self, *args, **kwargs)

    monkeypatch.setattr(Session, "share", killing_once)
    state, *_ = trained(workers=2)
    assert killed
    assert_same_state(state, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_program_that_makes_the_update_is_started_anew(monkeypatch, workers):
    expected, *_ = trained(workers=workers)
    run, killed = CppProgram.run, []

    def killing_once(self, arrays):
        if not killed and arrays["control.updating"]:
            killed.append(self.process_id)
            os.kill(killed[0], signal.SIGKILL)
        return run(self, arrays)

    monkeypatch.setattr(CppProgram, "run", killing_once)
    state, *_ = trained(workers=workers)
    assert killed
    assert_same_state(state, expected)


def test_a_program_that_is_killed_again_and_again_is_reported(monkeypatch):
    made, kills = trainer(workers=1), []

    def killed(self, arrays):
        self.set({})
        kills.append(self._process.pid)
        os.kill(kills[-1], signal.SIGKILL)
        with self._talk() as (_, receive):
            receive(1)

    monkeypatch.setattr(CppProgram, "run", killed)
    with pytest.raises(SimulationError, match="status -9"):
        made.train(1, progress=False)
    assert len(kills) == RETRIES + 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes(NamedTuple):
    """A cluster."""

    address: str
    workers: list
    scheduler: subprocess.Popen


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers as processes of their own, on the loopback."""
    address = f"tcp://127.0.0.1:{free_port()}"

    def start(*arguments):
        command = [sys.executable, "-m", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=tmp_path, **quiet)

    processes = [
        start("distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"),
        *(
            start(
                *("distributed.cli.dask_worker", address, "--host", "127.0.0.1"),
                *("--no-nanny", "--nthreads", "1", "--no-dashboard"),
            )
            for _ in range(2)
        ),
    ]
    yield Processes(address, processes[1:], processes[0])
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_worker_of_a_cluster_may_die(cluster, monkeypatch):
    address, processes, _ = cluster
    expected, *_ = trained(workers=1, iterations=10)
    made = trainer(scheduler=address)
    deadline = time.monotonic() + 60
    while len(made.session.workers.cluster.workers()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    submit, batches = made.session.workers._submit, []

    def killing_one(*args):
        futures = submit(*args)
        batches.append(len(futures))
        if len(batches) == 5:
            processes[0].kill()
        return futures

    monkeypatch.setattr(made.session.workers, "_submit", killing_one)
    made.train(10, progress=False)
    assert batches[4] == 2
    assert len(made.session.workers.cluster.workers()) == 1
    assert_same_state(made.session.state(), expected)
    made.close()


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match=f"scheduler at {address}"):
        trainer(scheduler=address)


def test_a_scheduler_without_workers_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 2.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    process = subprocess.Popen([*command, "--no-dashboard"], **quiet)
    try:
        with pytest.raises(ValueError, match=f"scheduler at {address} has no workers"):
            deadline = time.monotonic() + 60
            while True:
                try:
                    trainer(scheduler=address)
                except ValueError as error:
                    if "cannot reach" not in str(error) or time.monotonic() > deadline:
                        raise
    finally:
        process.kill()
        process.wait()


def test_a_scheduler_that_accepts_and_says_nothing_is_named(monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1.0)
    monkeypatch.setattr(cluster_module, "_EVERY", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"scheduler at {address}: it has not answered for 1"):
            trainer(scheduler=address)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"sympy": "0.7"}, "sympy 0.7 there, .* here"),
        ({"eprop_brian": None}, "eprop_brian is not installed there"),
    ],
)
def test_a_worker_of_another_version_is_refused(cluster, monkeypatch, there, message):
    address = cluster.address
    found = {name: text for name, text in {**fingerprint(), **there}.items() if text}
    monkeypatch.setattr(cluster_module, "_by_value", lambda: lambda: found)
    with pytest.raises(ValueError, match=f"other numbers: {message}"):
        trainer(scheduler=address)


@pytest.mark.slow
def test_a_worker_that_joins_later_is_compared(cluster, monkeypatch):
    made = trainer(scheduler=cluster.address)
    try:
        assert made.session.workers.cluster._compared
        made.session.workers.cluster._compared.clear()  # as if they were other ones
        monkeypatch.setattr(cluster_module, "_by_value", lambda: lambda: {})
        with pytest.raises(ValueError, match="eprop_brian is not installed there"):
            made.train(1, progress=False)
        assert made.iteration == 0
    finally:
        made.close()


@pytest.mark.slow
def test_a_scheduler_that_dies_is_named_in_one_sentence(cluster, monkeypatch, caplog, capfd):
    address = cluster.address
    made = trainer(scheduler=address)
    monkeypatch.setattr(cluster_module, "_PATIENCE", 3.0)
    submit = made.session.workers._submit

    def submit_and_kill(*arguments):
        futures = submit(*arguments)
        cluster.scheduler.kill()
        return futures

    monkeypatch.setattr(made.session.workers, "_submit", submit_and_kill)
    begun = time.monotonic()
    with pytest.raises(SimulationError, match=f"scheduler at {address} does not answer any more"):
        made.train(1, progress=False)
    made.close()
    assert time.monotonic() - begun < 60
    assert "Traceback" not in capfd.readouterr().err
    said = {record.name.partition(".")[0] for record in caplog.records}
    assert not said & {"distributed", "tornado", "asyncio"}


@pytest.mark.slow
def test_a_cluster_without_workers_is_not_waited_for(cluster, monkeypatch):
    address, workers, _ = cluster
    made = trainer(scheduler=address)
    monkeypatch.setattr(cluster_module, "_PATIENCE", 3.0)
    submit = made.session.workers._submit

    def submit_and_kill(*arguments):
        for worker in workers:
            worker.kill()
        return submit(*arguments)

    monkeypatch.setattr(made.session.workers, "_submit", submit_and_kill)
    with pytest.raises(SimulationError, match=f"scheduler at {address} has had no worker for"):
        made.train(1, progress=False)
    made.close()


@pytest.mark.parametrize("workers", [0, -1, 2.5, True])
def test_a_number_of_workers_that_is_none_is_refused(workers):
    with pytest.raises(ValueError, match="workers must be a positive whole number"):
        trainer(workers=workers)


def test_workers_and_scheduler_exclude_each_other():
    with pytest.raises(ValueError, match="workers and scheduler exclude each other"):
        trainer(workers=2, scheduler="tcp://127.0.0.1:1")


def test_only_the_first_two_sums_are_added_as_they_come():
    turns, added = _Turns(), []
    turns.take(1, lambda: added.append(1))
    waiting = [
        threading.Thread(target=turns.take, args=(number, partial(added.append, number)))
        for number in (3, 2)
    ]
    for thread in waiting:
        thread.start()
        thread.join(0.1)
    assert added == [1]
    turns.take(0, lambda: added.append(0))
    for thread in waiting:
        thread.join(60)
    assert added == [1, 0, 2, 3]


def test_an_interrupt_ends_the_programs_and_training_goes_on(monkeypatch):
    expected, *_ = trained(workers=2)
    made = trainer(workers=2)
    workers = made.session.workers
    run, processes, calls = workers.run, [], []

    def interrupted(shares, how, add, meanwhile):
        def interrupt():
            while not all(s.program._process for s in workers.sessions):
                time.sleep(0.001)
            processes.extend(s.program._process for s in workers.sessions)
            raise KeyboardInterrupt

        calls.append(how)
        return run(shares, how, add, interrupt if len(calls) == 2 else meanwhile)

    monkeypatch.setattr(workers, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.train(3, progress=False)
    assert made.iteration == 0
    made.train(3, progress=False)
    assert_same_state(made.session.state(), expected)
    made.close()
    deadline = time.monotonic() + 60
    while any(p is not None and p.poll() is None for p in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "options", [{"gradient": "online"}, {"connectivity": {"w_rec": 0.3}}, {"dtype": "float32"}]
)
def test_every_path_can_be_shared_out(options):
    (alone, *_), (shared, *_) = (trained(workers=n, **options) for n in (1, 2))
    assert_same_state(shared, alone)


def test_workers_need_the_compiled_device():
    network = trainer(workers=1).network
    with pytest.raises(ValueError, match="device 'cpp', not 'runtime'"):
        Trainer(network, TASK, batch_size=BATCH_SIZE, device="runtime", workers=2)


def test_workers_are_started_where_they_pay(monkeypatch):
    network = trainer(workers=1).network
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    assert useful_workers(network, batch_size=1, n_steps=1000) == 1
    assert useful_workers(network, batch_size=640, n_steps=2250) == 4
    assert useful_workers(network, batch_size=2 * SHARE, n_steps=100_000) == 2
