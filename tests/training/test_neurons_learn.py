"""Every library neuron learns pattern generation with the recipe's settings, a shorter pattern."""

import numpy as np
import pytest

from eprop_brian.equations import NEURONS
from eprop_brian.runs.config import RunConfig

pytestmark = pytest.mark.usefixtures("users_compiler")


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURONS)
def test_loss_falls_below_a_fifth(name):
    config = RunConfig.from_recipe("pattern-generation", neuron=name, settings=["task.n_steps=300"])
    trainer = config.make_trainer(workers=1)
    trainer.train(config.run["iterations"], progress=False)
    loss, rate = np.array(trainer.history.loss), np.array(trainer.history.rate_hz)
    assert np.isfinite(loss).all()
    assert loss[-1] < 0.2 * loss[0], f"{loss[0]:.1f} -> {loss[-1]:.1f}"
    # By the recurrent neurons too, which the rate regulariser keeps from firing without end.
    assert rate[-1] < 50
