"""Inputs and populations as groups of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eprop_brian.brian.context import Context, guarded, in_si_units
from eprop_brian.brian.exogenous import describe_exogenous
from eprop_brian.brian.parts import GroupPart, NetworkPart
from eprop_brian.brian.sources import Source, lagged_lines, start_of, written
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.regularizers import FIRING_RATE, MOVING_RATE, MOVING_RATE_FACTOR
from eprop_brian.network.built import dependent_constants, neuron_values, state_variable
from eprop_brian.network.graph import InputGroup, PopulationGroup
from eprop_brian.network.step.learned import update_of_parameter
from eprop_brian.network.step.neurons import is_refractory, neuron_statements
from eprop_brian.symbolic.coefficients import LIMITS
from eprop_brian.symbolic.names import input_name, own, owned, shown, substituted
from eprop_brian.symbolic.programs import parameter_program, parameter_sums
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.tasks.trials import Trials

__all__ = ["describe_inputs", "describe_population", "finish_population"]


def describe_inputs(
    context: Context, network: NetworkPart, inputs: InputGroup, n_trials: int
) -> Source:
    """A group of inputs, whose spikes or values come from a timed array."""
    part = GroupPart(inputs.name, size=inputs.size)
    source = Source(part)
    part.taken.add("x")
    part.variables["x"] = "1"
    part.comments["x"] = "spikes or values of this step"
    part.threshold_when = "inputs"
    if inputs.constant:
        part.comment.append("They spike in every step: their weights are biases.")
        part.constants["last"] = n_trials * context.n_steps
        source.lines = ["x = int(t_in_timesteps < last)"]
    else:
        stimulus, row = f"{inputs.name}_patterns", "pattern_of_trial"
        part.functions |= {stimulus: stimulus, row: row}
        part.taken |= {*part.functions}
        source.lines = [
            "trial = t_in_timesteps // n_steps",
            "step = t_in_timesteps % n_steps",
            f"row = {row}(trial*dt)*n_steps + step",
            f"x = {stimulus}(row*dt, i)",
        ]
        part.constants["n_steps"] = context.n_steps
    if not context.state.capacity.analog or inputs.constant:
        part.threshold = "x > 0.5"
    network.groups[inputs.name] = part
    return source


def describe_population(
    context: Context, network: NetworkPart, population: PopulationGroup, trials: Trials
) -> Source:
    """A population: its neurons' step as it is derived, in the order in which it runs."""
    name, system = population.name, context.systems[population.name]
    step, dt = system.step, float(context.network.dt)
    part = GroupPart(name, size=population.size, comment=_equations(population.neuron))
    source = Source(part, entering="z")
    names = source.names
    values = neuron_values(population, dt)
    source.values = {**values, **context.constants}
    source.comments = {**_texts(population.neuron), **context.comments}
    # Users' names come first, so that they are what they were written as.
    for state, unit in step.units.items():
        names[state] = part.variable(state, unit)
    for parameter, value in values.items():
        if np.ndim(value) and parameter in owned(population.neuron.parameters).values():
            text = source.comments.get(parameter, "")
            names[parameter] = part.variable(parameter, values=np.asarray(value), comment=text)
    for parameter in step.constants:
        if np.ndim(values[parameter]):
            names[parameter] = part.variable(parameter, values=np.asarray(values[parameter]))
    learning = context.learns(population.name)
    refractory = is_refractory(population, context.network)
    for variable in (*map(input_name, system.drive), "z"):
        source.add(variable)
    if refractory:
        source.add("refractory_counter", comment="steps until it may spike again")
    exogenous, source.outside = describe_exogenous(context, network, part, population, trials)
    names |= exogenous
    _begin(source, step, values)
    if learning:
        _learning_variables(context, source, population)
    stored = values.get("refractory_steps", 0)
    if np.ndim(stored) and refractory:
        names["refractory_steps"] = part.variable("refractory_steps", values=np.asarray(stored))
    if learning and context.averaging in ("trial", "batch"):
        source.add("spike_count")
    for reading in system.readings:
        source.add(f"reading_{reading.number}", comment=f"{reading.text}, after the step")
    part.threshold = f"{names['z']} > 0.5"
    network.groups[name] = part
    return source


def finish_population(
    context: Context,
    population: PopulationGroup,
    source: Source,
    weights: Mapping[str, Any],
    arriving: Mapping[str, list[str]],
) -> None:
    """Add the step of a population.

    Parameters
    ----------
    context : Context
    population : PopulationGroup
    source : Source
    weights : mapping
        With its parameters that learn.
    arriving : mapping of str to list of str
        Variables that synapses sum up in every step, by the input that they are a part of.
    """
    system = context.systems[population.name]
    learning = context.learns(population.name)
    refractory = is_refractory(population, context.network)
    update = _step(context, population, source, learning, refractory)
    if learning:
        update += _moving_rate(context)
    if "spike_count" in source.names:
        update.append("spike_count = spike_count + z")
    for reading in system.readings:
        update.append(f"reading_{reading.number} = {reading.value.code}")
    summed = [f"{name} = {' + '.join([name, *parts])}" for name, parts in arriving.items()]
    source.lines = [*source.outside, *written(source, [*summed, *update])]
    if learning and population.learned:
        _learned(context, source, population, weights)
    units = system.step.units.values()
    source.si_units |= in_si_units([*source.lines, *source.traced, *source.refresh], units)
    if "spike_count" in source.names:
        _rates(context, source)
    source.finish(context)


def _texts(neuron: Neuron) -> dict[str, str]:
    """What parameters and constants of a neuron were written as, by their names in statements."""
    texts = {k: str(v) for k, v in neuron.parameters.items() if not np.ndim(v)}
    return {own(name): text for name, text in {**texts, **neuron.constants}.items()}


def _equations(neuron: Neuron) -> list[str]:
    """The neuron as its user wrote it."""
    return str(neuron).splitlines()


def _begin(source: Source, step, values: Mapping[str, float | np.ndarray]) -> None:
    """The states that a trial begins with."""
    for state in step.units:
        if state not in step.states:
            continue
        start = start_of(source.part, shown(state), values[f"{state}_initial"])
        source.begin.append(f"{source.names[state]} = {start}")


def _step(
    context: Context,
    population: PopulationGroup,
    source: Source,
    learning: bool,
    refractory: bool,
) -> list[str]:
    """The statements of a step, by the names of the derivation."""
    system = context.systems[population.name]
    active = source.part.free("may_spike")
    update = neuron_statements(
        system,
        [input_name(receptor) for receptor in system.drive],
        learning=learning,
        refractory=refractory,
        limits=LIMITS[8],
        active=active,
    )
    if learning and system.step.refractory_surrogate.strip() == "0":
        psi = f"psi = {active}*({system.step.surrogate})"
        if not refractory:
            psi = f"psi = {system.step.surrogate}"
        update = [psi if line.startswith("psi = ") else line for line in update]
    if refractory:
        counting = next(k for k, line in enumerate(update) if line.startswith("refractory_counter"))
        update.insert(counting + 1, f"{active} = int(refractory_counter < 0.5)")
    return update


def _learning_variables(context: Context, source: Source, population: PopulationGroup) -> None:
    """What synapses read of the neurons."""
    system = context.systems[population.name]
    source.add("psi", comment="dz/dmargin, the surrogate")
    for learned in system.learned.values():
        for slope in learned.slopes:
            if slope not in source.names:
                source.names[slope] = source.part.variable(slope)
    for number in range(len(system.readings) + 1):
        source.add(signal_name(number), comment="learning signal")
    for coefficient in (*system.varying(after=False), *system.varying(after=True)):
        if coefficient not in source.names:
            source.add(coefficient, comment="derivative of the step")
    if context.averaging != "none":
        source.add("rate_factor", comment="what the rate regulariser multiplies traces by")
    if context.averaging == "moving":
        source.add("moving_rate")


def _moving_rate(context: Context) -> list[str]:
    if context.averaging != "moving":
        return []
    return [substituted(x, _per_step(context)) for x in (MOVING_RATE, MOVING_RATE_FACTOR)]


def _per_step(context: Context) -> dict[str, str]:
    """The target rate in spikes a step."""
    network = context.network
    return {"f_target": f"{float(network.f_target)!r}", "dt": f"{float(network.dt)!r}"}


def _rates(context: Context, source: Source) -> None:
    """The factor of the rate regulariser, at the end of a trial or of a batch."""
    factor = substituted(FIRING_RATE, _per_step(context))
    if context.averaging == "trial":
        source.trial = written(source, [f"rate_factor = {factor}"]) + source.trial
        return
    source.names["batch_spike_count"] = source.part.variable("batch_spike_count")
    tally = ["batch_spike_count = batch_spike_count + spike_count"]
    mean = substituted(factor, {"spike_count": "(batch_spike_count/batch_size)"})
    source.trial = written(source, tally) + source.trial
    lines = [f"rate_factor = {mean}", "batch_spike_count = 0"]
    source.batch = written(source, lines) + source.batch


def _learned(
    context: Context, source: Source, population: PopulationGroup, weights: Mapping[str, Any]
) -> None:
    """Parameters that learn: one value per neuron, with traces and an optimizer of its own."""
    system, network = context.systems[population.name], context.network
    part, names = source.part, source.names
    changing = owned(dependent_constants(population)).values()
    derived = [f"{constant} = {system.step.constants[constant]}" for constant in changing]
    for learned in system.learned.values():
        derived += [f"{slope} = {text}" for slope, text in learned.slopes.items()]
    source.refresh = written(source, derived)
    states = [state_variable(state) for state in network.optimizer.states]
    traced: list[str] = []
    trial: list[str] = []
    batch: list[str] = []
    for name, parameter in system.learned.items():
        program = parameter_program(system, parameter, context.filter, context.averaging)
        sums = parameter_sums(name, context.averaging)
        others = [f"scaled_{name}", f"gradient_{name}", *sums, *(f"{s}_{name}" for s in states)]
        for variable in (*program.variables, *others):
            names[variable] = part.variable(variable)
        traced += lagged_lines(program.step, network.readout_delay)
        trial += [*program.gradient, *(f"{v} = 0" for v in program.variables)]
        batch += update_of_parameter(network, name, [*sums], [f"{x} = 0" for x in sums])
    kept = [*system.learned, *(f"{s}_{name}" for s in states for name in system.learned)]
    batch = guarded(batch, kept)
    eta = network.optimizer.parameters.get("eta")
    for name, bounds in population.learned.items():
        source.learned[name] = names[own(name)]
        part.arrays[names[own(name)]] = np.asarray(weights[f"{population.name}.{name}"], float)
        if bounds.eta is None and eta is not None:
            source.values[f"eta_{own(name)}"] = eta
    source.traced = written(source, traced)
    source.trial += written(source, trial)
    source.batch += written(source, batch)
