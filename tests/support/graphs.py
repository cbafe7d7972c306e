"""Networks as lists of parts: those that `Network` makes, cut up."""

from collections.abc import Sequence
from dataclasses import replace

from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.graph import connection, spans
from eprop_brian.network.resolve import make_readout
from eprop_brian.network.resolved import Resolved


def by_population(resolved: Resolved) -> Resolved:
    """The same network with matrices of their own for every pair of populations."""
    split = []
    for c in resolved.connections:
        if c.to_readout:
            split.append(c)
            continue
        groups = {g.name: g for g in (*resolved.inputs, *resolved.populations)}
        for source, columns in c.sources.items():
            for target, rows in c.targets.items():
                part = connection(
                    f"{source}_{target}",
                    [groups[source]],
                    [groups[target]],
                    adjacency=None if c.adjacency is None else c.adjacency[rows, columns],
                )
                steps = c.delay_steps
                split.append(
                    part
                    if isinstance(steps, int)
                    else replace(part, delay_steps=steps[rows, columns])
                )
    return replace(resolved, connections=tuple(split))


def two_readouts(
    resolved: Resolved,
    losses: Sequence[str] = ("softmax_cross_entropy", "squared_error"),
    sizes: Sequence[int] = (2, 3),
) -> Resolved:
    """Readouts with losses of their own, each with weights and a learning signal of its own."""
    (signal,), (first,) = resolved.signals, resolved.readouts
    readouts = [
        make_readout(f"readout_{k}", size, first.readout, LOSSES[loss], resolved.dt)
        for k, (loss, size) in enumerate(zip(losses, sizes, strict=True))
    ]
    outwards = [connection(f"out_{k}", resolved.populations, [r]) for k, r in enumerate(readouts)]
    signals = [
        replace(signal, name=f"B_{k}", follows=out.name, sources=spans([r]))
        for k, (r, out) in enumerate(zip(readouts, outwards, strict=True))
    ]
    inner = [c for c in resolved.connections if not c.to_readout]
    return replace(
        resolved,
        readouts=tuple(readouts),
        connections=(*inner, *outwards),
        signals=tuple(signals),
    )
