"""Blocks of the neurons of a population."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.learning_signals import TRANSMITTED
from eprop_brian.equations.regularizers import FIRING_RATE, MOVING_RATE, MOVING_RATE_FACTOR
from eprop_brian.network.exogenous import samples_of
from eprop_brian.network.graph import PopulationGroup, SignalConnection
from eprop_brian.network.groups import later_name
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.step.emission import write_emitted
from eprop_brian.network.step.episodes import steps_view
from eprop_brian.network.step.exogenous import exogenous_statements, sample_views
from eprop_brian.network.step.learned import write_learned
from eprop_brian.network.step.parts import PopulationPart, SegmentStates
from eprop_brian.network.step.values import write_reading, write_transmissions
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.steps.layout import MOST_STEPS
from eprop_brian.symbolic.coefficients import LIMITS, Limits
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.expressions import total
from eprop_brian.symbolic.names import BEFORE, substituted

__all__ = ["is_refractory", "neuron_statements", "write_population"]


def write_population(writer: Writer, population: PopulationGroup) -> PopulationPart:
    """Write the blocks of a population."""
    groups, name = writer.groups, population.name
    learning, online, back = groups.learning, groups.online, population.reverse_time
    _write_advance(writer, population)
    _write_reset(writer, population)
    if population.learned:
        write_learned(writer, population)
    if learning:
        _write_rates(writer, name)
    if groups.diffuses(name):
        writer.block(name, "spread", ["L_before = L", "L = 0"], writer.own(name))
    if name in groups.emitted:
        write_emitted(writer, name)
    spikes = writer.spikes(name, population.size)
    spike_count = writer.array(name, "spike_count", "_neuron")
    later: tuple[str, ...] = ()
    if groups.later_rows:
        later = tuple(
            writer.array(f"{name}_later", later_name(x)) for x in groups.input_variables(name)
        )
    values = (
        *(write_reading(writer, name, r) for r in groups.systems[name].readings),
        *write_transmissions(writer, name, inputs=False),
    )
    sampled = any(sample.several for sample in samples_of(population))
    if not learning:
        return PopulationPart(
            spikes, spike_count, later, values, sampled=sampled, reverse_time=back
        )
    signals = groups.signal_names(name)
    if online:
        writer.window(name)
        window = groups.groups[f"{name}_window"]
        writer.block(
            name,
            "window_signal",
            [f"{signal}_stored = {signal}" for signal in signals],
            View(window, "_window", {f"{signal}_stored": signal for signal in signals}),
            writer.own(name),
        )
        kept = tuple(writer.array(f"{name}_window", signal) for signal in signals)
        return PopulationPart(
            spikes,
            spike_count,
            later,
            values,
            window_signals=kept,
            sampled=sampled,
            reverse_time=back,
        )
    fused = _write_backward(writer, population)
    results = groups.factored(population).results
    delayed, keeps = groups.signals_are_delayed(name), groups.keeps_signal(name)
    return PopulationPart(
        spikes,
        spike_count,
        later,
        values,
        results=tuple(writer.array(f"{name}_results", result) for result in results),
        tile=groups.tile(population, groups.history_rows),
        signals=tuple(
            writer.array(name, x if delayed else f"{x}_filtered", "_neuron") for x in signals
        ),
        fused=fused,
        heard=writer.array(f"{name}_history", "L") if keeps else "",
        sampled=sampled,
        reverse_time=back,
        kept=_kept_state(writer, population, later),
    )


def _kept_state(
    writer: Writer, population: PopulationGroup, later: Iterable[str]
) -> tuple[SegmentStates, ...]:
    """The state, and where that of the beginning of every segment of a trial is kept."""
    groups, name, size = writer.groups, population.name, population.size
    if f"{name}_segments" not in groups.groups:
        return ()
    kept = [
        SegmentStates(writer.array(name, x, "_neuron"), writer.array(f"{name}_segments", x), size)
        for x in groups.state_variables(name)
    ]
    n_later = groups.later_rows * groups.layout.width(size)
    for array, arriving in zip(later, groups.input_variables(name), strict=False):
        copies = writer.array(f"{name}_later_segments", later_name(arriving))
        kept.append(SegmentStates(array, copies, n_later))
    return tuple(kept)


def _update(writer: Writer, population: PopulationGroup) -> list[str]:
    """The statements of a step."""
    groups = writer.groups
    system = groups.systems[population.name]
    inputs = groups.input_variables(population.name)
    update = exogenous_statements(population, groups.dtype)
    update += neuron_statements(
        system,
        inputs,
        learning=groups.learning,
        # Neurons that are never refractory are spared the counting.
        refractory=is_refractory(population, writer.network),
        limits=LIMITS[min(np.dtype(x).itemsize for x in (groups.dtype, groups.history_dtype))],
    )
    if groups.later_rows:
        late = {arriving: later_name(arriving) for arriving in inputs}
        arrived = [line for x, y in late.items() for line in (f"{x} = {x} + {y}", f"{y} = 0")]
        update = [*arrived, *update]
    if groups.moving_rate:
        update += [MOVING_RATE, MOVING_RATE_FACTOR]
    return update


def is_refractory(population: PopulationGroup, network: Resolved) -> bool:
    """Whether some neurons are refractory after a spike."""
    step = population.system.step
    return bool(step.active or np.any(step.refractory_steps(float(network.dt))))


def neuron_statements(
    system: EligibilitySystem,
    inputs: Iterable[str],
    *,
    learning: bool,
    refractory: bool,
    limits: Limits,
    active: str = "int(refractory_counter < 0.5)",
) -> list[str]:
    """The statements of a step of neurons.

    Parameters
    ----------
    system : EligibilitySystem
        Scoped.
    inputs : iterable of str
        Variables that spikes add to.
    learning : bool
        Whether to compute what the derivative of a step needs.
    refractory : bool
    limits : Limits
    active : str
        What says whether a neuron may spike, where neurons are refractory.
    """
    step, count = system.step, "refractory_counter = "
    counting, restarting = (
        f"{count}(refractory_counter - 1)*int(refractory_counter > 0.5)",
        f"{count}refractory_counter + z*refractory_steps",
    )
    if step.active:
        # 1 while the neuron is refractory.
        before = {"not_refractory": "int(refractory_counter < 0.5)"}
        counting, restarting = f"{count}1.0 - {substituted(step.active, before)}", ""
    entering = []
    if BEFORE in get_identifiers("\n".join(step.code)):
        entering = [f"{BEFORE} = (1.0 - z)*int(refractory_counter < 0.5)"]
    update = [
        *entering,
        *([counting] * refractory),
        *(system.step_code(limits) if learning else step.code),
        *([f"psi = {step.psi}"] * learning),
        f"z = not_refractory*int({step.threshold})",
        *(system.code_after(limits) if learning else []),
        *([restarting] if refractory and restarting else []),
        *(f"{arriving} = 0" for arriving in inputs),
    ]
    # In place, not by a name: Brian2 would make it a 64-bit integer, which vectors do not like.
    replaced = {"not_refractory": active if refractory else "1"}
    return [substituted(line, replaced) for line in update]


def _write_advance(writer: Writer, population: PopulationGroup) -> None:
    groups, name = writer.groups, population.name
    update, own = _update(writer, population), writer.own(name)
    views = sample_views(writer, population)
    if groups.later_rows:
        views.append(writer.own(f"{name}_later", "_arriving"))
    if groups.learning and not groups.online:
        history = _history(writer, population)
        views.append(history)
        # For monitors, which read the neurons in mid-trial.
        program = groups.factored(population)
        writer.block(
            name,
            "show",
            [f"{variable}_shown = {variable}" for variable in program.history],
            View(own.group, "_neuron", {f"{v}_shown": v for v in program.history}),
            history,
        )
    writer.block(name, "advance", update, *views, own, writer.control)


def _history(writer: Writer, population: PopulationGroup) -> View:
    """What the backward pass reads of every step."""
    program = writer.groups.factored(population)
    group = writer.groups.groups[f"{population.name}_history"]
    return View(group, "_history", {name: name for name in program.history})


def _write_reset(writer: Writer, population: PopulationGroup) -> None:
    groups, zeroed, reset = writer.groups, ["spike_count"], []
    if not writer.network.continuous:
        zeroed += [
            *(*groups.input_variables(population.name), "z"),
            *["psi", "L"] * groups.learning,
            *["emitted"] * (population.name in groups.emitted),
            "refractory_counter",
            *["moving_rate"] * groups.moving_rate,
        ]
        reset = [f"{s} = {s}_initial" for s in groups.systems[population.name].step.states]
    reset += [f"{v} = 0" for v in zeroed]
    writer.block(population.name, "reset", reset, writer.own(population.name))


def _write_rates(writer: Writer, name: str) -> None:
    """The factor of the firing-rate regulariser."""
    groups, own = writer.groups, writer.own(name)
    batch = groups.rate_per_batch
    if batch:
        writer.block(name, "zero_sums", ["batch_spike_count = 0"], own)
        tally = ["batch_spike_count = batch_spike_count + spike_count"]
        writer.block(name, "tally", tally, own)
    if groups.moving_rate:
        return
    count = "batch_spike_count" if batch else "spike_count"
    names = {"rate_factor": "rate_factor", "spike_count": count}
    mean = ["spike_count = spike_count/batch_size"] if batch else []
    cleared = ["spike_count = 0"] if batch else []
    writer.block(
        name,
        "mean_rate" if batch else "rate",
        [*mean, f"rate_factor = {FIRING_RATE}", *cleared],
        View(own.group, "_neuron", names),
        *([] if batch else steps_view(writer)),
        writer.control,
    )


def _write_backward(writer: Writer, population: PopulationGroup) -> tuple[tuple[str, int], ...]:
    """Write the backward pass; return the outputs whose signal it computes itself."""
    groups, name = writer.groups, population.name
    program, own = groups.factored(population), writer.own(name)
    # Signals that are delayed arrive one by one, and are filtered where they arrive; so is what a
    # signal that diffuses has become, and what is emitted.
    arriving, keeps = groups.filtered_where_it_arrives(name), groups.keeps_signal(name)
    signals = groups.signal_names(name)
    zeroed = [*program.variables, *[f"{x}_filtered" for x in signals] * arriving]
    writer.block(name, "zero", [f"{v} = 0" for v in zeroed], own)
    # The learning signal of the first outputs is computed on the way, without being stored.
    pairs: list[tuple[BuiltProjection[SignalConnection], int]] = [
        (f, number) for f in groups.feedback if f.target == name for number in range(f.n_pre)
    ]
    fused = [] if arriving else pairs[:MOST_STEPS]
    summed = {groups.signal_of(f) for f, _ in pairs[len(fused) :]}
    summed |= {*signals[:1]} if keeps else set()
    heard = {x: f"{x}_filtered" if x in summed else "0" for x in signals}
    views = []
    if keeps:
        of_step = View(groups.groups[f"{name}_history"], "_history", {"L": "L"})
        views.append(of_step)
        kept = View(of_step.group, "_history", {"L_kept": "L"})
        writer.block(name, "hear", ["L_kept = L"], kept, own)
    for k, (f, _) in enumerate(fused):
        weight, sent, signal = f"_B_{k}", f"_filtered_signal_{k}", groups.signal_of(f)
        transmitted = substituted(TRANSMITTED, {"B": weight, "signal": sent})
        heard[signal] = f"({heard[signal]}) + {transmitted}"
        errors = groups.groups[f"{f.source}_history"]
        views += [
            View(f.group, f"_synapse_{k}", {weight: "B"}),
            View(errors, f"_output_{k}", {sent: "filtered_signal"}),
        ]
    filtered = []
    if arriving:
        decay = groups.trace_filter(name).trace_decay
        filtered = [f"{x}_filtered = {total(decay.times(f'{x}_filtered'), x)}" for x in signals]
    names = {x: f"_signal_{number}" if number else "_signal" for number, x in enumerate(signals)}
    filters = {f"{x}_filtered": names[x] for x in signals}
    backward = [substituted(x, filters) for x in program.backward]
    writer.block(
        name,
        "backward",
        [*filtered, *(f"{names[x]} = {text}" for x, text in heard.items()), *backward],
        *views,
        _history(writer, population),
        writer.own(f"{name}_results", "_tile"),
        own,
        writer.filter_parameters(name),
        writer.control,
    )
    return tuple((f.source, number) for f, number in fused)
