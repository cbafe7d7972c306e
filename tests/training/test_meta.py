"""Learning to learn: going on from a state, what stays fixed, what ends it, what it leads to."""

from pathlib import Path

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import RunConfig
from eprop_brian.equations import ADAM
from eprop_brian.training.adaptation import measure_adaptation
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.meta import MetaRules, MetaTrainer
from support.learned_signals import arm_network, small_arm

FIXED = ("w_out", "w_teacher_rec")
RULES = MetaRules(ADAM.with_parameters(eta=3e-3), fixed=FIXED)
#: The weights of the recipe ``one-shot-arm`` after 1500 iterations, in float32.
TRAINED = Path(__file__).parents[1] / "data" / "one_shot_arm.npz"


def trainer_of(rules=RULES, state=None, **options):
    family = small_arm()
    network = arm_network(family, scale=4.0, **options)
    return MetaTrainer(network, family, rules, batch_size=2, seed=1, state=state)


@pytest.fixture(scope="module")
def trained():
    """A trainer after three iterations, its state after two, and its weights before."""
    trainer = trainer_of()
    before = {name: w.copy() for name, w in trainer.weights.items()}
    trainer.train(2)
    state = trainer.state()
    trainer.train(3)
    return trainer, state, before


def test_fixed_weights_stay_and_all_others_change(trained):
    trainer, state, before = trained
    same = {name for name, w in trainer.weights.items() if np.array_equal(w, before[name])}
    assert same == {*FIXED}
    for name in ("w_rec", "w_teacher_rec"):
        assert not np.any(np.diag(trainer.weights[name]))
    assert not any(f"m.{name}" in state for name in FIXED) and "m.w_rec" in state
    assert len(trainer.history) == trainer.iteration == 3


@pytest.mark.slow
def test_it_goes_on_from_a_state_as_if_it_had_not_stopped(trained):
    """To rounding: JAX compiles anew."""
    whole, state, _ = trained
    other = trainer_of(state=state)
    assert other.iteration == 2
    other.train(3)
    assert other.history.loss == pytest.approx(whole.history.loss[2:], rel=1e-5)
    for name, array in whole.state().items():
        np.testing.assert_allclose(other.state()[name], array, rtol=1e-4, atol=1e-7)
    changed = np.abs(whole.state()["w_rec"] - state["w_rec"]).max()
    assert changed > 1e-3


def test_weights_that_are_not_finite_end_the_training(trained):
    trainer, state, _ = trained
    number, history = trainer.iteration, len(trainer.history)
    kept, trainer.weights["B"] = trainer.weights["B"], np.full((5, 5), np.nan)
    try:
        with pytest.raises(TrainingError, match="iteration 4: weights or loss are not finite"):
            trainer.train(4)
    finally:
        trainer.weights["B"] = kept
    assert (trainer.iteration, len(trainer.history)) == (number, history)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="weights that stay fixed 'w_up'"):
        trainer_of(MetaRules(fixed=("w_up",)))
    for option in ({"c_reg": 1.0}, {"average_gradient": True}):
        with pytest.raises(ValueError, match=f"has no {next(iter(option))}"):
            trainer_of(**option)
    for family, message in (
        (small_arm(n_code=3), "n_inputs = 7, task 'one-shot-arm' 9"),
        (small_arm(dt=0.5 * ms), "dt"),
    ):
        with pytest.raises(ValueError, match=message):
            MetaTrainer(arm_network(small_arm()), family)
    with pytest.raises(TypeError, match=r"get_family\('one-shot-arm'\) makes one"):
        MetaTrainer(arm_network(small_arm()), "one-shot-arm")
    state = trainer_of().state()
    del state["m.B"]
    with pytest.raises(ValueError, match="the state lacks 'm.B' of shape"):
        trainer_of(state=state)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"clip_norm": 0}, "clip_norm must be positive, or None, not 0"),
        ({"rate_cost": float("nan")}, "rate_cost must be a finite number"),
        ({"f_target": -1.0}, "f_target must be at least 0"),
        ({"fixed": "w_out"}, r"several names, such as \('w_out',\)"),
        ({"optimizer": ADAM.with_parameters(eta=float("nan"))}, "eta must be a finite number"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        MetaRules(**rules)


@pytest.mark.slow
def test_after_training_one_update_moves_the_arm_to_its_target():
    """On movements that it has not seen, by the program alone; nothing else does it."""
    config = RunConfig.from_recipe("one-shot-arm")
    family = config.make_task()
    network = config.make_network(family)
    with np.load(TRAINED) as stored:
        weights = {name: stored[name].astype(float) for name in stored}
    test = measure_adaptation(
        network, family, weights, network.initial_weights(1), n_tasks=16, rates=(1e-3, 1e-2, 1.0)
    )
    before = test.before.mean()
    assert test.after.mean() < 0.5 * before
    assert np.mean(test.after < test.before) > 0.9
    assert test.shuffled.mean() > 0.9 * before and test.other.mean() > 0.9 * before
    assert test.after.mean() < test.errors_adapted.mean() < test.errors_drawn.mean()
