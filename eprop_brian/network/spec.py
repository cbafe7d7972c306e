"""What a network is made of, before anything is built.

A `Network` is data: populations of neurons, a readout, a loss, where the learning signal comes
from, an optimizer. It is checked as a whole when it is made, so that a combination that cannot work
is refused before anything is compiled.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from brian2.units import Hz, Quantity, hertz, ms, second
from brian2.utils.stringtools import get_identifiers
from scipy.sparse import csc_array, issparse

from eprop_brian.base.checks import (
    check_choice,
    check_positive,
    check_positive_quantity,
    check_real,
)
from eprop_brian.base.random import normals, rng_for, uniforms
from eprop_brian.base.sparse import Matrix, draw_pairs, structure, with_values
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import SYMMETRIC, LearningSignal
from eprop_brian.equations.losses import LOSSES, SQUARED_ERROR, Loss
from eprop_brian.equations.neurons import Neuron
from eprop_brian.equations.optimizers import ADAM, Optimizer
from eprop_brian.equations.readouts import LEAKY, Readout
from eprop_brian.equations.regularizers import VOLTAGE_COST
from eprop_brian.network.delays import delay_steps, longest
from eprop_brian.network.feedback import (
    as_learning_signal,
    check_learning_signal,
    check_loss,
    initial_feedback,
)
from eprop_brian.network.learned import Learned, LearnedRange, as_learned, learned_range
from eprop_brian.network.optimization import check_optimizer
from eprop_brian.network.rewiring import Rewiring, as_rewiring, connect, draw_signs
from eprop_brian.symbolic.eligibility import EligibilitySystem, derive, state_cost
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.symbolic.parameters import evaluate, resolve_parameters
from eprop_brian.symbolic.programs import ReadoutProgram, cutoff_program, readout_program
from eprop_brian.symbolic.scope import neuron_names
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.tasks.base import Task

__all__ = [
    "GRADIENTS",
    "PROGRAMS",
    "RATE_AVERAGING",
    "UPDATES",
    "InitialDraw",
    "Network",
    "Population",
]

#: Gradient programs of e-prop, and with them what else can train a network.
PROGRAMS = ("factored", "online")
GRADIENTS = (*PROGRAMS, "bptt")
UPDATES = ("batch", "step", "spike")
RATE_AVERAGING = ("trial", "batch", "moving")
#: Steps between a spike and its arrival, at least.
LEAST_DELAY = {"w_in": 0, "w_rec": 1, "w_out": 0}
#: Names that groups of a built network have, and other objects of its Brian2 network.
_GENERATED = frozenset(
    ("control", "inputs", "input_data", "target_data", "trials", "outcomes", "answers")
    + ("period_data", "readout", "profile", "step_runner", "step_clock", "network_")
    + ("trace_recorder",)
    # Whose quantities would be stored as arrays of those are.
    + ("input", "target", "period")
)
#: How the names of groups end that belong to another.
_GENERATED_ENDINGS = (
    *("_history", "_results", "_window", "_later", "_rows", "_spikes", "_offsets", "_pre"),
    *("_thresholder", "_resetter"),
)
#: What stands between the ends of a projection in its name.
_GENERATED_MIDDLE = "_to_"


@dataclass(frozen=True)
class InitialDraw:
    """Numbers of which initial weights are made.

    Attributes
    ----------
    uniform : bool
        Uniform between -`limit` and `limit`, or else standard normal over `divisor`.
    divisor, limit : float
    factor : float
        What either is multiplied by.
    """

    uniform: bool
    divisor: float
    limit: float
    factor: float

    def values(self, rng: np.random.Generator, size: Any) -> np.ndarray:
        """Draw so many values."""
        if self.uniform:
            return (-self.limit + 2 * self.limit * uniforms(rng, size)) * self.factor
        return normals(rng, size) / self.divisor * self.factor


@dataclass(frozen=True)
class Population:
    """`size` neurons of one kind.

    Attributes
    ----------
    name : str
        Name of its `NeuronGroup`; unique in the network.
    neuron : Neuron
    size : int
    system : EligibilitySystem
        Derived from the neuron.
    learned : dict of str to LearnedRange
        Its parameters that learn.
    """

    name: str
    neuron: Neuron
    size: int
    system: EligibilitySystem = field(repr=False)
    learned: dict[str, LearnedRange] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Network:
    """A recurrent spiking network that learns by e-prop.

    Connectivity is all-to-all unless `connectivity` says otherwise, and always without autapses:
    inputs to recurrent neurons, recurrent to recurrent (a spike acts in the next step), recurrent
    to readouts (in the same step).

    Parameters
    ----------
    n_inputs, n_outputs : int
    neurons : sequence of (Neuron, int)
        Kinds of recurrent neurons with how many there are of each, in this order.
    readout : Readout
    loss : Loss or str
        What is minimised: ``"squared_error"``, ``"softmax_cross_entropy"``, an equation of what a
        readout adds to it in a step (``"log(cosh(y - y_target))"``, ``"(p - y_target)**2"`` with
        the softmax probability p), from which the error is derived, or a `Loss`.
    feedback : str, array or LearningSignal
        The learning-signal connection: a kind (``"symmetric"``, ``"random"``, ``"adaptive"``,
        ``"broadcast"``), an equation of what arrives (``"B*tanh(error)"``), a matrix of weights
        (n_recurrent, n_outputs), or a `LearningSignal`, which has scale and delay too.
    readout_weights : {"normal", "glorot"}
        Initial readout weights: N(0, 1)/sqrt(n_recurrent), or uniform in
        +-sqrt(6/(n_recurrent + n_outputs)).
    optimizer : Optimizer
    gradient : {"factored", "online", "bptt"}
        The gradient program (`eprop_brian.symbolic.programs`), or backpropagation through time, the
        total derivative of the loss, as the yardstick (`eprop_brian.training.bptt`).
    updates : {"batch", "step", "spike"}
        When weights change: at the end of a batch of trials; or, in continuous operation without
        trials and resets (e-prop+), after every step, or a synapse's whenever its presynaptic
        neuron spikes. Continuous operation needs ``gradient="online"``.
    trace_cutoff : Quantity, optional
        With continuous operation: how long after a presynaptic spike gradients accumulate, counted
        from where a spike without extra delay arrives. For the rest of the interval between two
        spikes traces only decay.
    c_reg : float
        Strength of the firing-rate regulariser; 0 switches it off.
    f_target : Quantity
        Its target rate.
    rate_averaging : {"trial", "batch", "moving"}
        What the regulariser compares with the target: each trial's rate (NEST), the mean rate
        over the trials of a batch (TensorFlow code), which leaves trials free to differ, or a
        moving average (NEST's e-prop+), the only one without trials.
    kappa_reg : float
        Decay of the moving average in a step.
    c_v : float
        Strength of the voltage regulariser; 0 switches it off.
    voltage_cost : str
        Its cost, an expression of the neuron's states and parameters and of ``margin``, always the
        left minus the right side of the spike condition, in SI units; default: half the square of
        what the membrane is above its threshold. It adds ``c_v`` times the cost's mean over the
        steps of a trial, summed over the neurons, to the loss.
    c_l2 : float
        Strength of the L2 regulariser, which adds ``c_l2/2`` times the sum of all squared weights
        to the loss; 0 switches it off.
    clip_value : float, optional
        Largest absolute value of a weight's gradient; what is beyond it is clipped.
    clip_norm : float, optional
        Largest norm of the gradient over all weights (not learned parameters); if it is larger, the
        whole gradient is scaled down to it. It is not local, and not for continuous operation.
    average_gradient : bool
        Divide the gradient, the regulariser's part included, by the steps of the learning window.
    dt : Quantity
        Time step.
    connectivity : mapping of str to float, bool array or scipy.sparse matrix or array
        Which synapses there are, for some of ``w_in``, ``w_rec`` and ``w_out``: the fraction of all
        pairs, drawn at random, or an adjacency matrix shaped as the weights [post, pre], dense, or
        sparse with any nonzero value where there is a synapse.
    connectivity_seed : int
        Seed of the draw.
    delays : mapping of str to Quantity, str or array
        Synaptic delays for some of ``w_in`` (default 0), ``w_rec`` (one time step at least, the
        default) and ``w_out`` (0 or one time step): one time; for ``w_in`` and ``w_rec`` also an
        array shaped as the weights, or a pair (shortest, longest) between which they are drawn
        with `connectivity_seed`.
    rewiring : Rewiring, float or mapping, optional
        Sparse rewiring (DEEP R): which matrices have how many synapses, whose places change while
        they learn; a fraction for all of them, or the fields of `Rewiring`. The program keeps whole
        matrices, with 0 where there is no synapse.
    learned : mapping of str to Learned
        Parameters of the neurons that learn, one value per neuron, with bounds and learning rate.

    Attributes
    ----------
    adjacency : dict of str to scipy.sparse.csc_array of bool
        The adjacency matrices [post, pre] of the sparse weight matrices, with sorted indices.
    delay_steps : dict of str to int, array or scipy.sparse.csc_array
        Delays of ``w_in``, ``w_rec`` and ``w_out`` in steps.
    feedback_delay_steps : array of int or None
        Delays of the learning signal, shape (n_recurrent, n_outputs); None if all are one step.
    trace_cutoff_steps : int or None
    signs : dict of str to array
        Signs, 1.0 or -1.0, of all pairs [post, pre] of the matrices that are rewired.

    Raises
    ------
    ValueError, EquationError
        If a size, name, unit or combination cannot work.
    """

    n_inputs: int
    n_outputs: int
    neurons: Sequence[tuple[Neuron, int]]
    readout: Readout = LEAKY
    loss: Loss | str = SQUARED_ERROR
    feedback: str | LearningSignal | Any = "symmetric"
    readout_weights: str = "normal"
    optimizer: Optimizer = ADAM
    gradient: str = "factored"
    updates: str = "batch"
    trace_cutoff: Quantity | None = None
    c_reg: float = 0.0
    f_target: Quantity = field(default_factory=lambda: 10 * Hz)
    rate_averaging: str = "trial"
    kappa_reg: float = 0.97
    c_v: float = 0.0
    voltage_cost: str = VOLTAGE_COST
    c_l2: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    average_gradient: bool = False
    dt: Quantity = field(default_factory=lambda: 1 * ms)
    # Arrays cannot be compared like numbers.
    connectivity: Mapping[str, Any] = field(default_factory=dict, compare=False)
    connectivity_seed: int = 0
    delays: Mapping[str, Any] = field(default_factory=dict, compare=False)
    learned: Mapping[str, Learned] = field(default_factory=dict)
    rewiring: Rewiring | float | Mapping[str, Any] | None = None
    signs: dict[str, np.ndarray] = field(init=False, repr=False, compare=False)
    adjacency: dict[str, csc_array] = field(init=False, repr=False, compare=False)
    delay_steps: dict[str, int | Matrix] = field(init=False, repr=False, compare=False)
    feedback_delay_steps: np.ndarray | None = field(init=False, repr=False, compare=False)
    trace_cutoff_steps: int | None = field(init=False, repr=False)
    populations: tuple[Population, ...] = field(init=False, repr=False)
    readout_program: ReadoutProgram = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            object.__setattr__(self, "loss", self._loss(self.loss))
        check_choice("gradient", self.gradient, GRADIENTS)
        check_choice("updates", self.updates, UPDATES)
        check_choice("readout_weights", self.readout_weights, ("normal", "glorot"))
        check_choice("rate_averaging", self.rate_averaging, RATE_AVERAGING)
        check_positive_quantity("dt", self.dt, second, "1*ms")
        check_positive_quantity("f_target", self.f_target, hertz, "10*Hz")
        for name in ("n_inputs", "n_outputs"):
            check_positive(name, getattr(self, name))
        check_loss(self.loss, self._readout_names, self.n_outputs)
        for name in ("c_reg", "kappa_reg", "c_v", "c_l2"):
            check_real(name, getattr(self, name), minimum=0)
        if not isinstance(self.voltage_cost, str) or not self.voltage_cost.strip():
            raise ValueError(
                "voltage_cost must be an equation, for example 'margin**2', not "
                f"{self.voltage_cost!r}"
            )
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                check_real(name, getattr(self, name), minimum=0)
                if getattr(self, name) == 0:
                    raise ValueError(f"{name} must be above 0: nothing is left of the gradient")
        if self.kappa_reg >= 1:
            raise ValueError(f"kappa_reg must be below 1, not {self.kappa_reg}")
        if not isinstance(self.average_gradient, bool):
            raise ValueError(f"average_gradient is true or false, not {self.average_gradient!r}")
        check_optimizer(self.optimizer)
        settings = self.optimizer.parameters
        for name, value in settings.items():
            check_real(
                f"optimizer parameter {name}", value, minimum=0 if name == "eta" else -np.inf
            )
        if settings.get("w_min", -np.inf) > settings.get("w_max", np.inf):
            raise ValueError(f"w_min = {settings['w_min']} is above w_max = {settings['w_max']}")
        if not self.neurons:
            raise ValueError("a network needs neurons: give [(neuron, size), ...]")
        if not isinstance(self.learned, Mapping):
            raise ValueError(
                "learned names parameters of the neurons, e.g. {tau_m = {minimum = '5 ms'}}; "
                f"got {self.learned!r}"
            )
        learned = {name: as_learned(name, given) for name, given in self.learned.items()}
        rates = [name for name, given in learned.items() if given.eta is not None]
        if rates and "eta" not in settings:
            raise ValueError(
                f"learned parameter '{rates[0]}' has an eta, but optimizer "
                f"'{self.optimizer.name}' has none: its learning rate must be called eta"
            )
        object.__setattr__(self, "learned", learned)
        populations: list[Population] = []
        arrays: set[str] = set()
        for neuron, size in self.neurons:
            if not isinstance(neuron, Neuron):
                raise ValueError(
                    f"neurons are pairs of a Neuron and a number, not of {neuron!r}; "
                    "get_neuron('lif') is one of the library's"
                )
            check_positive(f"the number of {neuron.name} neurons", size)
            ranges = self._learned_ranges(neuron)
            cost = self.voltage_cost if self.c_v else ""
            system = derive(step_map(neuron), learned=tuple(ranges), cost=cost)
            system.check_finite(float(self.dt))
            state_cost(system.step, self.voltage_cost)  # checked even where c_v is 0
            times = resolve_parameters(neuron.parameters, f"neuron '{neuron.name}'")[1]
            for name, value in system.step.parameters.items():
                if name.startswith("tau") and times.get(name) is second.dim and np.any(value <= 0):
                    raise ValueError(
                        f"neuron '{neuron.name}': {name} = {value} s; a time constant must be "
                        "positive"
                    )
                if np.ndim(value) and np.shape(value) != (size,):
                    raise ValueError(
                        f"neuron '{neuron.name}': {name} has {np.size(value)} values, there "
                        f"are {size} neurons"
                    )
            if (
                neuron.name in _GENERATED
                or neuron.name.endswith(_GENERATED_ENDINGS)
                or _GENERATED_MIDDLE in neuron.name
            ):
                raise ValueError(
                    f"a neuron cannot be called '{neuron.name}': a group of the network has or may "
                    "have this name"
                )
            taken = [p.name for p in populations]
            name, number = neuron.name, len(taken)
            quantities = neuron_names(system.step)
            # Group "a" with "b_c" and group "a_b" with "c" would share an array.
            while name in taken or not arrays.isdisjoint(f"{name}_{x}" for x in quantities):
                name, number = f"{neuron.name}_{number + 1}", number + 1
            arrays |= {f"{name}_{x}" for x in quantities}
            populations.append(Population(name, neuron, int(size), system, ranges))
        object.__setattr__(self, "neurons", tuple((n, int(s)) for n, s in self.neurons))
        object.__setattr__(self, "populations", tuple(populations))
        object.__setattr__(self, "readout_program", readout_program(self.readout))
        self.readout_values()
        object.__setattr__(self, "adjacency", self._draw_adjacency())
        self._set_feedback()
        self._set_rewiring()
        self._set_delays()
        self._check_updates()
        if self.gradient == "bptt":
            self._check_bptt()

    def _loss(self, given: str) -> Loss:
        """A loss by name, or derived from an equation."""
        if not isinstance(given, str):
            raise ValueError(f"loss must be a name or an equation, not {given!r}")
        if given in LOSSES:
            return LOSSES[given]
        if not get_identifiers(given) & {"y", "p"}:
            raise ValueError(
                f"{unknown('loss', given, LOSSES)}. Or give an equation of y and y_target, for "
                "example 'log(cosh(y - y_target))'"
            )
        return derive_loss(given, tuple(self._readout_names))

    def _set_feedback(self) -> None:
        shape = (self.n_recurrent, self.n_outputs)
        feedback = check_learning_signal(
            as_learning_signal(self.feedback),
            self.loss,
            self._readout_names,
            [*self.optimizer.states, *self.optimizer.parameters],
            shape,
        )
        object.__setattr__(self, "feedback", feedback)
        steps = None
        if feedback.delay is not None:
            rng = self._rng("delay B")
            steps = delay_steps("feedback delay", feedback.delay, self.dt, 1, shape, rng)
            steps = None if np.all(steps == 1) else np.broadcast_to(steps, shape)
        object.__setattr__(self, "feedback_delay_steps", steps)

    def _set_rewiring(self) -> None:
        rewiring = as_rewiring(self.rewiring)
        object.__setattr__(self, "rewiring", rewiring)
        signs: dict[str, np.ndarray] = {}
        if rewiring is not None:
            both = sorted(self.adjacency.keys() & rewiring.connectivity.keys())
            if both:
                raise ValueError(
                    f"{both[0]} has a fixed connectivity and is to be rewired: give one of them"
                )
            if self.feedback.update.strip() and "w_out" in rewiring.connectivity:
                raise ValueError(
                    "feedback that learns with the readout weights would follow synapses that are "
                    "not there: leave w_out out of the rewiring, or choose other feedback"
                )
            if self.clip_norm is not None:
                raise ValueError(
                    "clip_norm would count gradients of synapses that are not there: with rewiring "
                    "clip by clip_value"
                )
            if self.continuous:
                raise ValueError("rewiring happens between batches: it needs updates = 'batch'")
            if "eta" not in self.optimizer.parameters:
                raise ValueError(
                    f"rewiring needs a learning rate: optimizer '{self.optimizer.name}' has no eta"
                )
            signs = draw_signs(rewiring, self.shapes, self.connectivity_seed)
        object.__setattr__(self, "signs", signs)

    def _set_delays(self) -> None:
        if not isinstance(self.delays, Mapping):
            raise ValueError(
                f"delays name weight matrices, e.g. {{w_rec = '3 ms'}}; got {self.delays!r}"
            )
        steps: dict[str, int | Matrix] = dict(LEAST_DELAY)
        for name, given in self.delays.items():
            check_choice("weight matrix in delays", name, LEAST_DELAY)
            steps[name] = delay_steps(
                f"delay of {name}",
                given,
                self.dt,
                LEAST_DELAY[name],
                self.shapes[name],
                self._rng(f"delay {name}"),
                connected=self.adjacency.get(name),
                autapses=name != "w_rec",
            )
        if not isinstance(steps["w_out"], int) or steps["w_out"] > 1:
            raise ValueError(
                "delay of w_out must be 0 (a readout sees the spikes of its own step) or one time "
                f"step ({self.dt}), the same for all"
            )
        object.__setattr__(self, "delay_steps", steps)

    def _check_updates(self) -> None:
        """Refuse what continuous operation and updates at the end of a batch cannot have."""
        cutoff = None
        if self.continuous:
            if self.gradient != "online":
                raise ValueError(
                    f"updates = '{self.updates}' needs gradient = 'online': '{self.gradient}' "
                    "works backwards from the end of a trial"
                )
            if self.rate_averaging != "moving":
                if self.c_reg:
                    raise ValueError(
                        f"updates = '{self.updates}' has no trials: the regulariser (c_reg) needs "
                        f"rate_averaging = 'moving', not '{self.rate_averaging}'"
                    )
                object.__setattr__(self, "rate_averaging", "moving")
            if self.clip_norm is not None:
                raise ValueError(
                    f"updates = '{self.updates}' changes weights one by one: gradients are clipped "
                    "by clip_value there, not by clip_norm"
                )
            if self.learned:
                raise ValueError("parameters of neurons can be learned with updates = 'batch' only")
        elif self.trace_cutoff is not None:
            raise ValueError("trace_cutoff is for updates = 'step' or 'spike'")
        if self.trace_cutoff is not None:
            cutoff = delay_steps("trace_cutoff", self.trace_cutoff, self.dt, 1, ())
            delays = [longest(self.delay_steps[m]) - LEAST_DELAY[m] for m in ("w_in", "w_rec")]
            least = max(delays) + self.delay_steps["w_out"] + 1
            if cutoff < least:
                raise ValueError(
                    f"trace_cutoff of {cutoff} steps is too short: with this network's delays a "
                    f"spike's trace meets its first learning signal after {least} steps"
                )
            for population in self.populations:
                cutoff_program(population.system, self.readout_program, self.rate_averaging)
        object.__setattr__(self, "trace_cutoff_steps", cutoff)

    def _check_bptt(self) -> None:
        """Refuse what belongs to learning signals and traces, which BPTT has none of."""
        feedback = self.feedback
        sent = (feedback.weights, feedback.signal.strip(), feedback.delay)
        if sent != (SYMMETRIC.weights, SYMMETRIC.signal, None):
            raise ValueError(
                "gradient = 'bptt' sends the error back through the network itself and has no "
                "learning signal: leave feedback at 'symmetric', without signal and delay"
            )
        if self.rate_averaging == "moving":
            raise ValueError(
                "gradient = 'bptt' differentiates a rate of trials: rate_averaging must be 'trial' "
                "or 'batch', not 'moving'"
            )
        for name in ("trace_gain", "trace_decay"):
            if getattr(self.readout, name):
                raise ValueError(
                    f"gradient = 'bptt' has no eligibility traces: leave the readout's {name} away"
                )

    def _learned_ranges(self, neuron: Neuron) -> dict[str, LearnedRange]:
        for name in self.learned:
            if not any(name in kind.parameters for kind, _ in self.neurons):
                known = sorted({key for kind, _ in self.neurons for key in kind.parameters})
                raise ValueError(
                    f"no neuron has the parameter '{name}' to learn; there are {', '.join(known)}"
                )
        names = [name for name in self.learned if name in neuron.parameters]
        if not names:
            return {}
        step = step_map(neuron)
        where = f"neuron '{neuron.name}', parameters"
        dimensions = resolve_parameters(neuron.parameters, where)[1]
        return {
            name: learned_range(name, self.learned[name], step, dimensions[name], float(self.dt))
            for name in names
        }

    @property
    def _readout_names(self) -> list[str]:
        return [*self.readout.parameters, *self.readout.constants]

    @property
    def continuous(self) -> bool:
        """Whether the network runs on without trials and resets."""
        return self.updates != "batch"

    def _draw_adjacency(self) -> dict[str, csc_array]:
        seed = self.connectivity_seed
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"connectivity_seed must be a whole number from 0 on, not {seed!r}")
        if not isinstance(self.connectivity, Mapping):
            raise ValueError(
                "connectivity names weight matrices, e.g. {w_rec = 0.1}; "
                f"got {self.connectivity!r}"
            )
        adjacency = {}
        for name, given in self.connectivity.items():
            check_choice("weight matrix in connectivity", name, ("w_in", "w_rec", "w_out"))
            if isinstance(given, int | float | str) or np.isscalar(given):
                adjacency[name] = self._drawn(name, given)
            else:
                adjacency[name] = _given(name, given, self.shapes[name])
        return adjacency

    def _drawn(self, name: str, fraction: Any) -> csc_array:
        """An adjacency matrix with a fraction of the possible pairs."""
        check_real(f"connectivity of {name}", fraction, minimum=0)
        if fraction > 1:
            raise ValueError(f"connectivity of {name} is a fraction, not {fraction}")
        size = round(fraction * self._n_possible(name))
        return draw_pairs(self._rng(name), self.shapes[name], size, autapses=name != "w_rec")

    def _rng(self, what: str) -> np.random.Generator:
        """For draws of the network's structure."""
        seeds = [self.connectivity_seed, zlib.crc32(what.encode())]
        return np.random.default_rng(np.random.SeedSequence(seeds))

    def _n_possible(self, name: str) -> int:
        """Number of pairs that may be connected."""
        n_post, n_pre = self.shapes[name]
        return n_post * n_pre - (n_post if name == "w_rec" else 0)

    def n_connected(self, name: str) -> int:
        """Number of synapses of a matrix that is rewired."""
        return max(1, round(self.rewiring.connectivity[name] * self._n_possible(name)))

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the weights and of the feedback weights ``B``, (n_post, n_pre)."""
        n, n_in, n_out = self.n_recurrent, self.n_inputs, self.n_outputs
        return {"w_in": (n, n_in), "w_rec": (n, n), "w_out": (n_out, n), "B": (n, n_out)}

    @property
    def learned_shapes(self) -> dict[str, tuple[int]]:
        """Learned parameters, ``"population.parameter"``, and their shapes, (size,)."""
        return {f"{p.name}.{name}": (p.size,) for p in self.populations for name in p.learned}

    @property
    def n_recurrent(self) -> int:
        """Number of recurrent neurons."""
        return sum(population.size for population in self.populations)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each population stands among the recurrent neurons, by name."""
        ends = itertools.accumulate(p.size for p in self.populations)
        return {
            p.name: slice(end - p.size, end) for p, end in zip(self.populations, ends, strict=True)
        }

    @classmethod
    def for_task(cls, task: Task, neurons: Sequence[tuple[Neuron, int]], **options: Any) -> Network:
        """A network with the inputs, readouts, loss and time step of a task.

        Parameters
        ----------
        task : Task
        neurons : sequence of (Neuron, int)
            Kinds of neurons and how many of each.
        **options
            Any other field; they may replace the task's loss.

        Raises
        ------
        ValueError, EquationError
            As for any network.
        """
        options = {"dt": task.dt, "loss": task.loss, **options}
        return cls(task.n_inputs, task.n_outputs, neurons, **options)

    def with_options(self, **options: Any) -> Network:
        """Return a copy with some options replaced."""
        return replace(self, **options)

    def readout_values(self) -> dict[str, float]:
        """SI values of the readout's parameters and constants."""
        where = f"readout '{self.readout.name}'"
        values, dimensions = resolve_parameters(self.readout.parameters, f"{where}, parameters")
        for name, value in values.items():
            if name.startswith("tau") and dimensions[name] is not second.dim:
                raise EquationError(where, f"{name} = {value}", "must be a time, e.g. `20 ms`")
            if name.startswith("tau") and not np.all(np.asarray(value) > 0):
                raise EquationError(where, f"{name} = {value}", "must be positive")
        for name, expression in self.readout.constants.items():
            scope = {**values, "dt": float(self.dt)}
            values[name] = evaluate(expression, scope, f"{where}, constant {name}")
        return values

    def _initially_connected(
        self, name: str, values: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Weights of a matrix that is rewired: with its signs, 0 where there is no synapse."""
        autapses = name != "w_rec"
        none = np.zeros(values.shape, dtype=bool)
        connected = connect(rng, none, self.n_connected(name), autapses=autapses)
        size = np.abs(values) * np.sqrt(self._n_possible(name) / connected.sum())
        signs = self.signs[name]
        if self.rewiring.dale:
            # Few inhibitory neurons balance many excitatory ones.
            excitatory = self.rewiring.excitatory
            size = np.where(signs < 0, size * excitatory / (1 - excitatory), size)
        return np.where(connected, signs * size, 0.0)

    def initial_draw(self, name: str) -> InitialDraw:
        """How `initial_weights` draws ``w_in``, ``w_rec`` or ``w_out``."""
        adjacency = self.adjacency.get(name)
        factor = 1.0
        if adjacency is not None:
            factor = float(np.sqrt(self._n_possible(name) / max(1, adjacency.nnz)))
        return InitialDraw(
            uniform=name == "w_out" and self.readout_weights == "glorot",
            divisor=float(np.sqrt(self.shapes[name][1])),
            limit=float(np.sqrt(6 / (self.n_recurrent + self.n_outputs))),
            factor=factor,
        )

    def initial_weights(self, seed: int) -> dict[str, Matrix]:
        """Draw initial weights, by default from N(0, 1)/sqrt(fan-in), and the feedback weights.

        The fan-in of a sparse matrix is its mean over the neurons.

        Returns
        -------
        dict
            ``w_in`` (n_recurrent, n_inputs), ``w_rec`` (n_recurrent, n_recurrent) with a zero
            diagonal, ``w_out`` (n_outputs, n_recurrent), all [postsynaptic, presynaptic], and
            ``B`` (n_recurrent, n_outputs). Arrays; `scipy.sparse.csc_array` with the structure of
            `adjacency` for the sparse matrices. Learned parameters by ``"population.parameter"``,
            in SI units.
        """
        rng = rng_for(seed, "weights")
        weights: dict[str, Matrix] = {}
        for name in ("w_in", "w_rec", "w_out"):
            shape, adjacency = self.shapes[name], self.adjacency.get(name)
            size = shape if adjacency is None else adjacency.nnz
            values = self.initial_draw(name).values(rng, size)
            if adjacency is not None:
                values = with_values(adjacency, values)
            elif name in self.signs:
                values = self._initially_connected(name, values, rng)
            elif name == "w_rec":
                np.fill_diagonal(values, 0.0)
            weights[name] = values
        weights["B"] = initial_feedback(self.feedback, weights["w_out"], rng)
        for population in self.populations:
            values = population.system.step.parameters
            for name in population.learned:
                value = np.broadcast_to(np.asarray(values[name], dtype=float), population.size)
                weights[f"{population.name}.{name}"] = np.array(value)
        return weights


def _given(name: str, matrix: Any, shape: tuple[int, int]) -> csc_array:
    """A user's adjacency matrix, checked."""
    if issparse(matrix):
        found = csc_array(matrix, copy=True)
        if not np.all(np.isfinite(found.data)):
            raise ValueError(f"connectivity of {name} must not hold NaN or infinity")
        found.sum_duplicates()
        found.eliminate_zeros()
    else:
        try:
            found = np.asarray(matrix)
        except ValueError:
            raise ValueError(f"connectivity of {name} has rows of several lengths") from None
    if found.shape != shape or (found.dtype != bool and not issparse(found)):
        raise ValueError(
            f"connectivity of {name} must be a fraction or a bool array of shape "
            f"{shape} [post, pre], not {found.dtype} {found.shape}"
        )
    if name == "w_rec" and np.any(found.diagonal()):
        raise ValueError("w_rec cannot have autapses: its diagonal must be False")
    return structure(*found.T.nonzero(), shape)
