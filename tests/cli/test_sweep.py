"""The command `sweep`: points, runs side by side, resuming, the table and the figure."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from eprop_brian.cli import main
from eprop_brian.runs.sweep import Result, grid, read_points, spread, spread_text, summary

#: A pattern-generation run small enough for a test.
TINY = [
    *("pattern-generation", "--device", "runtime", "--set", "task.n_steps=40"),
    *("--set", "task.n_inputs=10", "--iterations", "2"),
]
#: The command as a process of its own, whose main module workers can import.
COMMAND = [sys.executable, "-c", "from eprop_brian.cli import main; main()"]

#: The command, whose runs are saved more often than by default; workers import it, too.
SAVING_SOON = """
from functools import partialmethod

from eprop_brian.cli import main
from eprop_brian.runs.run import Run

Run.train = partialmethod(Run.train, checkpoint_every=0.2)
if __name__ == "__main__":
    main()
"""


def call(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- points ---------------------------------------------------------------------------------------


def test_lists_of_values_are_combined():
    points = grid(["size.lif=8,12", "run.batch_size=4", "neuron.tau_m=20 ms,30 ms"])
    assert points.names == ("size.lif", "neuron.tau_m")
    assert points.values == (("8", "20 ms"), ("8", "30 ms"), ("12", "20 ms"), ("12", "30 ms"))
    assert points.settings(points.values[1]) == (
        *("run.batch_size=4", "size.lif=8", "neuron.tau_m=30 ms"),
    )


def test_commas_in_quotes_and_brackets_do_not_separate_values():
    points = grid(["a.b=[3, 8],[4, 9]", "c.d='f(x, y)',\"g, h\"", "e.f={w = 1, v = 2}"])
    assert points.values == tuple(
        (b, d) for b in ("[3, 8]", "[4, 9]") for d in ("'f(x, y)'", '"g, h"')
    )
    assert points.fixed == ("e.f={w = 1, v = 2}",)


def test_every_point_has_a_folder_of_its_own():
    points = grid(["a.b=[1, 2],[12],'x/y','xy'"])
    names = [points.folder_name(point, 3) for point in points.values]
    assert len(set(names)) == 4
    assert all("/" not in name and name.endswith("_seed3") for name in names)
    assert grid(["a.b=1,2"]).folder_name(("1",), 7) == "a.b=1_seed7"


def test_points_are_read_from_a_table(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("size.lif,optimizer.eta\n8,1e-3\n12,1e-4\n")
    points = read_points(path, ["run.batch_size=4"])
    assert points.names == ("size.lif", "optimizer.eta")
    assert points.values == (("8", "1e-3"), ("12", "1e-4"))
    path.write_text("size.lif,optimizer.eta\n8\n")
    with pytest.raises(ValueError, match="point 1: there must be 2 values"):
        read_points(path)


def test_a_summary_has_median_and_range():
    points = grid(["size.lif=8,12"])
    numbers = {"8": [3.0, 1.0, 2.0], "12": [float("nan"), 5.0, 4.0]}
    results = [
        Result((size,), seed, None, {"loss": loss}, "" if loss == loss else "diverged")
        for size, losses in numbers.items()
        for seed, loss in enumerate(losses, 1)
    ]
    assert summary(points, results, ["loss", "error"]) == [
        "size.lif  runs  loss",
        "8         3/3   2 (1 to 3)",
        "12        2/3   5 (4 to never)",
    ]
    assert spread([1.0, 3.0]) == (2.0, 1.0, 3.0)
    assert spread_text((2.0, 2.0, 2.0)) == "2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "size.lif"], "write TABLE.KEY=VALUE,VALUE,..."),
        (["--set", "size.lif=8,,9"], "write TABLE.KEY=VALUE,VALUE,..."),
        (["--set", "size.lff=8,9"], "did you mean 'lif'?"),
        (["--set", "size.lif=8,8"], "a point occurs twice"),
        (["--set", "size.lif=8", "--set", "size.lif=9"], "give all its values at once"),
        (["--set", "run.seed=1,2"], "chosen with --seeds"),
        (["--set", "optimizer.eta=1e-3,fast"], "not 'fast'"),
        (["--kill", "0.5"], "applies to balanced networks only"),
        (["--workers", "2", "--scheduler", "tcp://x"], "has workers of its own"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["sweep", *TINY, *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert not list(tmp_path.iterdir())


# --- runs -----------------------------------------------------------------------------------------


def test_every_run_is_the_one_that_train_makes(tmp_path):
    command = ["sweep", *TINY, "--set", "size.lif=4,6", "--seeds", "2", "--workers", 1]
    output = call(*command, "--out", tmp_path / "sweep")
    rows = rows_of(tmp_path / "sweep/sweep.csv")
    assert [(row["size.lif"], row["seed"]) for row in rows] == [
        *(("4", "1"), ("4", "2"), ("6", "1"), ("6", "2")),
    ]
    call(
        "train", *TINY, "--set", "size.lif=6", "--seed", 2, "--no-figures", "--out", tmp_path / "r"
    )
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "r/history.csv")]
    assert float(rows[3]["loss"]) == pytest.approx(sum(losses) / 2, rel=1e-5)
    run = tmp_path / "sweep/size.lif=6_seed2"
    assert (run / "history.csv").read_text().split(",")[:2] == (
        (tmp_path / "r/history.csv").read_text().split(",")[:2]
    )
    assert (tmp_path / "sweep/sweep.png").exists()
    assert "size.lif  runs  loss" in output
    # The same command finds everything done; another one finds other settings.
    before = (run / "checkpoint.npz").stat().st_mtime_ns
    call(*command, "--out", tmp_path / "sweep")
    assert rows_of(tmp_path / "sweep/sweep.csv") == rows
    other = call(*command, "--set", "optimizer.eta=1", "--out", tmp_path / "sweep", code=1)
    assert "holds a run with other settings" in other
    assert before <= (run / "checkpoint.npz").stat().st_mtime_ns


def test_the_table_grows_as_runs_end(tmp_path, monkeypatch):
    from eprop_brian.runs import sweep as module

    numbers = []

    def train(configs, folders, **_):
        path = tmp_path / "sweep.csv"
        numbers.append(len(rows_of(path)) if path.exists() else 0)
        if len(numbers) == 4:
            raise KeyboardInterrupt
        outcome = {"error": 1.0 + len(numbers), "silent_error": 3.0}
        return [module.Trained(None, False, outcome) for _ in configs]

    monkeypatch.setattr(module, "train_runs", train)
    output = call(
        *("sweep", "balanced-autoencoder", "--set", "network.n=10,20", "--seeds", "2"),
        *("--workers", 1, "--out", tmp_path),
        code=130,
    )
    assert "3/4" in output and "the same command goes on" in output
    assert numbers == [0, 1, 2, 3]
    rows = rows_of(tmp_path / "sweep.csv")
    # Relative to the first point of the same seed: (3 - 4)/(3 - 2).
    assert [row["performance"] for row in rows] == ["1", "", "-1"]


@pytest.mark.slow
def test_runs_side_by_side_have_the_same_results(tmp_path):
    arguments = ["sweep", *TINY, "--set", "size.lif=4,6", "--seeds", "1,"]
    call(*arguments, "--workers", 1, "--out", tmp_path / "1")
    subprocess.run([*COMMAND, *arguments, "--workers", "2", "--out", tmp_path / "2"], check=True)
    assert rows_of(tmp_path / "1/sweep.csv") == rows_of(tmp_path / "2/sweep.csv")


@pytest.mark.slow
@pytest.mark.usefixtures("answered_signals")
def test_an_interrupt_saves_all_runs_and_begins_no_more(tmp_path):
    script = tmp_path / "soon.py"
    script.write_text(SAVING_SOON)
    folder = tmp_path / "sweep"
    command = [sys.executable, script, "sweep", *TINY[:-2]]
    command += ["--iterations", "1000000", "--set", "size.lif=4,5,6,7", "--seeds", "1,"]
    command += ["--workers", "2", "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    histories = [folder / f"size.lif={n}_seed1" / "history.csv" for n in (4, 5)]
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if all(h.exists() and len(h.read_text().splitlines()) > 100 for h in histories):
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "the same command goes on from the last checkpoints" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in folder.iterdir()) == [
        "size.lif=4_seed1",
        "size.lif=5_seed1",
    ]


def test_a_balanced_network_is_trained_once_for_all_its_tests(tmp_path, monkeypatch):
    from eprop_brian.balanced.experiment import Experiment

    trained, train_part = [], Experiment._train_part

    def counted(self, *arguments):
        trained.append(self.seed)
        return train_part(self, *arguments)

    monkeypatch.setattr(Experiment, "_train_part", counted)
    call(
        *("sweep", "balanced-bistable", "--set", "test.kill=0,0.5", "--set", "network.n_basis=8"),
        *("--set", "training.duration=0.1", "--set", "network.n=10", "--set", "network.norm=0.5"),
        *("--set", "test.duration=0.2", "--set", "test.settle=0.05", "--device", "runtime"),
        *("--seeds", "2", "--workers", 1, "--out", tmp_path),
    )
    assert trained == [1] * 50 + [2] * 50
    rows = rows_of(tmp_path / "sweep.csv")
    assert [(row["test.kill"], row["seed"], row["killed"]) for row in rows] == [
        *(("0", "1", "0"), ("0", "2", "0"), ("0.5", "1", "5"), ("0.5", "2", "5")),
    ]
    assert [float(row["performance"]) for row in rows[:2]] == [1.0, 1.0]
