"""Learning in mid-trial: learning signals, traces and, in continuous operation, updates."""

from __future__ import annotations

from collections.abc import Sequence

from eprop_brian.network.step.acting import reward
from eprop_brian.network.step.emission import emit
from eprop_brian.network.step.parts import ProjectionPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.steps.gradients import AllSynapses
from eprop_brian.steps.nodes import Choose, Counter, Fill, For, If, Int, Node, Put, Sync
from eprop_brian.steps.spiking import (
    DelayTraces,
    Forget,
    Hear,
    Passes,
    Traces,
    UpdateRows,
)

__all__ = ["begin_traces", "learn_in_step", "pending_updates"]


def begin_traces(running: Running) -> list[Node]:
    """Traces at the start of a trial; without trials they go on."""
    if running.rules.continuous:
        return []
    nodes: list[Node] = []
    for p in running.parts.learning:
        nodes += running.each(p.name, "zero", p.synapses.size, index="_synapse")
        nodes += running.each(p.name, "unrank", p.synapses.size, index="_synapse")
        nodes += running.each(p.name, "zero_pre", p.synapses.n_pre)
        nodes += [Fill(array, str(p.pre_rows * p.synapses.n_pre)) for array in p.pre_window]
    # The traces of a synapse are 0 until its presynaptic neuron has spiked in this trial.
    nodes += [Forget(spikes) for spikes in running.parts.sources.values()]
    return [*nodes, Counter("_traced")]


def learn_in_step(running: Running) -> list[Node]:
    """Learning signals of a step, and the traces that wait for them."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = []
    if rules.continuous:
        # The weights that this step's error came from.
        nodes += [*running.follow(), Sync()]
    # Of these the signal of a step follows from that of the step before.
    carrying = {d.target for d in parts.diffusions} | {e.target for e in parts.emissions}
    arriving: list[Node] = []
    for p in (p for p in parts.populations if p.name not in carrying):
        heard = [s for s in parts.signals if s.population == p.name]
        arrays = dict.fromkeys(array for s in heard for array in (s.signal, s.direct) if array)
        nodes += [Fill(array, str(p.spikes.width)) for array in arrays]
        for what in ("deliver", "deliver_direct"):
            arriving += running.signals(p.name, f"_step + {rules.signal_rows}", what)
    nodes += _at_action(running, arriving) if parts.acting else arriving
    nodes += [*running.diffuse(), *emit(running)]
    if not rules.continuous:
        nodes += [Hear(spikes) for spikes in parts.sources.values()]
    nodes += [*_keep(running), Sync()]
    if rules.continuous:
        return [*nodes, If(f"_now >= {rules.lag}", _trace_and_update(running))]
    return [*nodes, *_reward(running), *_trace(running)]


def _at_action(running: Running, nodes: Sequence[Node]) -> list[Node]:
    """Nodes in the steps of actions alone, where there are errors."""
    acting = running.parts.acting
    assert acting is not None
    return [If(f"(_step + 1) % {acting.steps} == 0", nodes)]


def _reward(running: Running) -> list[Node]:
    """What the reward of the action before makes of the tags and, at once, of the weights."""
    acting = running.parts.acting
    if acting is None:
        return []
    nodes = [*reward(running), Sync()]
    if running.rules.updates == "action":
        k = running.parts.control["k"]
        nodes += [Put(k, "0", f"{{{k}}}[0] + 1"), Sync()]
        nodes += [
            AllSynapses(
                block_name(p.name, "optimize_at_action"), p.synapses, p.signal_sums, p.weights
            )
            for p in running.parts.plastic
        ]
        nodes += [Sync(), *running.follow(), Sync()]
    return _at_action(running, [If(f"_step >= {acting.steps}", nodes)])


def _keep(running: Running) -> list[Node]:
    """Keep what the traces read: a pass over the synapses does several steps.

    A step waits for its learning signal, where the readouts see its spikes later.
    """
    parts, rows, lag = running.parts, running.rules.window_rows, running.rules.lag
    nodes: list[Node] = []
    for p in parts.populations:
        nodes += running.neurons(p, "window", window=f"_now % {rows}")
    for r in parts.readouts:
        nodes += running.outputs(r, "window", window=f"_now % {rows}*{r.n}")
    for q in parts.learning:
        n_pre = q.synapses.n_pre
        row = {"_window": f"_now % {q.pre_rows}*{n_pre}"}
        nodes += running.each(q.name, "window_pre", n_pre, row)
    for p in parts.populations:
        nodes += running.neurons(p, "window_signal", window=f"(_now + {rows - lag}) % {rows}")
    return nodes


def _trace(running: Running) -> list[Node]:
    """Traces of the steps whose learning signal has arrived."""
    parts, rules = running.parts, running.rules
    rows, lag, nodes = rules.window_rows, rules.lag, []
    if lag:
        # After the end of a trial there are no errors.
        late = f"(_now + {rows - lag} + _late) % {rows}"
        fill = [
            Fill(signal, str(p.spikes.width), f"{late}*{p.spikes.width}")
            for p in parts.populations
            for signal in p.window_signals
        ]
        nodes += [If("_step == _T - 1", [For("_late", "1", str(lag + 1), fill)]), Sync()]
    # At the end of a trial all remaining steps.
    nodes += [
        Choose("_known", "_step == _T - 1", "_T", f"_step + 1 - {lag}"),
        Choose("_first_known", f"_step > {lag}", f"_step - {lag}", "0"),
    ]
    learned = [
        node
        for p in parts.populations
        for node in running.neurons(p, "parameter_trace", window=f"_from % {rows}")
    ]
    if learned:
        nodes.append(For("_from", "_first_known", "_known", learned))
    single = [*_all_traces(running, 1), *_ranks(running), *running.recorded("traces", "_from")]
    several = _all_traces(running, rules.steps_per_pass) if rules.steps_per_pass > 1 else []
    return [*nodes, Passes(rules.steps_per_pass, several, single), Sync()]


def _ranks(running: Running) -> list[Node]:
    """Add the size of every trace to the sum of its trial."""
    nodes: list[Node] = []
    for p in running.parts.plastic:
        nodes += running.each(p.name, "rank", p.synapses.size, index="_synapse")
    return [Sync(), *nodes] if nodes else []


def _trace_and_update(running: Running) -> list[Node]:
    """Traces in continuous operation, and the updates of every step."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = [Int("_from", f"_now - {rules.lag}")]
    nodes += [*(_traces(running, p, 1) for p in parts.plastic), *_ranks(running)]
    records = running.recorded("traces", "_from - _before_first")
    nodes += [If("_from >= _before_first", records)] if records else []
    if rules.updates != "step":
        return nodes
    k = parts.control["k"]
    nodes.append(Put(k, "0", f"{{{k}}}[0] + 1"))
    return [*nodes, *_update_rows(running, rules.cutoff or rules.never)]


def _update_rows(running: Running, limit: float) -> list[Node]:
    """An update of the synapses of all neurons that have spiked lately."""
    return [UpdateRows(running.row_update(p), p.since, limit) for p in running.parts.plastic]


def pending_updates(running: Running) -> list[Node]:
    """Updates that wait for presynaptic spikes, without waiting longer."""
    if running.rules.updates != "spike":
        return []
    return [*_update_rows(running, running.rules.never), Sync(), *running.follow()]


def _all_traces(running: Running, steps: int) -> list[Node]:
    """Traces of weights and of delays, for some steps on end."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = [_traces(running, p, steps) for p in parts.plastic]
    nodes += [
        DelayTraces(
            block_name(p.name, "delay_trace"),
            running.lagged(p),
            steps,
            p.synapses,
            parts.sources[p.source],
            rules.window_rows,
            p.pre_rows,
        )
        for p in parts.learning
        if p.lags
    ]
    return nodes


def _traces(running: Running, p: ProjectionPart, steps: int) -> Traces:
    rules = running.rules
    block = running.block(p.name, f"trace_{steps}")
    assert block is not None
    limit = (rules.cutoff or rules.never) if rules.continuous else 0
    return Traces(
        block,
        steps,
        p.synapses,
        running.parts.sources[p.source],
        rules.window_rows,
        p.pre_rows,
        p.since or None,
        limit,
        bool(rules.cutoff),
    )
