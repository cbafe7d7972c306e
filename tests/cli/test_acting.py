"""The command with networks that act in an environment."""

import csv
import re

import pytest

from eprop_brian.symbolic.environment_file import write_environment
from support.acting import WALK
from support.command import call, last_line

SMALL = [*("--set", "size.lif=6", "--set", "neuron.v_th=0.3"), *("--batch-size", 8)]
NUMBER = r"-?[\d.]+"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A file that describes an environment."""
    path = tmp_path_factory.mktemp("environment") / "walk.toml"
    path.write_text(write_environment(WALK))
    return path


def train(environment, folder, *options, code=0):
    chosen = ["--set", f"task.file={environment}", *SMALL, "--out", folder, *options]
    return call("train", "environment", *chosen, code=code)


@pytest.fixture(scope="module")
def run(environment, tmp_path_factory):
    """The folder of a run, and what training printed."""
    folder = tmp_path_factory.mktemp("run") / "walk"
    return folder, train(environment, folder, "--iterations", 20, "--set", "task.solved_at=50")


@pytest.mark.slow
def test_episodes_of_an_outside_environment_are_drawn(tmp_path):
    pytest.importorskip("gymnasium")
    options = ["--iterations", 2, "--set", "size.lif=8", "--out", tmp_path / "run"]
    output = call("train", "gymnasium:CartPole-v1", *options)
    assert "return" in last_line(output)
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == {
        *("episode_after", "episode_before", "learning_curve", "weights")
    }


def test_training_ends_with_the_return(run):
    folder, output = run
    lines = output.splitlines()
    assert re.fullmatch(rf"return {NUMBER} \(mean of the last 100 episodes\)", lines[-1])
    assert lines[-2] == "not solved: a mean return of 50 counts as solved"
    with open(folder / "history.csv", newline="") as file:
        returns = [float(row["return"]) for row in csv.DictReader(file)]
    assert len(returns) == 20
    mean = (8 * sum(returns[-12:]) + 4 * returns[-13]) / 100
    assert float(lines[-1].split()[1]) == pytest.approx(mean, rel=1e-5)
    assert (folder / "learning_curve.png").exists()


def test_a_run_is_resumed_and_solved(run, environment, tmp_path):
    folder = tmp_path / "walk"
    train(environment, folder, "--iterations", 10, "--set", "task.solved_at=-50", "--no-figures")
    output = call("train", "--resume", folder, "--iterations", 40, "--no-figures")
    assert f"resuming {folder} at iteration 10" in output
    assert re.search(
        rf"solved at iteration 20, confirmed by a return of {NUMBER} in 100 fr", output
    )
    assert "not solved" not in output
    # The same episodes as without the stop.
    assert last_line(output) == last_line(run[1])
    again = call("train", "--resume", folder, "--iterations", 50)
    assert "nothing to do: this training has ended\nsolved at iteration 20, confirmed" in again
    assert "wrote" not in again
    assert last_line(again) == last_line(output)


def test_evaluate_prints_the_return_of_fresh_episodes(run):
    folder, _ = run
    result = rf"return {NUMBER} \(standard deviation {NUMBER}, %d episodes\)"
    greedy, sampled = call("evaluate", folder), call("evaluate", folder, "--sampled")
    for output, how in ((greedy, "the best action"), (sampled, "actions drawn from the policy")):
        assert re.fullmatch(result % 100, last_line(output))
        assert f", {how}, mean length " in output
    assert last_line(greedy) != last_line(sampled)
    few = call("evaluate", folder, "--batches", 2, "--batch-size", 5)
    assert re.fullmatch(result % 10, last_line(few))


def test_methods_are_compared_by_their_return(environment, tmp_path):
    output = call(
        *("compare", "environment", "--methods", "symmetric,readouts", "--seeds", 1),
        *("--set", f"task.file={environment}", *SMALL),
        *("--iterations", 10, "--out", tmp_path / "compared"),
    )
    lines = output.splitlines()[-2:]
    assert [line.split()[0] for line in lines] == ["symmetric", "readouts"]
    assert all(re.search(rf"final return {NUMBER}  solved 0/1$", line) for line in lines)
    with open(tmp_path / "compared" / "comparison.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [float(row["return_median"]) for row in rows] == pytest.approx(
        [float(re.search(rf"final return ({NUMBER})", line)[1]) for line in lines], rel=1e-3
    )


def test_a_reward_that_is_no_number_ends_with_a_sentence(environment, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(write_environment(WALK.with_parameters(cost=1.0, limit=0.0)))
    output = train(bad, tmp_path / "run", "--no-figures", code=1)
    assert "Error: the reward of environment 'walk' is no longer finite at iteration 1: " in output
    assert "iteration 0 " not in output
    assert (tmp_path / "run" / "checkpoint.npz").exists()


def test_what_an_environment_is_for_is_refused_elsewhere(tmp_path):
    folder = tmp_path / "pattern"
    call(
        *("train", "pattern-generation", "--no-figures", "--device", "runtime"),
        *("--iterations", 1, "--set", "task.n_steps=20", "--set", "task.n_inputs=4"),
        *("--set", "size.lif=3", "--out", folder),
    )
    output = call("evaluate", folder, "--sampled", code=2)
    assert "--sampled is for networks that act in an environment" in output
    output = call("train", "environment", "--out", tmp_path / "none", code=1)
    assert "needs the setting file" in output


def test_backpropagation_through_time_is_trained_drawn_and_evaluated(environment, tmp_path):
    output = train(environment, tmp_path / "run", "--gradient", "bptt", "--iterations", 10)
    assert re.search(rf"return {NUMBER} \(mean of the last 80 episodes\)$", output)
    assert (tmp_path / "run" / "learning_curve.png").exists()
    assert "return" in last_line(call("evaluate", tmp_path / "run"))
