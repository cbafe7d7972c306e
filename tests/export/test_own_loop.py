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
