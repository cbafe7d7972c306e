"""Exported programs learn from trials in files: a user's own, or a task's as it hands them out."""

import csv
from dataclasses import fields, replace

import numpy as np
import pytest

from eprop_brian.export.trials import write_trials
from eprop_brian.tasks.evidence_accumulation import EvidenceAccumulation
from eprop_brian.training.trainer import Trainer
from eprop_brian.training.trial_data import pack_spikes
from support.command import call, last_line
from support.programs import CUES, DIGITS, assert_same, in_tool, run, write_recorded


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_trials_of_ones_own(cues, tmp_path, packed):
    task = CUES.make_task()
    files = []
    for i in range(2):
        trials = task.trials(CUES.run["seed"], "train", i, 4)
        inputs = {"words": pack_spikes(trials.inputs)} if packed else {"inputs": trials.inputs}
        files.append(tmp_path / f"{i}.npz")
        np.savez(
            files[-1],
            **inputs,
            targets=trials.targets,
            pattern=trials.pattern,
            target=trials.target,
        )
    folder = tmp_path / "run"
    output = run(
        cues, "--run", folder, "--iterations", 2, "--trials", *files, "--test-trials", files[0]
    )
    expected = in_tool(CUES, 2)
    assert_same(folder, expected)
    assert last_line(output) == str(expected.evaluate(1, 4, "train"))
    # Then they begin anew.
    run(cues, "--run", folder, "--iterations", 4, "--resume", f"--trials={files[0]}", files[1])
    with open(folder / "history.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    # They are remembered: nothing goes on with other trials unnoticed.
    for other in ([], ["--trials", files[0]], ["--trials", *reversed(files)]):
        refused = run(cues, "--run", folder, "--iterations", 6, "--resume", *other, code=1)
        assert f"resume it with --trials {files[0]} {files[1]}" in refused
    assert f"{files[1]}, not from" in call("import-run", folder, "--out", tmp_path / "imported")
    refused = call("train", "--resume", tmp_path / "imported", "--iterations", 6, code=1)
    assert f"learned from the trials in {files[0]}" in refused


#: Trials of the batches of an epoch.
EPOCH = (4, 4, 3, 1)


class Epochs(EvidenceAccumulation):
    """The trials of the first iteration, batch by batch; the last of an epoch are smaller."""

    def trials(self, seed, stream, index, n_trials):
        if stream != "train":
            return super().trials(seed, stream, index, n_trials)
        whole = super().trials(seed, stream, 0, sum(EPOCH))
        first = sum(EPOCH[: index % len(EPOCH)])
        return whole.part(slice(first, first + EPOCH[index % len(EPOCH)]))


class Thirds(EvidenceAccumulation):
    """Batches of 4, which are thirds of those of 12."""

    def trials(self, seed, stream, index, n_trials):
        whole = super().trials(seed, stream, index // 3, 12)
        return whole.part(slice(4 * (index % 3), 4 * (index % 3) + 4))


class Recorded(EvidenceAccumulation):
    """The same trials, which no exported program draws itself."""


def small_task(kind: type[EvidenceAccumulation]) -> EvidenceAccumulation:
    task = CUES.make_task()
    return kind(**{f.name: getattr(task, f.name) for f in fields(task) if f.init})


@pytest.mark.parametrize(
    ("kind", "batches"), [(Recorded, None), (Epochs, [*EPOCH, *EPOCH[:1]])], ids=["whole", "ragged"]
)
def test_sizes_of_batches_are_recorded_where_some_are_smaller(kind, batches, tmp_path):
    """Whole batches say nothing of their size: a program takes any number of trials at once."""
    write_trials(small_task(kind), tmp_path, 1, 4, 5)
    with np.load(tmp_path / "train.npz") as recorded:
        found = recorded["batches"].tolist() if "batches" in recorded else None
    assert found == batches


def test_recorded_images_that_confirm_are_others(tmp_path):
    """A program takes the first third to validate, and the others to confirm it."""
    task = DIGITS.make_task()
    n_trials = write_trials(task, tmp_path, 1, 8, 2)["validation"]
    with np.load(tmp_path / "validation.npz") as recorded:
        images = recorded["inputs"][recorded["pattern"]][:, 0]
    assert len(images) == n_trials == 3 * 512
    shown, confirming = ({row.tobytes() for row in part} for part in (images[:512], images[512:]))
    assert len(shown) == len(confirming) == 64 and not shown & confirming


@pytest.mark.slow
def test_trials_recorded_for_another_batch_size_are_taken(cues, tmp_path):
    task, seed = small_task(Recorded), CUES.run["seed"]
    write_trials(task, tmp_path, seed, 12, 2)
    folder = tmp_path / "run"
    run(cues, "--run", folder, "--iterations", 6, "--trials", tmp_path / "train.npz")
    thirds = small_task(Thirds)
    expected = Trainer(CUES.make_network(task), thirds, batch_size=4, seed=seed, workers=1)
    expected.train(6, progress=False)
    assert_same(folder, expected)


@pytest.mark.slow
def test_smaller_batches_in_files_are_batches(cues, tmp_path):
    task, seed = CUES.make_task(), CUES.run["seed"]
    sizes, path = {"batches": np.array(EPOCH)}, tmp_path / "epoch.npz"
    write_recorded(path, task.trials(seed, "train", 0, sum(EPOCH)), **sizes)
    folder = tmp_path / "run"
    run(cues, "--run", folder, "--iterations", 6, "--trials", path)
    run(cues, "--run", folder, "--iterations", 11, "--trials", path, "--resume")
    epochs = small_task(Epochs)
    expected = Trainer(CUES.make_network(task), epochs, batch_size=4, seed=seed, workers=1)
    expected.train(6, progress=False)
    expected.train(11, progress=False)
    assert_same(folder, expected)
    # What a task hands out so is recorded so.
    assert write_trials(epochs, tmp_path, seed, 4, 7)["train"] == 2 * sum(EPOCH) - 1
    with np.load(tmp_path / "train.npz") as recorded:
        assert recorded["batches"].tolist() == [*EPOCH, *EPOCH[:3]]
    for wrong, message in (((4, 4), "8 trials in all"), ((5, 7), "a batch has 5"), ((0,), "has 0")):
        write_recorded(path, task.trials(seed, "train", 0, 12), batches=np.array(wrong))
        assert message in run(cues, "--run", tmp_path / "x", "--trials", path, code=1)


@pytest.mark.slow
def test_other_trials_of_the_file_confirm_a_validation(cues, tmp_path):
    """The first third of the file is what the network learns; the others may say otherwise."""
    task = CUES.make_task()
    trials = task.trials(0, "train", 0, 4)
    learned, file = tmp_path / "train.npz", tmp_path / "validation.npz"
    trained = in_tool(CUES, 10, stop_when_solved=False)
    answers = trained.session.run(trials, 4, learning=False).output.argmax(axis=1)
    write_recorded(learned, replace(trials, target=answers))
    for solved in (True, False):
        others = answers if solved else 1 - answers
        target = np.concatenate([answers, others, others])
        write_recorded(file, replace(trials, pattern=np.tile(trials.pattern, 3), target=target))
        arguments = ("--iterations", 200, "--trials", learned, "--validation-trials", file)
        output = run(cues, "--run", tmp_path / str(solved), *arguments)
        assert ("confirmed by an error of 0.0000 on 8 other trials" in output) == solved


@pytest.mark.slow
def test_damaged_or_wrong_trials_are_named(cues, tmp_path):
    good = {
        "inputs": np.zeros((1, CUES.make_task().n_steps, 36), dtype=bool),
        "targets": np.zeros((1, 1, 2)),
        "pattern": np.zeros(4, dtype=int),
        "target": np.zeros(4, dtype=int),
    }
    path = tmp_path / "trials.npz"

    def fails(**changed) -> str:
        np.savez(path, **{**good, **changed})
        output = run(cues, "--run", tmp_path / "run", "--trials", path, code=1)
        assert not (tmp_path / "run").exists()
        return output

    assert "shape (any, " in fails(inputs=np.zeros((1, 3, 36), dtype=bool))
    assert "must be bool" in fails(inputs=np.zeros(good["inputs"].shape))
    assert "0 or 1" in fails(inputs=good["inputs"] + np.uint8(2))
    assert "finite" in fails(targets=np.full((1, 1, 2), np.nan))
    assert "rows, 0 to 0" in fails(pattern=np.ones(4, dtype=int))
    assert "same trials" in fails(pattern=np.zeros(3, dtype=int))
    assert "by columns" in fails(targets=np.asfortranarray(np.zeros((2, 1, 2))))
    assert "must hold bool, whole numbers" in fails(target=np.array(["a"] * 4))
    np.savez_compressed(path, **good)
    assert "compressed" in run(cues, "--run", tmp_path / "run", "--trials", path, code=1)
    np.savez(path, **good)
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    assert "damaged" in run(cues, "--run", tmp_path / "run", "--trials", path, code=1)
    path.write_bytes(data[:200])
    assert "damaged" in run(cues, "--run", tmp_path / "run", "--trials", path, code=1)
    assert "No such file" in run(
        cues, "--run", tmp_path / "run", "--trials", tmp_path / "none", code=1
    )
