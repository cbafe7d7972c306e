"""What the doctor says of histories, of updates and of a run that is silent."""

import numpy as np
import pytest

from eprop_brian.base.sparse import values_of
from eprop_brian.cli.doctor import _measured
from eprop_brian.runs.doctor import _regularised, examine
from eprop_brian.tasks.base import hand_out
from eprop_brian.training.history import History
from eprop_brian.training.symptoms import of_loss, of_return, of_updates, relative_changes
from support.own import own_arrays, own_network, own_trainer

RNG = np.random.default_rng(1)
NOISE = RNG.uniform(0.95, 1.05, 100)
COURSES = {
    "healthy": (10 * 0.97 ** np.arange(100) * NOISE, []),
    "flat": (10 * NOISE, ["the loss does not fall"]),
    "growing": (10 * 1.01 ** np.arange(100) * NOISE, ["the loss does not fall"]),
    "slow": (10 * 0.9995 ** np.arange(100), ["the loss falls slowly: by "]),
    "risen": (
        np.concatenate([10 * 0.95 ** np.arange(50), 6 * NOISE[:50]]) * NOISE,
        ["the loss rose again: a median of 2"],
    ),
    "jumping": (
        10 * 0.97 ** np.arange(100) * np.where(np.arange(100) % 10, 1, 8),
        ["the loss jumps: in 10%"],
    ),
    "infinite": (
        np.where(np.arange(100) == 7, np.inf, 10 * 0.97 ** np.arange(100)),
        ["the loss was not finite in 1 iterations, first in iteration 8"],
    ),
    "short": (10 * NOISE[:19], []),
}


def history_of(**columns):
    history = History()
    for row in zip(*columns.values(), strict=True):
        history.append(**dict(zip(columns, row, strict=True)))
    return history


@pytest.fixture(scope="module")
def network():
    return own_network(own_arrays(), c_l2=0.05)


@pytest.mark.parametrize("course", COURSES)
def test_the_course_of_the_loss(course, network):
    loss, says = COURSES[course]
    said = [s.what for s in of_loss(history_of(loss=loss), network.resolved)]
    assert len(said) == len(says)
    assert all(what.startswith(start) for what, start in zip(said, says, strict=True))


def test_the_course_of_the_return():
    rising, flat = np.arange(50) + 10 * NOISE[:50], 20 * NOISE[:50]
    histories = [history_of(loss=NOISE[:50], **{"return": r}) for r in (rising, flat)]
    said = [[*of_return(history)] for history in histories]
    assert not said[0] and said[1][0].what.startswith("the return does not rise")


def test_the_size_of_updates(network):
    before = {name: np.full((2, 2), 1.0) for name in ("a", "b", "c", "d")}
    after = {"a": before["a"] * 1.001, "b": before["b"] * 1.3, "c": before["c"], "d": 1 + 1e-8}
    after["d"] = np.full((2, 2), after["d"])
    changes = relative_changes(before, after)
    assert changes == pytest.approx({"a": 1e-3, "b": 0.3, "c": 0.0, "d": 1e-8})
    said = [str(s) for s in of_updates(changes, network.resolved)]
    assert [text.split(".")[0] for text in said] == [
        "an update does not change c: no gradient arrives there",
        "an update changes b by up to 0",
        "an update changes d by no more than 1e-08 of its length",
    ]
    assert "now 0.005" in said[1]


def test_the_share_of_a_regulariser_is_that_of_its_closed_form(network):
    task = own_arrays()
    trainer = own_trainer(task, network)
    weights = {name: np.array(values_of(w)) for name, w in trainer.session.weights.items()}
    trial = hand_out(task, trainer.seed, "train", 0, trainer.batch_size).part(slice(1))
    with trainer.provisional():
        trainer.session.run(trial, 1)
        whole = trainer.session.gradient()
    # The gradient of c_l2/2 w^2.
    own = {name: 0.05 * weights[name] for name in whole}
    length, of_loss_alone = (
        np.sqrt(sum(np.sum(x**2) for x in parts))
        for parts in (own.values(), [values_of(whole[n]) - own[n] for n in whole])
    )
    assert _regularised(trainer) == pytest.approx(length / of_loss_alone, rel=1e-9)


def test_a_silent_run_is_named_and_stays_as_it_is(tmp_path):
    task = own_arrays()
    quiet = own_network(task)
    weights = {k: v * 1e-3 for k, v in quiet.initial_weights(2).items()}
    trainer = own_trainer(task, quiet, weights=weights)
    with pytest.warns(UserWarning, match="silent"):
        trainer.train(12, progress=False)
    trainer.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    found = examine(tmp_path)
    assert any("is silent since iteration 1" in s.what for s in found.symptoms)
    assert (found.iteration, found.updated["w_in"] > 0) == (12, True)
    assert found.updated["w_rec"] == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_of_an_earlier_version_has_no_weights_before_training(tmp_path):
    trainer = own_trainer(own_arrays())
    trainer.train(2, progress=False)
    trainer.save(tmp_path)
    (tmp_path / "initial.npz").unlink()
    found = examine(tmp_path)
    assert (found.iteration, found.moved) == (2, {})
    assert found.updated["w_in"] > 0
    lines = [*_measured(found)]
    assert f"w_in changes by {found.updated['w_in']:.2g} of its length in the next update" in lines
