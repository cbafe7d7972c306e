"""Tasks by name, with help for misspelt names."""

import pickle
import re

import numpy as np
import pytest
from brian2 import ms
from data_sets import WRITERS

from eprop_brian.runs.recipes import RECIPES
from eprop_brian.tasks import (
    TASKS,
    DelayedMatch,
    Digits,
    EvidenceAccumulation,
    FeatureFile,
    Handwriting,
    Lemniscate,
    NMnist,
    PatternGeneration,
    Shd,
    StoreRecall,
    Task,
    get_task,
)


def test_names():
    assert {
        "pattern-generation": PatternGeneration,
        "lemniscate": Lemniscate,
        "handwriting": Handwriting,
        "evidence-accumulation": EvidenceAccumulation,
        "delayed-match": DelayedMatch,
        "digits": Digits,
        "n-mnist": NMnist,
        "shd": Shd,
        "feature-file": FeatureFile,
        "store-recall": StoreRecall,
    } == TASKS


def test_every_task_has_a_recipe():
    assert {*TASKS} < {*RECIPES}


@pytest.fixture(params=TASKS)
def task(request, tmp_path):
    """Every task, with data written for it if it has none of its own."""
    if request.param not in WRITERS:
        return get_task(request.param)
    WRITERS[request.param](tmp_path)
    return get_task(request.param, path=str(tmp_path))


def test_every_task_describes_itself(task):
    assert isinstance(task, Task)
    assert TASKS[task.name] is type(task)
    assert task.description
    assert "\n" not in task.description
    assert re.search(r"\b(19|20)\d\d\b", task.source)


def test_settings():
    task = get_task("evidence-accumulation", n_cues=3, delay=500 * ms)
    assert task.n_steps == 3 * 150 + 500 + 150


def test_unknown_task():
    with pytest.raises(
        ValueError,
        match=r"unknown task 'evidence_acumulation' .did you mean 'evidence-accumulation'\?.\. "
        r"There are: .*evidence-accumulation, .*pattern-generation",
    ):
        get_task("evidence_acumulation")


def test_unknown_setting():
    with pytest.raises(ValueError, match=r"did you mean 'n_cues'\?.\. There are: background_rate"):
        get_task("evidence-accumulation", n_cue=3)
    with pytest.raises(ValueError, match=r"unknown setting of .* 'zzz'\. There are: dt, n_inputs"):
        get_task("pattern-generation", zzz=3)


def test_a_pickled_task_gives_the_same_trials(task):
    trials = task.trials(1, "train", 0, 2)
    copy = pickle.loads(pickle.dumps(task)).trials(1, "train", 0, 2)
    assert np.array_equal(trials.inputs, copy.inputs)
    assert np.array_equal(trials.targets, copy.targets)
