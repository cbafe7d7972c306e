"""What a network is made of, before anything is built.

A `Network` is data: a list of parts (inputs, populations, projections, readouts, learning signals)
and how they learn. It is checked as a whole when it is made, so that a combination that cannot work
is refused before anything is compiled. What follows from it is `Network.resolved`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from scipy.sparse import csc_array

from eprop_brian.base.description import Described, Description
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import SQUARED_ERROR, Loss
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.optimizers import ADAM, Optimizer
from eprop_brian.equations.readouts import LEAKY, ReadoutFilter
from eprop_brian.equations.regularizers import VOLTAGE_COST
from eprop_brian.network.agent import policy_loss
from eprop_brian.network.choices import GRADIENTS, PROGRAMS, RATE_AVERAGING, UPDATES
from eprop_brian.network.description import describe, summary
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Agent, Part, Readout, part_name
from eprop_brian.network.resolve import resolve
from eprop_brian.network.resolved import CONTINUOUS, Resolved
from eprop_brian.network.rewiring import Rewiring
from eprop_brian.network.standard import standard_parts
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials

if TYPE_CHECKING:
    from eprop_brian.brian import Brian2Objects

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
    updates : {"batch", "action", "step", "spike"}
        When weights change: at the end of a batch of trials; at every action of an `Agent`, from
        the reward of the one before, and at the end of the episode; or, in continuous operation
        without trials and resets (e-prop+), after every step, or a synapse's whenever its
        presynaptic neuron spikes. All but the first need ``gradient="online"``.
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
        Divide the gradient, the regulariser's part included, by the steps that readouts take in the
        task's learning window, which are the same for trials that are shorter.
    dt : Quantity
        Time step.
    history_steps : int, optional
        With ``gradient="factored"``: steps of a trial of which the neurons' history is kept at a
        time. If they are fewer than a trial has, the state at the beginning of every such segment
        is kept too, and the backward pass runs the steps of a segment again to have its history:
        the gradient is the same, a trial takes up to twice as long, and the memory is that of
        ``history_steps`` rows of the history and ``steps/history_steps`` of the state.
        Default: all of them or, if there is no memory for that, about the square root.
    history_dtype : {"float32"}, optional
        Type of the numbers in this history; default: that of all others. In a program of float64 it
        halves the history, and changes the last digits of gradients.
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

    picture: ClassVar[str] = "eprop_brian.figures.network:network_diagram"

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
    history_steps: int | None = None
    history_dtype: str | None = None
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
        weight_scale: Mapping[str, float] | None = None,
        fixed: Sequence[str] = (),
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
        weight_scale : mapping of str to float
            Factors of the initial weights of some of ``w_in``, ``w_rec`` and ``w_out``.
        fixed : sequence of str
            Those of ``w_in``, ``w_rec`` and ``w_out`` whose weights do not learn.
        **options
            Further parameters of `Network`.

        Raises
        ------
        ValueError, EquationError
            As for any network.
        """
        parts = standard_parts(
            n_inputs,
            [Readout(n_outputs, filter=readout, loss=loss)],
            neurons,
            feedback,
            readout_weights,
            {} if connectivity is None else connectivity,
            {} if delays is None else delays,
            {} if learned is None else learned,
            {} if weight_scale is None else weight_scale,
            fixed,
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
        environment = getattr(task, "environment", None)
        if environment is not None:
            return cls.for_environment(environment, neurons, **{"dt": task.dt, **options})
        options = {"dt": task.dt, "loss": task.loss, **options}
        return cls.standard(task.n_inputs, task.n_outputs, neurons, **options)

    @classmethod
    def for_environment(
        cls,
        environment: Environment,
        neurons: Sequence[tuple[Neuron, int]],
        *,
        agent: Agent | None = None,
        entropy: float = 0.0,
        value_weight: float = 1.0,
        readout: ReadoutFilter = LEAKY,
        feedback: str | Feedback | Any = "symmetric",
        readout_weights: str = "normal",
        connectivity: Mapping[str, Any] | None = None,
        delays: Mapping[str, Any] | None = None,
        learned: Mapping[str, Learned | Mapping[str, Any]] | None = None,
        weight_scale: Mapping[str, float] | None = None,
        fixed: Sequence[str] = (),
        **options: Any,
    ) -> Network:
        """The usual network that acts: its readouts are an actor and a critic.

        Its parts are called as those of `Network.standard`, but for the readouts ``policy`` and
        ``value``, their weights ``w_policy`` and ``w_value``, and the feedback weights ``B_policy``
        and ``B_value``.

        Parameters
        ----------
        environment : Environment
        neurons : sequence of (Neuron, int)
            Kinds of neurons and how many of each.
        agent : Agent, optional
            Discount, decay of advantages, noise of continuous actions.
        entropy : float
            Factor of the bonus for the entropy of the policy (of discrete actions).
        value_weight : float
            Factor of the critic's loss.
        readout, feedback, readout_weights, connectivity, delays, learned, weight_scale, fixed
            As for `Network.standard`.
        **options
            Further parameters of `Network`.

        Raises
        ------
        ValueError, EquationError
            As for any network.
        """
        agent = Agent() if agent is None else agent
        loss = policy_loss(agent, environment, entropy)
        readouts = [
            Readout(environment.action_outputs, agent.policy, readout, loss),
            Readout(1, agent.value, readout, loss_weight=value_weight),
        ]
        parts = standard_parts(
            environment.n_inputs,
            readouts,
            neurons,
            feedback,
            readout_weights,
            {} if connectivity is None else connectivity,
            {} if delays is None else delays,
            {} if learned is None else learned,
            {} if weight_scale is None else weight_scale,
            fixed,
        )
        return cls([*parts, agent], **options)

    @classmethod
    def from_brian2(
        cls,
        network: Any,
        n_outputs: int | None = None,
        parts: Sequence[Part] = (),
        *,
        readout: ReadoutFilter = LEAKY,
        loss: Loss | str = "squared_error",
        feedback: str | Feedback | Any = "symmetric",
        neurons: Mapping[str, Mapping[str, Any]] | None = None,
        receptors: Mapping[str, Any] | None = None,
        namespace: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Network:
        """The network of a Brian2 script, which is neither run nor changed, and a readout.

        Every `NeuronGroup` becomes a population, and `Synapses` become projections with their
        weights, delays and names; `SpikeGeneratorGroup`, `PoissonGroup` and `PoissonInput` become
        inputs, whose spikes `eprop_brian.brian.inputs_from_brian2` hands out. Monitors are left
        away. What differs from synapse to synapse is the weight, in a unit that its receptor
        states; where nothing differs (``v += 1.62*mV``), it is 1.

        Parameters
        ----------
        network : brian2.Network or iterable of Brian2's objects
            In a script that calls `brian2.run`, that is ``collect()``.
        n_outputs : int, optional
            Size of a readout, called ``readout``, to which all populations project by ``w_out``,
            and whose learning signal ``B`` reaches them. Default: `parts` have the readouts.
        parts : sequence of parts
            Added to those of the script: inputs, readouts, projections, learning signals.
        readout : ReadoutFilter
            The equation of an output.
        loss : Loss or str
        feedback : str, array or Feedback
            As for `Network.standard`.
        neurons : mapping of str to mapping
            Fields of the neurons that Brian2's groups do not have, by the group's name: ``{"P":
            {"surrogate": "0.3/mV*clip(1 - abs(v - v_t)/mV, 0, 1)"}}``.
        receptors : mapping of str to Synapses or iterable of them
            Names for receptors. Default: a group whose inputs act alike has one without a name, and
            others have the names of their synapses.
        namespace : mapping, optional
            As for `brian2.run`. Default: the variables where this is called.
        **options
            Further parameters of `Network`.

        Raises
        ------
        ValueError, EquationError
            If an object has no counterpart, which is named, or as for any network.
        """
        from eprop_brian.brian.reading.networks import network_from_brian2

        return network_from_brian2(
            network,
            n_outputs,
            parts,
            readout=readout,
            loss=loss,
            feedback=feedback,
            neurons=neurons,
            receptors=receptors,
            namespace=namespace,
            level=1,
            **options,
        )

    @cached_property
    def resolved(self) -> Resolved:
        """All that follows from this network: groups, connections, readouts, learning signals."""
        return resolve(self)

    @property
    def continuous(self) -> bool:
        """Whether the network runs on without trials and resets."""
        return self.updates in CONTINUOUS

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
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights and of the feedback weights, by name.

        They are (n_post, n_pre), or that of the weights that synapses share.
        """
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

    def to_brian2(self, trials: Task | Trials, **options: Any) -> Brian2Objects:
        """Make this network, with the rule that is derived for it, of ordinary Brian2 objects.

        Parameters
        ----------
        trials : Task or Trials
            What it learns from.
        **options
            ``iterations``, ``batch_size``, ``seed``, ``learning_window`` and ``weights`` of
            `eprop_brian.brian.to_brian2`.

        Raises
        ------
        ValueError
            If the network has something that Brian2's objects have not, or something does not fit.
        """
        from eprop_brian.brian import to_brian2

        return to_brian2(self, trials, **options)

    def initial_weights(self, seed: int) -> dict[str, Matrix]:
        """Draw initial weights, by default from N(0, 1)/sqrt(fan-in), and the feedback weights.

        The fan-in of a sparse matrix is its mean over the neurons.

        Returns
        -------
        dict
            Weights of the projections [postsynaptic, presynaptic] and of the learning signals by
            their names: arrays, with a zero diagonal where a population projects to itself, and
            `scipy.sparse.csc_array` with the structure of `adjacency` for the sparse ones, and what
            synapses share in its own shape. Learned parameters by
            ``"population.parameter"``, in SI units, and learned delays by ``"delay.projection"``,
            in steps.
        """
        return self.resolved.initial_weights(seed)
