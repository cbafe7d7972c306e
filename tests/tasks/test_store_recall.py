"""Timing, groups and answers of store and recall."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.tasks import StoreRecall
from eprop_brian.tasks.store_recall import NOTHING, RECALL, STORE

ARGUMENTS = (1, "train", 0, 300)


@pytest.fixture(scope="module")
def symbols():
    return StoreRecall().symbols(*ARGUMENTS)


@pytest.fixture(scope="module")
def trials():
    return StoreRecall().trials(*ARGUMENTS)


def test_defaults(trials):
    task = StoreRecall()
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (2400, 100, 2)
    assert task.loss == "softmax_cross_entropy"
    assert task.error_threshold == 0.05
    assert trials.inputs.shape == (300, 2400, 100)
    assert trials.targets.shape == (300, 2400, 2)
    assert trials.periods.shape == (300, 2400)
    assert trials.n_answers == 6


def test_stores_and_recalls_take_turns(symbols):
    for commands in symbols[1]:
        given = commands[commands != NOTHING]
        assert len(given) >= 2
        assert np.all(given[::2] == STORE)
        assert np.all(given[1::2] == RECALL)


def test_delays_are_geometric():
    _, commands = StoreRecall(n_symbols=2000, mean_delay=4).symbols(1, "train", 0, 20)
    delays = np.concatenate([np.diff(np.flatnonzero(row != NOTHING)) for row in commands])
    assert delays.mean() == pytest.approx(4, rel=0.05)
    assert np.mean(delays == 1) == pytest.approx(1 / 4, rel=0.1)


def test_values_are_drawn_independently(symbols):
    values, commands = symbols
    assert values.mean() == pytest.approx(0.5, abs=0.03)
    assert values[commands == STORE].mean() == pytest.approx(0.5, abs=0.08)


def test_symbols_can_be_read_from_the_spikes(trials, symbols):
    values, commands = symbols
    # (trial, period, group): whether the group fires in the period.
    active = trials.inputs.reshape(300, 12, 200, 4, 25).any(axis=(2, 4))
    assert np.array_equal(active[..., 0], (values == 0) & (commands != RECALL))
    assert np.array_equal(active[..., 1], (values == 1) & (commands != RECALL))
    assert np.array_equal(active[..., 2], commands == STORE)
    assert np.array_equal(active[..., 3], commands == RECALL)


def test_rates(trials, symbols):
    spikes = trials.inputs.reshape(300, 12, 200, 4, 25)
    for group, command in ((2, STORE), (3, RECALL)):
        assert spikes[:, :, :, group][symbols[1] == command].mean() == pytest.approx(0.05, rel=0.03)
    shown = symbols[1] != RECALL
    assert spikes[:, 1:, :, :2][shown[:, 1:]].mean() == pytest.approx(0.05 / 2, rel=0.02)
    assert not trials.inputs[:, 0].any()


def test_answers_are_the_values_stored_last(trials, symbols):
    for trial, (values, commands) in enumerate(zip(*symbols, strict=True)):
        stored, answer = None, 0
        for period, (value, command) in enumerate(zip(values, commands, strict=True)):
            steps = slice(200 * period, 200 * period + 200)
            target, counted = trials.targets[trial, steps], trials.periods[trial, steps]
            if command == RECALL:
                answer += 1
                assert np.all(counted == answer)
                assert np.all(target == np.eye(2)[stored])
            else:
                assert not counted.any()
                assert not target.any()
            if command == STORE:
                stored = value


def test_trials_depend_on_their_arguments_alone():
    task = StoreRecall()
    first = task.trials(1, "train", 3, 8)
    task.trials(1, "train", 4, 8)
    again = StoreRecall().trials(1, "train", 3, 8)
    for name in ("inputs", "targets", "periods"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    for other in ((2, "train", 3), (1, "test", 3), (1, "train", 4)):
        assert not np.array_equal(first.inputs, task.trials(*other, 8).inputs)


def test_settings_change_the_timing():
    task = StoreRecall(
        n_symbols=3,
        symbol_duration=5 * ms,
        group_size=2,
        mean_delay=1,
        input_rate=2000 * Hz,
        dt=0.5 * ms,
    )
    trials = task.trials(1, "train", 0, 4)
    assert (task.n_steps, task.n_inputs) == (30, 8)
    # With a mean delay of 1 every period has a command: store, recall, store.
    assert trials.n_answers == 1
    assert trials.periods.tolist() == 4 * [10 * [0] + 10 * [1] + 10 * [0]]
    assert trials.inputs[:, 1:10, 4:6].all()
    assert trials.inputs[:, 10:20, 6:].all()
    assert not trials.inputs[:, 10:20, :6].any()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_symbols": 1}, ValueError, "n_symbols must be at least 2"),
        (
            {"mean_delay": 0.5},
            ValueError,
            "mean_delay must lie between 1 period and",
        ),
        ({"mean_delay": float("nan")}, ValueError, "mean_delay must lie between"),
        ({"mean_delay": "six"}, ValueError, "mean_delay must lie between .*, got 'six'"),
        ({"mean_delay": 13}, ValueError, "mean_delay must lie between 1 period and n_symbols"),
        ({"group_size": 0}, ValueError, "group_size must be at least 1"),
        ({"symbol_duration": 200}, DimensionMismatchError, "symbol_duration must be given in"),
        ({"symbol_duration": 0.5 * ms}, ValueError, "is not a whole number of steps"),
        ({"input_rate": 2000 * Hz}, ValueError, r"input_rate \* dt must lie between 0 and 1"),
    ],
)
def test_invalid_settings(settings, error, message):
    with pytest.raises(error, match=message):
        StoreRecall(**settings)
