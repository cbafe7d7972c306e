"""Settings of balanced networks: recipes, files, and an experiment that comes back as it was."""

import numpy as np
import pytest

from eprop_brian.balanced.experiment import RESULTS, TEST, training_inputs
from eprop_brian.balanced.metrics import nmse
from eprop_brian.balanced.watchdog import UnstableNetworkError
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.runs.saved import SavedExperiment, read_recording
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.teacher import teacher_map
from eprop_brian.tasks.dynamics import DYNAMICS

TASK = "balanced-van-der-pol"


@pytest.fixture(scope="module")
def config():
    return RunConfig.from_recipe(TASK)


@pytest.mark.parametrize("task", [name for name in DYNAMICS if name != "balanced-arm"])
def test_every_task_makes_a_network(task):
    config = RunConfig.from_recipe(task, settings=["network.n=12", "run.seed=3"])
    network = config.make_network()
    k = len(config.make_task().region)
    assert network.decoder.shape == (k, 12)
    assert np.linalg.norm(network.decoder, axis=0) == pytest.approx(
        np.full(12, config.network["norm"] / 12)
    )
    terms = config.network["n_basis"] if network.basis == "tanh" else 12
    assert network.slow_weights.shape == (12, terms)
    assert network.fast_weights.shape == (12, 12)
    trains = config.training["duration"] > 0
    assert bool(network.learns) is trains
    if config.network["rule"] == "learned":
        assert not network.slow_weights.any()
    assert inputs_of(config, 50).shape == (50, k)
    assert config.make_task().inputs(50, k, 1e-4, 1).shape == (50, k)
    # What is learned begins away from the optimum.
    assert ("fast" in network.learns) is bool(config.network["fast_start"])


def test_inputs_of_the_training_pull_the_teacher_through_the_region(config):
    inputs = inputs_of(config, 2000)
    reach = config.training["pull"] * config.training["reach"] * np.array([1.4, 1.4])
    assert np.all(np.abs(inputs) <= reach)
    assert np.array_equal(inputs, inputs_of(config, 2000))
    other = config.with_values("run", seed=2)
    assert not np.array_equal(inputs, inputs_of(other, 2000))


def test_a_seed_is_the_networks_and_the_inputs(config):
    first, same = (config.make_network() for _ in range(2))
    other = config.with_values("run", seed=2).make_network()
    for name in ("decoder", "basis_weights", "basis_offset"):
        assert np.array_equal(getattr(first, name), getattr(same, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_settings_are_written_and_read(tmp_path):
    config = RunConfig.from_recipe(
        TASK,
        run={"seed": 5, "device": "runtime", "dtype": None},
        test={"kill": 0.25, "noise": None},
        settings=[
            *("network.n=40", "network.delay=0.3 ms", "network.one_spike=false"),
            *("training.gain=k_0*(1 - t/duration)", "input.std=2", "network.basis_gain=[1, 2.5]"),
            *("teacher.speed=3 Hz", "network.feedback=k*projected_error"),
        ],
    )
    config.write(tmp_path)
    read = RunConfig.read(tmp_path)
    assert read == config
    network = read.make_network()
    assert (network.n, network.steps("delay"), network.one_spike) == (40, 3, False)
    assert network.gain == "k_0*(1 - t/duration)"
    assert network.teacher_map.parameters["speed"] == 3
    assert read.make_task().input_std == 2
    assert (read.run["seed"], read.run["device"], read.run["dtype"]) == (5, "runtime", "float64")
    assert (read.test["kill"], read.test["noise"]) == (0.25, -1.0)


def test_noise_can_be_a_multiple_of_the_threshold(tmp_path):
    tiny = ["network.n=10", "network.norm=0.5", "test.duration=0.2", "test.settle=0.05"]
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[run]\ntask = "balanced-oscillator"\ndevice = "runtime"\n[test]\nnoise = "0.1 threshold"\n'
    )
    relative = RunConfig.from_recipe(recipe, settings=tiny)
    relative.write(tmp_path)
    assert RunConfig.read(tmp_path).test["noise"] == "0.1 threshold"
    same = RunConfig.from_recipe(
        "balanced-oscillator",
        run={"device": "runtime"},
        test={"noise": ".1threshold"},
        settings=tiny,
    )
    # Without costs a threshold is half the square of the length of a decoding vector.
    number = same.with_values("test", noise=0.1 * (0.5 / 10) ** 2 / 2)
    silent = same.with_values("test", noise=0)
    spikes = [c.make_trainer().test()[1].v for c in (relative, same, number, silent)]
    assert np.array_equal(spikes[0], spikes[1])
    assert spikes[0] == pytest.approx(spikes[2], abs=1e-12)
    assert not np.array_equal(spikes[0], spikes[3])


def inputs_of(config, n_steps):
    return training_inputs(config.make_task(), config.training, n_steps, 1e-4, config.run["seed"])


def test_another_teacher(tmp_path):
    config = RunConfig.from_recipe(
        "balanced-lorenz", teacher="dx/dt = (x - x**3)/second : 1", settings=["network.n=9"]
    )
    assert config.network["region"] == [1.0]
    assert config.make_network().decoder.shape == (1, 9)
    config.write(tmp_path)
    again = RunConfig.from_recipe("balanced-lorenz", teacher=str(tmp_path / "teacher.toml"))
    assert teacher_map(again.teacher).code == teacher_map(config.teacher).code
    linear = RunConfig.from_recipe(
        "balanced-oscillator", teacher="dx/dt = -3*Hz*(x - y) : 1; dy/dt = -y/(1*second) : 1"
    )
    network = linear.make_network()
    d = np.linalg.pinv(network.decoder)
    assert d.T @ network.slow_weights @ d == pytest.approx(np.array([[17, 3], [0, 19]]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.n", "write TABLE.KEY=VALUE"),
        ("n=3", "write TABLE.KEY=VALUE"),
        ("netwrok.n=3", "unknown table 'netwrok' .did you mean 'network'"),
        ("network.nn=3", "unknown key 'nn'.* There are: "),
        ("training.eta=3", "unknown key 'eta' .did you mean 'eta_0'"),
        ("teacher.sped=3", "unknown parameter 'sped' .did you mean 'speed'"),
        ("test.noise=0.5 mV", "test.noise = '0.5 mV' must be .* such as '0.5 threshold'"),
        ("run.model=eprop", "a recipe is for one task"),
        ("teacher.speed=3 ms", "van-der-pol"),
        ("network.n=3.5", r"network.n = 3.5 must be a whole number"),
        ("network.n=true", "must be a whole number"),
        ("network.n=0", "network.n must be 1 to 20000, not 0"),
        ("network.norm=0", "network.norm must be positive"),
        ("network.norm=big", "network.norm = 'big' must be a finite number"),
        ("network.lambda_r=20 ms", "network.lambda_r = '20 ms' has the wrong unit.*hertz"),
        ("network.one_spike=1", "must be true or false"),
        ("network.basis=3", "network.basis = 3 must be text"),
        ("network.rule=opened", "unknown rule 'opened'.* There are: closed, learned"),
        ("network.rule=closed", "needs a linear teacher.*'van-der-pol' is not: take a task that"),
        ("network.dt=3", "a number with a unit"),
        ("network.dt=3 Hz", "wrong unit"),
        ("network.region=[1]", r"network.region must have 2 numbers, not \[1\]"),
        ("network.region=[1, -1]", "must be a list of positive numbers"),
        ("network.basis_gain=[1, 2, 3]", "network.basis_gain must have 2 numbers"),
        ("run.seed=-1", "run.seed must be 0 to"),
        ("test.kill=1", "test.kill must be 0.0 to 0.95, not 1"),
        ("test.duration=0", "test.duration must be at least 0.1, not 0"),
        ("test.settle=-1", "test.settle must be at least 0.0"),
        ("training.duration=nan", "training.duration = nan must be a finite number"),
        ("training.duration=-1", "training.duration must be at least 0.0"),
    ],
)
def test_settings_that_do_not_fit(setting, message, config):
    with pytest.raises(ValueError, match=message):
        config.with_setting(setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.dt=0 ms", "dt must be positive"),
        ("network.basis=cosine", "unknown basis"),
        ("training.gain=k", "gain"),
        ("training.rate=eta_0*", "rate"),
        ("network.mu=-1", "mu must be"),
        ("network.sigma=-1", "sigma must be"),
    ],
)
def test_what_the_network_refuses(setting, message, config):
    with pytest.raises(ValueError, match=message):
        config.with_setting(setting).make_network()


@pytest.mark.parametrize("text", ["dx/dt = -x : 1", "dx/dt = -q*x/ms : 1", "x"])
def test_teachers_that_cannot_be_read(text):
    with pytest.raises(EquationError):
        RunConfig.from_recipe(TASK, teacher=text)


def test_folders_that_hold_no_experiment(tmp_path, config):
    with pytest.raises(ValueError, match="holds no run"):
        RunConfig.read(tmp_path)
    config.write(tmp_path)
    path = tmp_path / "config.toml"
    text = path.read_text()
    for old, new, message in (
        ("[training]", "[trained]", r"the table \[training\] is missing"),
        ("eta_0 =", "eta_1 =", r"\[training\]: unknown key 'eta_1' .did you mean 'eta_0'"),
        ("region =", "# region =", r"\[network\] lacks 'region'"),
        ('"balanced-van-der-pol"', '"balanced"', "unknown task 'balanced'"),
        ("[run]", "[run", "config.toml"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=message):
            RunConfig.read(tmp_path)


# --- experiments ----------------------------------------------------------------------------------

SHORT = [
    *("network.n=8", "network.n_basis=12", "training.duration=0.1", "network.norm=0.5"),
    *("test.duration=0.2", "test.settle=0.05", "test.kill=0.25", "run.device=runtime"),
]


@pytest.fixture(scope="module")
def experiment():
    return RunConfig.from_recipe("balanced-bistable", settings=SHORT).make_trainer()


def test_a_run_comes_back_as_it_was(tmp_path):
    run = Run.start(RunConfig.from_recipe("balanced-bistable", settings=SHORT), tmp_path)
    experiment, parts = run.trainer, []
    assert not run.is_trained and experiment.n_parts == 50
    experiment.train(after_part=lambda e: parts.append(e.iteration))
    run.save()
    history = experiment.history
    assert parts == list(range(1, 51)) and run.is_trained
    assert len(history) == 50
    assert history.seconds[-1] == pytest.approx(0.1)
    assert history.slow[-1] == pytest.approx(np.linalg.norm(experiment.slow_weights))
    assert experiment.slow_weights.any()
    outcome, recording = experiment.test()
    assert outcome.killed == 2 == experiment.simulation.killed.sum()
    assert outcome.nmse == pytest.approx(nmse(recording.x, recording.estimate))
    assert outcome.rate == pytest.approx(len(recording.spike_times) / 6 / 0.2)
    assert outcome.silent_error == pytest.approx(np.mean(np.hypot(*recording.x.T)))
    assert recording.duration == pytest.approx(0.2)
    assert recording.t_start == pytest.approx(0.05)
    with pytest.raises(ValueError, match="has not been tested.*\n.*train --resume"):
        SavedExperiment.read(tmp_path)
    experiment.save_test(tmp_path, outcome, recording)

    saved = SavedExperiment.read(tmp_path)
    assert saved.config == run.config
    assert np.array_equal(saved.killed, experiment.simulation.killed)
    assert np.array_equal(saved.points, experiment.points)
    shown, inputs = read_recording(tmp_path)
    for name in ("t", "x", "estimate", "v", "spike_times", "spike_neurons", "r_start"):
        assert np.array_equal(getattr(shown, name), getattr(recording, name))
    assert inputs.shape == (2000, 2)
    opened = Run.open(tmp_path, device="runtime").trainer
    assert opened.history.nmse == pytest.approx(history.nmse, nan_ok=True)
    again, recorded = opened.test()
    assert repr(again) == repr(outcome)
    assert np.array_equal(recorded.spike_neurons, recording.spike_neurons)

    results = tmp_path / RESULTS
    text = results.read_text()
    assert run.config.model.results(experiment, tmp_path)["nmse"] == pytest.approx(outcome.nmse)
    for table in ("[others]", "[[results]]", "[results]\nx = 'a'"):
        results.write_text(text.replace("[results]", table))
        with pytest.raises(ValueError, match=rf"{RESULTS} lacks the table \[results\] of numbers"):
            run.config.model.results(experiment, tmp_path)

    path = tmp_path / "checkpoint.npz"
    arrays = dict(np.load(path))
    for name, value, message in (
        ("slow_weights", arrays["slow_weights"][:3], "lacks 'slow_weights' of shape"),
        ("decoder", 2 * arrays["decoder"], "belong to another network"),
        ("points", np.zeros(3), "lacks 'points'"),
    ):
        np.savez(path, **{**arrays, name: value})
        with pytest.raises(ValueError, match=message):
            Run.open(tmp_path)
    np.savez(path, **arrays)
    (tmp_path / "history.csv").write_text("seconds,nmse\n1,2\n")
    with pytest.raises(ValueError, match="history.csv: expected the columns"):
        Run.open(tmp_path)
    (tmp_path / TEST).unlink()


def test_a_test_starts_anew_and_depends_on_its_seed(experiment):
    first, same, other = (repr(experiment.test(duration=0.1, seed=s)[0]) for s in (0, 0, 1))
    assert first == same != other
    assert experiment.test(duration=0.1, kill=0.0)[0].killed == 0


def test_a_training_that_fails_leaves_the_last_part_that_ended():
    settings = [*SHORT, "training.eta_0=1e9", "training.rate=eta_0"]
    experiment = RunConfig.from_recipe(TASK, settings=settings).make_trainer()
    with np.errstate(all="ignore"), pytest.raises(UnstableNetworkError):
        experiment.train()
    assert 0 < experiment.iteration < 50 and experiment.points is None
    assert np.linalg.norm(experiment.slow_weights) == experiment.history.slow[-1]
