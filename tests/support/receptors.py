"""Networks whose connections drive receptors: their parts, and weights that make them spike."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from eprop_brian import LIF, Network, Neuron
from eprop_brian.network.graph import Connection, InputGroup, connection, spans
from eprop_brian.network.learned import Learned
from eprop_brian.network.populations import make_populations
from eprop_brian.network.resolved import Resolved


def with_receptors(
    neuron: Neuron,
    size: int,
    inputs: Mapping[str, int],
    connections: Mapping[str, tuple[str, str, dict[str, Any]]],
    *,
    learned: Iterable[str] = (),
    n_outputs: int = 2,
    **options: Any,
) -> Resolved:
    """A network of one population, with named inputs and connections onto its receptors.

    Parameters
    ----------
    neuron : Neuron
    size : int
    inputs : mapping of str to int
        Sizes of the input groups.
    connections : mapping of str to (str, str, dict)
        By name, the source (an input, or the neuron's name), the receptor, and further fields of
        `Connection`.
    learned : iterable of str
        Parameters that learn.
    n_outputs : int
    **options
        Of `Network`.
    """
    cost = {name: options.pop(name) for name in ("c_v", "voltage_cost") if name in options}
    base = replace(Network(1, n_outputs, [(LIF, size)], **options).resolved, **cost)
    populations = make_populations(
        [(neuron, size)],
        {name: Learned() for name in learned},
        base.dt,
        base.c_v,
        base.voltage_cost,
    )
    groups = {name: InputGroup(name, n) for name, n in inputs.items()}
    sources: dict[str, Any] = {**groups, neuron.name: populations[0]}
    inner: list[Connection] = [
        connection(name, [sources[source]], populations, receptor=receptor, **fields)
        for name, (source, receptor, fields) in connections.items()
    ]
    (signal,) = base.signals
    return replace(
        base,
        inputs=tuple(groups.values()),
        populations=populations,
        connections=(*inner, connection("w_out", populations, base.readouts)),
        signals=(replace(signal, targets=spans(populations)),),
    )
