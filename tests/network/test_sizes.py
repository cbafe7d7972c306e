"""What is too large is said before it is allocated, with a number of bytes and what would fit."""

import tracemalloc
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import pytest
from click.testing import CliRunner

from eprop_brian import ALIF, LIF, Network, Trainer, get_task
from eprop_brian.base import memory
from eprop_brian.base.memory import available_memory, check_memory, shown_bytes
from eprop_brian.cli import main
from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.cpp import generate
from eprop_brian.network import sizes
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.runs.config import RunConfig
from eprop_brian.steps.layout import Layout
from eprop_brian.tasks import Task, Trials
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.few_shot import get_family
from eprop_brian.training.adaptation import measure_adaptation
from eprop_brian.training.calls import iterations_per_call

GB = 10**9


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    """4 GB are free; what is said to be refused takes next to none."""
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * GB)
    monkeypatch.setattr(sizes, "physical_memory", lambda: 16 * GB)
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.2 * GB


def network(n, **options):
    return Network.standard(2, 1, [(LIF, n)], feedback="random", **options)


def test_synapses_that_cannot_be_drawn():
    expected = r"drawing 2999970000 synapses of w_rec \(100000 to 100000\) would need 72 GB"
    with pytest.raises(ValueError, match=f"{expected}.*: take a connectivity below 0.0167"):
        network(100_000, connectivity={"w_rec": 0.3}).resolved  # noqa: B018


def test_pairs_that_are_rewired_do_not_fit():
    rewiring = {"connectivity": {"w_rec": 1e-4}}
    with pytest.raises(ValueError, match="signs of all pairs of w_rec, which .* need 20 GB"):
        network(50_000, rewiring=rewiring).resolved  # noqa: B018


def test_more_numbers_than_a_device_counts():
    sparse = network(2_000, connectivity={"w_rec": 0.05, "w_in": 0.1})
    for most, what in ((2**15, "2000 neurons x 100 steps"), (2**20, None)):
        layout = Layout(most_numbers=most)
        if what is None:
            build(sparse, Capacity(100, 1, 1, 100, 1), CppStepCodeObject, layout=layout)
            continue
        with pytest.raises(ValueError, match=f"{what} are too many .*: 200000 numbers, at most"):
            build(sparse, Capacity(100, 1, 1, 100, 1), CppStepCodeObject, layout=layout)


@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_what_is_said_to_be_needed_is_what_a_program_has(gradient, monkeypatch):
    said = {}
    monkeypatch.setattr(sizes, "check_memory", lambda needed, remedy: said.update(needed))
    task = get_task("pattern-generation", n_steps=500, n_inputs=40)
    neurons = [(LIF, 640), (ALIF, 320)]
    made = Network.for_task(task, neurons, connectivity={"w_rec": 0.02}, gradient=gradient)
    project = generate(made, Capacity(500, 1, 1, 500, 1), np.float32, build=build)

    def has(*patterns):
        keys = [key for key in project.sizes if any(fnmatch(key, p) for p in patterns)]
        return sum(project.sizes[key] for key in keys)

    n_synapses = made.adjacency["w_rec"].nnz
    in_python = 8 * n_synapses
    recurrent = "*lif*_to_*lif"
    if gradient == "factored":
        for name, size in (("lif", 640), ("alif", 320)):
            kept = has(f"{name}_history.*", f"{name}_results.*")
            assert said[f"{size} neurons x 500 steps"] == kept > 0
    weights = has(f"{recurrent}.w") + has(f"{recurrent}.post") + in_python + 4 * n_synapses
    states = [f"{recurrent}.{x}" for x in ("m", "s")]
    rest = has(f"{recurrent}.*") - has(f"{recurrent}.w", f"{recurrent}.post", *states)
    for what, n_bytes in (
        (f"the weights of {n_synapses} synapses of w_rec", weights),
        ("the gradients of w_rec", rest),
        ("the optimizer's states of w_rec", has(*states) + 2 * in_python),
    ):
        assert said[what] == pytest.approx(n_bytes, rel=0.01)


def test_weights_that_do_not_fit():
    expected = r"20000 x 20000 weights of w_rec would need 6.4 GB.* there are 4 GB: 62% of these"
    with pytest.raises(ValueError, match=expected):
        network(20_000).initial_weights(1)


@pytest.mark.parametrize("group_size", [10**8, 2**62])
def test_inputs_that_do_not_fit_are_refused_as_weights(group_size):
    setting = f"task.group_size={group_size}"
    made = RunConfig.from_recipe("evidence-accumulation", settings=[setting]).make_network()
    with pytest.raises(ValueError, match=f"100 x {4 * group_size} weights of w_in would need"):
        made.initial_weights(1)


def test_a_sparse_network_may_have_a_readout_of_all_its_neurons():
    sparse = network(50_000, connectivity={"w_rec": 1e-5, "w_in": 0.01})
    build(sparse, Capacity(3, 1, 1, 3, 1), CppStepCodeObject)


_TOO_LONG = (
    r"20000 neurons x 100000 steps would need 32 GB, and all together 32.8 GB "
    r"\(besides spikes of 20000 lif in 100000 steps 800 MB\), of which there are 4 GB: 10% of"
)


def test_a_history_that_does_not_fit():
    many_steps = Capacity(100_000, 1, 1, 100_000, 1)
    # Whole, as the network wants it: else a segment of it would be kept at a time.
    sparse = network(
        20_000, connectivity={"w_rec": 1e-6, "w_in": 0.01}, history_steps=many_steps.n_steps
    )
    with pytest.raises(ValueError, match=_TOO_LONG):
        build(sparse, many_steps, CppStepCodeObject)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fresh(Task):
    """Inputs that every trial has for itself."""

    name = "fresh"
    loss = "squared_error"
    n_steps, n_inputs, n_outputs, learning_window = 1000, 10, 1, 1000
    shared = False

    def trials(self, seed, stream, index, n_trials):
        """All zero."""
        n = 1 if self.shared else n_trials
        rows = np.arange(n_trials) % n
        inputs = np.zeros((n, 1000, 10), dtype=bool)
        return Trials(inputs, np.zeros((1, 1000, 1)), pattern=rows, target=0 * rows)


class Frozen(Fresh):
    """Inputs that all trials share."""

    shared = True


def test_trials_that_do_not_fit():
    with pytest.raises(ValueError, match=r"10000000 trials would need 101 GB.* at most 397\d\d\d"):
        hand_out(Fresh(), 1, "train", 0, 10_000_000)
    assert hand_out(Frozen(), 1, "train", 0, 200_000).n_trials == 200_000
    with pytest.raises(ValueError, match=r"1000000000 trials would need 64 GB.* at most 62500000 "):
        hand_out(Frozen(), 1, "train", 0, 10**9)


def test_trials_that_are_too_long():
    task = get_task("pattern-generation", n_steps=10**9, n_inputs=100)
    said = r"a trial of 1000000000 steps would need 800 GB.* at most 5000000 steps would fit"
    with pytest.raises(ValueError, match=said):
        hand_out(task, 1, "train", 0, 1)


class Undrawn(Fresh):
    """Long trials that are not drawn."""

    n_steps = learning_window = 10**7

    def trials(self, seed, stream, index, n_trials):
        raise AssertionError("drawn")


@pytest.mark.parametrize(
    ("gradient", "said"),
    [
        ("factored", r"spikes of 1000 lif in 10000000 steps (would need )?40? GB"),
        ("online", r"spikes of 1000 lif in 10000000 steps (would need )?40? GB"),
        ("bptt", "states of 2 trials x 10000000 steps would need 160 GB.* 2% of them"),
    ],
)
def test_trials_are_not_drawn_for_a_network_without_memory_for_them(gradient, said):
    options = {"feedback": "symmetric"} if gradient == "bptt" else {}
    made = Network.for_task(Undrawn(), [(LIF, 1000)], gradient=gradient, **options)
    with pytest.raises(ValueError, match=said):
        Trainer(made, Undrawn(), batch_size=2)


def test_long_trials_come_one_by_one():
    """Those of a call are drawn before it."""
    made = network(10)
    task = get_task("pattern-generation", n_steps=10**6, n_inputs=2)
    assert [iterations_per_call(made, size, task) for size in (1, 4, 64)] == [10, 2, 1]
    assert iterations_per_call(made, 4) == 100


def test_tasks_that_do_not_fit():
    pytest.importorskip("jax")
    from eprop_brian.training.meta import MetaTrainer

    family = get_family("one-shot-arm")
    config = RunConfig.from_recipe("one-shot-arm")
    made = config.make_network(family)
    with pytest.raises(ValueError, match=r"of 2000000 trials.* would need .* \(batch_size\)"):
        MetaTrainer(made, family, batch_size=10**6)
    with pytest.raises(ValueError, match=r"of 1000000000 tasks would need .* \(n_test\)"):
        measure_adaptation(made, family, {}, {}, n_tasks=10**9)


def test_so_many_seeds():
    result = CliRunner().invoke(main, ["compare", "store-recall", "--seeds", "1000000000"])
    assert result.exit_code == 2
    assert "more than 10000 seeds" in result.output


def test_iterations_are_counted_one_call_after_the_other():
    task = get_task("pattern-generation", n_steps=20, n_inputs=3)
    trainer = Trainer(Network.for_task(task, [(LIF, 2)]), task, device="runtime")
    first = trainer._feed.call_from(0, 10**12)
    assert [first, trainer._feed.call_from(first.stop, 10**12)] == [range(100), range(100, 200)]


def test_all_together_count():
    with pytest.raises(
        ValueError, match=r"^b would need 3 GB, and all together 5 GB \(besides a 2 GB\),"
    ):
        check_memory({"a": 2 * GB, "b": 3 * GB}, lambda share: f"{share:.2f}")
    check_memory({"a": 2 * GB, "b": 2 * GB}, str)


def test_memory_is_measured():
    assert 10**7 < available_memory() < 10**14
    assert [shown_bytes(n) for n in (0, 999, 17.18e9, 2e19)] == [
        *("0 bytes", "999 bytes", "17.2 GB", "2e+04 PB")
    ]
