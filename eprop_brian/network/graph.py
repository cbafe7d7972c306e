"""The parts of a resolved network: named groups of neurons, and what connects them.

A network is lists of these. Their names are the keys of weights and the beginnings of the names of
arrays; nothing that builds, runs or trains a network assumes any of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csc_array

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import Loss
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.network.delays import longest
from eprop_brian.network.learned import LearnedRange
from eprop_brian.network.learned_delays import LearnedDelay
from eprop_brian.network.sharing import SharedWeights
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.programs import ReadoutProgram
from eprop_brian.symbolic.transmission import Transmission

__all__ = [
    "Connection",
    "Group",
    "InputGroup",
    "PopulationGroup",
    "ReadoutGroup",
    "SignalConnection",
    "SignalFilter",
    "connection",
    "spans",
]

Group: TypeAlias = "InputGroup | PopulationGroup | ReadoutGroup"


def spans(groups: Iterable[Group]) -> dict[str, slice]:
    """Where each of some groups stands when they are lined up, by name."""
    groups = list(groups)
    ends = itertools.accumulate(group.size for group in groups)
    return {
        group.name: slice(end - group.size, end) for group, end in zip(groups, ends, strict=True)
    }


@dataclass(frozen=True)
class InputGroup:
    """`size` inputs.

    Attributes
    ----------
    name : str
    size : int
    constant : bool
        Whether they are no inputs of the task but 1 in every step: a connection from them is a
        bias.
    """

    name: str
    size: int
    constant: bool = False


@dataclass(frozen=True)
class PopulationGroup:
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
    reverse_time : bool
        Whether it goes through a trial from the last step to the first.
    """

    name: str
    neuron: Neuron
    size: int
    system: EligibilitySystem = field(repr=False)
    learned: dict[str, LearnedRange] = field(default_factory=dict, repr=False)
    reverse_time: bool = False


@dataclass(frozen=True)
class ReadoutGroup:
    """`size` readouts with a loss of their own.

    Attributes
    ----------
    name : str
    size : int
    readout : ReadoutFilter
        Its equations.
    loss : Loss
        What it adds to the network's loss.
    values : dict of str to number
        SI values of the equations' parameters and constants.
    program : ReadoutProgram
        Derived from the equations.
    window_steps : int, optional
        Steps at the end of a trial in which its error counts; default: the task's learning window.
    every : int
        Steps of the network in which it takes one.
    """

    name: str
    size: int
    readout: ReadoutFilter
    loss: Loss
    values: dict[str, Any] = field(repr=False)
    program: ReadoutProgram = field(repr=False)
    window_steps: int | None = None
    every: int = 1

    def window(self, learning_window: int) -> int:
        """Steps at the end of a trial in which its error counts, for a task's learning window."""
        return learning_window if self.window_steps is None else self.window_steps


@dataclass(frozen=True, eq=False)
class Connection:
    """A named weight matrix [post, pre] between groups.

    Attributes
    ----------
    name : str
        Key of its weights.
    sources, targets : mapping of str to slice
        Which columns belong to each presynaptic group, and which rows to each postsynaptic one:
        inputs or populations, and populations or a single readout.
    from_inputs : bool
        Whether inputs are its sources.
    least_delay : int
        Steps from a spike to its arrival, at least: 1 between recurrent neurons, else 0.
    delay_steps : int, array or csc_array of int
        Delays in steps, one for all or one each.
    adjacency : csc_array of bool, optional
        Which synapses there are, with sorted indices; default: all, autapses apart.
    signs : array of 1.0 and -1.0, optional
        Signs of all pairs of a matrix that is rewired.
    n_connected : int, optional
        Number of synapses of a matrix that is rewired.
    receptor : str
        Which receptor of its targets it drives; ``""`` where they have a single input.
    to_readout : bool
        Whether a readout is its target.
    glorot : bool
        Whether initial weights are uniform in +-sqrt(6/(n_post + n_pre)) rather than normal.
    balanced : bool
        Whether initial weights are scaled so that excitation and inhibition of the targets cancel
        (see `eprop_brian.network.draws.initial_draws`).
    weights : array or csc_array, optional
        Initial weights; default: they are drawn.
    scale : float
        Factor of the initial weights.
    sign : float
        1.0 or -1.0: the sign of all weights; 0.0: they may have either. The bounds of the optimizer
        keep it.
    plastic : bool
        Whether its weights learn.
    learned_delay : LearnedDelay, optional
        How its delays learn, which start at `delay_steps`; default: they stay.
    optimizer : Optimizer, optional
        Of its weights; default: the network's.
    reads : str
        What a readout sums in the place of spikes: an expression of the states of the sources'
        neurons; ``""`` for spikes.
    transmission : Transmission, optional
        What its synapses hand on of a spike; default: the weight.
    shared : SharedWeights, optional
        Weights that its synapses share; default: each has its own.
    """

    name: str
    sources: Mapping[str, slice]
    targets: Mapping[str, slice]
    from_inputs: bool = False
    least_delay: int = 0
    delay_steps: int | Matrix = 0
    adjacency: csc_array | None = field(default=None, repr=False)
    signs: np.ndarray | None = field(default=None, repr=False)
    n_connected: int | None = None
    receptor: str = ""
    to_readout: bool = False
    glorot: bool = False
    balanced: bool = False
    weights: Matrix | None = field(default=None, repr=False)
    scale: float = 1.0
    sign: float = 0.0
    plastic: bool = True
    learned_delay: LearnedDelay | None = None
    optimizer: Optimizer | None = None
    reads: str = ""
    transmission: Transmission | None = field(default=None, repr=False)
    shared: SharedWeights | None = field(default=None, repr=False)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Numbers of neurons at its ends, (n_post, n_pre)."""
        return _width(self.targets), _width(self.sources)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: `shape`, or that of the weights that synapses share."""
        return self.shape if self.shared is None else self.shared.shape

    def matrix(self, weights: Matrix) -> Matrix:
        """The weights of all synapses, [post, pre], from the weights, which they may share."""
        return weights if self.shared is None else self.shared.spread(weights)

    @property
    def kind(self) -> str:
        """What it connects: ``"input"``, ``"recurrent"`` or ``"readout"``."""
        return "readout" if self.to_readout else "input" if self.from_inputs else "recurrent"

    @property
    def autapses(self) -> bool:
        """Whether the diagonal counts: neurons are never connected to themselves."""
        return [*self.sources] != [*self.targets]

    @property
    def n_possible(self) -> int:
        """Number of pairs that may be connected."""
        n_post, n_pre = self.shape
        return n_post * n_pre - (0 if self.autapses else n_post)

    @property
    def n_synapses(self) -> int:
        """Number of pairs that are connected."""
        return self.n_possible if self.adjacency is None else int(self.adjacency.nnz)

    @property
    def spread(self) -> int:
        """Steps by which the longest delay exceeds the shortest that there can be."""
        most = self.learned_delay.longest if self.learned_delay else longest(self.delay_steps)
        return max(0, most - self.least_delay)

    @property
    def readout_delay(self) -> int:
        """Steps from a spike to a readout that is its target, the same for all."""
        return self.least_delay + self.spread

    @property
    def delay_each(self) -> bool:
        """Whether every synapse has a delay of its own."""
        return self.learned_delay is not None or bool(np.ndim(self.delay_steps))

    @property
    def delay_key(self) -> str:
        """Key of its learned delays."""
        return f"delay.{self.name}"


@dataclass(frozen=True, eq=False)
class SignalFilter:
    """The filter of a learning signal that populations emit.

    Attributes
    ----------
    readout : ReadoutFilter
        Its equation.
    values : dict of str to number
        SI values of the equation's parameters and constants.
    """

    readout: ReadoutFilter
    values: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, eq=False)
class SignalConnection:
    """A learning-signal connection from readouts to populations, with weights of its own.

    Attributes
    ----------
    name : str
        Key of its weights, shape (n_post, n_outputs), or (n_post, n_pre) of populations that emit.
    sources, targets : mapping of str to slice
        As for `Connection`: a single readout or populations that emit, and populations.
    feedback : Feedback
        What is sent, and where the weights come from.
    follows : str
        Name of the connection from the targets to the readout, whose transpose symmetric weights
        are, and whose changes an update rule reads. Other weights need none: ``""``.
    delay_steps : array of int, optional
        Delays in steps, shaped as the weights; default: one step each.
    diffusion : csc_array, optional
        How it spreads among the targets, [post, pre]; default: it does not.
    filter : SignalFilter, optional
        Of what populations emit; None: a readout sends.
    """

    name: str
    sources: Mapping[str, slice]
    targets: Mapping[str, slice]
    feedback: Feedback
    follows: str = ""
    delay_steps: np.ndarray | None = field(default=None, repr=False)
    diffusion: csc_array | None = field(default=None, repr=False)
    filter: SignalFilter | None = field(default=None, repr=False)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape of the weights."""
        return _width(self.targets), _width(self.sources)

    @property
    def emitted(self) -> bool:
        """Whether populations emit it, in the place of a readout."""
        return self.filter is not None

    @property
    def source(self) -> str:
        """The readout that sends; of populations that emit, the first."""
        return next(iter(self.sources))

    @property
    def symmetric(self) -> bool:
        """Whether the weights are always those of `follows`, transposed."""
        return self.feedback.weights == "symmetric"

    @property
    def learns(self) -> bool:
        """Whether the weights have an update rule."""
        return bool(self.feedback.update.strip())


def connection(
    name: str, sources: Iterable[Group], targets: Iterable[Group], **options: Any
) -> Connection:
    """A connection between groups, as late as it has to be unless `options` say otherwise.

    Parameters
    ----------
    name : str
    sources, targets : iterable of groups
        Inputs or populations; populations or a single readout.
    **options
        Further fields of `Connection`.
    """
    sources, targets = list(sources), list(targets)
    recurrent = all(isinstance(group, PopulationGroup) for group in (*sources, *targets))
    least = int(recurrent)
    return Connection(
        name,
        spans(sources),
        spans(targets),
        from_inputs=any(isinstance(group, InputGroup) for group in sources),
        least_delay=least,
        to_readout=any(isinstance(group, ReadoutGroup) for group in targets),
        **{"delay_steps": least, **options},
    )


def _width(groups: Mapping[str, slice]) -> int:
    return max(where.stop for where in groups.values())
