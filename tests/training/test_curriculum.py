"""Training by e-prop 3: the synthesiser, its session, and the curriculum."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eprop_brian.base.random import integers, rng_for
from eprop_brian.equations import ADAM
from eprop_brian.runs.config import RunConfig
from eprop_brian.tasks import CopyRepeat
from eprop_brian.training.curriculum import CurriculumTrainer
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.jax_session import make_windowed_session
from eprop_brian.training.lstm import Lstm
from eprop_brian.training.synthesiser import Synthesiser
from eprop_brian.training.windows import Boundary

jax.config.update("jax_enable_x64", True)

TASK = CopyRepeat(n_bits=2, length=2, repeats=2)
LSTM = Lstm(TASK.n_inputs, 5, TASK.n_outputs, TASK.loss, ADAM, 1.0)


def session_of(synthesiser="off", window=4, network=LSTM, seed=1, **options):
    return make_windowed_session(
        network, window, synthesiser, n_hidden=7, memory=10, seed=seed, dtype="float64", **options
    )


# --- the synthesiser ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hidden", [0, 15])
def test_a_synthesiser_learns_a_linear_map_in_any_units(n_hidden):
    rng = np.random.default_rng(0)
    own = Synthesiser(6, 3, 2, n_hidden, memory=20)
    state = own.initial(1)
    units, offsets = 10.0 ** rng.integers(-5, 3, 6), rng.normal(size=6)
    matrix, constant = rng.normal(size=(6, 5)), rng.normal(size=5)
    unexplained = []
    for _ in range(30):
        x = rng.normal(size=(2, 20, 6))
        x[..., 4] = 0  # does not change
        y = x @ matrix + constant
        found = Boundary(jnp.asarray(y[..., :3]), jnp.asarray(y[..., 3:]))
        seen = jnp.asarray((x + offsets) * units)
        state, error = own.learned(state, seen, found, jnp.ones((2, 20)))
        unexplained.append(float(error))
    assert unexplained[0] == pytest.approx(1)  # it began by saying 0
    assert unexplained[-1] < 1e-3


def test_windows_that_no_trial_has_teach_nothing():
    own = Synthesiser(3, 2, 1)
    seen, found = jnp.ones((2, 4, 3)), Boundary(jnp.ones((2, 4, 2)), jnp.ones((2, 4, 1)))
    state, error = own.learned(own.initial(1), seen, found, jnp.zeros((2, 4)))
    assert float(error) == 0
    assert not np.any(state["w"]) and not np.any(state["b"])


# --- the session ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "hidden"])
def test_untrained_it_is_none_to_the_bit(kind):
    trials = TASK.trials(1, "train", 0, 8)
    sessions = [session_of(kind), session_of("off")]
    for session in sessions:
        session.run(trials, TASK.learning_window)
    for name, value in sessions[1].state().items():
        np.testing.assert_array_equal(sessions[0].state()[name], value, err_msg=name)
    for session in sessions:
        session.run(trials, TASK.learning_window)
    assert np.any(sessions[0].state()["w_rec"] != sessions[1].state()["w_rec"])


def test_the_oracle_updates_as_one_window_does():
    trials = TASK.trials(1, "train", 0, 8)
    states = []
    sessions = [session_of("oracle"), session_of("oracle", shifted=True)]
    for session in (session_of("off", window=0), *sessions):
        for _ in range(3):
            session.run(trials, TASK.learning_window)
        states.append(session.state())
    for state in states[1:]:
        for name, value in state.items():
            np.testing.assert_allclose(states[0][name], value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_windows_shift_from_update_to_update():
    """Trials of 9 steps: after a first window of 1 to 4 steps come those of 4."""
    trials = TASK.trials(1, "train", 0, 8)
    shifted, fixed = session_of(shifted=True), session_of()
    start, seen = fixed.learned, set()
    for k in range(12):
        first = 1 + int(integers(rng_for(1, "windows", k), 4, (1,))[0])
        for session in (shifted, fixed):
            session.learned = start._replace(n_updates=k)
            session.run(trials, TASK.learning_window)
        same = np.allclose(shifted.state()["w_rec"], fixed.state()["w_rec"], rtol=0, atol=1e-12)
        assert same == (first == 4)
        seen.add(first)
    assert seen == {1, 2, 3, 4}


def test_readouts_are_those_that_the_loss_is_of():
    trials, session = TASK.trials(1, "test", 0, 8), session_of()
    y, _ = session.record(trials)
    counted, targets = y[:, -TASK.learning_window :], trials.targets[:, -TASK.learning_window :]
    entropy = np.log1p(np.exp(counted)) - targets * counted
    loss = session.run(trials, TASK.learning_window, learning=False).loss
    assert loss == pytest.approx(entropy.mean(), rel=1e-12)
    assert session.learned.n_updates == 0


def test_a_state_that_does_not_fit_is_refused():
    session = session_of("linear")
    state = session.state()
    with pytest.raises(ValueError, match="no 'synthesiser.w' of shape"):
        session.restore({**state, "synthesiser.w": np.zeros(3)})
    state["w_in"][0, 0] = np.nan
    with pytest.raises(ValueError, match="'w_in' is not finite"):
        session.restore(state)


# --- the curriculum -------------------------------------------------------------------------------


def test_levels_follow_the_loss():
    first = CopyRepeat(n_bits=2)
    trainer = CurriculumTrainer(session_of(), first, batch_size=4, threshold=3.0)
    history = trainer.train(3, progress=False)
    assert history.trial_length == [5, 7, 9] and history.solved_length == [5, 7, 9]
    assert trainer.level == (3, 2)
    trainer.threshold = 1e-6
    trainer.train(5, progress=False)
    assert history.trial_length[3:] == [12, 12] and trainer.solved_length == 9
    assert np.all(np.array(history.loss) > 0)


def test_a_batch_without_memory_is_refused_before_training():
    with pytest.raises(ValueError, match="iteration 1 and failed: .* would fit .batch_size."):
        CurriculumTrainer(session_of(), CopyRepeat(n_bits=2), batch_size=10**12)


def test_the_weights_that_solved_a_level_are_kept():
    """Not those after the update that followed."""
    trainer = CurriculumTrainer(session_of(), CopyRepeat(n_bits=2), batch_size=4, threshold=3.0)
    trainer.train(2, progress=False)
    trials = trainer.at(trainer.level).trials(0, "train", 2, 4)
    before = trainer.session.state()
    trainer.train(3, progress=False)
    trainer.threshold = 1e-6
    trainer.train(5, progress=False)
    other = CurriculumTrainer(session_of(), CopyRepeat(n_bits=2), batch_size=4)
    other.restore(trainer.state())
    assert other.solved_level == trainer.solved_level == (2, 2)
    other.go_back_to_solved()
    for name in other.session.learned.weights:
        np.testing.assert_array_equal(other.session.state()[name], before[name], err_msg=name)
    loss = other.session.run(trials, 5, learning=False).loss / math.log(2)
    assert loss == pytest.approx(trainer.history.loss[2], rel=1e-12)


def test_a_loss_that_is_no_number_ends_it_in_the_state_before():
    trainer = CurriculumTrainer(session_of(), TASK, batch_size=4)
    trainer.train(1, progress=False)
    before = trainer.state()
    broken = trainer.session.learned
    weights = {**broken.weights, "bias_out": broken.weights["bias_out"] * np.nan}
    trainer.session.learned = broken._replace(weights=weights)
    with pytest.raises(TrainingError, match="iteration 2: the loss is no longer finite"):
        trainer.train(2, progress=False)
    assert trainer.iteration == len(trainer.history) == 1
    assert before["n_updates"] == 1


@pytest.mark.slow
def test_an_lstm_learns_its_first_levels():
    settings = ["size.lstm=24", "task.n_bits=2", "optimizer.eta=0.01"]
    config = RunConfig.from_recipe("copy-repeat-lstm", settings=settings)
    trainer = config.make_trainer()
    trainer.train(600, progress=False)
    assert trainer.solved_length >= 7
    trainer.go_back_to_solved()
    assert trainer.evaluate(trainer.solved_level, 2) < 0.5
    assert math.isfinite(trainer.history.unexplained[-1])


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["network.c_reg=1"], "network.c_reg means nothing to an LSTM"),
        (["readout.tau_out=3 ms"], "readout.tau_out means nothing to an LSTM"),
        (["windows.synthesiser=on"], "unknown synthesiser 'on'"),
        (["curriculum.threshold=0"], "curriculum.threshold must be a positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_recipe("copy-repeat-lstm", settings=settings)


def test_a_learning_rate_beyond_the_float_type_is_refused():
    config = RunConfig.from_recipe("copy-repeat-lstm", settings=["optimizer.eta=1e300"])
    with pytest.raises(ValueError, match=r"eta = 1e\+300 is beyond float32"):
        config.make_trainer()


def test_an_lstm_stands_alone():
    config = RunConfig.from_recipe("copy-repeat-lstm")
    with pytest.raises(ValueError, match="lstm stands alone"):
        config.with_tables({"size": {"lstm": 4, "lif": 3}})


def test_methods_are_windows_and_synthesisers():
    config = RunConfig.from_recipe("copy-repeat")
    assert config.model.methods_of(config) == ("e-prop", "off", "linear", "oracle")
    chosen = {
        "e-prop": (1, "off"),
        "off": (4, "off"),
        "linear-8": (8, "linear"),
        "bptt": (0, "off"),
    }
    for method, (window, synthesiser) in chosen.items():
        windows = config.with_method(method).windows
        assert (windows["window"], windows["synthesiser"]) == (window, synthesiser)
    with pytest.raises(ValueError, match="unknown method"):
        config.with_method("linear-5")
    with pytest.raises(ValueError, match="workers cannot be given"):
        config.make_trainer(workers=2)
