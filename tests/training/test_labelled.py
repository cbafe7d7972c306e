"""Training with labels: what is learned, and what is reported of it."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms
from matplotlib import pyplot as plt

from eprop_brian import LIF, Network, Trainer, plot, record
from eprop_brian.figures.labels import frame_probabilities
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.delayed_match import DelayedMatch
from eprop_brian.tasks.labels import label_errors
from eprop_brian.tasks.symbol_strings import SymbolStrings
from eprop_brian.training.evaluation import error_weights
from eprop_brian.training.requirements import check_fit

TASK = SymbolStrings(n_symbols=2, most_symbols=2, most_frames=3, most_pause=2, group_size=3)


def network_of(task=TASK, **options):
    return Network.for_task(task, [(LIF.with_parameters(v_th=0.6, tau_m=10 * ms), 12)], **options)


@pytest.fixture
def trainer():
    return Trainer(network_of(), TASK, batch_size=3, device="runtime", workers=1, seed=2)


def test_the_error_of_a_batch_is_edits_over_labels(trainer):
    batch = hand_out(TASK, trainer.seed, "train", 0, 3)
    before = trainer.session.run(batch, 3, learning=False)
    trainer.train(2, progress=False)
    errors = label_errors(before.output, batch)
    edits = errors * np.maximum(batch.label_counts, 1)
    np.testing.assert_allclose(trainer.history.error[0], edits.sum() / batch.label_counts.sum())
    np.testing.assert_array_equal(error_weights(batch), batch.label_counts)


def test_evaluations_say_what_the_error_is(trainer):
    greedy = trainer.evaluate(1, 8)
    assert str(greedy).startswith(f"loss {greedy.loss:.6g} label error rate {greedy.error:.4f}")
    batch = hand_out(TASK, trainer.seed, "test", 0, 8)
    outputs = trainer.session.run(batch, 8, learning=False).output
    for width in (1, 4):
        errors = label_errors(outputs, batch, width)
        expected = np.average(errors, weights=batch.label_counts)
        assert trainer.evaluate(1, 8, beam_width=width).error == pytest.approx(expected)


def test_a_beam_needs_labels():
    task = DelayedMatch(delay=10 * ms, cue_duration=10 * ms, recall_duration=10 * ms)
    trainer = Trainer(network_of(task), task, batch_size=2, device="runtime", workers=1)
    with pytest.raises(ValueError, match="a beam searches for labels, and task 'delayed-match'"):
        trainer.evaluate(1, 2, beam_width=3)


@pytest.mark.parametrize(
    ("task", "loss", "message"),
    [
        (TASK, "softmax_cross_entropy", "scored by ctc: its network needs a loss of labels"),
        (DelayedMatch(), "ctc", "its network needs one that is not of labels, not ctc"),
    ],
)
def test_loss_and_task_must_fit(task, loss, message):
    with pytest.raises(ValueError, match=message):
        check_fit(network_of(task, loss=loss), task)


def test_the_figure_shows_probabilities_and_what_they_say(trainer):
    weights = trainer.session.weights
    recording = record(trainer.network, TASK, weights, seed=trainer.seed)
    trials = hand_out(TASK, trainer.seed, "test", 0, 1)
    p = frame_probabilities(recording, trials)
    outputs = trainer.session.run(trials, 1, learning=False).output[0]
    np.testing.assert_allclose(p, outputs, rtol=1e-12)
    n_steps = trials.inputs.shape[1] // 2
    periods = np.where(np.arange(n_steps * 2) < n_steps, trials.periods, 0)
    shorter = replace(trials, lengths=np.array([n_steps]), periods=periods)
    p = frame_probabilities(
        record(trainer.network, shorter, weights, learning_window=n_steps), shorter
    )
    assert len(p) == periods.max()
    np.testing.assert_allclose(p, outputs[: len(p)], rtol=1e-12)
    p = np.eye(3)[[2, 0, 0, 2, 1, 2]] * 0.8 + 0.1
    figure = plot.labels(p, [0, 0, 1], "strings")
    (ax,) = figure.axes
    assert ax.get_title() == "strings\nright: 0 0 1; said: 0 1 (1 edits)"
    assert [(text.get_text(), text.get_position()[0]) for text in ax.texts] == [("0", 2), ("1", 5)]
    plt.close(figure)


def test_recorded_errors_are_numbers_where_probabilities_round_to_zero():
    network = network_of()
    weights = {name: 3e3 * w for name, w in network.initial_weights(1).items()}
    trials = hand_out(TASK, 2, "test", 0, 1)
    recording = record(network, trials, weights, dtype="float32")
    assert np.isfinite(recording.learning_signal).all()
    assert np.abs(recording.learning_signal).max() > 0
