"""What is said of how a network fires, and of losses that are not finite though weights are."""

import warnings

import numpy as np
import pytest

from eprop_brian import GRADIENT_DESCENT, LIF, Network, Population, Trainer
from eprop_brian.network.parts import Inputs, LearningSignal, Projection, Readout
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.firing import LASTING, FiringWatch, most_rate
from eprop_brian.training.history import History

N_STEPS, N_TRIALS = 60, 3


class Drive(Task):
    """Constant inputs; in some iterations the target is 1 rather than 0."""

    name, description, loss, error_threshold = "drive", "", "squared_error", None
    n_steps, n_inputs, n_outputs, learning_window = N_STEPS, 2, 1, N_STEPS
    with_target = frozenset()

    def trials(self, seed, stream, index, n_trials):
        inputs = np.ones((1, N_STEPS, 2))
        targets = np.full((1, 1, 1), float(stream == "train" and index in self.with_target))
        zeros = np.zeros(n_trials, dtype=int)
        return Trials(inputs=inputs, targets=targets, pattern=zeros, target=zeros)


def driven(weights: dict, *, neuron=LIF, eta: float = 1e-12, task=None, **options) -> Trainer:
    """A trainer of some populations of two neurons, with their weights from inputs."""
    names = [*weights]
    network = Network(
        [
            Inputs(2),
            *(Population(neuron, 2, name) for name in names),
            Readout(1, loss=options.pop("loss", "squared_error")),
            *(Projection("inputs", name, f"w_{name}") for name in names),
            Projection([*names], "readout", "w_out"),
            *(LearningSignal("readout", name, "random") for name in names),
        ],
        optimizer=GRADIENT_DESCENT.with_parameters(eta=eta),
        **options,
    )
    given = network.initial_weights(1)
    given |= {f"w_{name}": np.full((2, 2), weights[name]) for name in names}
    return Trainer(network, task or Drive(), batch_size=N_TRIALS, weights=given, device="runtime")


def warned(trainer: Trainer, iterations: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train(iterations, progress=False)
    return [str(w.message) for w in caught if w.category is UserWarning]


def test_a_silent_population_is_named_once_and_the_rates_of_all_are_kept():
    trainer = driven({"a": 0.02, "b": -0.02})
    (said,) = warned(trainer, 45)
    assert said.startswith("population 'b' is silent since iteration 1: not one of its neurons")
    assert "Scale the weights that reach it up" in said
    rates, columns = trainer.history.rates_hz, trainer.history.columns
    assert columns["rate_hz.a"] is rates["a"] and set(rates) == {"a", "b"}
    assert not np.any(rates["b"]) and np.all(np.array(rates["a"]) > 0)
    np.testing.assert_allclose(2 * np.array(columns["rate_hz"]), rates["a"], rtol=1e-14)
    # By the spikes of the last trial, which is like all others.
    expected = trainer.session.spikes()[:, :2].sum() / (2 * N_STEPS * 1e-3)
    assert rates["a"][-1] == pytest.approx(expected, rel=1e-12)
    assert "firing rate of b (Hz)" in str(trainer.history)


def test_a_saturated_population_is_named():
    trainer = driven({"a": 0.02, "b": 1e4})
    (said,) = warned(trainer, 45)
    assert said.startswith("population 'b' is saturated since iteration 1: it fires at ")
    assert "Hz that are possible" in said and "Scale the weights that reach it down" in said


@pytest.mark.parametrize("t_ref", ["0 ms", "1 ms", "3 ms", "5 ms"])
def test_no_neuron_fires_more_often_than_the_highest_rate(t_ref):
    neuron = LIF.with_parameters(t_ref=t_ref)
    trainer = driven({"a": 1e6}, neuron=neuron)
    trainer.train(1, progress=False)
    (population,) = trainer.session.resolved.populations
    spikes = trainer.session.spikes()[:, 0]
    assert most_rate(population, 1e-3) == pytest.approx(1e3 / np.diff(np.flatnonzero(spikes)).min())


def test_what_learning_did_is_told_since_when():
    """A step that is far too large silences the network after its first iterations."""
    trainer = driven({"a": 0.02}, eta=1e-12)
    assert warned(trainer, 12) == []
    trainer.session.weights["w_a"] = np.full((2, 2), -0.02)
    said = warned(trainer, 40)
    assert any("no neuron fires" in text or "silent since iteration 13" in text for text in said)
    assert any("try a smaller learning rate (now 1e-12)" in text for text in said)


def test_it_is_said_again_only_after_it_has_been_over_for_as_long():
    trainer = driven({"a": 0.02, "b": 0.02})
    watch, history, said = FiringWatch(trainer.session, "float64"), History(), []

    def go_on(rate: float, n: int) -> None:
        for _ in range(n):
            history.append(loss=1.0, rate_hz=5.0, **{"rate_hz.a": 10.0, "rate_hz.b": rate})
            said.extend(watch.check(history, len(history) - 1, None, {}))

    go_on(0.0, LASTING - 1)
    go_on(3.0, 1)
    assert said == []
    go_on(0.0, 3 * LASTING)
    assert len(said) == 1 and f"'b' is silent since iteration {LASTING + 1}" in said[0]
    go_on(3.0, LASTING - 1)
    go_on(0.0, LASTING)
    assert len(said) == 1
    go_on(3.0, LASTING)
    go_on(0.0, LASTING)
    assert len(said) == 2
    # Another process reads it from the file.
    again = [*FiringWatch(trainer.session, "float64").check(history, len(history) - 1, None, {})]
    assert again == said[1:]


def test_a_loss_that_is_not_finite_is_no_end_while_weights_are():
    """Where the target is 1 the loss overflows, but not its derivative."""
    loss, task = "0.5*(y - y_target)**2 + exp(1000*y_target)", Drive()
    object.__setattr__(task, "with_target", frozenset({3, 4}))
    trainer = driven({"a": 0.02}, eta=1e-7, task=task, loss=loss)
    (said,) = warned(trainer, 20)
    assert said.startswith("the loss is no longer finite at iteration 4: it is inf in trial 0")
    assert "exp(1000*y_target)" in said and said.endswith("training goes on")
    losses = np.array(trainer.history.loss)
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [3, 4]
    # Looking for the reason changed nothing.
    other = driven({"a": 0.02}, eta=1e-7, task=task, loss="0.5*(y - y_target)**2")
    other.train(20, progress=False)
    for name, weights in other.session.weights.items():
        np.testing.assert_array_equal(trainer.session.weights[name], weights)


def test_columns_of_populations_in_files(tmp_path):
    history = History()
    history.append(1.0, 0.5, 10.0, 0.1, 0.2)
    history.append(loss=np.inf, rate_hz=20.0, seconds=0.1, **{"rate_hz.b": 0.0, "rate_hz.a": 40.0})
    history.write(tmp_path / "history.csv")
    head, first, second = (tmp_path / "history.csv").read_text().splitlines()
    assert head == "iteration,loss,error,rate_hz,seconds,alignment,rate_hz.b,rate_hz.a"
    assert first == "1,1.0,0.5,10,0.1,0.2,,"
    assert second == "2,inf,,20,0.1,,0,40"
    read = History.read(tmp_path / "history.csv")
    np.testing.assert_equal(vars(read), vars(history))
    assert read.digest() == history.digest() != history.truncated(1).digest()
    assert [*history.truncated(1).columns] == [*History().columns]
    for wrong in ("rate_hz.\x1b[31m", "rate_hz.", "other.a", "rate_hz.a"):
        text = f"{head},{wrong}\n{first},1\n{second},1\n"
        (tmp_path / "history.csv").write_text(text)
        with pytest.raises(ValueError, match="expected the columns"):
            History.read(tmp_path / "history.csv")
