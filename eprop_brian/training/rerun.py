"""A trial that went wrong, run once more on the device `runtime` and looked at after every step.

Compiled programs do not keep a history of all their quantities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from brian2 import NetworkOperation

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.choices import PROGRAMS
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved
from eprop_brian.steps.blocks import stored_name
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from eprop_brian.training.state import LearningSession

__all__ = ["Diagnosis", "Observer", "largest_weight", "learning_rates", "network_of", "observe"]


@dataclass(frozen=True)
class Diagnosis:
    """A batch that failed, and the state before it.

    Attributes
    ----------
    session : LearningSession
        The session that ran it; a diagnosis changes its state.
    trials : Trials
        The batch.
    state : dict
        State of the session before the batch; all numbers are finite.
    dtype : str
    greedy : bool
        In an environment: whether the best actions were taken.
    """

    session: LearningSession
    trials: Trials
    state: Mapping[str, Matrix]
    dtype: str
    greedy: bool = False


class Observer:
    """Checks the groups of a network at the end of every step."""

    def __init__(self, network: Resolved) -> None:
        self.network = network
        self.groups: Mapping = {}
        self.step = 0

    def look(self) -> None:
        """Called at the end of every step."""
        self.observe()
        self.step += 1

    def observe(self) -> None:
        """Look at a step."""
        raise NotImplementedError

    def value(self, group: str, variable: str) -> np.ndarray:
        """A variable of a group as it is now."""
        owner = self.groups[group]
        return owner.variables[stored_name(owner, variable)].get_value()


def observe(batch: Diagnosis, trial: int, watch: Observer, learning: bool) -> None:
    """Run a trial of a batch once more, from the state before it, while an observer looks."""
    one = batch.trials.part(slice(trial, trial + 1))
    window = batch.session.learning_window
    weights = {name: batch.state[name] for name in batch.session.weights}
    program = make_program("runtime", batch.dtype)
    session = Session(network_of(batch), program, one, window, weights)
    session.restore({**session.state(), **batch.state})
    built = session.program.built
    watch.groups = built.groups
    clock = built.groups["control"].clock
    built.brian2_network.add(NetworkOperation(watch.look, clock=clock, when="end", name="watch"))
    try:
        with np.errstate(all="ignore"):
            session.run(one, 1, learning=learning, greedy=batch.greedy)
    finally:
        session.close()


def network_of(batch: Diagnosis) -> Resolved:
    """A network with the same steps that a device runs: BPTT has no program."""
    network = batch.session.resolved
    return network if network.gradient in PROGRAMS else replace(network, gradient="factored")


def largest_weight(batch: Diagnosis) -> float:
    """The largest size of a weight before the batch."""
    return max(
        float(np.max(np.abs(values_of(batch.state[name])), initial=0))
        for name in batch.session.resolved.shapes
    )


def learning_rates(network: Resolved) -> str:
    """The different learning rates of a network's optimizers."""
    optimizers = network.optimizers
    return ", ".join(dict.fromkeys(str(x.parameters.get("eta")) for x in optimizers))
