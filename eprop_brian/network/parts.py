"""The parts that a network is written with: `Network([...])` is a list of these.

A part is data. It has a name, by which others refer to it, and every field can be written in a
TOML file as well. What a part means is settled when the network is put together
(`eprop_brian.network.resolve`); an error there names the part and the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from brian2.units import Quantity

from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import Loss
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.equations.readouts import LEAKY, ReadoutFilter
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.learned import Learned
from eprop_brian.network.learned_delays import LearnedDelay

__all__ = [
    "Agent",
    "Groups",
    "Inputs",
    "LearningSignal",
    "Part",
    "Population",
    "Projection",
    "Readout",
    "names_of",
    "part_name",
]

#: A group by name, or several whose neurons are lined up in this order.
Groups: TypeAlias = "str | Sequence[str]"


@dataclass(frozen=True)
class Inputs:
    """A group of inputs, which a task drives with spikes or with analog values.

    The task's inputs are divided among the groups in the order in which they are listed.

    Parameters
    ----------
    size : int
    name : str
    constant : bool
        Whether it is no input of the task but 1 in every step. A projection from it is a bias.
    """

    size: int
    name: str = "inputs"
    constant: bool = False


@dataclass(frozen=True)
class Population:
    """Neurons of one kind.

    Parameters
    ----------
    neuron : Neuron
    size : int
    name : str
        Default: the neuron's.
    learned : mapping of str to Learned or mapping
        Parameters of its neurons that learn, one value per neuron, with bounds and learning rate.
    reverse_time : bool
        Whether it goes through a trial from the last step to the first, with its inputs in that
        order. Readouts see it, beside populations that go forwards, at the step of the trial that
        it has reached: so they know what is still to come. It needs ``gradient="factored"`` or
        ``"bptt"``, and hears no population that goes forwards.
    """

    neuron: Neuron
    size: int
    name: str = ""
    learned: Mapping[str, Learned | Mapping[str, Any]] = field(default_factory=dict)
    reverse_time: bool = False


@dataclass(frozen=True)
class Projection:
    """Synapses from one group to another: a matrix of weights [post, pre].

    A spike of a population reaches another one in the next step at the earliest, and a readout in
    its own; an input's spike acts in its own step. There are never autapses.

    Parameters
    ----------
    source, target : str or sequence of str
        Inputs or populations; populations or a readout. Several share one matrix.
    name : str
        Key of its weights. Default: ``"w_<source>_<target>"``.
    receptor : str
        Which input of the target's neurons it drives; neurons with a single one need no name.
    weights : {"normal", "glorot", "balanced"} or array
        Initial weights: N(0, 1)/sqrt(fan-in); uniform in +-sqrt(6/(n_post + n_pre)); normal ones
        of a projection with a sign, scaled so that excitation and inhibition of the target cancel
        at equal rates; or an array [post, pre], of shared weights in their own shape.
    scale : float
        Factor of the initial weights.
    sign : {"", "excitatory", "inhibitory"}
        Sign of all weights (Dale's law). They are drawn with this sign, and what learning would
        carry past 0 is clipped to 0.
    connectivity : float, array or scipy.sparse matrix, "one_to_one" or Convolution..., optional
        Which synapses there are: a fraction of all pairs, drawn at random; an adjacency matrix
        [post, pre]; a matrix of probabilities; one from each neuron to its counterpart; or synapses
        that share weights, by one of `eprop_brian.network.sharing`. Default: all pairs.
    delay : Quantity, str, array or pair, optional
        One delay; an array [post, pre]; or the shortest and the longest, between which they are
        drawn. Default: the least there can be.
    learned_delay : LearnedDelay or mapping, optional
        How its delays learn, from `delay` on: ``{"longest": 20*ms}``, and if need be ``width`` (a
        time), ``shape``, ``reach`` and ``eta`` of `eprop_brian.network.learned_delays`.
    learn : bool
        Whether its weights learn.
    optimizer : Optimizer, optional
        Default: the network's.
    eta : float, optional
        Learning rate, in place of the optimizer's.
    minimum, maximum : float, optional
        Bounds of the weights, in place of the optimizer's ``w_min`` and ``w_max``.
    reads : str
        What a readout sums in the place of spikes: a state of the source's neurons (``"v"``) or an
        expression of their states, parameters and constants (``"v - v_th"``), in every step.
    synapse : Synapse, optional
        Dynamics of its synapses that depend on presynaptic spikes alone, such as short-term
        depression: an equation file, or a table with its fields. Default: a spike acts with the
        weight.
    """

    source: Groups
    target: Groups
    name: str = ""
    receptor: str = ""
    # Arrays cannot be compared like numbers.
    weights: Any = field(default="normal", compare=False)
    scale: float = 1.0
    sign: str = ""
    connectivity: Any = field(default=None, compare=False)
    delay: Any = field(default=None, compare=False)
    learned_delay: LearnedDelay | Mapping[str, Any] | None = None
    learn: bool = True
    optimizer: Optimizer | None = None
    eta: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    reads: str = ""
    synapse: Synapse | None = None


@dataclass(frozen=True)
class Readout:
    """Outputs with a loss of their own.

    The task's targets are divided among the readouts in the order in which they are listed.

    Parameters
    ----------
    size : int
    name : str
    filter : ReadoutFilter
        The equation of an output.
    loss : Loss or str, optional
        A name, an equation (see `eprop_brian.network.spec.Network.standard`) or a `Loss`. Default:
        the squared error.
    loss_weight : float
        Factor of its loss in the network's.
    window : Quantity or str, optional
        How long before the end of a trial its loss begins to count. Default: the task's learning
        window.
    every : Quantity or str, optional
        How often it takes a step, such as once for each frame of speech: what arrives in between is
        summed, and its loss is that of its own steps. Default: with the network.
    """

    size: int
    name: str = "readout"
    filter: ReadoutFilter = LEAKY
    loss: Loss | str = "squared_error"
    loss_weight: float = 1.0
    window: Quantity | str | None = None
    every: Quantity | str | None = None


@dataclass(frozen=True)
class LearningSignal:
    """How populations hear the error of a readout, or what other populations emit.

    Parameters
    ----------
    source : str or sequence of str
        A readout; or populations, which share one matrix of weights.
    target : str or sequence of str
        Populations.
    feedback : str, array or Feedback
        A kind (``"symmetric"``, ``"random"``, ``"adaptive"``, ``"broadcast"``), an equation of what
        arrives (``"B*tanh(error)"``), a matrix of weights [post, output], or a `Feedback`, which
        has scale, delay and diffusion too. ``"symmetric"`` and ``"adaptive"`` need a projection
        from the target to the readout. Populations emit by weights that are ``"random"``,
        ``"broadcast"`` or given, and by nothing else of a `Feedback`.
    name : str
        Key of its weights. Default: ``"B_<source>_<target>"``.
    filter : ReadoutFilter, optional
        The equation of what populations emit, with ``y`` for the learning signal of a neuron; its
        ``trace_gain`` and ``trace_decay`` filter the eligibility traces that it meets. Default:
        `eprop_brian.equations.readouts.EMITTED`, which does not filter them; `LEAKY` filters them
        as it filters spikes. Readouts have filters of their own.
    """

    source: Groups
    target: Groups
    feedback: str | Feedback | Any = "symmetric"
    name: str = ""
    filter: ReadoutFilter | None = None


@dataclass(frozen=True)
class Agent:
    """How a network acts and learns from reward: an actor and a critic, each a readout.

    In episodes of an environment (`eprop_brian.equations.environment`) the actor's outputs choose
    the actions and the critic's output V predicts the discounted sum of the rewards that follow. At
    the end of an episode the advantages are filled in backwards,

        advantage[n] = reward[n] + discount*V[n+1] - V[n] + discount*trace_decay*advantage[n+1],

    and both readouts have their losses at the steps of the actions: that of the actor reads
    ``y_target``, which is 1 for the action that was chosen and 0 for the others (or the action
    itself if actions are continuous), and ``advantage``; that of the critic has the target
    ``V + advantage``. (Bellec et al. 2020, reward-based e-prop; with ``trace_decay`` below 1 the
    generalised advantage of Schulman et al. 2016.)

    Parameters
    ----------
    policy : str
        The actor: a readout with an output for each action, or for each component of a continuous
        one. Its loss says which: one of the softmax probability ``p`` chooses among actions.
    value : str
        The critic: a readout of one output.
    discount : float
        Of a reward, for each action that it comes later; from 0 to 1.
    trace_decay : float
        Of an advantage's part in those before it (lambda); from 0 to 1.
    noise : float
        Standard deviation of continuous actions around the actor's outputs; that of its loss
        (`eprop_brian.equations.losses.gaussian_policy`) must be the same.
    bootstrap : bool
        Whether an episode that is cut off, not done, goes on in the critic's eyes: its last action
        then is not learned from, and what the critic predicted for it stands for all that follows.
    local : sequence of (str, str)
        Further pairs of an actor and a critic that neither act nor judge: what is above holds for
        the first pair alone, but these learn from its actions, advantages and targets. The readouts
        of a layer, from which this learns without waiting for the layers behind it.
    name : str
    """

    policy: str = "policy"
    value: str = "value"
    discount: float = 0.99
    trace_decay: float = 1.0
    noise: float = 0.3
    bootstrap: bool = False
    local: Sequence[Sequence[str]] = ()
    name: str = "agent"

    @property
    def policies(self) -> tuple[str, ...]:
        """The actors, first the one that acts."""
        return (self.policy, *(policy for policy, _ in self.local))

    @property
    def values(self) -> tuple[str, ...]:
        """The critics, first the one that judges."""
        return (self.value, *(value for _, value in self.local))

    def teacher(self, readout: str) -> str:
        """The readout whose targets one of an agent's learns: its actor, or its critic."""
        return self.policy if readout in self.policies else self.value


Part: TypeAlias = Inputs | Population | Projection | Readout | LearningSignal | Agent


def part_name(part: Part) -> str:
    """The name of a part: its own, or the one that it has by default."""
    if part.name:
        return part.name
    if isinstance(part, Population):
        return part.neuron.name
    assert isinstance(part, Projection | LearningSignal)
    prefix = "w" if isinstance(part, Projection) else "B"
    return "_".join([prefix, *names_of(part.source), *names_of(part.target)])


def names_of(groups: Groups) -> list[str]:
    """The names of one group or several."""
    names = [groups] if isinstance(groups, str) else groups
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a source or target is the name of a group or a list of them: {groups!r}")
    return list(names)
