"""The published network of Atari's recipe plays, and every layer learns from its own readouts."""

import numpy as np
import pytest

from eprop_brian import RunConfig, Trainer
from eprop_brian.base.sparse import values_of

for library in ("cv2", "ale_py", "gymnasium"):
    pytest.importorskip(library)
pytestmark = pytest.mark.slow
LAYERS = {"inputs_first": 1024, "one_first": 16, "first_second": 2048, "one_second": 8}
#: Weights of the readouts: of each window, for each output.
READOUTS = {
    **{"first_policy_first": 3 * 256, "first_value_first": 256},
    **{"second_policy_second": 3 * 392, "second_value_second": 392},
}


@pytest.fixture(scope="module")
def made():
    """The recipe with short pieces of the game, and without the rate regulariser."""
    settings = ["task.most_actions=4", "network.c_reg=0"]
    config = RunConfig.from_recipe("atari", settings=settings)
    task = config.make_task()
    return config.make_network(task), task


def trainer_of(made, **options):
    return Trainer(*made, batch_size=2, seed=1, **options)


def test_every_layer_learns_and_the_game_goes_on(made):
    trainer = trainer_of(made)
    try:
        trainer.train(1, progress=False)
        session = trainer.session
        first = session.episode()
        gradient = {name: values_of(g) for name, g in session.gradient().items()}
        state = session.state()
        trainer.train(2, progress=False)
        second = session.episode()
    finally:
        trainer.close()
    sizes = {f"w_{name}": size for name, size in (LAYERS | READOUTS).items()}
    sizes |= {"w_in": 400 * 2312, "w_rec": 400 * 400, "w_policy": 1200, "w_value": 400}
    assert {name: np.size(g) for name, g in gradient.items()} == sizes
    assert all(np.abs(g).max() > 0 for g in gradient.values())
    # A picture is held for the five steps of an action, and the next piece begins with the last.
    pictures = first.inputs.reshape(4, 5, 84 * 84)
    assert np.all(pictures == pictures[:, :1]) and np.any(pictures[0] != pictures[-1])
    assert pictures.min() >= 0 and 0.5 < pictures.max() <= 1
    moved = np.mean(second.inputs[0] != pictures[-1, 0])
    assert 0 < moved < 0.05
    assert second.inputs.shape == (20, 84 * 84) and not second.done
    # From the state that was stored, training goes on; the games begin anew.
    again = trainer_of(made, state=state)
    try:
        again.train(1, progress=False)
        assert again.session.n_updates == 2
        assert all(np.all(np.isfinite(values_of(w))) for w in again.session.weights.values())
    finally:
        again.close()


def test_another_game_has_its_own_number_of_actions():
    config = RunConfig.from_recipe("atari:FishingDerby")
    network = config.make_network(config.make_task())
    assert network.shapes["w_policy"] == (18, 400)
    assert network.shapes["w_first_policy_first"] == (18, 16, 4, 4)
