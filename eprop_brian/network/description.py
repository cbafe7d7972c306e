"""What a network consists of, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from eprop_brian.base.description import Description

if TYPE_CHECKING:
    from eprop_brian.network.spec import Network

__all__ = ["describe", "summary"]

#: Fields that have a row of their own; of the others, those that differ from the default are shown.
_IN_ROWS = frozenset(
    ("n_inputs", "n_outputs", "neurons", "readout", "loss", "feedback", "optimizer")
    + ("gradient", "updates", "dt", "learned")
)


def summary(network: Network) -> str:
    """A network in one line: its sizes, and how it learns."""
    neurons = " + ".join(f"{p.size} {p.name}" for p in network.populations)
    return (
        f"{network.n_inputs} inputs, {neurons}, {network.n_outputs} readouts, "
        f"{network.gradient}, {network.optimizer.name}"
    )


def describe(network: Network) -> Description:
    """A table of a network's populations, projections and rules of learning."""
    readout, optimizer, feedback = network.readout, network.optimizer, network.feedback
    neurons = []
    for population in network.populations:
        learned = f", learns {', '.join(population.learned)}" if population.learned else ""
        neurons.append(f"{population.size} {population.name}{learned}")
    parameters = ", ".join(f"{name} = {value:g}" for name, value in optimizer.parameters.items())
    signal = [feedback.weights, *(line for line in feedback.update.splitlines() if line.strip())]
    if feedback.signal != "error":
        signal.append(f"signal = {feedback.signal}")
    rows = [
        ("inputs", str(network.n_inputs)),
        ("neurons", "\n".join(neurons)),
        ("readouts", f"{network.n_outputs} {readout.name}: {readout.update}"),
        ("weights [post, pre]", "\n".join(_weights(network))),
        ("loss", f"{network.loss.name}: {network.loss.loss}"),
        ("learning signal", "\n".join(signal)),
        ("optimizer", f"{optimizer.name}: {parameters}"),
        ("gradient", f"{network.gradient}, weights change after every {network.updates}"),
        ("time step", str(network.dt)),
        ("other options", "\n".join(_options(network))),
    ]
    return Description("Network", rows)


def _weights(network: Network) -> Iterator[str]:
    for name in ("w_in", "w_rec", "w_out"):
        n_post, n_pre = network.shapes[name]
        adjacency = network.adjacency.get(name)
        synapses = "" if adjacency is None else f", {adjacency.nnz} synapses"
        yield f"{name}  {n_post} x {n_pre}{synapses}"


def _options(network: Network) -> Iterator[str]:
    """Options that differ from the default; of those by name, such as delays, the names."""
    for option in fields(network):
        if not option.init or option.name in _IN_ROWS:
            continue
        value = getattr(network, option.name)
        if isinstance(value, Mapping):
            if value:
                yield f"{option.name} of {', '.join(value)}"
            continue
        default = option.default
        if option.default_factory is not MISSING:
            default = option.default_factory()
        if value != default:
            yield f"{option.name} = {value}"
