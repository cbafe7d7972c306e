"""From a `BalancedNetwork` to Brian2 objects and one fused step.

The blocks of statements of a step are made here; `eprop_brian.balanced.step` has their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from brian2 import Network as Brian2Network
from brian2 import NeuronGroup
from brian2.equations.equations import Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.utils.stringtools import word_substitute

from eprop_brian.balanced.printing import local_quantities
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.balanced.step import BalancedFrame, balanced_schedule
from eprop_brian.equations.balanced import (
    CANDIDATE,
    ERROR,
    ESTIMATE,
    FAST_LEARNING,
    FEEDFORWARD,
    FILTERED_SPIKES,
    INPUT,
    MEMBRANE,
    PROJECTED_ERROR,
    SLOW,
    SLOW_LEARNING,
    SPIKE,
)
from eprop_brian.steps.blocks import StepCode, Store, View
from eprop_brian.steps.layout import Layout
from eprop_brian.steps.objects import StepClock, equations, of_the_package
from eprop_brian.steps.runner import StepRunner
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.symbolic.teacher import INPUT as INPUT_PREFIX

__all__ = ["BalancedCapacity", "BuiltBalanced", "build", "step_statements"]

#: Below the candidates of refractory neurons; a killed one has such a threshold.
NEVER = 1e30
#: Whole numbers that steer a call.
_INTEGERS = (
    *("step", "n_steps", "clock", "learning", "one_spike", "record_every", "seed"),
    *("n_spikes", "n_records"),
)


@dataclass(frozen=True)
class BalancedCapacity:
    """Sizes that a program reserves.

    Attributes
    ----------
    n_steps : int
        Most steps of a call.
    n_records : int
        Most times of a call at which the state is recorded.
    n_spikes : int
        Most spikes of a call.
    """

    n_steps: int
    n_records: int
    n_spikes: int


@dataclass
class BuiltBalanced:
    """Brian2 objects of a balanced network.

    Attributes
    ----------
    network : BalancedNetwork
    capacity : BalancedCapacity
    brian2_network : brian2.Network
    groups : dict of str to NeuronGroup or Store
        ``neurons`` (v, r, ...), ``dendrites`` (u, psi), ``signal`` (x, estimate, error, c),
        ``decoder`` (D), ``slow`` (w_slow), ``fast`` (w_fast), ``control``, ...; matrices are
        stored by presynaptic neuron.
    first : mapping of str to array
        What a call begins with.
    """

    network: BalancedNetwork
    capacity: BalancedCapacity
    brian2_network: Brian2Network
    groups: dict[str, NeuronGroup | Store]
    first: Mapping[str, np.ndarray]

    #: Its programs share no arrays with one another.
    kept: ClassVar[frozenset[str]] = frozenset()
    exchanged: ClassVar[frozenset[str]] = frozenset()

    @property
    def call_steps(self) -> int:
        """Steps of the next call, on a device in this process."""
        return int(self.groups["control"].variables["n_steps"].get_value()[0])


def step_statements(equations: str, where: str) -> list[str]:
    """Brian2's own Euler step of some equations; its normal numbers are called ``noise``."""
    code = StateUpdateMethod.stateupdaters["euler"](Equations(equations))
    code = code.replace("randn()", "noise")
    return [f"{name} = {value}" for name, value in split_statements(code, where)]


@of_the_package()
def build(
    network: BalancedNetwork,
    capacity: BalancedCapacity,
    codeobj_class: type,
    dtype: type = np.float64,
    layout: Layout | None = None,
) -> BuiltBalanced:
    """Make the Brian2 objects of a network for the active device.

    Parameters
    ----------
    network : BalancedNetwork
    capacity : BalancedCapacity
    codeobj_class : type
        Code object class whose templates include ``balanced``.
    dtype : type
        Float type of all state.
    layout : Layout, optional
        Ignored: a balanced network has one layout.
    """
    return _Builder(network, capacity, codeobj_class, dtype).build()


class _Builder:
    def __init__(
        self, network: BalancedNetwork, capacity: BalancedCapacity, codeobj_class: type, dtype: type
    ) -> None:
        self.network, self.capacity, self.dtype = network, capacity, dtype
        self.codeobj_class = codeobj_class
        self.clock = StepClock(dt=network.dt, name="step_clock")
        self.groups: dict[str, NeuronGroup | Store] = {}
        self.code = StepCode()
        self._make_groups()

    def _make_groups(self) -> None:
        network, capacity = self.network, self.capacity
        n, k, m = network.n, network.n_dimensions, network.n_basis
        self.rows = network.steps("delay") + 1 if network.steps("delay") else 0
        numbers = (
            *("k", "k_0", "eta", "eta_0", "eta_fast", "eta_fast_0", "time", "duration"),
            *("step_size", "pull", "lambda_r", "lambda_v", "sigma", "never", "refractory_steps"),
        )
        self.control = self._group(
            "control",
            1,
            {
                **dict.fromkeys(_INTEGERS, "integer (shared)"),
                **dict.fromkeys(numbers, "1 (shared)"),
            },
        )
        if network.teacher_map.parameters:
            names = [f"parameter_{name}" for name in network.teacher_map.parameters]
            self._group("teacher", 1, dict.fromkeys(names, "1 (shared)"))
        states = (
            *("v", "r", "threshold", "feedforward", "slow", "projected_error"),
            *("candidate", "refractory_counter", "noise"),
        )
        self._group("neurons", n, dict.fromkeys(states, "1"))
        self._group("signal", k, dict.fromkeys(("x", "c", "error", "estimate"), "1"))
        if network.basis_equations.model:
            self._group("dendrites", m, dict.fromkeys(("u", "theta", "psi"), "1"))
            self._store("basis", n * m, "M")
        self._store("decoder", k * n, "D")
        self._store("slow", m * n, "w_slow")
        self._store("fast", n * n, "w_fast")
        self._store("inputs", capacity.n_steps * k, "c")
        self._store("record", capacity.n_records * k, "x", "estimate")
        self._store("record_v", capacity.n_records * n, "v")
        self._store("spikes", capacity.n_spikes, "neuron", "step", dtype=np.int32)
        if self.rows:
            self._store("arriving", self.rows * n, "arriving")

    def _group(self, name: str, size: int, variables: Mapping[str, str]) -> NeuronGroup:
        model = "\n".join(f"{variable} : {unit}" for variable, unit in variables.items())
        self.groups[name] = NeuronGroup(
            size, equations(model), name=name, clock=self.clock, dtype=self.dtype, namespace={}
        )
        return self.groups[name]

    def _store(self, name: str, size: int, *variables: str, dtype: type | None = None) -> None:
        types = dict.fromkeys(variables, dtype or self.dtype)
        self.groups[name] = Store(max(size, 1), types, name, self.clock)

    def _array(self, group: str, variable: str) -> str:
        return self.code.array(self.groups[group], variable, "0")

    def _block(self, name: str, statements: list[str], *views: View) -> None:
        # Blocks read the time step and the time from the control group, not from Brian2's clock.
        names = {"dt": "step_size", "t": "time"}
        statements = [word_substitute(line, names) for line in statements]
        self.code.block(name, statements, *views, View(self.control, "0"))

    def build(self) -> BuiltBalanced:
        network, capacity, groups = self.network, self.capacity, self.groups
        self._add_signal_blocks()
        self._add_neuron_blocks()
        self._add_synapse_blocks()
        frame = BalancedFrame(
            network.n,
            capacity.n_spikes,
            {name: self._array("control", name) for name in (*_INTEGERS, "sigma")},
        )
        runner = StepRunner(
            self.control,
            self.code,
            balanced_schedule(network, self.code, self._array, self.rows, frame),
            self.codeobj_class,
            "float" if self.dtype == np.float32 else "double",
        )
        return BuiltBalanced(
            network=network,
            capacity=capacity,
            brian2_network=Brian2Network([*groups.values(), runner], name="network_"),
            groups=groups,
            first={"control.step": np.zeros(1)},
        )

    def _add_signal_blocks(self) -> None:
        network, groups = self.network, self.groups
        signal, record = View(groups["signal"], "_neuron"), groups["record"]
        teacher = network.teacher_map
        dimensions = [
            View(groups["signal"], f"_output_{k}", {state: "x", f"{INPUT_PREFIX}{state}": "c"})
            for k, state in enumerate(teacher.states)
        ]
        parameters = []
        if teacher.parameters:
            names = {name: f"parameter_{name}" for name in teacher.parameters}
            parameters = [View(groups["teacher"], "0", names)]
        self._block("receive", [INPUT], View(groups["inputs"], "_sample", {"given": "c"}), signal)
        rates = [f"k = {network.gain}", f"eta = {network.rate}", f"eta_fast = {network.fast_rate}"]
        self._block("schedule", [*rates, "time = time + dt"])
        self._block("error", [ERROR], signal)
        self._block(
            "record",
            ["shown_x = x", "shown_estimate = estimate"],
            View(record, "_record", {"shown_x": "x", "shown_estimate": "estimate"}),
            signal,
        )
        self.code.block(
            "teacher",
            # A name that no teacher can have.
            [word_substitute(line, {"dt": "_dt"}) for line in teacher.code],
            *dimensions,
            *parameters,
            View(self.control, "0", {"_dt": "step_size"}),
        )
        self._block("decay_estimate", step_statements(ESTIMATE, "estimate"), signal)
        self._block(
            "jump", ["estimate = estimate + D"], View(groups["decoder"], "_synapse"), signal
        )

    def _add_neuron_blocks(self) -> None:
        groups = self.groups
        neurons = View(groups["neurons"], "_neuron")
        membrane = MEMBRANE.format(feedback=self.network.feedback_equation)
        count = "refractory_counter = (refractory_counter - 1)*int(refractory_counter > 0.5)"
        shown = View(groups["record_v"], "_record", {"shown": "v"})
        self._block("zero", ["feedforward = 0", "projected_error = 0", "slow = 0"], neurons)
        self._block("membrane", step_statements(membrane, "membrane"), neurons)
        self._block("decay", [*step_statements(FILTERED_SPIKES, "filtered spikes"), count], neurons)
        self._block("candidate", [CANDIDATE], neurons)
        self._block("fire", ["r = r + 1", "refractory_counter = refractory_steps"], neurons)
        self._block("record_v", ["shown = v"], shown, neurons)
        if self.rows:
            arriving = View(groups["arriving"], "_arriving")
            self._block("arrive", ["v = v + arriving", "arriving = 0"], arriving, neurons)

    def _add_synapse_blocks(self) -> None:
        network, groups = self.network, self.groups
        post = View(groups["neurons"], "_post")
        slow, fast = View(groups["slow"], "_synapse"), View(groups["fast"], "_synapse")
        basis = network.basis_equations
        pre = View(groups["neurons"], "_pre", {"psi": "r"})
        self._block(
            "project",
            [FEEDFORWARD, PROJECTED_ERROR],
            View(groups["decoder"], "_synapse"),
            View(groups["signal"], "_pre", {"c": "c", "error": "error"}),
            post,
        )
        self._block("spike", [SPIKE], fast, post)
        if basis.model:
            dendrites = View(groups["dendrites"], "_neuron")
            pre = View(groups["dendrites"], "_pre", {"psi": "psi"})
            self._block("psi", [f"psi = {basis.psi}"], dendrites)
            self._block("decay_basis", step_statements(basis.model, "dendrite"), dendrites)
            excited = View(groups["dendrites"], "_post")
            self._block("excite", ["u = u + M"], View(groups["basis"], "_synapse"), excited)
        self._block("slow", [SLOW], slow, pre, post)
        for rule in (SLOW_LEARNING, FAST_LEARNING):
            local_quantities(rule)  # raises if it is not local
        if "slow" in network.learns:
            self._block("learn_slow", [SLOW, SLOW_LEARNING], slow, pre, post)
        if "fast" in network.learns:
            self._block("learn_fast", [FAST_LEARNING], fast, post)
        if self.rows:
            arriving = View(groups["arriving"], "_arriving", {"v": "arriving"})
            self._block("send", [SPIKE], fast, arriving)
