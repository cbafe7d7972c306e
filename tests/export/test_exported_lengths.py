"""Exported programs learn from trials of different length, whose readout takes a step a frame."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.export.inference import export_inference, inference_state
from eprop_brian.network.program import make_program
from eprop_brian.runs.run import Run
from eprop_brian.tasks.htk import read_htk
from eprop_brian.training.session import Session
from support.command import last_line
from support.data_sets import write_features, write_htk
from support.inference import build, infer
from support.programs import assert_same, configure, exported, in_tool, run


def utterances(folder, **run):
    """A small network in both directions, and utterances of 16 and 20 frames."""
    write_features(folder)
    for short in folder.glob("*/speaker0/*.mfc"):
        write_htk(short, read_htk(short)[0][:16])
    return configure(
        "feature-file",
        *(f"task.path={folder}", "task.n_frames=20", "population.size=4"),
        # Neurons spike.
        "projection.w_in.scale=3.0",
        **run,
    )


@pytest.mark.slow
def test_an_exported_program_learns_from_utterances_of_different_length(tmp_path):
    config = utterances(tmp_path / "features", iterations=3, batch_size=3)
    program = exported(tmp_path / "project", config)
    output = run(program, "--run", tmp_path / "run")
    expected = in_tool(config, 3)
    assert max(expected.history.rate_hz) > 0
    assert_same(tmp_path / "run", expected)
    # The program does not say how many frames are right.
    right, _, _ = str(expected.evaluate(8, 64)).partition(" frames")
    assert last_line(output) == right
    trials = dict(np.load(program.parent / "data" / "train.npz"))
    assert {*trials["lengths"]} == {80, 100}
    for lengths, message in (
        (81, "trial 0 has 81 steps, but a readout takes a step every 5"),
        (75, "trial 0 has 75 steps, but its periods count later ones"),
        (105, "lengths must be from 1 to 100 steps"),
    ):
        changed = {**trials, "lengths": np.full_like(trials["lengths"], lengths)}
        np.savez(tmp_path / "other.npz", **changed)
        arguments = "--run", tmp_path / str(lengths), "--trials", tmp_path / "other.npz"
        assert message in run(program, *arguments, code=1)


@pytest.mark.usefixtures("users_compiler")
@pytest.mark.slow
def test_a_program_that_only_runs_takes_lengths(tmp_path):
    config = utterances(tmp_path / "features", device="runtime", iterations=1)
    Run.start(config, tmp_path / "run").trainer.close()
    project = export_inference(tmp_path / "run", tmp_path / "project")
    build(project)
    task = config.make_task()
    trials = replace(task.trials(5, "test", 0, 3), periods=None, n_answers=None)
    assert trials.lengths.min() < trials.lengths.max()
    np.save(tmp_path / "inputs.npy", trials.inputs)
    np.save(tmp_path / "lengths.npy", trials.lengths)
    files = {what: tmp_path / f"{what}.npy" for what in ("out", "readouts", "spikes")}
    options = ["--inputs", tmp_path / "inputs.npy"]
    options += [part for what, path in files.items() for part in (f"--{what}", path)]
    infer(project, *options, "--lengths", tmp_path / "lengths.npy")
    found = {what: np.load(path) for what, path in files.items()}
    session = Session(
        config.make_network(task),
        make_program("cpp"),
        trials,
        task.learning_window,
        inference_state(config, tmp_path / "run").weights,
        learning=False,
    )
    outcome = session.run(trials, 3, learning=False)
    np.testing.assert_array_equal(found["out"], outcome.output)
    for k, length in enumerate(trials.lengths):
        alone = trials.part(slice(k, k + 1))
        session.run(alone, 1, learning=False)
        np.testing.assert_array_equal(found["spikes"][k, :length], session.spikes())
        np.testing.assert_array_equal(found["readouts"][k, :length], session.readouts())
        assert not found["spikes"][k, length:].any() and not found["readouts"][k, length:].any()
    assert found["spikes"].any(axis=(0, 1)).sum() > 4
    session.close()
    for lengths, message in (
        ([80, 81, 100], "has a trial of 81 steps, but a readout takes a step every 5"),
        ([80, 105, 100], "must hold whole numbers of steps, 1 to 100"),
        ([80, 100], "has the shape"),
    ):
        np.save(tmp_path / "lengths.npy", lengths)
        arguments = "--lengths", tmp_path / "lengths.npy"
        assert message in infer(project, *options, *arguments, status=1)
