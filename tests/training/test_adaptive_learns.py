"""Adaptive feedback finds the direction of the readout weights, and solves the tasks."""

import numpy as np
import pytest

from eprop_brian.runs.config import RunConfig

pytestmark = pytest.mark.usefixtures("users_compiler")


#: Shorter trials and fewer neurons than the recipe's: a tenth of the time.
SMALL_EVIDENCE = ("task.n_cues=3", "task.delay='300 ms'", "size.lif=20", "size.alif=20")


def trained(task, *settings):
    config = RunConfig.from_recipe(task, network={"feedback": "adaptive"}, settings=settings)
    trainer = config.make_trainer()
    trainer.train(config.run["iterations"], progress=False)
    trainer.close()
    return trainer


@pytest.mark.slow
def test_feedback_aligns_in_pattern_generation():
    trainer = trained("pattern-generation")
    history = trainer.history
    known = np.array(history.alignment)[np.isfinite(history.alignment)]
    assert known[0] < 0.5
    assert known[-1] == trainer.alignment() > 0.9
    assert history.loss[-1] < 0.2 * history.loss[0]


@pytest.mark.slow
def test_evidence_accumulation_is_solved():
    trainer = trained("evidence-accumulation", *SMALL_EVIDENCE)
    assert trainer.solved
    assert trainer.validation.error < trainer.task.error_threshold
    assert trainer.confirmation.error < trainer.task.error_threshold
