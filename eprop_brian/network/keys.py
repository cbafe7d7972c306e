"""Keys of weights: what the arrays of a state belong to.

A state is a flat mapping, as files need it. Of its keys there are five kinds: weights of a
connection (``"w_rec"``), weights of a learning signal (``"B"``), learned parameters
(``"lif.tau_m"``), learned delays of a connection (``"delay.w_rec"``) and an optimizer's states
(``"m.w_rec"``, ``"m.lif.tau_m"``, ``"m.delay.w_rec"``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.graph import Connection, PopulationGroup, SignalConnection

__all__ = ["LearnedParameter", "OptimizerState", "WeightKeys"]


@dataclass(frozen=True)
class LearnedParameter:
    """A parameter of a population that learns.

    Attributes
    ----------
    population : PopulationGroup
    name : str
    """

    population: PopulationGroup
    name: str

    @property
    def key(self) -> str:
        """Its key: ``"population.parameter"``."""
        return f"{self.population.name}.{self.name}"


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer keeps of weights or of a learned parameter.

    Attributes
    ----------
    name : str
        The optimizer's name for it.
    owner : str
        Key of the weights or the parameter.
    """

    name: str
    owner: str

    @property
    def key(self) -> str:
        """Its key: ``"state.owner"``."""
        return f"{self.name}.{self.owner}"


class WeightKeys:
    """The keys of all that learning changes in a network, by kind.

    Parameters
    ----------
    connections : iterable of Connection
    signals : iterable of SignalConnection
    populations : iterable of PopulationGroup
    optimizer : Optimizer
        That of connections without one of their own, and of learned parameters.

    Attributes
    ----------
    connections : dict of str to Connection
    signals : dict of str to SignalConnection
    learned : dict of str to LearnedParameter
    delays : dict of str to Connection
        The connections whose delays learn.
    plastic : tuple of Connection
        The connections whose weights learn.
    synaptic : tuple of str
        Keys of what learns in synapses: connections that are plastic, learned delays.
    trained : tuple of str
        Keys of all that an optimizer changes: those and learned parameters.
    optimizers : dict of str to Optimizer
        Which one changes what is trained.
    optimizer : dict of str to OptimizerState
    """

    def __init__(
        self,
        connections: Iterable[Connection],
        signals: Iterable[SignalConnection],
        populations: Iterable[PopulationGroup],
        optimizer: Optimizer,
    ) -> None:
        self.connections: Mapping[str, Connection] = {c.name: c for c in connections}
        self.signals: Mapping[str, SignalConnection] = {s.name: s for s in signals}
        parameters = [LearnedParameter(p, name) for p in populations for name in p.learned]
        self.learned: Mapping[str, LearnedParameter] = {x.key: x for x in parameters}
        self.plastic = tuple(c for c in self.connections.values() if c.plastic)
        delayed = [c for c in self.connections.values() if c.learned_delay]
        self.delays: Mapping[str, Connection] = {c.delay_key: c for c in delayed}
        self.synaptic = (*(c.name for c in self.plastic), *self.delays)
        self.trained = (*self.synaptic, *self.learned)
        self.optimizers: Mapping[str, Optimizer] = {
            **dict.fromkeys(self.trained, optimizer),
            **{c.name: c.optimizer for c in self.plastic if c.optimizer is not None},
        }
        states = dict.fromkeys(s for x in self.optimizers.values() for s in x.states)
        kept = [
            OptimizerState(state, owner)
            for state in states
            for owner in self.trained
            if state in self.optimizers[owner].states
        ]
        self.optimizer: Mapping[str, OptimizerState] = {x.key: x for x in kept}

    def states_of(self, owner: str) -> tuple[OptimizerState, ...]:
        """What is kept of weights or a learned parameter, by its key."""
        optimizer = self.optimizers.get(owner)
        return tuple(OptimizerState(x, owner) for x in (optimizer.states if optimizer else ()))

    @property
    def matrices(self) -> dict[str, Connection | SignalConnection]:
        """What has a weight matrix: connections and learning signals."""
        return {**self.connections, **self.signals}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights, feedback weights, learned delays and learned parameters."""
        return {
            **{name: c.weight_shape for name, c in self.connections.items()},
            **{name: s.shape for name, s in self.signals.items()},
            **{name: c.shape for name, c in self.delays.items()},
            **{name: (x.population.size,) for name, x in self.learned.items()},
        }
