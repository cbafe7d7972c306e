"""Settings of a run by name: what a recipe and ``--set`` do to the neurons."""

import re
from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.equations import FEEDBACKS, NEURONS, get_neuron
from eprop_brian.runs.config import RunConfig
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.training.trainer import Trainer

TASK = "pattern-generation"


@pytest.mark.parametrize(
    ("text", "detach"), [("[]", ()), ('["v"]', ("v",)), ('["v", "a"]', ("v", "a"))]
)
def test_detached_states_can_be_set(text, detach, tmp_path):
    config = RunConfig.from_recipe(TASK, neuron="alif", settings=[f"neuron.detach={text}"])
    assert config.neurons["alif"].detach == detach
    config.write(tmp_path)
    assert RunConfig.read(tmp_path).neurons["alif"].detach == detach


def test_each_neuron_detaches_the_states_that_it_has():
    config = RunConfig.from_recipe("evidence-accumulation", settings=['neuron.detach=["v", "a"]'])
    assert {name: n.detach for name, n in config.neurons.items()} == {
        "lif": ("v",),
        "alif": ("v", "a"),
    }


@pytest.mark.parametrize("text", ["v", "true", "[1]", "'v'"])
def test_detach_is_a_list_of_states(text):
    with pytest.raises(ValueError, match=r"write a list of states, .*neuron\.detach=\[\] to"):
        RunConfig.from_recipe(TASK, settings=[f"neuron.detach={text}"])


def test_unknown_states_cannot_be_detached():
    with pytest.raises(ValueError, match=r"unknown state 'u'.* There are: v$"):
        RunConfig.from_recipe(TASK, settings=['neuron.detach=["u"]'])


def test_detach_is_among_the_keys_of_a_neuron():
    with pytest.raises(ValueError, match="did you mean 'detach'"):
        RunConfig.from_recipe(TASK, settings=["neuron.detatch=[]"])


def test_recipe_sets_parameters_of_the_same_unit_only():
    mine = RunConfig.from_recipe(TASK, neuron="lif_exp").neurons["lif_exp"].parameters
    assert mine["tau_m"] == "30 ms"
    assert mine["v_th"] == get_neuron("lif_exp").parameters["v_th"] == "-50 mV"
    with pytest.raises(EquationError):
        config = RunConfig.from_recipe(TASK, neuron="lif_exp", settings=["neuron.v_th=0.03"])
        config.make_network(config.make_task())


@pytest.mark.parametrize("name", NEURONS)
def test_every_library_neuron_makes_a_network(name):
    config = RunConfig.from_recipe(TASK, neuron=name)
    network = config.make_network(config.make_task())
    assert [(p.neuron, p.size) for p in network.populations] == [(config.neurons[name], 100)]
    assert replace(config.neurons[name], parameters={}, constants={}) == replace(
        NEURONS[name], parameters={}, constants={}
    )


def feedback_of(config):
    return config.make_network(config.make_task()).resolved.signals[0].feedback


@pytest.mark.parametrize("kind", FEEDBACKS)
def test_feedback_by_kind(kind):
    config = RunConfig.from_recipe(TASK, network={"feedback": kind})
    # The recipe's scale is for the kinds that have one.
    scaled = FEEDBACKS[kind].with_options(scale=1.0 if kind == "symmetric" else 0.1)
    assert feedback_of(config) == scaled


def test_feedback_by_equation_with_a_delay(tmp_path):
    settings = ["network.feedback=B*tanh(error)", "network.feedback_delay=3 ms"]
    RunConfig.from_recipe(TASK, settings=settings).write(tmp_path)
    network = RunConfig.read(tmp_path).make_network(RunConfig.read(tmp_path).make_task())
    assert network.resolved.signals[0].feedback.signal == "tanh(error)"
    assert np.all(network.resolved.signals[0].delay_steps == 3)


def test_feedback_by_matrix_is_kept_with_the_run(tmp_path):
    matrix = np.arange(100.0)[:, None]
    np.save(tmp_path / "mine.npy", matrix)
    config = RunConfig.from_recipe(TASK, network={"feedback": tmp_path / "mine.npy"})
    (tmp_path / "mine.npy").unlink()
    config.write(tmp_path / "run")
    read = RunConfig.read(tmp_path / "run")
    assert read.network["feedback"] == "given"
    np.testing.assert_array_equal(feedback_of(read).matrix, matrix)
    weights = read.make_network(read.make_task()).initial_weights(1)
    np.testing.assert_array_equal(weights["B"], matrix)


def test_a_file_of_feedback_runs_nothing(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"bad\.npy: not an \.npy of a plain array"):
        RunConfig.from_recipe(TASK, network={"feedback": tmp_path / "bad.npy"})
    with pytest.raises(ValueError, match=r"none\.npy: no such file"):
        RunConfig.from_recipe(TASK, network={"feedback": tmp_path / "none.npy"})
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"text\.npy: not an \.npy"):
        RunConfig.from_recipe(TASK, network={"feedback": tmp_path / "text.npy"})


def test_feedback_of_no_kind_is_refused_at_once():
    with pytest.raises(
        ValueError,
        match="unknown feedback 'randm' .did you mean 'random'.*There are: symmetric, random",
    ):
        RunConfig.from_recipe(TASK, network={"feedback": "randm"})
    with pytest.raises(ValueError, match="unknown option 'decay'"):
        feedback_of(RunConfig.from_recipe(TASK, settings=["network.feedback_decay=0.1"]))


def test_delays_and_learned_parameters_can_be_set(tmp_path):
    settings = [
        'network.delays={w_rec = ["2 ms", "5 ms"], w_out = "1 ms"}',
        'network.learned={tau_m = {minimum = "5 ms", eta = 0.01}}',
        "readout.trace_decay=0.97",
    ]
    RunConfig.from_recipe(TASK, settings=settings).write(tmp_path)
    config = RunConfig.read(tmp_path)
    network = config.make_network(config.make_task())
    delays = network.delay_steps["w_rec"]
    assert delays.shape == (100, 100)
    assert {*np.unique(delays)} == {2, 3, 4, 5}
    assert network.delay_steps["w_out"] == 1
    assert network.populations[0].learned["tau_m"].minimum == 0.005
    assert network.populations[0].learned["tau_m"].eta == 0.01
    assert float(network.resolved.readouts[0].program.trace_decay.expression) == 0.97


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["network.delays={w_rec = '2000 ms'}"],
            "delay of w_rec of 2000 steps is too long for a trial of 1000 steps",
        ),
        (
            ["network.feedback_delay=1001 ms"],
            "feedback delay of 1001 steps is too long for the learning window of 1000 steps",
        ),
        (["network.updates=step"], "needs gradient = 'online'"),
    ],
)
def test_a_wrong_combination_is_refused_before_anything_is_compiled(settings, message, monkeypatch):
    def compile_nothing(*_):
        raise AssertionError("compiled")

    for module in ("sessions", "workers"):
        monkeypatch.setattr(
            f"eprop_brian.training.{module}.make_program", lambda *_: compile_nothing
        )
    config = RunConfig.from_recipe(TASK, settings=settings)
    for workers in (1, 2):
        with pytest.raises(ValueError, match=message):
            config.make_trainer(workers=workers)


def test_a_path_is_text_though_it_begins_like_a_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2015").mkdir()
    config = RunConfig.from_recipe("n-mnist", settings=["task.path=./2015"])
    with pytest.raises(ValueError, match="there are no recordings in 2015/Train/0"):
        config.make_task()
    config = RunConfig.from_recipe("n-mnist", settings=["task.path=2015"])
    with pytest.raises(ValueError, match="there are no recordings in 2015/Train/0"):
        config.make_task()


CONTINUOUS = ("network.updates=spike", "network.gradient=online", "network.c_reg=0")


def test_continuous_operation_has_neither_batches_nor_workers():
    config = RunConfig.from_recipe(TASK, settings=CONTINUOUS)
    with pytest.raises(ValueError, match="trials cannot be shared among workers"):
        config.make_trainer(workers=2)
    config = RunConfig.from_recipe(TASK, settings=CONTINUOUS, run={"batch_size": 4})
    with pytest.raises(ValueError, match="has no batches: batch_size must be 1, not 4"):
        config.make_trainer()


@pytest.mark.parametrize("name", ["x/../../evil", "../evil", "/evil", "a b", "", "é", "_x", "1"])
def test_names_that_become_files_are_identifiers(name, tmp_path):
    config = RunConfig.from_recipe(TASK)
    folder = tmp_path / "run"
    config.write(folder)
    (folder / "neuron-x").mkdir()
    neurons = {name: config.neurons["lif"]}
    with pytest.raises(ValueError, match="names a neuron"):
        replace(config, tables={**config.tables, "size": {name: 3}}, parts={"neurons": neurons})
    path = folder / "config.toml"
    path.write_text(re.sub("(?m)^lif = ", f'"{name}" = ', path.read_text()))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"config.toml: \[size\] names a neuron"):
        RunConfig.read(folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task", '["a"]', "run.task = ['a'] must be text"),
        ("iterations", "-1", "run.iterations must be at least 1, not -1"),
        ("iterations", '"x"', "run.iterations = 'x' must be a whole number"),
        ("batch_size", "3.5", "run.batch_size = 3.5 must be a whole number"),
        ("seed", "-1", "run.seed must be at least 0, not -1"),
        ("seed", "true", "run.seed = True must be a whole number"),
        ("device", "{a = 1}", "unknown device"),
        ("dtype", "3", "unknown dtype '3'"),
    ],
)
def test_what_a_run_cannot_be_told_is_named_with_its_file(tmp_path, key, value, message):
    RunConfig.from_recipe(TASK).write(tmp_path)
    path = tmp_path / "config.toml"
    text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", path.read_text(), count=1)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"config\.toml: {re.escape(message)}"):
        RunConfig.read(tmp_path)


def test_a_trainer_checks_its_seed_before_it_asks_the_task():
    config = RunConfig.from_recipe(TASK)
    task = config.make_task()
    with pytest.raises(ValueError, match="^seed must be at least 0, got -1"):
        Trainer(config.make_network(task), task, seed=-1)


@pytest.mark.parametrize("value", ['["a"]', "{a = 1}", "3"])
def test_an_optimizer_that_is_no_name_is_unknown(value):
    with pytest.raises(ValueError, match="unknown optimizer"):
        config = RunConfig.from_recipe(TASK, settings=[f"optimizer.name={value}"])
        config.make_network(config.make_task())


def test_a_number_beyond_all_floats_is_not_finite():
    with pytest.raises(ValueError, match="a whole number has 1329 bits, at most 64 are possible"):
        RunConfig.from_recipe(TASK, settings=[f"network.c_reg={10**400}"])
