"""Learning after a trial: the backward pass, sums over trials, updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eprop_brian.network.step.parts import PopulationPart, ProjectionPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.segments import segment_by_segment
from eprop_brian.network.step.sharing import gather_gradients, spread_weights, trained
from eprop_brian.steps.gradients import (
    WHOLE_TRIAL,
    Accumulate,
    AllSynapses,
    Backward,
    ClipNorm,
    Filter,
    Fused,
    Steps,
)
from eprop_brian.steps.nodes import If, Node, Put, Sync
from eprop_brian.steps.spiking import Signal, mirrored

__all__ = ["begin_call", "fold", "learn", "update"]


def begin_call(running: Running) -> list[Node]:
    """Sums are 0 at the start of a call, and what follows from weights and delays is computed."""
    refreshed = _refresh_weights(running)
    spread = spread_weights(running)
    if not running.rules.by_trial:
        return [*spread, *running.follow(), *refreshed]
    rounded = _round_delays(running)
    zeroed: list[Node] = _synapses(running, "zero_sums")
    for p in running.parts.populations:
        zeroed += [*running.neurons(p, "zero_sums"), *running.neurons(p, "zero_learned")]
    return [
        *spread,
        *running.follow(),
        *refreshed,
        *rounded,
        Sync(),
        If("_learning", zeroed),
    ]


def learn(running: Running, step: Sequence[Node]) -> list[Node]:
    """What a trial adds to the sums that updates are made of; `step` is what it did in a step."""
    parts, rules = running.parts, running.rules
    if not rules.by_trial:
        return []
    nodes = [node for p in parts.populations for node in running.neurons(p, "tally")]
    if rules.online:
        nodes += _synapses(running, "gradient")
        for p in parts.populations:
            nodes += running.neurons(p, "parameter_gradient")
        return nodes
    nodes += running.lap("accumulate")
    for r in parts.readouts:
        row = f"(_t + {rules.signal_rows})*{r.n}"
        backward, zero = (block_name(r.name, what) for what in ("backward", "zero"))
        between = running.block(r.name, "backward_between")
        nodes.append(Filter(backward, zero, r.n, row, between, r.at_its_steps("_t")))
    nodes += running.lap("backward")
    for r in parts.readouts:
        nodes += _accumulate(running, r.name, r.n, rules.signal_rows)
    nodes += running.lap("accumulate")
    # Nothing of a population is needed whose synapses and parameters stay as they are.
    targets = {p.target for p in parts.learning}
    learning = [p for p in parts.populations if p.name in targets or running.block(p.name, "learn")]
    if rules.in_segments:
        nodes += [node for p in learning for node in running.neurons(p, "zero")]
    return [
        *nodes,
        *segment_by_segment(
            running, step, lambda steps: [_backward(running, p, steps) for p in learning]
        ),
    ]


def _synapses(running: Running, what: str) -> list[Node]:
    """A block for all synapses that learn."""
    return [AllSynapses(block_name(p.name, what), p.synapses) for p in running.parts.learning]


def _refresh_weights(running: Running, shared: bool = False) -> list[Node]:
    """Compute what spikes bring of weights, or of shared ones; feedback may follow meanwhile."""
    nodes = [
        AllSynapses(block_name(p.name, "refresh_weights"), p.synapses, after=p.effective)
        for p in running.parts.projections
        if running.block(p.name, "refresh_weights") and (p.shared or not shared)
    ]
    return [Sync(), *nodes] if nodes else []


def _round_delays(running: Running) -> list[Node]:
    """Compute what follows from learned delays and weights; feedback may follow meanwhile."""
    delayed = [p for p in running.parts.learning if p.lags]
    nodes = [AllSynapses(block_name(p.name, "round_delays"), p.synapses) for p in delayed]
    return [Sync(), *nodes] if nodes else []


def _accumulate(
    running: Running, target: str, width: int, first_row: int, steps: Steps = WHOLE_TRIAL
) -> list[Node]:
    """Sums over presynaptic spikes, from results of so many numbers a row."""
    parts = running.parts
    return [
        Accumulate(
            running.block(p.name, "accumulate"),
            running.block(p.name, "accumulate_several"),
            p.synapses,
            parts.sources[p.source],
            p.delay,
            first_row,
            width,
            parts.data_of(p),
            running.lagged(p),
            steps,
            parts.is_mirrored(p),
        )
        for p in parts.learning
        if p.target == target
    ]


def _backward(running: Running, population: PopulationPart, steps: Steps) -> Node:
    """The backward pass inside each neuron of a population, through some steps."""
    parts, rules = running.parts, running.rules
    first_row = rules.signal_rows + rules.lag
    heard = mirrored("_t") if population.reverse_time else "_t"
    row = f"({heard} + {first_row})" if first_row else heard
    fused = [Fused(number, parts.readout(readout).n, row) for readout, number in population.fused]
    then = [
        *running.lap("backward"),
        *_accumulate(running, population.name, population.tile, 0, steps),
        *running.lap("accumulate"),
    ]
    return Backward(
        block_name(population.name, "backward"),
        None if steps.partial else block_name(population.name, "zero"),
        population.spikes.n,
        population.spikes.width,
        population.tile,
        population.results,
        rules.late_rows,
        rules.lag,
        population.signals,
        [] if population.heard else _unfused(running, population, row),
        fused,
        then,
        steps,
    )


def _unfused(running: Running, population: PopulationPart, row: str) -> list[Signal]:
    """Signals of the outputs that are not fused into the backward pass."""
    parts, signals = running.parts, []
    for part, signal in zip(
        (s for s in parts.signals if s.population == population.name),
        running.signals(population.name, row),
        strict=True,
    ):
        first = sum(readout == part.readout for readout, _ in population.fused)
        if first < parts.readout(part.readout).n:
            signals.append(replace(signal, first_output=first))
    return signals


def fold(running: Running) -> list[Node]:
    """A share of a batch's trials enters the sums of the batch."""
    if not running.rules.by_trial:
        return []
    nodes = _synapses(running, "fold")
    return [*nodes, *(n for p in running.parts.populations for n in running.neurons(p, "fold"))]


def update(running: Running) -> list[Node]:
    """An update at the end of a batch; a device may run what stands between two `Sync` at once."""
    parts, rules = running.parts, running.rules
    if not rules.by_trial:
        return []
    k = parts.control["k"]
    nodes: list[Node] = [Put(k, "0", f"{{{k}}}[0] + 1")]
    nodes += [n for p in parts.populations for n in running.neurons(p, "mean_rate")]
    nodes += [Sync(), *gather_gradients(running)]
    if rules.clip_norm:
        gradients = [
            (AllSynapses(block_name(p.name, "measure"), trained(p), p.sums), p.gradient)
            for p in parts.plastic
            if p.gradient
        ]
        nodes += [ClipNorm(gradients, rules.clip_norm, rules.clip_factor), Sync()]
    nodes += [_optimize(p) for p in parts.plastic]
    delayed = [p for p in parts.learning if p.lags]
    nodes += [AllSynapses(block_name(p.name, "learn_delays"), p.synapses) for p in delayed]
    nodes += [n for p in parts.populations for n in running.neurons(p, "learn")]
    spread = [*spread_weights(running), *_refresh_weights(running, shared=True)]
    return [*nodes, Sync(), *spread, *running.follow(), *_round_delays(running)]


def _optimize(p: ProjectionPart) -> Node:
    return AllSynapses(block_name(p.name, "optimize"), trained(p), p.sums, p.weights)
