"""Which neurons Brian2's `Synapses` connect, and with which delays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2 import NeuronGroup, PoissonInput
from brian2.units import Quantity

from eprop_brian.brian.reading.effects import pathway_of, place_of, size_of
from eprop_brian.brian.reading.namespaces import values_of

__all__ = ["Wires", "wires_of"]


@dataclass(frozen=True, eq=False)
class Wires:
    """Which neurons some synapses connect.

    Attributes
    ----------
    source, target : str
        Names of whole groups.
    shape : (int, int)
        Their sizes, (n_post, n_pre).
    pre, post : int array, shape (n_synapses,)
        Ordered by `pre`, then `post`.
    order : int array
        Their numbers among the synapses.
    steps : int array, shape (n_synapses,) or (1,)
        Delays in steps, as Brian2 counts them, in the order of the synapses.
    recurrent : bool
        Whether the source is a group of neurons.
    """

    source: str
    target: str
    shape: tuple[int, int]
    pre: np.ndarray
    post: np.ndarray
    order: np.ndarray
    steps: np.ndarray
    recurrent: bool

    @property
    def autapses(self) -> np.ndarray:
        """Which of them connect a neuron to itself, in the order of `pre` and `post`."""
        return (self.pre == self.post) & (self.source == self.target)


def wires_of(source: Any, groups: Mapping[str, Any], dt: Quantity) -> Wires:
    """The pairs of some synapses.

    Parameters
    ----------
    source : Synapses or PoissonInput
    groups : mapping of str to Any
        All groups by name, sources of spikes among them.
    dt : Quantity

    Raises
    ------
    ValueError
        If a pair is connected more than once.
    """
    if isinstance(source, PoissonInput):
        target, start = place_of(source._group)
        pre = np.arange(size_of(source))
        shape = (len(groups[target]), len(pre))
        steps = np.zeros(1, dtype=int)
        return Wires(source.name, target, shape, pre, pre + start, pre, steps, False)
    (origin, _), (target, _) = place_of(source.source), place_of(source.target)
    pre, post = (values_of(source, name) for name in ("_synaptic_pre", "_synaptic_post"))
    order = np.lexsort((post, pre))
    pre, post = pre[order], post[order]
    twice = np.flatnonzero((np.diff(pre) == 0) & (np.diff(post) == 0))
    if len(twice):
        raise ValueError(
            f"Synapses '{source.name}' connect neuron {pre[twice[0]]} of '{origin}' to neuron "
            f"{post[twice[0]]} of '{target}' more than once: a pair has one synapse here"
        )
    seconds = np.ravel(values_of(pathway_of(source), "delay"))
    # Brian2 rounds as this does.
    steps = (seconds / float(dt) + 0.5).astype(int)
    shape = (len(groups[target]), len(groups[origin]))
    recurrent = isinstance(groups[origin], NeuronGroup)
    return Wires(origin, target, shape, pre, post, order, steps, recurrent)
