"""A trial forwards: how it begins, its steps, how it ends."""

from __future__ import annotations

from eprop_brian.network.step.parts import ProjectionPart, ReadoutPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.traces import begin_traces, learn_in_step
from eprop_brian.steps.nodes import Copy, Fill, If, Int, Node, Pairs, Put, Show, Sync
from eprop_brian.steps.spiking import Arrive, ListSpikes, ReadInputs, SortSpikes, StartSpikes, plus

__all__ = ["begin_trial", "end_of_trial", "places", "refresh", "step"]


def refresh(running: Running) -> list[Node]:
    """Compute what depends on learned parameters."""
    populations = running.parts.populations
    return [node for p in populations for node in running.neurons(p, "refresh")]


def places(running: Running) -> list[Node]:
    """Name the places of a trial's data."""
    nodes: list[Node] = []
    for k, r in enumerate(running.parts.readouts):
        nodes += [
            Int(f"_target_row_{k}", f"{{{r.target}}}[_trial]"),
            Int(f"_target_{k}", f"_target_row_{k}*{r.target_steps * r.n_outputs}{plus(r.before)}"),
            # Outputs of the trial are summed up there, an answer a row.
            Int(f"_answers_{k}", f"_trial*{r.n_answers * r.n_outputs}{plus(r.before)}"),
        ]
        if not r.period:
            nodes.append(Int(f"_window_start_{k}", r.window_start))
    # Steps since the start of the trial or, without trials, of everything.
    clock = f"{{{running.parts.control['clock']}}}[0]" if running.rules.continuous else "0"
    return [*nodes, Int("_before_first", clock)]


def begin_trial(running: Running) -> list[Node]:
    """The state that a trial begins with."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = []
    for p in parts.populations:
        nodes += running.neurons(p, "reset")
        if not rules.continuous:
            n_later = str(rules.later_rows * p.spikes.width)
            nodes += [Fill(array, n_later) for array in p.later]
        nodes += running.neurons(p, "parameter_zero")
        if p.heard:
            nodes.append(Fill(p.heard, f"_T*{p.spikes.width}"))
        for reading in p.readings:
            nodes += running.each(reading.spikes.name, "reset", reading.spikes.n)
    for name, spikes in parts.sources.items():
        carried = rules.continuous and not parts.is_input(name)
        nodes.append(StartSpikes(spikes, carried, rules.factored))
    for r in parts.readouts:
        nodes += running.outputs(r, "reset")
    if rules.online:
        nodes += begin_traces(running)
    for k, r in enumerate(parts.readouts):
        n_before = rules.signal_rows * r.n
        if r.earlier:
            first = str(rules.signal_rows * r.before)
            nodes.append(Copy(r.errors[1], "0", r.earlier, first, n_before))
        unseen = "_T" if r.period else f"_window_start_{k}"
        nodes += [Fill(errors, f"{unseen}*{r.n}", str(n_before)) for errors in r.errors]
        if not r.before:
            # The outputs of all readouts.
            nodes.append(Fill(r.output, str(r.n_answers * r.n_outputs), f"_answers_{k}"))
    return [*nodes, Sync()]


def step(running: Running) -> list[Node]:
    """A step of the whole network."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = []
    for source in parts.inputs:
        spikes = source.spikes
        if source.inputs is not None:
            nodes.append(ReadInputs(spikes, source.inputs, rules.online, rules.factored))
            continue
        nodes += running.each(spikes.name, "spike", spikes.n)
        nodes.append(ListSpikes(spikes, "", rules.factored))
    # Spikes enter: inputs of this step, spikes of the step before.
    at_once = [p for p in parts.projections if not (p.delay or parts.is_input(p.source))]
    for projection in parts.projections:
        if projection not in at_once:
            nodes += _enter(running, projection)
    nodes += [Sync(), *running.lap("spikes")]
    for p in parts.populations:
        rows = {"history": "_step"}
        if rules.later_rows:
            rows["arriving"] = f"(_now % {rules.later_rows})"
        nodes += running.neurons(p, "advance", **rows)
        show = running.block(p.name, "show")
        if show:
            nodes.append(Show(show, p.spikes.n, {"_history": f"_step*{p.spikes.width}"}))
        nodes.append(ListSpikes(p.spikes, p.spike_count, rules.factored))
        for reading in p.readings:
            values = reading.spikes
            rows = {"_history": f"_step*{values.n}"}
            nodes += running.each(values.name, "read", values.n, rows)
            nodes.append(ListSpikes(values, "", rules.factored, analog=True))
    nodes += running.lap("neurons")
    # A readout sees the spikes of this step.
    for projection in at_once:
        nodes += _enter(running, projection)
    for r in parts.readouts:
        recorded = {} if rules.learning else {"history": f"_step*{r.n}"}
        nodes += running.outputs(r, "advance", **recorded)
    nodes.append(Sync())
    for k, r in enumerate(parts.readouts):
        nodes += _score(running, r, k)
    nodes.append(Sync())
    if rules.factored and parts.diffusions:
        nodes += [If("_learning", running.diffuse()), Sync()]
    nodes += running.lap("readout")
    if rules.online:
        nodes += [If("_learning", learn_in_step(running)), *running.lap("traces")]
    return nodes


def _enter(running: Running, projection: ProjectionPart) -> list[Node]:
    """Spikes enter through a projection."""
    rules, name = running.rules, projection.name
    nodes: list[Node] = []
    learns = rules.continuous and projection.plastic
    if learns:
        update = running.row_update(projection) if rules.updates == "spike" else None
        arrive = Arrive(
            projection.synapses,
            running.parts.sources[projection.source],
            projection.delay,
            projection.since,
            rules.never,
            projection.skipped,
            running.block(name, "decay"),
            rules.cutoff,
            update,
        )
        nodes.append(If("_learning", [arrive]))
    nodes.append(running.deliver(projection))
    if learns:
        # `Arrive` read the steps since the last spike, which ``pre_trace`` now counts on.
        nodes.append(Sync())
    return [*nodes, *running.each(name, "pre_trace", projection.synapses.n_pre)]


def _score(running: Running, r: ReadoutPart, k: int) -> list[Node]:
    """The loss of a step, where it counts."""
    rules = running.rules
    nodes: list[Node] = []
    if running.block(r.name, "softmax"):
        nodes += [Pairs(block_name(r.name, "softmax"), r.n)]
        nodes += [*running.outputs(r, "probability"), Sync()]
    sample = f"_target_{k} + _step*{r.n_outputs}" if r.target_steps > 1 else f"_target_{k}"
    if running.block(r.name, "couple"):
        nodes += [*running.outputs(r, "couple", sample=sample), Sync()]
        nodes += [Pairs(block_name(r.name, "coupled"), r.n), Sync()]
    answer = f"_answers_{k}"
    if r.period:
        answer += f" + (_period_{k} - 1)*{r.n_outputs}"
    nodes += running.outputs(
        r,
        "loss",
        sample=sample,
        answered=answer,
        history=f"(_step + {rules.signal_rows})*{r.n}",
    )
    if not r.period:
        return [If(f"_step >= _window_start_{k}", nodes)]
    # The answer that this step counts for; 0 where it does not count.
    period = Int(f"_period_{k}", f"{{{r.period}}}[_target_row_{k}*_T + _step]")
    return [period, If(f"_period_{k} == 0", running.outputs(r, "silent"), nodes)]


def end_of_trial(running: Running) -> list[Node]:
    """Record the outcome of a trial."""
    parts, rules = running.parts, running.rules
    counts = (
        f"({{{p.spikes.first}}}[_T + 1] - {{{p.spikes.first}}}[1])" for p in parts.populations
    )
    nodes: list[Node] = [Put(parts.spike_count, "_trial", " + ".join(counts))]
    for r in parts.readouts:
        nodes += running.outputs(r, "outcome", record=f"_trial*{r.n_outputs}{plus(r.before)}")
    if rules.continuous:
        nodes.append(Put(parts.control["clock"], "0", "_before_first + _T"))
        for r in parts.readouts:
            if r.earlier:
                n = rules.signal_rows * r.n
                first = str(rules.signal_rows * r.before)
                nodes.append(Copy(r.earlier, first, r.errors[1], f"_T*{r.n}", n))
    learning: list[Node] = []
    if rules.by_trial:
        learning = [n for p in parts.populations for n in running.neurons(p, "rate")]
    if rules.factored:
        learning.append(SortSpikes(tuple(parts.sources.values())))
    return [*nodes, If("_learning", learning)] if learning else nodes
