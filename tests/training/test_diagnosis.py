"""What is said when training goes wrong: which quantity, which neuron, trial and step."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import ADAM, GRADIENT_DESCENT, LIF, Network, Neuron, Trainer, TrainingError
from eprop_brian.equations import Optimizer
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials

N_STEPS, BAD_STEP, BAD_TRIAL = 12, 5, 2


class Pulse(Task):
    """Two inputs; one trial of a batch gets a pulse on the first in one step."""

    name, description, loss, error_threshold = "pulse", "", "squared_error", None
    n_steps, n_inputs, n_outputs, learning_window = N_STEPS, 2, 1, N_STEPS
    size, bad_iteration = 1.0, 1

    def trials(self, seed, stream, index, n_trials):
        inputs = np.full((n_trials, N_STEPS, 2), 0.1)
        if index == self.bad_iteration:
            inputs[BAD_TRIAL, BAD_STEP, 0] = self.size
        each = np.arange(n_trials)
        targets = np.ones((1, 1, 1))
        return Trials(inputs=inputs, targets=targets, pattern=each, target=0 * each)


WEIGHTS = {
    "w_in": np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
    "w_rec": np.zeros((3, 3)),
    "w_out": np.full((1, 3), 0.1),
    "B": np.full((3, 1), 0.1),
}

#: A neuron without a spike, whose every part can overflow.
QUIET = Neuron(
    name="quiet",
    update="v = 0.5*v + I",
    threshold="v > 1e300",
    surrogate="0.3/(1 + abs(v))",
    parameters={},
)
CASES = {
    # What is wrong, with which pulse, and what is said of it.
    "state": (
        {"update": "v = 0.5*v + I*exp(I)"},
        1e3,
        "state 'v' of population 'quiet' is no longer finite at iteration 2: "
        "it is inf in trial 2, step 5, neuron 1",
        "v = 0.5*v + I*exp(I)",
        "learning rate",
    ),
    "surrogate": (
        {"surrogate": "exp(v)/(1 + exp(v))**2"},
        1e3,
        "the surrogate of population 'quiet' is no longer finite at iteration 2: "
        "it is nan in trial 2, step 5, neuron 1, where v = 1000",
        "psi = exp(v)/(1 + exp(v))**2",
        "a smaller learning rate does not help",
    ),
}


def trainer_of(neuron: Neuron, size: float, where: dict, **options) -> Trainer:
    """A trainer of three neurons whose second receives the pulse."""
    network = Network.standard(
        2, 1, [(neuron, 3)], optimizer=GRADIENT_DESCENT.with_parameters(eta=1e-3), **options
    )
    task = Pulse()
    object.__setattr__(task, "size", size)
    return Trainer(network, task, batch_size=4, weights=WEIGHTS, **where)


def failure(trainer: Trainer, iterations: int = 4) -> str:
    with np.errstate(all="ignore"), pytest.raises(TrainingError) as caught:
        trainer.train(iterations, progress=False)
    assert trainer.iteration == 0 and trainer.session.is_finite()
    trainer.close()
    return str(caught.value)


@pytest.mark.parametrize("gradient", ["factored", "online"])
@pytest.mark.parametrize("name", CASES)
def test_the_first_quantity_is_named(name, gradient):
    change, size, said, line, advice = CASES[name]
    neuron = replace(QUIET, **change)
    message = failure(trainer_of(neuron, size, {"device": "runtime"}, gradient=gradient))
    assert message.startswith(said)
    assert f"\n    {line}\n" in message
    assert advice in message


def test_a_coefficient_is_told_from_its_state():
    """The root of |v - 1/8| has no slope where v is 1/8, which it reaches in step 2."""
    neuron = replace(
        QUIET,
        update="v = 0.5*v + I\na = 0.5*a + abs(v - 0.125)**0.5",
        threshold="a > 1e300",
        surrogate="0.3/(1 + abs(a))",
        initial={"v": "1"},
    )
    trainer = trainer_of(neuron, 1.0, {"device": "runtime"})
    trainer.session.weights["w_in"] = np.zeros((3, 2))
    message = failure(trainer)
    assert message.startswith("coefficient ")
    assert (
        "of population 'quiet' is no longer finite at iteration 1: it is nan in trial 0" in message
    )
    assert "\n    A_a_v = " in message or "\n    b_a = " in message


@pytest.mark.parametrize("where", [{"workers": 1}, {"workers": 2}], ids=str)
def test_compiled_programs_say_the_same(where):
    change, size, said, _, _ = CASES["surrogate"]
    assert failure(trainer_of(replace(QUIET, **change), size, where)).startswith(said)


def test_backpropagation_says_the_same():
    pytest.importorskip("jax")
    change, size, said, _, _ = CASES["state"]
    neuron = replace(QUIET, **change)
    assert failure(trainer_of(neuron, size, {}, gradient="bptt", feedback="symmetric")).startswith(
        said
    )


def test_continuous_operation_says_so_too():
    change, size, _, _, _ = CASES["surrogate"]
    network = Network.standard(
        2, 1, [(replace(QUIET, **change), 3)], gradient="online", updates="step"
    )
    task = Pulse()
    object.__setattr__(task, "size", size)
    task.__class__ = type("Single", (Pulse,), {"trials": single})
    trainer = Trainer(network, task, weights=WEIGHTS, device="runtime")
    message = failure(trainer)
    assert message.startswith(
        "the surrogate of population 'quiet' is no longer finite at iteration 2"
    )
    assert "trial 0, step 5, neuron 1" in message


def single(self, seed, stream, index, n_trials):
    return Pulse.trials(self, seed, stream, index, BAD_TRIAL + 1).part(slice(BAD_TRIAL, None))


def test_a_weight_is_told_from_the_loss():
    wild = Optimizer("wild", "w = w - eta*g", parameters={"eta": 1e308})
    network = Network.standard(2, 1, [(QUIET, 3)], optimizer=wild)
    weights = {**WEIGHTS, "B": 1e3 * WEIGHTS["B"]}
    message = failure(Trainer(network, Pulse(), batch_size=4, weights=weights, device="runtime"))
    said = "weight w_out is no longer finite at iteration 2: after the update it is -inf at [0, 0]"
    assert message.startswith(said)
    assert "try a smaller learning rate (now 1e+308)" in message


@pytest.mark.parametrize(
    ("where", "largest"),
    [
        ({"device": "runtime"}, 1.7e308),
        ({"workers": 1, "dtype": "float32"}, 3e38),
        ({"gradient": "bptt"}, 1.7e308),
    ],
    ids=str,
)
@pytest.mark.parametrize("clip", [{}, {"clip_value": 1.0}], ids=["bounds", "clip_value"])
def test_bounds_do_not_hide_a_gradient_that_is_not_finite(where, largest, clip):
    """Gradient descent would leave the weights at their bound, and go on."""
    options, where = dict(clip), dict(where)
    if "gradient" in where:
        pytest.importorskip("jax")
        options |= {"gradient": where.pop("gradient")}
    network = Network.standard(
        2, 1, [(QUIET, 3)], feedback="symmetric", optimizer=GRADIENT_DESCENT, **options
    )
    out = np.full((1, 3), largest)
    weights = {**WEIGHTS, "w_out": out, "B": out.T}
    message = failure(Trainer(network, Pulse(), batch_size=4, weights=weights, **where))
    assert message.startswith("the gradient of w_in is no longer finite at iteration 1: it is")
    assert "though all that a step adds to it is finite: it overflows" in message


def test_a_learning_rate_beyond_the_float_type_is_refused():
    fast = Network.standard(2, 1, [(QUIET, 3)], optimizer=ADAM.with_parameters(eta=1e300))
    with pytest.raises(ValueError, match=r"eta = 1e\+300 is beyond float32, whose .* 3.4e\+38"):
        Trainer(fast, Pulse(), batch_size=4, weights=WEIGHTS, device="runtime", dtype="float32")


def test_the_loss_is_told_from_the_readout():
    network = Network.standard(2, 1, [(LIF, 3)], loss="exp(1000*y_target)*y")
    message = failure(Trainer(network, Pulse(), batch_size=4, weights=WEIGHTS, device="runtime"))
    assert message.startswith("the loss is no longer finite at iteration 1: it is")
    assert "\n    exp(1000*y_target)*y\n" in message


def test_an_evaluation_names_it_too():
    """Spikes together send more than a number can be."""
    weights = {**WEIGHTS, "w_in": 10 * WEIGHTS["w_in"], "w_out": np.full((1, 3), 1e308)}
    network = Network.standard(2, 1, [(LIF, 3)])
    trainer = Trainer(network, Pulse(), batch_size=4, weights=weights, device="runtime")
    with np.errstate(all="ignore"), pytest.raises(TrainingError) as caught:
        trainer.evaluate(3, 4)
    said = "the readout y is no longer finite at batch 1 of the stream 'test': it is inf in trial 0"
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "where", [{"device": "runtime"}, {"workers": 1}, {"workers": 2}, {"gradient": "bptt"}], ids=str
)
def test_an_evaluation_is_none_if_states_are_no_numbers(where):
    """A neuron whose state is NaN is silent: the loss is finite all the same.

    That is so in one trial, which is not the last, and whoever runs it.
    """
    options = {}
    if "gradient" in where:
        pytest.importorskip("jax")
        options, where = {**where, "feedback": "symmetric"}, {}
    neuron = replace(QUIET, update="v = 0.5*v + I + log(1 - 2*I)")
    trainer = trainer_of(neuron, 0.3, where, **options)
    trainer.evaluate(2, 4)
    object.__setattr__(trainer.task, "size", 1.0)
    trainer.evaluate(1, 4)
    with np.errstate(all="ignore"), pytest.raises(TrainingError) as caught:
        trainer.evaluate(2, 4)
    said = "state 'v' of population 'quiet' is no longer finite at batch 2 of the stream 'test': "
    assert str(caught.value).startswith(said + "it is nan in trial 2, step 5, neuron 1")
    trainer.close()


@pytest.mark.devices("runtime", "cpp", slow=())
@pytest.mark.parametrize("updates", ["batch", "step"])
def test_looking_at_states_changes_no_outcome(device, updates):
    options = {} if updates == "batch" else {"gradient": "online", "updates": updates}
    network = Network.standard(2, 1, [(LIF, 3)], **options)
    weights = {**WEIGHTS, "w_in": 10 * WEIGHTS["w_in"]}
    task = Pulse()
    trials = task.trials(1, "test", 1, 4)
    if updates == "step":
        task.__class__ = type("Single", (Pulse,), {"trials": single})
        trials = trials.part(slice(BAD_TRIAL, BAD_TRIAL + 1))
    trainer = Trainer(
        network, task, batch_size=4 if updates == "batch" else 1, weights=weights, device=device
    )
    plain, watched = (
        trainer.session.run(trials, trials.n_trials, learning=False, check_states=check)
        for check in (False, True)
    )
    for name in ("loss", "output", "rate"):
        np.testing.assert_array_equal(getattr(watched, name), getattr(plain, name))
    assert np.any(plain.rate) and np.all(watched.is_number) and plain.is_number is None
    trainer.close()


# --- networks without a spike ---------------------------------------------------------------------


#: Its surrogate reaches from 0 to twice its threshold, its inputs inhibit.
SILENT = {**WEIGHTS, "w_in": -WEIGHTS["w_in"]}


def silent(**options) -> Network:
    return Network.standard(2, 1, [(LIF.with_parameters(v_th=50.0), 3)], **options)


@pytest.mark.parametrize("gradient", ["factored", "online", "bptt"])
def test_a_network_that_cannot_learn_is_named(gradient):
    options = {"feedback": "symmetric"} if gradient == "bptt" else {}
    where = {} if gradient == "bptt" else {"device": "runtime"}
    network = silent(gradient=gradient, **options)
    trainer = Trainer(network, Pulse(), batch_size=4, weights=SILENT, **where)
    with pytest.raises(TrainingError) as caught:
        trainer.train(30, progress=False)
    message = str(caught.value)
    assert message.startswith(
        "no neuron fires in any trial of iterations 1 to 30, and the surrogate"
    )
    # By hand: the least that inhibits is an input of 0.1 in the first step.
    assert "at most -50.1 in 'lif' (v >= v_th)" in message
    assert trainer.iteration == 30 and not np.any(trainer.history.rate_hz)


def test_a_silent_network_whose_weights_decay_goes_on_with_a_warning():
    """What inhibits it may decay until it fires."""
    trainer = Trainer(silent(c_l2=0.1), Pulse(), batch_size=4, weights=SILENT, device="runtime")
    with pytest.warns(UserWarning, match="no neuron fires in any trial of iterations 1 to 3, and"):
        trainer.train(3, progress=False)
    assert trainer.iteration == 3


def test_a_network_that_learning_silenced_is_told_since_when():
    """A step that is far too large against all spikes: scaling weights up would not help."""
    steep = GRADIENT_DESCENT.with_parameters(eta=1e4)
    network = Network.standard(2, 1, [(LIF, 3)], optimizer=steep, feedback="random")
    weights = {**WEIGHTS, "w_in": 5 * WEIGHTS["w_in"], "B": -WEIGHTS["B"]}
    trainer = Trainer(network, Pulse(), batch_size=4, weights=weights, device="runtime")
    trainer.train(1, progress=False)
    assert trainer.history.rate_hz[0] > 0
    largest = max(np.max(np.abs(w)) for w in trainer.session.weights.values())
    with pytest.raises(TrainingError) as caught:
        trainer.train(30, progress=False)
    message = str(caught.value)
    assert message.startswith(
        "no neuron fires in any trial of iterations 2 to 30 (the last to fire did so in "
        "iteration 1), and the surrogate is 0 in every step (psi = 0) of the trial that was checked"
    )
    assert f"The largest weight is {largest:.3g}: " in message
    assert message.endswith("try a smaller learning rate (now 10000.0)")
    assert "input weights up" not in message


@pytest.mark.parametrize(("optimizer", "stays"), [(ADAM, False), (GRADIENT_DESCENT, True)])
def test_a_silent_network_whose_surrogate_is_all_but_0_is_named(optimizer, stays):
    """Gradients of 1e-30 move no weight, though Adam keeps them in mind."""
    far = replace(LIF.with_parameters(v_th=50.0), surrogate="1e-30/(1 + abs(v - v_th))")
    network = Network.standard(2, 1, [(far, 3)], optimizer=optimizer)
    # To weights of 0 they would add something.
    weights = {**SILENT, "w_in": np.full((3, 2), -1.0)}
    trainer = Trainer(network, Pulse(), batch_size=4, weights=weights, device="runtime")
    said = (
        "iterations 1 to 30, and no weight changes: .* "
        r"at most -50.2 in 'lif' \(v >= v_th\). Scale the input weights up"
    )
    with pytest.raises(TrainingError, match=said) if stays else pytest.warns(match=said):
        trainer.train(30, progress=False)
    assert trainer.iteration == 30


def test_a_silent_network_is_named_once_what_the_optimizer_gathered_has_faded():
    far = replace(LIF.with_parameters(v_th=50.0), surrogate="1e-30/(1 + abs(v - v_th))")
    network = Network.standard(2, 1, [(far, 3)], optimizer=ADAM.with_parameters(beta_1=0.1))
    trainer = Trainer(network, Pulse(), batch_size=4, weights=SILENT, device="runtime")
    for state in ("m", "s"):
        trainer.session.optimizer_states[f"{state}.w_in"] = np.ones((3, 2))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no neuron fires")
        trainer.train(100, progress=False)
    assert np.any(trainer.session.weights["w_in"] != SILENT["w_in"])
    with pytest.warns(UserWarning, match="iterations 101 to 200, and no weight changes"):
        trainer.train(200, progress=False)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"optimizer": GRADIENT_DESCENT.with_parameters(eta=0.0)}, "it is not to learn"),
        ({"loss": "y**2"}, "it has nothing to learn"),
    ],
    ids=["eta = 0", "loss = 0"],
)
def test_a_silent_network_that_does_what_it_should_is_no_error(options, why):
    trainer = Trainer(silent(**options), Pulse(), batch_size=4, weights=SILENT, device="runtime")
    with warnings.catch_warnings():
        action = "error" if "optimizer" in options else "ignore"
        warnings.filterwarnings(action, message="no neuron fires")
        trainer.train(3, progress=False)
    assert trainer.iteration == 3, why


def test_a_silent_network_that_can_learn_goes_on():
    """Its surrogate is wide enough."""
    wide = replace(LIF.with_parameters(v_th=50.0), surrogate="0.3/(1 + abs(v - v_th))")
    network = Network.standard(2, 1, [(wide, 3)])
    trainer = Trainer(network, Pulse(), batch_size=4, weights=SILENT, device="runtime")
    trainer.train(3, progress=False)
    assert trainer.iteration == 3 and not np.any(trainer.history.rate_hz)
