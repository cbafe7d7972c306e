"""Neurons that Brian2 itself simulates: the spikes that the package must reproduce.

An input's spike of step t enters in the package before the update of step t. In Brian2 that is the
slot of synapses of step t - 1, so the generator of the inputs runs one step ahead, and no input may
spike in step 0. A neuron's own spike of step t - 1 enters in the same slot in both.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import brian2
import numpy as np
from brian2 import Quantity, TimedArray, ms, second
from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.utils.stringtools import word_substitute

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
)
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.parameters import UNITS, parse_quantity, resolve_parameters, unit_name
from eprop_brian.symbolic.timed_arrays import resolve_timed_arrays
from eprop_brian.training.session import Session
from support.trials import trials_of

__all__ = [
    "Drive",
    "Simulation",
    "group_of",
    "in_brian2",
    "in_package",
    "network_of",
    "random_drive",
    "simulation",
    "weights_of",
]


@dataclass(frozen=True, eq=False)
class Drive:
    """What reaches a population.

    Attributes
    ----------
    inputs : bool array, shape (n_steps, n_inputs)
        Spikes, none of them in the first step.
    w_in : dict of str to array, shape (size, n_inputs)
        Weights of the inputs by receptor; the key of a single one without a name is ``""``.
    w_rec : dict of str to array, shape (size, size)
        Recurrent weights likewise, with a diagonal of zeros.
    dt : Quantity
        Length of a step.
    synapses : dict of str to Synapse
        Dynamics of the synapses of a receptor.
    """

    inputs: np.ndarray
    w_in: Mapping[str, np.ndarray]
    w_rec: Mapping[str, np.ndarray] = field(default_factory=dict)
    dt: Quantity = field(default_factory=lambda: 1 * ms)
    synapses: Mapping[str, Synapse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert not self.inputs[0].any(), "Brian2 has no slot of synapses before its first step"

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(next(iter(self.w_in.values())))


def random_drive(
    seed: int,
    size: int,
    weights: Mapping[str, tuple[float, float]],
    *,
    n_steps: int = 200,
    n_inputs: int = 10,
    p: float = 0.06,
    recurrent: float = 0.3,
    dt: Quantity = 1 * ms,
) -> Drive:
    """Random spikes, and normal weights by receptor.

    Parameters
    ----------
    seed : int
    size : int
        Number of neurons.
    weights : mapping of str to (float, float)
        Mean and standard deviation of the weights of inputs, by receptor.
    n_steps, n_inputs : int
    p : float
        Probability of a spike of an input in a step.
    recurrent : float
        Standard deviation of recurrent weights, whose mean is 0, relative to that of inputs.
    dt : Quantity
    """
    rng = np.random.default_rng(seed)
    inputs = rng.random((n_steps, n_inputs)) < p
    inputs[0] = False
    w_in, w_rec = {}, {}
    for receptor, (mean, deviation) in weights.items():
        w_in[receptor] = mean + deviation * rng.standard_normal((size, n_inputs))
        w_rec[receptor] = recurrent * deviation * rng.standard_normal((size, size))
        np.fill_diagonal(w_rec[receptor], 0)
    return Drive(inputs, w_in, w_rec, dt)


# --- in Brian2 ------------------------------------------------------------------------------------


def group_of(neuron: Neuron, size: int, dt: Quantity = 1 * ms) -> brian2.NeuronGroup:
    """A `Neuron` of the Brian2 style as a `NeuronGroup`."""
    declared, model = brian2.Equations(neuron.model).parameter_names, neuron.model
    own = {name: value for name, value in neuron.parameters.items() if name in declared}
    names = namespace_of(neuron, dt, {*own})
    own |= {name: names.pop(name) for name in own if name in names}
    # What differs from neuron to neuron is a parameter of the group.
    for name in [name for name, value in names.items() if np.ndim(value)]:
        own[name] = names.pop(name)
        model += f"\n{name} : {unit_name(own[name].dim)}"
    group = brian2.NeuronGroup(
        size,
        model,
        method=neuron.method,
        threshold=neuron.threshold,
        reset=neuron.reset,
        refractory=_refractory(neuron.refractory),
        namespace=names,
        dt=dt,
    )
    for name, value in {**own, **neuron.initial}.items():
        setattr(group, name, value)
    return group


def namespace_of(
    neuron: Neuron, dt: Quantity = 1 * ms, expressions: Collection[str] = ()
) -> dict[str, Any]:
    """Parameters, constants worked out with their units, and timed arrays.

    Parameters of the names in `expressions` may be expressions that Brian2 evaluates; these are
    left out.
    """
    names = _quantities(neuron.parameters, expressions)
    for name, text in neuron.constants.items():
        names[name] = eval(text, {"exp": brian2.exp, "dt": dt, **UNITS, **names})
    for name, array in resolve_timed_arrays(neuron.timed_arrays, neuron.name).items():
        names[name] = TimedArray(Quantity(array.values, dim=array.dim), dt=array.dt * second)
    return names


def _quantities(parameters: Mapping[str, Any], expressions: Collection[str] = ()) -> dict[str, Any]:
    """Parameters as Brian2 takes them, without those that are expressions."""
    found = {}
    for name, parameter in parameters.items():
        try:
            values, dimensions = resolve_parameters({name: parameter}, name)
        except EquationError:
            assert name in expressions, name
        else:
            found[name] = Quantity(values[name], dim=dimensions[name])
    return found


def _refractory(text: str) -> Any:
    """A refractory time or condition as a `NeuronGroup` takes it."""
    if not text.strip():
        return False
    try:
        return parse_quantity(text, "refractory")
    except EquationError:
        return text


@dataclass(frozen=True, eq=False)
class Simulation:
    """A group under a drive in Brian2.

    Attributes
    ----------
    group : NeuronGroup
    inputs : SpikeGeneratorGroup
    pathways : list of (str, str, Synapses)
        ``"w_in"`` or ``"w_rec"``, the receptor, and the synapses with these weights, in the order
        in which they act.
    drive : Drive
    """

    group: brian2.NeuronGroup
    inputs: brian2.SpikeGeneratorGroup
    pathways: list[tuple[str, str, brian2.Synapses]]
    drive: Drive

    def run(
        self, states: Sequence[str] = (), draws: Mapping[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Run it once.

        Parameters
        ----------
        states : sequence of str
        draws : mapping of str to array, shape (n_steps, n_draws, size), optional
            What Brian2's functions ``rand`` and ``randn`` give in a step, call by call.

        Returns
        -------
        bool array, shape (n_steps, size)
            Spikes.
        dict of str to array, shape (n_steps, size)
            The states as the spike condition sees them, before the reset.
        """
        dt, n_steps = self.drive.dt, len(self.drive.inputs)
        spikes = brian2.SpikeMonitor(self.group)
        monitor = brian2.StateMonitor(
            self.group, states, record=True, when="after_thresholds", dt=dt
        )
        synapses = [synapses for _, _, synapses in self.pathways]
        network = brian2.Network(self.group, self.inputs, *synapses, spikes, monitor)
        with _drawn(draws or {}):
            network.run(n_steps * dt, namespace={})
        z = np.zeros((n_steps, len(self.group)), dtype=bool)
        z[np.rint(spikes.t / dt).astype(int), spikes.i] = True
        return z, {name: np.asarray(getattr(monitor, name)).T for name in states}


@contextmanager
def _drawn(draws: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Brian2 draws given numbers in its NumPy code."""
    kept = {}
    for name, numbers in draws.items():
        rows = iter(numbers.reshape(-1, numbers.shape[-1]))
        implementations = DEFAULT_FUNCTIONS[name].implementations
        kept[name] = implementations[NumpyCodeGenerator].get_code(None)
        implementations.add_implementation(
            NumpyCodeGenerator, code=lambda neurons, rows=rows: next(rows)
        )
    try:
        yield
    finally:
        for name, code in kept.items():
            DEFAULT_FUNCTIONS[name].implementations.add_implementation(
                NumpyCodeGenerator, code=code
            )


def simulation(
    group: brian2.NeuronGroup, on_pre: str | Mapping[str, str], drive: Drive
) -> Simulation:
    """Connect a group, by one `Synapses` for each receptor and source.

    Parameters
    ----------
    group : NeuronGroup
        With a namespace of its own, from which the synapses take their names too.
    on_pre : str or mapping of str to str
        The effect of a spike, by receptor; those of one receptor act after those of the one before.
        A receptor whose synapses have dynamics takes it from them.
    drive : Drive
    """
    effects = {"": on_pre} if isinstance(on_pre, str) else on_pre
    dt, weight = drive.dt, weight_name(group)
    steps, neurons = np.nonzero(drive.inputs)
    source = brian2.SpikeGeneratorGroup(drive.inputs.shape[1], neurons, (steps - 1) * dt, dt=dt)
    pathways = []
    for order, (receptor, effect) in enumerate(effects.items()):
        synapse = drive.synapses.get(receptor, Synapse("", effect))
        for matrix, origin in (("w_in", source), ("w_rec", group)):
            weights = getattr(drive, matrix).get(receptor)
            if weights is None:
                continue
            model = f"{word_substitute(synapse.model, {'w': weight})}\n"
            synapses = brian2.Synapses(
                origin,
                group,
                model if f"{weight} : 1" in model else f"{model}{weight} : 1",
                on_pre={"pre": word_substitute(synapse.on_pre, {"w": weight})},
                method=synapse.method,
                namespace={**group.namespace, **_quantities(synapse.parameters)},
                dt=dt,
            )
            post, pre = np.nonzero(weights)
            synapses.connect(i=pre, j=post)
            for name, value in {weight: weights[post, pre], **synapse.initial}.items():
                setattr(synapses, name, value)
            synapses.pre.order = order
            pathways.append((matrix, receptor, synapses))
    return Simulation(group, source, pathways, drive)


def in_brian2(
    group: brian2.NeuronGroup,
    on_pre: str | Mapping[str, str],
    drive: Drive,
    states: Sequence[str] = (),
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Spikes and states (see `Simulation.run`) of a group under a drive (see `simulation`)."""
    return simulation(group, on_pre, drive).run(states)


def weight_name(group: brian2.NeuronGroup) -> str:
    """What Brian2 can call the weights: not w where the neurons have a variable of that name."""
    return "w_syn" if "w" in group.variables else "w"


# --- in the package -------------------------------------------------------------------------------


def network_of(neuron: Neuron, drive: Drive, n_outputs: int = 1, **options: Any) -> Network:
    """A network of one population, with matrices ``w_in`` and ``w_rec`` (``w_in_ampa``, ...)."""
    parts = [
        Projection(
            source,
            neuron.name,
            _matrix(name, receptor),
            receptor,
            synapse=drive.synapses.get(receptor),
        )
        for source, name, weights in (
            ("inputs", "w_in", drive.w_in),
            (neuron.name, "w_rec", drive.w_rec),
        )
        for receptor in weights
    ]
    return Network(
        [
            Inputs(drive.inputs.shape[1]),
            Population(neuron, drive.size),
            Readout(n_outputs),
            *parts,
            Projection(neuron.name, "readout", "w_out"),
            LearningSignal("readout", neuron.name, name="B"),
        ],
        dt=drive.dt,
        **options,
    )


def weights_of(network: Network, drive: Drive) -> dict[str, Any]:
    """The weights of a drive, and initial ones for what it does not say."""
    weights = dict(network.initial_weights(0))
    for name, matrices in (("w_in", drive.w_in), ("w_rec", drive.w_rec)):
        weights |= {_matrix(name, receptor): w for receptor, w in matrices.items()}
    return weights


def in_package(neuron: Neuron, drive: Drive, device: str = "runtime") -> np.ndarray:
    """Spikes (n_steps, size) by a program of the package."""
    network = network_of(neuron, drive)
    trials = trials_of(drive.inputs[None], np.zeros((1, len(drive.inputs), 1)))
    weights = weights_of(network, drive)
    session = Session(network, make_program(device), trials, 1, weights, learning=False)
    session.run(trials, 1, learning=False)
    spikes = session.spikes()
    session.close()
    return spikes


def _matrix(name: str, receptor: str) -> str:
    return f"{name}_{receptor}" if receptor else name
