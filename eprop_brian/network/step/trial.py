"""A trial forwards: how it begins, its steps, how it ends."""

from __future__ import annotations

from collections.abc import Collection

from eprop_brian.network.step.acting import (
    act,
    begin_episode,
    code,
    learn_from_episode,
    reward_at_end,
)
from eprop_brian.network.step.emission import emit
from eprop_brian.network.step.exogenous import moment, trial_noise
from eprop_brian.network.step.labels import compare
from eprop_brian.network.step.parts import (
    InputPart,
    PopulationPart,
    ProjectionPart,
    ReadoutPart,
)
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.segments import keep_state
from eprop_brian.network.step.traces import begin_traces, learn_in_step
from eprop_brian.steps.nodes import Choose, Copy, Fill, For, If, Int, Node, Put, Show, Sync
from eprop_brian.steps.spiking import (
    Arrive,
    ListSpikes,
    ReadInputs,
    SortSpikes,
    StartSpikes,
    TimesOfSpikes,
    plus,
)

__all__ = ["begin_trial", "end_of_trial", "places", "refresh", "step"]


def refresh(running: Running) -> list[Node]:
    """Compute what depends on learned parameters."""
    populations = running.parts.populations
    return [node for p in populations for node in running.neurons(p, "refresh")]


def places(running: Running) -> list[Node]:
    """Name the places of a trial's data."""
    nodes: list[Node] = []
    for k, r in enumerate(running.parts.readouts):
        # Outputs of the trial are summed up there, an answer a row.
        answers = Int(f"_answers_{k}", f"_trial*{r.n_answers * r.n_outputs}{plus(r.before)}")
        if running.parts.acting:
            nodes.append(answers)
            continue
        first = f"_target_row_{k}*{r.target_steps * r.n_outputs}{plus(r.before)}"
        nodes += [
            Int(f"_target_row_{k}", f"{{{r.target}}}[_trial]"),
            Int(f"_target_{k}", first),
            answers,
        ]
        if not r.period:
            nodes += _window_start(running, r, k)
    # Steps since the start of the trial or, without trials, of everything.
    clock = f"{{{running.parts.control['clock']}}}[0]" if running.rules.continuous else "0"
    if running.rules.steps_of_trial:
        nodes.append(Int("_of_environment", "0"))
    if running.rules.external:
        nodes.append(Int("_first_step", f"{{{running.parts.control['step']}}}[0]"))
    return [*nodes, Int("_before_first", clock), *trial_noise(running.rules)]


def _window_start(running: Running, r: ReadoutPart, k: int) -> list[Node]:
    """The first step that counts."""
    rules, name = running.rules, f"_window_start_{k}"
    if not rules.lengths:
        return [Int(name, r.window_start)]
    ahead = Int(f"_ahead_{k}", f"_T - {rules.n_steps} + {r.window_start}")
    return [ahead, Choose(name, f"_ahead_{k} > 0", f"_ahead_{k}", "0")]


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
    for values in parts.values:
        nodes += running.each(values.spikes.name, "reset", values.spikes.n)
    for name, spikes in parts.sources.items():
        carried = rules.continuous and not parts.is_input(name)
        if rules.factored:
            nodes.append(TimesOfSpikes(spikes))
        nodes.append(StartSpikes(spikes, carried, rules.factored, parts.is_value(name)))
    for r in parts.readouts:
        nodes += running.outputs(r, "reset")
    if rules.online:
        nodes += begin_traces(running)
    for k, r in enumerate(parts.readouts):
        n_before = rules.signal_rows * r.n
        if r.earlier:
            first = str(rules.signal_rows * r.before)
            nodes.append(Copy(r.errors[1], "0", r.earlier, first, n_before))
        if not parts.acting:
            unseen = "_T" if r.period or r.every > 1 else f"_window_start_{k}"
            nodes += [Fill(errors, f"{unseen}*{r.n}", str(n_before)) for errors in r.errors]
        if not r.before:
            # The outputs of all readouts.
            nodes.append(Fill(r.output, str(r.n_answers * r.n_outputs), f"_answers_{k}"))
    if rules.lengths:
        nodes.append(Put(rules.steps_of_trial, "0", "_T"))
    nodes += [*begin_episode(running), Sync()]
    if not rules.external:
        return nodes
    rooms = [node for node in nodes if isinstance(node, TimesOfSpikes)]
    begun = [node for node in nodes if not isinstance(node, TimesOfSpikes)]
    return [*rooms, If("_first_step == 0", begun)]


def step(running: Running) -> list[Node]:
    """A step of the whole network."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = [*keep_state(running), *moment(rules)]
    for source in parts.inputs:
        spikes = source.spikes
        if source.coded:
            nodes += code(running, source)
        elif source.inputs is not None:
            kept = rules.online or bool(source.values)
            nodes.append(ReadInputs(spikes, source.inputs, kept, rules.factored))
        else:
            nodes += running.each(spikes.name, "spike", spikes.n)
            nodes.append(ListSpikes(spikes, "", rules.factored))
        nodes += _values(running, source)
    # Spikes enter: inputs of this step, spikes of the step before.
    at_once = _at_once(running)
    late, delivered_late = _deliveries(running, at_once)
    for projection in parts.projections:
        if projection not in at_once:
            nodes += _enter(running, projection, delivered_late)
    nodes += [Sync(), *running.lap("spikes")]
    for p in parts.populations:
        nodes += map(running.deliver, late[p.name])
        row = f"(_step % {rules.history_rows})" if rules.in_segments else "_step"
        rows = {"history": row}
        if rules.later_rows:
            rows["arriving"] = f"(_now % {rules.later_rows})"
        nodes += running.recorded("entering", "_step", p.name)
        if p.sampled:
            rows["sampled"] = "_moment"
        nodes += running.neurons(p, "advance", **rows)
        show = running.block(p.name, "show")
        if show:
            nodes.append(Show(show, p.spikes.n, {"_history": f"{row}*{p.spikes.width}"}))
        nodes.append(ListSpikes(p.spikes, p.spike_count, rules.factored))
        nodes += _values(running, p)
    nodes += running.lap("neurons")
    if rules.bidirectional:
        return nodes
    seen = _outputs(running)
    # Readouts have seen the steps that run again.
    nodes += [If("_again == 0", seen)] if rules.in_segments else seen
    if rules.online:
        nodes += [If("_learning", learn_in_step(running)), *running.lap("traces")]
    return [*nodes, *running.recorded("end", "_step")]


def _at_once(running: Running) -> list[ProjectionPart]:
    """The projections whose spikes arrive after the neurons of their step have been updated."""
    parts = running.parts
    if running.rules.bidirectional:
        outputs = {r.name for r in parts.readouts}
        return [p for p in parts.projections if p.target in outputs]
    return [p for p in parts.projections if not (p.delay or parts.is_input(p.source))]


def _deliveries(
    running: Running, at_once: Collection[ProjectionPart]
) -> tuple[dict[str, list[ProjectionPart]], list[ProjectionPart]]:
    """What is delivered right before each target is advanced, by its name, and all of these."""
    parts = running.parts
    targets = [*(p.name for p in parts.populations), *(r.name for r in parts.readouts)]
    late = {name: _late(running, name, at_once) for name in targets}
    return late, [projection for some in late.values() for projection in some]


def _afterwards(running: Running) -> list[Node]:
    """The steps of readouts, where these see populations that went through a trial both ways."""
    if not running.rules.bidirectional:
        return []
    now = Int("_now", "_before_first + _step")
    return [For("_step", "0", "_T", [now, *_outputs(running)]), Sync()]


def _outputs(running: Running) -> list[Node]:
    """What readouts make of a step, and what follows from it."""
    parts, rules = running.parts, running.rules
    at_once = _at_once(running)
    late, delivered_late = _deliveries(running, at_once)
    nodes: list[Node] = []
    # A readout sees the spikes of this step.
    for projection in at_once:
        nodes += _enter(running, projection, delivered_late)
    for r in parts.readouts:
        nodes += map(running.deliver, late[r.name])
        recorded = {} if rules.learning else {"history": f"_step*{r.n}"}
        advance = running.outputs(r, "advance", **recorded)
        if r.every > 1:
            between = running.outputs(r, "hold", **recorded)
            advance = [If(r.at_its_steps("_step"), advance, between)]
        nodes += advance
    nodes.append(Sync())
    if parts.acting:
        nodes += act(running)
    else:
        if rules.step_of_target:
            nodes.append(Int("_target_step", f"_target_row_0*{rules.n_steps} + _step"))
        for k, r in enumerate(parts.readouts):
            score = _score(running, r, k)
            nodes += [If(r.at_its_steps("_step"), score)] if r.every > 1 else score
    nodes.append(Sync())
    if rules.factored and (parts.diffusions or parts.emissions):
        nodes += [If("_learning", [*running.diffuse(), *emit(running)]), Sync()]
    return [*nodes, *running.lap("readout")]


def _values(running: Running, part: InputPart | PopulationPart) -> list[Node]:
    """Values that follow from what neurons have done in this step."""
    nodes: list[Node] = []
    for values in part.values:
        spikes = values.spikes
        rows = {"_history": f"_step*{spikes.n}"}
        nodes += running.each(spikes.name, "read", spikes.n, rows)
        nodes.append(ListSpikes(spikes, "", running.rules.factored, analog=True))
    return nodes


def _late(
    running: Running, target: str, at_once: Collection[ProjectionPart]
) -> list[ProjectionPart]:
    """The projections whose spikes are delivered right before their target is advanced.

    A device then has the sums at hand. The others of the target come first, and it adds up in the
    order of the projections: so these are the last ones. Nothing that they read changes until then.
    What populations receive at once arrives after they have been advanced.
    """
    late: list[ProjectionPart] = []
    is_readout = any(target == r.name for r in running.parts.readouts)
    for projection in reversed(running.parts.projections):
        if projection.target != target or (projection in at_once) != is_readout:
            continue
        # What is delayed waits in arrays of its own.
        if projection.synapses.extra is not None:
            continue
        if not projection.adds:
            break
        late.insert(0, projection)
    return late


def _enter(
    running: Running, projection: ProjectionPart, delivered_late: Collection[ProjectionPart]
) -> list[Node]:
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
    if projection not in delivered_late:
        nodes.append(running.deliver(projection))
    if learns:
        # `Arrive` read the steps since the last spike, which ``pre_trace`` now counts on.
        nodes.append(Sync())
    return [*nodes, *running.each(name, "pre_trace", projection.synapses.n_pre)]


def _score(running: Running, r: ReadoutPart, k: int) -> list[Node]:
    """The loss of a step, where it counts."""
    sample = f"_target_{k} + _step*{r.n_outputs}" if r.target_steps > 1 else f"_target_{k}"
    answer = f"_answers_{k}"
    if r.period:
        answer += f" + (_period_{k} - 1)*{r.n_outputs}"
    row = f"(_step + {running.rules.signal_rows})*{r.n}"
    if r.labels is not None:
        # Errors follow at the end of the trial.
        counted = f"{{{r.period}}}[_target_step]"
        period = Int(f"_period_{k}", counted)
        return [period, If(f"_period_{k} > 0", running.outputs(r, "collect", answered=answer))]
    nodes = [
        *running.probabilities(r),
        *running.loss(r, sample=sample, answered=answer, history=row),
    ]
    if not r.period:
        return [If(f"_step >= _window_start_{k}", nodes)]
    # The answer that this step counts for; 0 where it does not count.
    period = Int(f"_period_{k}", f"{{{r.period}}}[_target_step]")
    return [period, If(f"_period_{k} == 0", running.outputs(r, "silent"), nodes)]


def end_of_trial(running: Running) -> list[Node]:
    """Record the outcome of a trial."""
    parts, rules = running.parts, running.rules
    nodes: list[Node] = [
        *_afterwards(running),
        *(
            Put(
                parts.spike_count,
                f"_trial*{len(parts.populations)}{plus(number)}",
                f"{{{p.spikes.first}}}[_T + 1] - {{{p.spikes.first}}}[1]",
            )
            for number, p in enumerate(parts.populations)
        ),
    ]
    if parts.acting:
        nodes += [*reward_at_end(running), *learn_from_episode(running)]
    for k, r in enumerate(parts.readouts):
        nodes += compare(running, r, k)
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
    if rules.steps_of_trial and rules.factored and rules.lag:
        # There are no errors after the end, where a longer trial has left some.
        first = f"(_T + {rules.signal_rows})"
        for r in parts.readouts:
            learning.append(Fill(r.filtered, str(rules.lag * r.n), f"{first}*{r.n}"))
    if rules.factored:
        learning.append(SortSpikes(tuple(parts.sources.values())))
    return [*nodes, If("_learning", learning)] if learning else nodes
