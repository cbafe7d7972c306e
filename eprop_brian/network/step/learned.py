"""Blocks of the parameters of neurons that learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eprop_brian.network.built import dependent_constants, optimizer_names, optimizer_statements
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.step.episodes import reward_view, rewarded
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.symbolic.names import owned, substituted
from eprop_brian.symbolic.programs import parameter_sums

__all__ = ["in_shares", "update_of_parameter", "write_learned"]


def write_learned(writer: Writer, population: PopulationGroup) -> None:
    """Write the blocks of a population's learned parameters."""
    groups, name = writer.groups, population.name
    system, neurons = groups.systems[name], writer.own(name)
    changing = owned(dependent_constants(population)).values()
    derived = [f"{constant} = {system.step.constants[constant]}" for constant in changing]
    if groups.learning:
        for learned in system.learned.values():
            derived += [f"{slope} = {text}" for slope, text in learned.slopes.items()]
    # At the start of a trial alone: another loop might round them in another way.
    writer.block(name, "refresh", derived, neurons, writer.control)
    if not groups.learning:
        return
    update, zero_sums, fold = [], [], []
    for parameter in system.learned:
        sums = parameter_sums(parameter, writer.network.rate_averaging)
        cleared = [f"{x} = 0" for pair in sums.items() for x in pair]
        zero_sums += cleared
        fold += [line for x, t in sums.items() for line in (f"{t} = {t} + {x}", f"{x} = 0")]
        update += update_of_parameter(writer.network, parameter, in_shares(sums), cleared)
    writer.block(name, "learn", update, neurons, writer.control)
    writer.block(name, "zero_learned", zero_sums, neurons)
    writer.block(name, "fold", fold, neurons)
    if groups.online:
        _write_online(writer, population)


def in_shares(sums: Mapping[str, str]) -> list[str]:
    """Sums over a batch whose shares are summed up in others (`parameter_sums`)."""
    return [f"({x} + {total})" for x, total in sums.items()]


def update_of_parameter(
    network: Resolved, parameter: str, summed: Sequence[str], cleared: Iterable[str]
) -> list[str]:
    """An update of a parameter, relative to its scale.

    Parameters
    ----------
    network : Resolved
    parameter : str
        The variable; others that belong to it end in its name.
    summed : sequence of str
        Sums over the trials of a batch: of the gradient and, if the rate regulariser waits for the
        end of the batch, of the traces.
    cleared : iterable of str
        Statements that set the sums to 0.
    """
    optimizer = network.optimizer
    names = optimizer_names(network, optimizer)
    gradient = summed[0]
    if len(summed) > 1:
        gradient = f"({gradient} + rate_factor*{summed[1]})"
    of_parameter = {
        "w": f"scaled_{parameter}",
        "g": f"(scale_{parameter}*gradient_{parameter})",
        names.get("eta", ""): f"eta_{parameter}",
        # Bounds of weights mean nothing to a parameter, which has its own.
        names.get("w_min", ""): f"minimum_{parameter}",
        names.get("w_max", ""): f"maximum_{parameter}",
        **{names[state]: f"{names[state]}_{parameter}" for state in optimizer.states},
    }
    scaled = f"scaled_{parameter}"
    return [
        f"gradient_{parameter} = gradient_scale*{gradient}/batch_size",
        *cleared,
        # Anew in every update: rounding is then the same however many calls there are.
        f"{scaled} = {parameter}/scale_{parameter}",
        *(substituted(x, of_parameter) for x in optimizer_statements(network, optimizer)),
        f"{scaled} = clip({scaled}, minimum_{parameter}, maximum_{parameter})",
        f"{parameter} = scale_{parameter}*{scaled}",
    ]


def _write_online(writer: Writer, population: PopulationGroup) -> None:
    """Traces of the parameters."""
    groups, name = writer.groups, population.name
    neurons, window = writer.own(name), groups.groups[f"{name}_window"]
    programs = [groups.parameter(population, p) for p in groups.systems[name].learned]
    writer.block(
        name,
        "parameter_trace",
        [line for program in programs for line in program.step],
        View(window, "_window", {n: n for n in window.names}),
        neurons,
        writer.filter_parameters(name),
        writer.control,
    )
    writer.block(
        name,
        "parameter_gradient",
        [line for program in programs for line in program.gradient],
        neurons,
    )
    if groups.tagging is not None:
        reward = [line for program in programs for line in program.reward]
        writer.block(
            name, "parameter_reward", rewarded(writer, reward), neurons, reward_view(writer)
        )
    variables = [f"{v} = 0" for program in programs for v in program.variables]
    writer.block(name, "parameter_zero", variables, neurons)
