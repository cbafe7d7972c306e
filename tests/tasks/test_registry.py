"""Tasks by name, with help for misspelt names."""

import pickle
import re

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations.environments import CARTPOLE
from eprop_brian.runs.recipes import RECIPES
from eprop_brian.symbolic.environment_file import write_environment
from eprop_brian.tasks import (
    TASKS,
    Acrobot,
    ArrayTask,
    Atari,
    CartPole,
    CopyRepeat,
    DelayedMatch,
    Digits,
    EnvironmentFile,
    EvidenceAccumulation,
    FeatureFile,
    GymnasiumTask,
    Handwriting,
    JapaneseVowels,
    Lemniscate,
    MountainCar,
    NMnist,
    PatternGeneration,
    Reaching,
    Shd,
    SpokenDigits,
    StoreRecall,
    SymbolStrings,
    Task,
    Timit,
    TMaze,
    get_task,
    split_name,
)
from support.data_sets import WRITERS, write_arrays
from support.libraries import skip_without_libraries


def test_names():
    assert {
        "pattern-generation": PatternGeneration,
        "copy-repeat": CopyRepeat,
        "lemniscate": Lemniscate,
        "handwriting": Handwriting,
        "evidence-accumulation": EvidenceAccumulation,
        "delayed-match": DelayedMatch,
        "digits": Digits,
        "n-mnist": NMnist,
        "shd": Shd,
        "japanese-vowels": JapaneseVowels,
        "spoken-digits": SpokenDigits,
        "timit": Timit,
        "feature-file": FeatureFile,
        "store-recall": StoreRecall,
        "symbol-strings": SymbolStrings,
        "t-maze": TMaze,
        "cartpole": CartPole,
        "acrobot": Acrobot,
        "mountain-car": MountainCar,
        "reaching": Reaching,
        "gymnasium": GymnasiumTask,
        "atari": Atari,
        "environment": EnvironmentFile,
        "arrays": ArrayTask,
    } == TASKS


def test_every_task_has_a_recipe():
    assert {*TASKS} < {*RECIPES}


@pytest.fixture(params=TASKS)
def task(request, tmp_path):
    """Every task, with data written for it if it has none of its own."""
    skip_without_libraries(request.param)
    if request.param == "environment":
        file = tmp_path / "cartpole.toml"
        file.write_text(write_environment(CARTPOLE))
        return get_task("environment", file=str(file))
    if request.param == "arrays":
        return get_task("arrays", file=str(write_arrays(tmp_path)))
    if request.param not in WRITERS:
        return get_task(request.param)
    WRITERS[request.param](tmp_path)
    return get_task(request.param, path=str(tmp_path))


def test_every_task_describes_itself(task):
    assert isinstance(task, Task)
    assert TASKS[task.name] is type(task)
    # That of arrays follows from the arrays.
    assert isinstance(type(task).loss, str) or task.name == "arrays"
    assert task.description
    assert "\n" not in task.description
    assert re.search(r"\b(19|20)\d\d\b|your own", task.source)


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


def test_a_name_with_an_argument():
    pytest.importorskip("gymnasium")
    assert split_name("gymnasium:module:CartPole-v1") == (
        "gymnasium",
        {"env": "module:CartPole-v1"},
    )
    assert split_name("atari:Pong") == ("atari", {"game": "Pong"})
    assert split_name("digits") == ("digits", {})
    assert get_task("gymnasium:Acrobot-v1").title == "Acrobot-v1"
    for name in ("digits:3", "gymnasum:CartPole-v1"):
        with pytest.raises(ValueError, match=r"unknown task that takes an argument .*gymnasium"):
            get_task(name)


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
