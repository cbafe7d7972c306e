"""Weights stay in the program: what is looked at, what is sent, and what is left after a kill."""

import gc
import os
import signal
import weakref

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ALIF, LIF, Network
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.tasks import get_task
from eprop_brian.training.kept import Kept
from eprop_brian.training.session import Session
from eprop_brian.training.workers import ParallelSession
from support.arrays import assert_same_state

TASK = get_task(
    "evidence-accumulation", n_cues=1, group_size=5, delay=20 * ms, recall_duration=50 * ms
)
BATCH_SIZE = 12
#: A command to run and its answer, and the arrays of a call that are too small to matter.
COMMAND, ANSWER = 1, 1


def network(**options):
    return Network.standard(
        TASK.n_inputs,
        TASK.n_outputs,
        [(LIF, 6), (ALIF, 5)],
        loss=TASK.loss,
        **{"feedback": "symmetric", "c_reg": 300.0, **options},
    )


def trials(n_batches=1):
    return TASK.trials(3, "train", 0, n_batches * BATCH_SIZE)


def session(n_batches=1, workers=1, **options):
    made, data = network(**options), trials(n_batches)
    weights = made.initial_weights(1)
    if workers == 1:
        return Session(made, make_program("cpp"), data, TASK.learning_window, weights)
    return ParallelSession(
        made, data, TASK.learning_window, weights, device="cpp", dtype="float64", workers=workers
    )


def programs_of(made):
    """The program of a session, and those of its workers."""
    workers = made.workers.sessions if isinstance(made, ParallelSession) else []
    return [made.program, *(worker.program for worker in workers)]


class Counted:
    """An end of a pipe that counts what goes through."""

    def __init__(self, pipe):
        self._pipe, self.bytes = pipe, 0

    def write(self, data):
        self.bytes += len(data)
        return self._pipe.write(data)

    def read(self, size):
        data = self._pipe.read(size)
        self.bytes += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self._pipe, name)


def counting(program):
    """Count the bytes to and from a running program."""
    process = program._process
    process.stdin, process.stdout = Counted(process.stdin), Counted(process.stdout)
    return lambda: (process.stdin.bytes, process.stdout.bytes)


@pytest.mark.parametrize("workers", [1, 2])
def test_through_the_pipes_goes_a_command_and_its_answer(workers):
    made = session(workers=workers)
    made.run(trials(), BATCH_SIZE)
    counts = [counting(program) for program in programs_of(made)]
    made.run(trials(), BATCH_SIZE)
    made.run(trials(), BATCH_SIZE, learning=False)
    # A worker may have had all of the shares, and another none.
    for sent, received in (count() for count in counts):
        assert sent == COMMAND * received
    total = np.sum([count() for count in counts], axis=0)
    n_calls = 2 if workers == 1 else 2 * 2 + 1
    assert total.tolist() == [COMMAND * n_calls, ANSWER * n_calls]
    made.close()


def test_a_call_that_nobody_looks_into_makes_no_matrix(monkeypatch):
    made = session()
    made.run(trials(), BATCH_SIZE)
    calls = []
    for name in ("matrix", "synaptic_arrays", "feedback_matrix", "feedback_arrays"):
        built = type(made.program.built)
        original = getattr(built, name)
        monkeypatch.setattr(
            built, name, lambda *args, original=original: calls.append(args) or original(*args)
        )
    made.run(trials(), BATCH_SIZE)
    assert made.is_finite()
    made.go_back(made.snapshot())
    made.run(trials(), BATCH_SIZE)
    assert not calls
    assert made.weights["w_in"].shape == (11, TASK.n_inputs)
    assert len(calls) == 1


def test_what_is_changed_in_place_or_set_reaches_the_program(device):
    data, results = trials(), []
    for change in (False, True):
        made = network()
        program = make_program(device)
        s = Session(made, program, data, TASK.learning_window, made.initial_weights(1))
        s.run(data, BATCH_SIZE)
        if change:
            s.weights["w_in"][:, 3] = 0.0
            s.optimizer_states["m.w_rec"] = np.zeros((11, 11))
        else:
            state = s.state()
            state["w_in"][:, 3] = 0.0
            state["m.w_rec"] = np.zeros((11, 11))
            s.restore(state)
        s.run(data, BATCH_SIZE)
        results.append(s.state())
        s.close()
    assert_same_state(*results)
    assert np.any(results[0]["m.w_rec"])


def test_what_was_looked_up_may_be_changed_after_a_call_that_does_not_learn():
    data, losses = trials(), []
    for looks in (True, False):
        s = session()
        if looks:
            w_in = s.weights["w_in"]
        before = s.run(data, BATCH_SIZE, learning=False).loss
        if not looks:
            w_in = s.weights["w_in"]
        w_in[:] = 0.0
        losses.append(s.run(data, BATCH_SIZE, learning=False).loss)
        assert np.any(losses[-1] != before)
        s.close()
    np.testing.assert_array_equal(*losses)


def killed_in_update(monkeypatch, program):
    """Kill a program in its next call, when the weights are half changed."""
    run, key = type(program).run, next(k for k in sorted(program.built.kept) if k.endswith(".w"))
    kills = []

    def torn(self, arrays):
        if self is program and not kills:
            run(self, arrays)
            self.view(key)[::2] += 1.0
            kills.append(self.process_id)
            os.kill(kills[0], signal.SIGKILL)
        return run(self, arrays)

    monkeypatch.setattr(type(program), "run", torn)
    return kills


@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_that_was_killed_in_an_update_leaves_nothing_of_it(monkeypatch, workers):
    undisturbed, made = session(3, workers), session(3, workers)
    for s in (undisturbed, made):
        s.run(trials(3), BATCH_SIZE)
    kills = killed_in_update(monkeypatch, made.program)
    for s in (undisturbed, made):
        s.run(trials(3), BATCH_SIZE)
    assert kills
    assert_same_state(made.state(), undisturbed.state())
    made.close()
    undisturbed.close()


def test_a_program_that_was_killed_between_calls_gets_everything_again(device):
    data, states = trials(), []
    for kills in (False, True):
        made = network()
        weights = made.initial_weights(1)
        s = Session(made, make_program(device), data, TASK.learning_window, weights)
        for _ in range(2):
            s.run(data, BATCH_SIZE)
            if kills and device != "runtime":
                os.kill(s.program.process_id, signal.SIGKILL)
        # Nothing is lost either if the state is looked at, or the program is not to learn.
        loss = s.run(data, BATCH_SIZE, learning=False).loss
        states.append({**s.state(), "loss": loss})
        s.close()
    assert_same_state(*states)


@pytest.mark.parametrize("workers", [1, 2])
def test_programs_that_start_leave_learned_parameters_alone(workers):
    learned, data = {"tau_m": Learned()}, trials()
    sessions = [session(learned=learned), session(workers=workers, learned=learned)]
    results = []
    for s in sessions:
        for name in ("lif.tau_m", "alif.tau_m"):
            s.weights[name] = s.weights[name] * 1.5
        s.run(data, BATCH_SIZE)
        if s is sessions[1]:
            for program in programs_of(s):
                os.kill(program.process_id, signal.SIGKILL)
        loss = s.run(data, BATCH_SIZE, learning=False).loss
        s.run(data, BATCH_SIZE)
        results.append({**s.state(), "loss": loss})
        s.close()
    assert_same_state(*results)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_call_that_fails_leaves_the_state_before_it(monkeypatch, error):
    made = session(2)
    made.run(trials(2), BATCH_SIZE)
    before, run = made.state(), type(made.program).run

    def failing(self, arrays):
        run(self, arrays)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(type(made.program), "run", failing)
        with pytest.raises(error):
            made.run(trials(2), BATCH_SIZE)
    assert_same_state(made.state(), before)
    other = session(2)
    other.restore(before)
    for s in (made, other):
        s.run(trials(2), BATCH_SIZE)
    assert_same_state(made.state(), other.state())


def test_the_state_is_there_after_the_program_has_ended():
    made = session()
    made.run(trials(), BATCH_SIZE)
    made.close()
    state = made.state()
    other = session()
    other.run(trials(), BATCH_SIZE)
    assert_same_state(state, other.state())
    for s in (made, other):
        s.run(trials(), BATCH_SIZE)
    assert_same_state(made.state(), other.state())


def test_a_session_that_nobody_has_ends_its_program():
    made = session()
    made.run(trials(), BATCH_SIZE)
    process, weights, gone = made.program._process, made.weights, weakref.ref(made)
    gc.disable()
    try:
        del made
        assert gone() is None
    finally:
        gc.enable()
    assert np.all(np.isfinite(weights["w_rec"]))
    del weights
    assert process.poll() is not None


def test_a_worker_cannot_change_weights():
    made = session(workers=2)
    made.run(trials(), BATCH_SIZE)
    other = made.program.copy()
    with pytest.raises(Exception, match="status -11"):
        other.run({"control.n_trials": np.zeros(1), "control.updating": np.ones(1)})
    made.close()


def test_an_unknown_name_is_refused():
    kept = Kept({"w_in": np.zeros(2), "w_rec": np.zeros(2)})
    with pytest.raises(KeyError, match="unknown name 'w_inn' .did you mean 'w_in'"):
        kept["w_inn"] = np.zeros(2)
