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
from brian2.units.fundamentalunits import have_same_dimensions
from scipy.sparse import csc_array, issparse

from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.equations.losses import LOSSES, SQUARED_ERROR, Loss
from eprop_brian.equations.neurons import Neuron
from eprop_brian.equations.optimizers import ADAM, Optimizer
from eprop_brian.equations.readouts import LEAKY, Readout
from eprop_brian.network.sparse import Matrix, dense, draw_pairs, structure, with_values
from eprop_brian.symbolic.eligibility import EligibilitySystem, derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.parameters import evaluate, resolve_parameters
from eprop_brian.symbolic.programs import ReadoutProgram, readout_program
from eprop_brian.symbolic.step_map import step_map

__all__ = ["GRADIENTS", "Network", "Population", "check_positive"]

GRADIENTS = ("factored", "online")
#: Names that groups of a built network have.
_GENERATED = frozenset(
    ("control", "inputs", "input_data", "target_data", "trials", "outcomes")
    + ("readout", "profile", "step_runner", "step_clock")
)
_GENERATED_ENDINGS = ("_history", "_results", "_window", "_rows", "_spikes", "_offsets", "_pre")


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
    """

    name: str
    neuron: Neuron
    size: int
    system: EligibilitySystem = field(repr=False)


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
    feedback : {"symmetric", "random"}
        Where the weights of the learning signal come from.
    feedback_scale : float
        Standard deviation of random feedback weights.
    readout_weights : {"normal", "glorot"}
        Initial readout weights: N(0, 1)/sqrt(n_recurrent), or uniform in
        +-sqrt(6/(n_recurrent + n_outputs)).
    optimizer : Optimizer
    gradient : {"factored", "online"}
        The gradient program (`eprop_brian.symbolic.programs`).
    c_reg : float
        Strength of the firing-rate regulariser; 0 switches it off.
    f_target : Quantity
        Its target rate.
    rate_averaging : {"trial", "batch"}
        What the regulariser compares with the target: each trial's rate (NEST) or the mean rate
        over the trials of a batch (TensorFlow code), which leaves trials free to differ.
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

    Attributes
    ----------
    adjacency : dict of str to scipy.sparse.csc_array of bool
        The adjacency matrices [post, pre] of the sparse weight matrices, with sorted indices.

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
    feedback: str = "symmetric"
    feedback_scale: float = 1.0
    readout_weights: str = "normal"
    optimizer: Optimizer = ADAM
    gradient: str = "factored"
    c_reg: float = 0.0
    f_target: Quantity = field(default_factory=lambda: 10 * Hz)
    rate_averaging: str = "trial"
    average_gradient: bool = False
    dt: Quantity = field(default_factory=lambda: 1 * ms)
    # Arrays cannot be compared like numbers.
    connectivity: Mapping[str, Any] = field(default_factory=dict, compare=False)
    connectivity_seed: int = 0
    adjacency: dict[str, csc_array] = field(init=False, repr=False, compare=False)
    populations: tuple[Population, ...] = field(init=False, repr=False)
    readout_program: ReadoutProgram = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.loss, str):
            _choose("loss", self.loss, LOSSES)
            object.__setattr__(self, "loss", LOSSES[self.loss])
        _choose("feedback", self.feedback, FEEDBACKS)
        _choose("gradient", self.gradient, GRADIENTS)
        _choose("readout_weights", self.readout_weights, ("normal", "glorot"))
        _choose("rate_averaging", self.rate_averaging, ("trial", "batch"))
        _unit("dt", self.dt, second, "1*ms")
        _unit("f_target", self.f_target, hertz, "10*Hz")
        for name in ("n_inputs", "n_outputs"):
            check_positive(name, getattr(self, name))
        if self.loss.softmax and self.n_outputs < 2:
            raise ValueError(f"loss '{self.loss.name}' needs at least 2 outputs, not 1")
        for name in ("c_reg", "feedback_scale"):
            _real(name, getattr(self, name), minimum=0)
        if not isinstance(self.average_gradient, bool):
            raise ValueError(f"average_gradient is true or false, not {self.average_gradient!r}")
        settings = self.optimizer.parameters
        for name, value in settings.items():
            _real(f"optimizer parameter {name}", value, minimum=0 if name == "eta" else -np.inf)
        if settings.get("w_min", -np.inf) > settings.get("w_max", np.inf):
            raise ValueError(f"w_min = {settings['w_min']} is above w_max = {settings['w_max']}")
        if not self.neurons:
            raise ValueError("a network needs neurons: give [(neuron, size), ...]")
        populations: list[Population] = []
        for neuron, size in self.neurons:
            check_positive(f"the number of {neuron.name} neurons", size)
            system = derive(step_map(neuron))
            for name, value in system.step.parameters.items():
                if np.ndim(value) and np.shape(value) != (size,):
                    raise ValueError(
                        f"neuron '{neuron.name}': {name} has {np.size(value)} values, there "
                        f"are {size} neurons"
                    )
            shared = {*neuron.parameters, *neuron.constants, *system.step.states} & {
                "y",
                *self.readout.parameters,
                *self.readout.constants,
            }
            if shared:
                raise ValueError(
                    f"neuron '{neuron.name}' and readout '{self.readout.name}' both use the name "
                    f"'{min(shared)}', and the traces of a synapse read both; rename one"
                )
            if neuron.name in _GENERATED or neuron.name.endswith(_GENERATED_ENDINGS):
                raise ValueError(
                    f"a neuron cannot be called '{neuron.name}': a group of the network has or may "
                    "have this name"
                )
            taken = [p.name for p in populations]
            name = neuron.name if neuron.name not in taken else f"{neuron.name}_{len(taken) + 1}"
            populations.append(Population(name, neuron, int(size), system))
        object.__setattr__(self, "neurons", tuple((n, int(s)) for n, s in self.neurons))
        object.__setattr__(self, "populations", tuple(populations))
        object.__setattr__(self, "readout_program", readout_program(self.readout))
        self.readout_values()
        object.__setattr__(self, "adjacency", self._draw_adjacency())

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
            _choose("weight matrix in connectivity", name, ("w_in", "w_rec", "w_out"))
            if isinstance(given, int | float | str) or np.isscalar(given):
                adjacency[name] = self._drawn(name, given)
            else:
                adjacency[name] = _given(name, given, self.shapes[name])
        return adjacency

    def _drawn(self, name: str, fraction: Any) -> csc_array:
        """An adjacency matrix with a fraction of the possible pairs."""
        _real(f"connectivity of {name}", fraction, minimum=0)
        if fraction > 1:
            raise ValueError(f"connectivity of {name} is a fraction, not {fraction}")
        seeds = [self.connectivity_seed, zlib.crc32(name.encode())]
        rng = np.random.default_rng(np.random.SeedSequence(seeds))
        size = round(fraction * self._n_possible(name))
        return draw_pairs(rng, self.shapes[name], size, autapses=name != "w_rec")

    def _n_possible(self, name: str) -> int:
        """Number of pairs that may be connected."""
        n_post, n_pre = self.shapes[name]
        return n_post * n_pre - (n_post if name == "w_rec" else 0)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the weights and of the feedback weights ``B``, (n_post, n_pre)."""
        n, n_in, n_out = self.n_recurrent, self.n_inputs, self.n_outputs
        return {"w_in": (n, n_in), "w_rec": (n, n), "w_out": (n_out, n), "B": (n, n_out)}

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

    def initial_weights(self, seed: int) -> dict[str, Matrix]:
        """Draw initial weights, by default from N(0, 1)/sqrt(fan-in), and the feedback weights.

        The fan-in of a sparse matrix is its mean over the neurons.

        Returns
        -------
        dict
            ``w_in`` (n_recurrent, n_inputs), ``w_rec`` (n_recurrent, n_recurrent) with a zero
            diagonal, ``w_out`` (n_outputs, n_recurrent), all [postsynaptic, presynaptic], and
            ``B`` (n_recurrent, n_outputs). Arrays; `scipy.sparse.csc_array` with the structure of
            `adjacency` for the sparse matrices.
        """
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x57]))
        n, n_out = self.n_recurrent, self.n_outputs
        limit = np.sqrt(6 / (n + n_out))
        weights: dict[str, Matrix] = {}
        for name in ("w_in", "w_rec", "w_out"):
            shape, adjacency = self.shapes[name], self.adjacency.get(name)
            size = shape if adjacency is None else adjacency.nnz
            if name == "w_out" and self.readout_weights == "glorot":
                values = rng.uniform(-limit, limit, size)
            else:
                values = rng.standard_normal(size) / np.sqrt(shape[1])
            if adjacency is not None:
                values *= np.sqrt(self._n_possible(name) / max(1, adjacency.nnz))
                values = with_values(adjacency, values)
            elif name == "w_rec":
                np.fill_diagonal(values, 0.0)
            weights[name] = values
        weights["B"] = rng.standard_normal((n, n_out)) * self.feedback_scale
        if self.feedback == "symmetric":
            weights["B"] = dense(weights["w_out"].T)
        return weights


def _given(name: str, matrix: Any, shape: tuple[int, int]) -> csc_array:
    """A user's adjacency matrix, checked."""
    if issparse(matrix):
        found = csc_array(matrix, copy=True)
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


def _real(name: str, value: Any, minimum: float) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or isinstance(value, Quantity) or not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number without unit, not {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")


def _choose(option: str, given: str, allowed) -> None:
    if given not in allowed:
        raise ValueError(f"unknown {option} '{given}'; choose from {', '.join(allowed)}")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive whole number."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive whole number, not {value}")


def _unit(name: str, value: Any, unit: Quantity, example: str) -> None:
    if not have_same_dimensions(value, unit):
        raise ValueError(f"{name} needs a unit of {unit!r}, for example {example}; got {value!r}")
    if not float(value) > 0 or not np.isfinite(float(value)):
        raise ValueError(f"{name} must be positive and finite, not {value}")
