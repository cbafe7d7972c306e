"""The program of the documentation that trains in a loop of its own (docs/own_loop.cpp)."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays
from eprop_brian.export import export_project
from support.programs import SMALL_CUES, configure

SOURCE = Path(__file__).parents[2] / "docs" / "own_loop.cpp"
ITERATIONS = 3


@pytest.mark.slow
def test_a_loop_of_ones_own_trains_as_the_tool(tmp_path):
    config = configure("evidence-accumulation", *SMALL_CUES, batch_size=4)
    project = export_project(config, tmp_path / "project")
    subprocess.run(["make", "build/libnetwork.a"], cwd=project, check=True, capture_output=True)
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{project / 'src'}"]
    network = project / "build" / "libnetwork.a"
    command = ["g++", *flags, SOURCE, network, "-o", tmp_path / "own_loop"]
    subprocess.run(list(map(str, command)), check=True)
    done = subprocess.run(
        [tmp_path / "own_loop", project, str(ITERATIONS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    *losses, pruned = (float(number) for number in re.findall(r"loss (\S+)", done.stdout))
    rate = "optimizer.schedule=0.9**(k - 1)"
    trainer = configure("evidence-accumulation", *SMALL_CUES, rate, batch_size=4).make_trainer(
        workers=1
    )
    trainer.train(ITERATIONS, progress=False)
    np.testing.assert_allclose(losses, trainer.history.loss, rtol=1e-12)
    trained = read_arrays(tmp_path / "trained.npz")
    for name, value in trainer.session.state().items():
        np.testing.assert_allclose(trained[name], value, rtol=0, atol=1e-12, err_msg=name)
    weights = trainer.session.weights["w_in"]
    small = np.abs(weights) < np.sort(np.abs(weights), axis=None)[weights.size // 2]
    trainer.session.weights["w_in"] = np.where(small, 0.0, weights)
    assert trainer.evaluate(1, 4, "test").loss == pytest.approx(pruned, rel=1e-12)
    trainer.close()


#: Changes a trial, or the state, so that the network would read or write beyond its arrays.
BAD_CALLS = {
    "trials.pattern[0] = trials.n_patterns;": "a pattern of the trials is 4, not from 0 to 3",
    "trials.target[0] = -1;": "a target of the trials is -1, not from 0 to 1",
    "trials.words.pop_back();": "the inputs of the trials do not have the size of their patterns",
    "trials.words.back() = -1;": "the words of the trials have spikes beyond the inputs",
    "trials.targets.clear();": "the targets of the trials do not have the size of their rows",
    "trials.target.pop_back();": "the trials need a pattern and a target each",
    'network.set("B", network.get("B"));': "'B' follows 'w_out': set that instead",
    'network.set("w_in", {});': "'w_in' has .* numbers, not 0",
}
CHECKER = """
#include <cstdio>
#include "driver/eprop.h"
using namespace eprop_brian;
int main(int, char** arguments)
{
    Network network(arguments[1]);
    const Trials good = task_trials(arguments[1], 1)->batches("train", 0, 1, 4);
    CALLS
    return 0;
}
"""
CALL = """
    try { Trials trials = good; BAD network.run(trials, 4, true); }
    catch (const Error& error) { std::puts(error.what()); }
"""


@pytest.mark.slow
def test_trials_that_do_not_fit_are_refused(tmp_path):
    config = configure(
        "evidence-accumulation", *SMALL_CUES, "network.feedback=symmetric", batch_size=4
    )
    project = export_project(config, tmp_path / "project")
    subprocess.run(["make", "build/libnetwork.a"], cwd=project, check=True, capture_output=True)
    calls = "".join(CALL.replace("BAD", bad) for bad in ("", *BAD_CALLS))
    (tmp_path / "check.cpp").write_text(CHECKER.replace("CALLS", calls))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{project / 'src'}"]
    network = project / "build" / "libnetwork.a"
    command = ["g++", *flags, tmp_path / "check.cpp", network, "-o", tmp_path / "check"]
    subprocess.run(list(map(str, command)), check=True)
    done = subprocess.run([tmp_path / "check", project], capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == len(BAD_CALLS)
    for expected, message in zip(BAD_CALLS.values(), messages, strict=True):
        assert re.fullmatch(expected, message)
