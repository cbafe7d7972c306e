"""Balanced networks at the limits of what they can be told: refused, or right."""

import numpy as np
import pytest

from eprop_brian.balanced import (
    Experiment,
    NetworkField,
    Simulation,
    UnstableNetworkError,
    closed_form,
    learned,
    random_decoder,
)
from eprop_brian.equations.teachers import Teacher
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.runs.sweep import grid, sweep
from eprop_brian.symbolic.teacher import teacher_from_string, teacher_map

SMALL = (
    *("run.device=runtime", "network.n=10", "network.norm=0.5"),
    *("test.duration=0.2", "test.settle=0.05"),
)


def config(task, *settings):
    return RunConfig.from_recipe(task, settings=(*SMALL, *settings))


@pytest.mark.parametrize("name", ["step_size", "v", "r", "k", "x", "time", "noise", "error", "D"])
def test_a_teacher_may_use_the_networks_names(name):
    """dq/dt = -p q + c with c = 1 for 30 steps, whatever p is called."""
    teacher = Teacher("decay", f"dq/dt = -{name}*q : 1", {name: "5 Hz"})
    simulation = Simulation(learned(teacher, random_decoder(1, 4)), "runtime")
    recording = simulation.run(np.ones((31, 1)), record_every=30)
    assert recording.x[-1, 0] == pytest.approx((1 - np.exp(-5 * 3e-3)) / 5, rel=1e-9)


@pytest.mark.parametrize(
    ("option", "text"),
    [("gain", "200 + 0*k_0"), ("feedback", "projected_error"), ("rate", "1 + eta_0")],
)
def test_what_a_test_switches_off_is_off(option, text):
    with pytest.raises(ValueError, match="must vanish for"):
        learned(teacher_from_string("dx/dt = -x*Hz : 1"), random_decoder(1, 4), **{option: text})


def test_what_was_not_trained_is_not_tested(monkeypatch, tmp_path):
    """A training that fails leaves no numbers at the other levels of its seed."""

    def fail(self, **_):
        raise UnstableNetworkError("no")

    monkeypatch.setattr(Experiment, "train", fail)
    results = sweep(
        grid(["network.n_basis=8", "training.duration=0.1", "test.kill=0,0.2"]),
        lambda settings, seed: config("balanced-bistable", *settings),
        *([1], tmp_path),
    )
    assert [(result.values, result.failure) for result in results] == [({}, "no")] * 2


def test_networks_are_judged_over_calls_that_are_short():
    """Calls of 50 ms each, in a network that fires in every step."""
    network = closed_form([[-20.0]], random_decoder(1, 20, 0.02), dt="5 ms")
    simulation = Simulation(network, "runtime")
    inputs = np.full((10, 1), 500.0)
    simulation.run(inputs)
    with pytest.raises(UnstableNetworkError, match="one spike a step cannot keep up"):
        for _ in range(3):
            simulation.run(inputs)


def test_a_signal_that_stands_still_has_no_error():
    experiment = config("balanced-oscillator", "input.std=0").make_trainer()
    with pytest.raises(ValueError, match="does not vary"):
        experiment.test()


def test_somebody_must_be_left():
    experiment = config("balanced-oscillator", "network.n=2").make_trainer()
    with pytest.raises(ValueError, match="leaves none of 2 neurons"):
        experiment.test(kill=0.9)


def test_fewer_neurons_than_dimensions_have_no_field():
    network = closed_form(np.eye(2), random_decoder(2, 4))
    killed = np.array([True, True, True, False])
    with pytest.raises(ValueError, match="do not span 2 dimensions"):
        NetworkField(network, network.slow_weights, killed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("network.lambda_v=0 Hz", "network.sigma=0.1"), "needs lambda_v above 0"),
        (("network.delay=0.25 ms",), "must be a multiple of dt"),
        (("network.basis=tanh",), "must be linear"),
        (("network.n_basis=-3",), "must be 0 to"),
        (("network.basis_gain=[8, 3]",), "the smaller one comes first"),
        (("training.duration=1",), "needs a learning rate"),
        (("test.duration=0.01",), "must be at least 0.1"),
    ],
)
def test_options_without_effect_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        config("balanced-oscillator", *settings).make_network()


def test_records_further_apart_than_a_call_are_refused():
    simulation = Simulation(closed_form([[0.0]], random_decoder(1, 3)), "runtime")
    with pytest.raises(ValueError, match="record_every must be 1 to"):
        simulation.run(np.zeros((3, 1)), record_every=20_000)


@pytest.mark.parametrize("f", ["clip(x, -1, 1)", "int(x > 0)", "floor(x)", "exprel(x)"])
def test_teachers_need_no_derivative(f):
    found = teacher_map(teacher_from_string(f"dx/dt = -{f}*Hz : 1"))
    assert np.isfinite(found.field(np.array([0.3])))


def test_levels_of_a_sweep_are_checked_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="much shorter than"):
        sweep(
            grid(["network.dt=0.1 ms,60 ms"]),
            lambda settings, seed: config("balanced-oscillator", *settings),
            *([1], tmp_path),
        )
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_are_refused(tmp_path):
    Run.start(config("balanced-oscillator"), tmp_path)
    text = (tmp_path / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text.replace("seed = 1", "seed = 2"))
    with pytest.raises(ValueError, match="belong to another network"):
        Run.open(tmp_path)
