"""Exported programs learn from trials of different length, whose readout takes a step a frame."""

import numpy as np
import pytest

from eprop_brian.tasks.htk import read_htk
from support.command import last_line
from support.data_sets import write_features, write_htk
from support.programs import assert_same, configure, exported, in_tool, run


@pytest.mark.slow
def test_an_exported_program_learns_from_utterances_of_different_length(tmp_path):
    folder = tmp_path / "features"
    write_features(folder)
    for short in folder.glob("*/speaker0/*.mfc"):
        write_htk(short, read_htk(short)[0][:16])
    config = configure(
        "feature-file",
        *(f"task.path={folder}", "task.n_frames=20", "population.size=4"),
        # Neurons spike.
        "projection.w_in.scale=3.0",
        iterations=3,
        batch_size=3,
    )
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
