"""The command, as a user types it."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eprop_brian.cli import main
from eprop_brian.cli.folders import new_folder
from eprop_brian.equations.neurons import NEURONS, PUBLISHED
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.recipes import RECIPES, get_recipe
from support.command import call, last_line

REFERENCE = Path(__file__).parents[1] / "reference"
LIF_NAMES = [name for name in (*NEURONS, *PUBLISHED) if name.startswith("lif_")]
#: A pattern-generation run small enough for a test.
SMALL = [
    *("train", "pattern-generation", "--no-figures"),
    *("--set", "task.n_steps=60", "--set", "task.n_inputs=20", "--set", "size.lif=8"),
]


def test_tasks_are_listed_one_line_each():
    lines = call("tasks").splitlines()
    assert [line.split()[0] for line in lines] == [*RECIPES]


def test_help_and_mistypes_wait_for_no_library():
    typed = [
        *(["--help"], ["--version"], ["trian"], ["train", "--help"], ["record", "--help"]),
        *(["train"], ["train", "patern-generation"], ["train", "--iteratoins", "3"]),
        *(["train", "pattern-generation", "--device", "gpu"], ["export", "cartpol", "--out", "x"]),
    ]
    code = (
        "import sys; sys.argv = ['eprop-brian']; from eprop_brian.cli import main\n"
        f"for arguments in {typed}:\n"
        "    try: main(arguments)\n"
        "    except SystemExit as end: print(end.code)\n"
        "print([m for m in ('brian2', 'sympy', 'numpy', 'matplotlib', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    codes = [line for line in done.stdout.splitlines() if line in ("0", "1", "2")]
    assert codes == ["0", "0", "2", "0", "0", "2", "2", "2", "2", "1"]
    for name in ("train", "pattern-generation", "--iterations", "cartpole"):
        assert f"ean '{name}'" in done.stderr or f"ean {name}" in done.stderr, done.stderr


def test_names_of_tasks_are_completed(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "eprop-brian train pattern-")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = CliRunner().invoke(
        main, env={"_EPROP_BRIAN_COMPLETE": "bash_complete"}, prog_name="eprop-brian"
    )
    assert result.output == "plain,pattern-generation\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["recipe", "evidence"], [name for name in RECIPES if name.startswith("evidence")]),
        (["train", "cartpole", "--neuron", "lif_"], LIF_NAMES),
        (["derive", "adapt"], ["adaptive_threshold"]),
        (["train", "cartpole", "--device", "c"], ["cpp", "cuda"]),
    ],
)
def test_the_tab_key_completes(words, expected):
    typed = {"COMP_WORDS": " ".join(["eprop-brian", *words]), "COMP_CWORD": str(len(words))}
    result = CliRunner().invoke(
        main, env={"_EPROP_BRIAN_COMPLETE": "bash_complete", **typed}, prog_name="eprop-brian"
    )
    assert sorted(result.output.split()) == sorted(f"plain,{name}" for name in expected)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell):
    script = call("completion", shell)
    assert f"_EPROP_BRIAN_COMPLETE={shell}_complete" in script and "eprop-brian" in script
    if shutil.which(shell):  # which reads it without a complaint
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "eprop_brian", "train", "patern"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: eprop-brian train ")
    assert "did you mean 'pattern-generation'?" in done.stderr


@pytest.mark.usefixtures("answered_signals")
def test_the_module_is_interrupted_as_the_command_is():
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)"
    program = f"import eprop_brian, sys; {code}"
    for name in ("eprop-brian", "eprop_brian/__main__.py"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv[0] = {name!r}; {program}"],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")


def test_help_lists_whole_sentences_of_all_commands():
    output = call("--help")
    joined = " ".join(output.split())
    for name, command in main.commands.items():
        paragraph = " ".join(command.help.strip().partition("\n\n")[0].split())
        assert f"{name} {paragraph}" in joined
    assert sorted(main.list_commands(None)) == sorted(main.commands)


def test_settings_are_listed_with_values_and_meanings():
    output = call("settings", "pattern-generation", "--set", "optimizer.eta=0.25")
    for line in (
        r"  eta = 0\.25 +of the optimizer gradient_descent",
        r"  n_inputs = \(default 100\) +\S.*",
        r"  iterations = 2000 +updates, in all",
        r"  rate_averaging = \(default trial\) +What the regulariser compares .*",
    ):
        assert re.search(f"^{line}$", output, re.MULTILINE), line
    assert max(map(len, output.splitlines())) <= 100
    assert "`" not in output and "](" not in output


@pytest.mark.parametrize("task", ["balanced-lorenz", "copy-repeat", "evidence-accumulation-ei"])
def test_settings_of_every_kind_of_network_are_listed(task):
    config = RunConfig.from_recipe(task)
    output = call("settings", task)
    for name, table in config.model.schema.items():
        entries = config.tables[name]
        if entries:
            assert f"[[{name}]]" if table.many else f"[{name}]" in output.splitlines()
        for key in entries if isinstance(entries, dict) else []:
            assert f"  {key} = " in output


def test_recipes_and_neurons_are_listed():
    lines = call("recipes").splitlines()
    assert [line.split()[0] for line in lines] == sorted(RECIPES)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)
    lines = call("neurons").splitlines()
    assert [line.split()[0] for line in lines] == [*NEURONS, *PUBLISHED]


def test_a_recipe_is_copied_to_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "mine.toml"
    assert call("recipe", "cartpole", "--out", path).startswith(f"wrote {path}; train with")
    assert path.read_text() == str(get_recipe("cartpole"))
    assert "exists already" in call("recipe", "digits", "--out", path, code=1)
    assert "ends in .toml" in call("recipe", "digits", "--out", tmp_path / "mine", code=2)
    assert get_recipe(path).task == "cartpole"


def test_devices_say_what_they_need():
    lines = call("devices").splitlines()
    assert [line.partition(":")[0] for line in lines if line[0] != " "] == [
        *("runtime", "cpp", "cuda")
    ]


@pytest.mark.slow
def test_a_program_is_compiled_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = call(*SMALL, "--no-run")
    assert Path(output.split()[1]).is_file()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (("--out", "somewhere"), "--out cannot be given with --no-run"),
        (("--device", "runtime"), "compiles nothing"),
        (("--gradient", "bptt"), "no program to compile"),
    ],
)
def test_what_compiles_nothing_is_refused(option, expected):
    assert expected in call(*SMALL, "--no-run", *option, code=2)


def test_derive_names_where_the_traces_live():
    text = call("derive", "alif")
    assert "eps_a" in text
    assert "synapse" in text
    assert "\\epsilon" in call("derive", "alif", "--latex")


def test_library_neurons_print_as_files_that_derive(tmp_path):
    path = tmp_path / "alif.toml"
    path.write_text(call("derive", "alif", "--toml"))
    assert "eps_a" in call("derive", path)


def test_train_writes_what_it_says(tmp_path):
    folder = tmp_path / "run"
    output = call(*SMALL, "--device", "runtime", "--iterations", 3, "--out", folder)
    assert re.fullmatch(r"loss [\d.]+", last_line(output))
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["run"]["iterations"] == 3
    assert config["size"] == {"lif": 8}
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "loss", "error", "rate_hz", "seconds", "alignment"]
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    assert all(row["error"] == "" for row in rows)
    assert float(last_line(output).split()[1]) == pytest.approx(float(rows[-1]["loss"]), rel=1e-5)
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as checkpoint:
        assert checkpoint["w_rec"].shape == (8, 8)
        assert checkpoint["n_updates"] == 3


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    call(*SMALL, "--iterations", 25, "--out", whole)
    call(*SMALL, "--iterations", 7, "--out", parts)
    output = call("train", "--resume", parts, "--iterations", 25, "--no-figures")
    assert "resuming" in output
    with np.load(whole / "checkpoint.npz") as a, np.load(parts / "checkpoint.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_run_with_nothing_left_to_do_is_left_as_it_is(tmp_path):
    folder = tmp_path / "run"
    first = call(*SMALL, "--iterations", 3, "--out", folder)
    files = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert "history.csv" in files
    again = call("train", "--resume", folder, "--format", "svg")
    assert "nothing to do: give a larger --iterations to go on\n" in again
    assert "wrote" not in again
    assert last_line(again) == last_line(first)
    now = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert now == files


def test_optimizer_state_is_resumed_too(tmp_path):
    arguments = [*SMALL, "--device", "runtime", "--set", "optimizer.name=adam"]
    call(*arguments, "--iterations", 4, "--out", tmp_path / "whole")
    call(*arguments, "--iterations", 2, "--out", tmp_path / "parts")
    call("train", "--resume", tmp_path / "parts", "--iterations", 4, "--no-figures")
    with (
        np.load(tmp_path / "whole/checkpoint.npz") as a,
        np.load(tmp_path / "parts/checkpoint.npz") as b,
    ):
        assert "m.w_in" in a.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_the_number_of_workers_changes_nothing(tmp_path):
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        arguments = ("--batch-size", 20, "--iterations", 3, "--workers", workers, "--out", folder)
        call(*SMALL, *arguments)
    one, two = (np.load(tmp_path / n / "checkpoint.npz") for n in ("1", "2"))
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_sparse_connectivity_is_kept_with_the_run(tmp_path):
    folder = tmp_path / "run"
    sparse = (
        "--set",
        "network.connectivity={w_rec = 0.25}",
        "--set",
        "network.connectivity_seed=3",
    )
    call(*SMALL, *sparse, "--device", "runtime", "--iterations", 2, "--out", folder)
    call("train", "--resume", folder, "--iterations", 4, "--no-figures")
    with np.load(folder / "initial.npz") as before, np.load(folder / "checkpoint.npz") as after:
        assert len(after["w_rec.data"]) == round(0.25 * 8 * 7)
        np.testing.assert_array_equal(after["w_rec.indices"], before["w_rec.indices"])


def test_a_run_in_continuous_operation_is_resumed(tmp_path):
    arguments = [*SMALL, "--updates", "spike", "--gradient", "online", "--feedback", "adaptive"]
    arguments += ["--set", "network.rate_averaging=moving", "--set", "network.trace_cutoff=20 ms"]
    call(*arguments, "--iterations", 6, "--out", tmp_path / "whole")
    call(*arguments, "--iterations", 4, "--out", tmp_path / "parts")
    call("train", "--resume", tmp_path / "parts", "--iterations", 6, "--no-figures")
    before = np.load(tmp_path / "whole/initial.npz")
    whole, parts = (np.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "parts"))
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    assert all(np.any(whole[name] != before[name]) for name in ("w_in", "w_rec", "w_out", "B"))
    assert re.fullmatch(r"loss [\d.]+", last_line(call("evaluate", tmp_path / "whole")))


def test_feedback_by_file_and_by_equation(tmp_path):
    np.save(tmp_path / "B.npy", np.full((8, 1), 0.3))
    small = [*SMALL, "--device", "runtime", "--iterations", 1]
    call(*small, "--feedback", tmp_path / "B.npy", "--out", tmp_path / "file")
    with np.load(tmp_path / "file/checkpoint.npz") as checkpoint:
        assert np.all(checkpoint["B"] == 0.3)
    call(*small, "--feedback", "B*tanh(error)", "--out", tmp_path / "equation")
    np.save(tmp_path / "B.npy", np.full((1, 8), 0.3))
    arguments = (*small, "--feedback", tmp_path / "B.npy", "--out", tmp_path / "wrong")
    assert "shape (1, 8)" in call(*arguments, code=1)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("task.n_inputs=99999999999999", "spikes of 99999999999999 inputs in 60 steps would need"),
        ("size.lif=99999999999999", "size.lif must be 0 to 2147483647, not 99999999999999"),
    ],
)
def test_a_network_beyond_all_memory_is_said(tmp_path, setting, expected):
    arguments = (*SMALL, "--device", "runtime", "--set", setting)
    assert expected in call(*arguments, "--out", tmp_path / "run", code=1)
    assert not (tmp_path / "run").exists()


def test_evaluate_prints_loss_and_error(tmp_path):
    folder = tmp_path / "run"
    call(
        *("train", "evidence-accumulation", "--no-figures", "--device", "runtime"),
        *("--iterations", 1, "--batch-size", 1, "--out", folder, "--set", "task.n_cues=1"),
        # Short, since training ends with a test of many trials.
        *("--set", "task.cue_duration=5 ms", "--set", "task.pause_duration=1 ms"),
        *("--set", "task.delay=1 ms", "--set", "task.recall_duration=5 ms"),
        *("--set", "size.lif=4", "--set", "size.alif=4"),
    )
    output = call("evaluate", folder, "--batches", 1, "--batch-size", 4)
    assert re.fullmatch(r"loss [\d.]+ error [\d.]+", last_line(output))


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_an_interrupt_after_training_names_what_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    arguments = ["train", "pattern-generation", *SMALL[3:], "--device", "runtime"]
    monkeypatch.setattr("eprop_brian.figures.eprop.plot_eprop_run", interrupt)
    output = call(*arguments, "--iterations", 2, "--out", folder, code=130)
    assert "interrupted after training; the checkpoint of iteration 2 is saved" in output
    assert f"eprop-brian plot {folder}" in output
    assert f"eprop-brian evaluate {folder}" in output
    assert (folder / "checkpoint.npz").exists()


@pytest.mark.parametrize(
    ("command", "figure", "table"),
    [
        (["compare", "--methods", "random"], "plot_comparison", "comparison.csv"),
        (["gradcheck"], "plot_gradient_check", "gradients.csv"),
    ],
)
def test_an_interrupt_of_a_figure_names_the_table(tmp_path, monkeypatch, command, figure, table):
    if command[0] == "gradcheck":
        pytest.importorskip("jax")
    monkeypatch.setattr(f"eprop_brian.figures.learning.{figure}", interrupt)
    arguments = [command[0], "pattern-generation", *command[1:], *SMALL[3:]]
    arguments += ["--device", "runtime", "--iterations", 1, "--seeds", "1,", "--out", tmp_path]
    output = call(*arguments, code=130)
    assert f"interrupted after training; {tmp_path / table} and all runs are written" in output
    assert (tmp_path / table).exists()


@pytest.mark.slow
def test_plot_draws_a_run(tmp_path):
    folder = tmp_path / "run"
    call(*SMALL, "--device", "runtime", "--iterations", 3, "--out", folder)
    call("plot", folder)
    assert {"learning_curve.png", "trial_before.png", "trial_after.png", "weights.png"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.slow
@pytest.mark.usefixtures("answered_signals")
def test_interrupting_saves_a_checkpoint_and_says_how_to_resume(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "from eprop_brian.cli import main; main()", *SMALL]
    command += ["--iterations", "1000000", "--checkpoint-every", "0.5", "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            history = folder / "history.csv"
            if history.exists() and len(history.read_text().splitlines()) > 1:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"eprop-brian train --resume {folder}" in errors
    with np.load(folder / "checkpoint.npz") as checkpoint:
        done = int(checkpoint["n_updates"])
    assert len((folder / "history.csv").read_text().splitlines()) == done + 1
    call("train", "--resume", folder, "--iterations", done + 5, "--no-figures")


def test_verify_reports_and_fails(tmp_path):
    good = REFERENCE / "unit_1_1_1_gd.npz"
    output = call("verify", good, "--device", "runtime")
    assert last_line(output).endswith("losses and weights within 1e-09)  ok")
    with np.load(good) as file:
        arrays = {name: file[name].copy() for name in file.files}
    arrays["w_out"][2] *= 1 + 1e-6
    bad = tmp_path / "bad.npz"
    np.savez(bad, **arrays)
    output = call("verify", good, bad, "--device", "runtime", code=1)
    assert "FAILED: w_out after update 2" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "pattern-generaton"], "did you mean 'pattern-generation'?"),
        (["train"], "name a task"),
        ([*SMALL, "--set", "optimizer.etta=1"], "did you mean 'eta'?"),
        ([*SMALL, "--set", "neuron.tau_n='20 ms'"], "did you mean 'tau_m'?"),
        ([*SMALL, "--set", "neuron.tau_m=20 mV"], "units do not fit"),
        ([*SMALL, "--set", "nonsense"], "TABLE.KEY=VALUE"),
        ([*SMALL, "--set", "size.lif=0"], "needs neurons"),
        ([*SMALL, "--neuron", "hodgkin"], "There are: lif, alif"),
        ([*SMALL, "--neuron", "missing.toml"], "No such file"),
        ([*SMALL, "--set", "task.dt=3"], "dt"),
        ([*SMALL, "--workers", "2", "--scheduler", "tcp://x"], "has workers of its own"),
        ([*SMALL, "--workers", "2", "--device", "runtime"], "device 'cpp', not 'runtime'"),
        ([*SMALL, "--workers", "0"], "0 is not in the range"),
        ([*SMALL, "--set", "network.connectivity={w_rec = 2}"], "is a fraction, not 2"),
        ([*SMALL, "--set", "network.connectivity=0.5"], "names weight matrices"),
        (["evaluate", "."], "holds no run"),
    ],
)
def test_mistakes_are_answered_in_a_line_or_two(tmp_path, monkeypatch, arguments, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) < 15
    assert not list(Path().iterdir()), "a refused run must leave nothing behind"


@pytest.mark.parametrize("command", ["train", "compare", "gradcheck", "sweep", "recipe"])
def test_every_command_says_which_task_was_meant(command):
    output = call(command, "pattern-generaton", code=2)
    assert "unknown task 'pattern-generaton' (did you mean 'pattern-generation'?)" in output


def test_a_task_with_an_argument(tmp_path, monkeypatch):
    pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    assert '[task]\nenv = "Acrobot-v1"\n' in call("recipe", "gymnasium:Acrobot-v1")
    for name, code, message in (
        ("gymnasum:CartPole-v1", 2, "unknown task 'gymnasum' (did you mean 'gymnasium'?)"),
        ("digits:3", 2, "unknown task that takes an argument 'digits'"),
        ("gymnasium:CartPol", 1, "gymnasium cannot make 'CartPol': Environment `CartPol` doesn't"),
        ("gymnasium:nowhere:X-v0", 1, "environment 'nowhere:X-v0' when it was made: it raised Mod"),
    ):
        assert message in call("train", name, code=code)
    assert not list(tmp_path.iterdir())
    with new_folder("gymnasium:nowhere/Maze-v0") as folder:
        assert folder == Path("runs/gymnasium-nowhere-Maze-v0")


def test_a_recipe_in_the_place_of_a_task_says_how_it_is_given():
    assert "mine.toml is no task: write --recipe mine.toml" in call("train", "mine.toml", code=2)


def test_an_unknown_command_says_which_was_meant():
    assert "Did you mean 'train'" in call("trian", code=2)


def test_a_reader_that_is_gone_is_not_an_error_to_talk_about():
    command = [sys.executable, "-c", "from eprop_brian.cli import main; main()", "derive", "lif"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(60) == 1
    assert not errors


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    arguments = [*SMALL, "--device", "runtime", "--iterations", 1, "--out", tmp_path / "run"]
    call(*arguments)
    message = call(*arguments, code=1)
    assert "already holds a run: go on with it by eprop-brian train --resume " in message


TINY = [
    *("--set", "task.n_steps=60", "--set", "task.n_inputs=20", "--set", "size.lif=8"),
    *("--device", "runtime"),
]


@pytest.mark.slow
def test_bptt_is_trained_resumed_evaluated_and_drawn(tmp_path):
    for name, iterations in (("whole", 4), ("parts", 2)):
        output = call(
            *(*SMALL, "--gradient", "bptt", "--iterations", iterations, "--out", tmp_path / name)
        )
        assert "building" not in output
    call("train", "--resume", tmp_path / "parts", "--iterations", 4, "--no-figures")
    with (
        np.load(tmp_path / "whole/checkpoint.npz") as a,
        np.load(tmp_path / "parts/checkpoint.npz") as b,
    ):
        assert a["n_updates"] == 4
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert last_line(call("evaluate", tmp_path / "whole")).startswith("loss ")
    assert "trial_after.png" in call("plot", tmp_path / "whole")


def test_bptt_with_a_learning_signal_is_a_mistake(tmp_path):
    folder = tmp_path / "run"
    arguments = ("--gradient", "bptt", "--feedback", "random", "--out", folder)
    assert "leave feedback at 'symmetric'" in call(*SMALL, *arguments, code=1)
    assert not folder.exists()


def test_methods_are_compared(tmp_path):
    command = ["compare", "pattern-generation", *TINY, "--methods", "random,symmetric"]
    command += ["--seeds", "2,5", "--output", tmp_path]
    output = call(*command, "--iterations", 2, "--format", "png", "--format", "pdf")
    assert "random     final loss" in output and last_line(output).startswith("symmetric")
    names = {path.name for path in tmp_path.iterdir()}
    runs = {f"{method}-seed{seed}" for method in ("random", "symmetric") for seed in (2, 5)}
    assert names == runs | {"comparison.csv", "comparison.png", "comparison.pdf"}
    assert "4/4" not in call(*command, "--iterations", 2)
    refused = call(*command, "--iterations", 2, "--set", "optimizer.eta=1", code=1)
    assert "holds a run with other settings" in refused


@pytest.mark.parametrize("seeds", ["0", "x", "3,3", "-1", "1,-2", ""])
def test_seeds_that_are_none(seeds):
    output = call("compare", "pattern-generation", "--seeds", seeds, code=2)
    assert "neither a number of seeds" in output


def test_gradients_are_compared(tmp_path):
    folder = tmp_path / "run"
    command = ["gradcheck", "pattern-generation", *TINY, "--feedback", "random", "--iterations", 3]
    output = call(*command, "--every", 2, "--out", folder)
    assert "w_rec: cosine" in output and "w_out: cosine 1.000 before, 1.000 after" in output
    output = call(*command, "--every", 3, "--seeds", "2,5", "--out", tmp_path / "two")
    with open(tmp_path / "two" / "gradients.csv", newline="") as file:
        rows = [(row["seed"], row["iteration"]) for row in csv.DictReader(file)]
    assert rows[::3] == [("2", "0"), ("2", "3"), ("5", "0"), ("5", "3")]
    with open(folder / "gradients.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["iteration"] for row in found[::3]] == ["0", "2", "3"]
    assert (folder / "gradients.png").exists()
    # It is a run like others.
    assert last_line(call("evaluate", folder / "seed1")).startswith("loss ")
    assert "holds a run with other settings" in call(
        *command, "--set", "optimizer.eta=3e-5", "--out", folder, code=1
    )


def test_a_gradient_check_goes_on_where_it_was_stopped(tmp_path):
    command = ["gradcheck", "pattern-generation", *TINY, "--every", 2, "--iterations"]
    # Stopped between two comparisons, as Ctrl-C may; the end of the first run is one more.
    call(*command, 3, "--out", tmp_path / "parts")
    call(*command, 6, "--out", tmp_path / "parts")
    call(*command, 6, "--out", tmp_path / "whole")
    parts, whole = (
        {(row["iteration"], row["projection"]): row for row in csv.DictReader(file)}
        for file in (
            io.StringIO((tmp_path / name / "gradients.csv").read_text())
            for name in ("parts", "whole")
        )
    )
    assert sorted({int(iteration) for iteration, _ in parts}) == [0, 2, 3, 4, 6]
    assert sorted({int(iteration) for iteration, _ in whole}) == [0, 2, 4, 6]
    assert all(parts[key] == row for key, row in whole.items())
    before = (tmp_path / "parts" / "gradients.csv").read_text()
    call(*command, 6, "--out", tmp_path / "parts")
    assert (tmp_path / "parts" / "gradients.csv").read_text() == before


def test_a_feedback_scale_that_changes_nothing_is_refused(tmp_path):
    scaled = ("--set", "network.feedback_scale=0.3", "--out", tmp_path / "run")
    output = call("train", "pattern-generation", *TINY, *scaled, code=1)
    assert "a feedback scale changes nothing here: the feedback weights follow" in output
    assert not (tmp_path / "run").exists()
