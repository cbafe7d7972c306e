"""What a network is made of, before anything is built.

A `Network` is data: a list of parts (inputs, populations, projections, readouts, learning signals)
and how they learn. It is checked as a whole when it is made, so that a combination that cannot work
is refused before anything is compiled. What follows from it is `Network.resolved`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from brian2.units import Hz, Quantity, ms
from scipy.sparse import csc_array

from eprop_brian.base.description import Described, Description
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import SQUARED_ERROR, Loss
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.optimizers import ADAM, Optimizer
from eprop_brian.equations.readouts import LEAKY, ReadoutFilter
from eprop_brian.equations.regularizers import VOLTAGE_COST
from eprop_brian.network.checks import GRADIENTS, PROGRAMS, RATE_AVERAGING, UPDATES
from eprop_brian.network.description import describe, summary
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Part, part_name
from eprop_brian.network.resolve import resolve
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.rewiring import Rewiring
from eprop_brian.network.standard import standard_parts
from eprop_brian.tasks.base import Task

__all__ = ["GRADIENTS", "PROGRAMS", "RATE_AVERAGING", "UPDATES", "Network"]


@dataclass(frozen=True)
class Network(Described):
    """A spiking network that learns by e-prop: a list of parts, and how they learn.

    `Network.standard` and `Network.for_task` make the usual one, whose inputs project to all
    neurons, these to each other and to a readout.

    Parameters
    ----------
    parts : sequence of Inputs, Population, Projection, Readout and LearningSignal
        See `eprop_brian.network.parts`. They name each other; inputs, readouts and projections
        count in the order in which they are listed.
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
    connectivity_seed : int
        Seed of all draws of structure: which synapses there are, delays, signs.
    rewiring : Rewiring, float or mapping, optional
        Sparse rewiring (DEEP R): which matrices have how many synapses, whose places change while
        they learn; a fraction for all of them, or the fields of `Rewiring`. The program keeps whole
        matrices, with 0 where there is no synapse.

    Attributes
    ----------
    resolved : Resolved
        All that follows: groups, connections, readouts and learning signals as lists.

    Raises
    ------
    ValueError, EquationError
        If a size, name, unit or combination cannot work.

    Examples
    --------
    Two layers, the first of which learns by random feedback:

    >>> network = Network(
    ...     [
    ...         Inputs(40),
    ...         Population(LIF, 60, "first"),
    ...         Population(ALIF, 60, "second"),
    ...         Readout(2, loss="softmax_cross_entropy"),
    ...         Projection("inputs", "first"),
    ...         Projection("first", "second"),
    ...         Projection("second", "second"),
    ...         Projection("second", "readout"),
    ...         LearningSignal("readout", "second"),
    ...         LearningSignal("readout", "first", "random"),
    ...     ]
    ... )
    """

    # Arrays cannot be compared like numbers; parts say which of theirs count.
    parts: Sequence[Part]
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
    connectivity_seed: int = 0
    rewiring: Rewiring | float | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # A network that cannot work is refused here, not at its first use.
        _ = self.resolved

    @classmethod
    def standard(
        cls,
        n_inputs: int,
        n_outputs: int,
        neurons: Sequence[tuple[Neuron, int]],
        *,
        readout: ReadoutFilter = LEAKY,
        loss: Loss | str = SQUARED_ERROR,
        feedback: str | Feedback | Any = "symmetric",
        readout_weights: str = "normal",
        connectivity: Mapping[str, Any] | None = None,
        delays: Mapping[str, Any] | None = None,
        learned: Mapping[str, Learned | Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> Network:
        """The usual network: inputs to all neurons, these to each other and to a readout.

        Its parts are called ``inputs``, ``readout`` and as the neurons; its weight matrices
        ``w_in``, ``w_rec`` and ``w_out``, and the feedback weights ``B``.

        Parameters
        ----------
        n_inputs, n_outputs : int
        neurons : sequence of (Neuron, int)
            Kinds of recurrent neurons with how many there are of each, in this order.
        readout : ReadoutFilter
            The equation of an output.
        loss : Loss or str
            What is minimised: ``"squared_error"``, ``"softmax_cross_entropy"``, an equation of what
            a readout adds to it in a step (``"log(cosh(y - y_target))"``, ``"(p - y_target)**2"``
            with the softmax probability p), from which the error is derived, or a `Loss`.
        feedback : str, array or Feedback
            The learning-signal connection: a kind (``"symmetric"``, ``"random"``, ``"adaptive"``,
            ``"broadcast"``), an equation of what arrives (``"B*tanh(error)"``), a matrix of weights
            (n_recurrent, n_outputs), or a `Feedback`, which has scale, delay and diffusion too.
        readout_weights : {"normal", "glorot"}
            Initial readout weights: N(0, 1)/sqrt(n_recurrent), or uniform in
            +-sqrt(6/(n_recurrent + n_outputs)).
        connectivity : mapping of str to float, bool array or scipy.sparse matrix or array
            Which synapses there are, for some of ``w_in``, ``w_rec`` and ``w_out``: the fraction of
            all pairs, drawn at random, or an adjacency matrix shaped as the weights [post, pre],
            dense or sparse: bool, or probabilities.
        delays : mapping of str to Quantity, str or array
            Synaptic delays for some of ``w_in`` (default 0), ``w_rec`` (one time step at least, the
            default) and ``w_out`` (0 or one time step): one time; for ``w_in`` and ``w_rec`` also
            an array shaped as the weights, or a pair (shortest, longest) between which they are
            drawn with `connectivity_seed`.
        learned : mapping of str to Learned
            Parameters of the neurons that learn, one value per neuron, with bounds and learning
            rate.
        **options
            Further parameters of `Network`.

        Raises
        ------
        ValueError, EquationError
            As for any network.
        """
        parts = standard_parts(
            n_inputs,
            n_outputs,
            neurons,
            readout,
            loss,
            feedback,
            readout_weights,
            {} if connectivity is None else connectivity,
            {} if delays is None else delays,
            {} if learned is None else learned,
        )
        return cls(parts, **options)

    @classmethod
    def for_task(cls, task: Task, neurons: Sequence[tuple[Neuron, int]], **options: Any) -> Network:
        """The usual network with the inputs, outputs, loss and time step of a task.

        Parameters
        ----------
        task : Task
        neurons : sequence of (Neuron, int)
            Kinds of neurons and how many of each.
        **options
            Further parameters of `Network.standard`; they may replace the task's loss.

        Raises
        ------
        ValueError, EquationError
            As for any network.
        """
        options = {"dt": task.dt, "loss": task.loss, **options}
        return cls.standard(task.n_inputs, task.n_outputs, neurons, **options)

    @cached_property
    def resolved(self) -> Resolved:
        """All that follows from this network: groups, connections, readouts, learning signals."""
        return resolve(self)

    @property
    def continuous(self) -> bool:
        """Whether the network runs on without trials and resets."""
        return self.updates != "batch"

    @property
    def populations(self) -> tuple[PopulationGroup, ...]:
        """Its populations, with what is derived from their neurons."""
        return self.resolved.populations

    @property
    def n_inputs(self) -> int:
        """Number of inputs of all groups."""
        return self.resolved.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs of all readouts."""
        return self.resolved.n_outputs

    @property
    def n_recurrent(self) -> int:
        """Number of neurons."""
        return self.resolved.n_recurrent

    @property
    def slices(self) -> dict[str, slice]:
        """Where each population stands among the neurons, by name."""
        return self.resolved.slices

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the weights and of the feedback weights, (n_post, n_pre), by name."""
        return self.resolved.shapes

    @property
    def learned_shapes(self) -> dict[str, tuple[int]]:
        """Learned parameters, ``"population.parameter"``, and their shapes, (size,)."""
        return {key: (x.population.size,) for key, x in self.resolved.keys.learned.items()}

    @property
    def adjacency(self) -> dict[str, csc_array]:
        """The adjacency matrices [post, pre] of the sparse weight matrices, with sorted indices."""
        return self.resolved.adjacency

    @property
    def delay_steps(self) -> dict[str, int | Matrix]:
        """Delays of the projections in steps, by name: one, an array or a csc_array."""
        return self.resolved.delay_steps

    @property
    def trace_cutoff_steps(self) -> int | None:
        """`trace_cutoff` in steps."""
        return self.resolved.trace_cutoff_steps

    @property
    def signs(self) -> dict[str, np.ndarray]:
        """Signs, 1.0 or -1.0, of all pairs [post, pre] of the matrices that are rewired."""
        return self.resolved.signs

    def description(self) -> Description:
        """What it consists of and how it learns, for `print` and notebooks."""
        return describe(self)

    def __repr__(self) -> str:
        return f"<network: {summary(self)}>"

    def with_options(self, **options: Any) -> Network:
        """Return a copy with some options replaced."""
        return replace(self, **options)

    def with_part(self, name: str, **fields: Any) -> Network:
        """Return a copy in which some fields of a part are replaced.

        Parameters
        ----------
        name : str
            The part's; a part that was given none has that of what it became, such as a neuron's
            or ``"w_<source>_<target>"``.
        **fields
            Fields of the part: ``network.with_part("w_rec", delay=3*ms)``.

        Raises
        ------
        ValueError
            If there is no part of that name, or the network cannot work.
        """
        names = [part_name(part) for part in self.parts]
        if name not in names:
            raise ValueError(unknown("part", name, names, "network"))
        parts = list(self.parts)
        place = names.index(name)
        parts[place] = replace(parts[place], **fields)
        return replace(self, parts=parts)

    def initial_weights(self, seed: int) -> dict[str, Matrix]:
        """Draw initial weights, by default from N(0, 1)/sqrt(fan-in), and the feedback weights.

        The fan-in of a sparse matrix is its mean over the neurons.

        Returns
        -------
        dict
            Weights of the projections [postsynaptic, presynaptic] and of the learning signals by
            their names: arrays, with a zero diagonal where a population projects to itself, and
            `scipy.sparse.csc_array` with the structure of `adjacency` for the sparse ones. Learned
            parameters by ``"population.parameter"``, in SI units, and learned delays by
            ``"delay.projection"``, in steps.
        """
        return self.resolved.initial_weights(seed)
