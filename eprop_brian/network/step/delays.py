"""Blocks of delays that learn.

The eligibility vector of a delay has the drive ``b * (-w) g'(t - t_spike - d)`` in the place of
``b * pre``, where g is the bump that stands for a spike (`eprop_brian.equations.delays`). As
``lambda_[t]`` is what a unit of input in step t adds to the gradient, the gradient of a delay is
the sum of ``-w g'(t - t_spike - d) lambda_[t]`` over the presynaptic spikes and the steps around
their arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

from brian2.groups.group import Group

from eprop_brian.network.graph import Connection
from eprop_brian.network.learned_delays import DELAY, LearnedDelay, slope_names
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.learned import in_shares, update_of_parameter
from eprop_brian.network.step.weights import effective_weight
from eprop_brian.network.step.writing import Writer, views
from eprop_brian.steps.blocks import View, repeat
from eprop_brian.symbolic.programs import ParameterProgram, parameter_sums

__all__ = ["write_delay_traces", "write_lagged_sums", "write_learned_delays"]


def write_learned_delays(
    writer: Writer, p: BuiltProjection[Connection], learned: LearnedDelay
) -> None:
    """Write how a projection's delays are updated and rounded."""
    own = View(p.group, "_synapse")
    sums = parameter_sums(DELAY, writer.network.rate_averaging)
    cleared = [f"{x} = 0" for pair in sums.items() for x in pair]
    update = update_of_parameter(writer.network, DELAY, in_shares(sums), cleared)
    rates = View(writer.groups.groups[p.target], "_post", {"rate_factor": "rate_factor"})
    writer.block(p.name, "learn_delays", update, own, rates, writer.control)
    least, slopes = p.connection.least_delay, slope_names(learned)
    weight = effective_weight(writer, p)
    # The difference to the whole number below is exact, which delay + 0.5 would not be. A delay
    # that is not a number must not select what is beyond the arrays.
    rounded = [
        f"below = floor({DELAY})",
        f"there = int({DELAY} >= {least})*int({DELAY} <= {learned.longest})",
        f"nearest = where(there, below + int({DELAY} - below >= 0.5), {least})",
        f"delay = nearest - {least}",
        f"offset = nearest - {DELAY}",
    ]
    for lag, slope in slopes.items():
        # No spike acts before it could at the earliest.
        causal = f"*int(nearest >= {least - lag})" if lag < 0 else ""
        rounded.append(f"{slope} = -{weight}{causal}*({learned.slope(lag, 'offset')})")
    writer.block(p.name, "round_delays", rounded, own)


def write_lagged_sums(
    writer: Writer,
    p: BuiltProjection[Connection],
    learned: LearnedDelay,
    sides: Sequence[tuple[Group, str, Sequence[str]]],
) -> None:
    """Write the sums over presynaptic spikes of the results around their arrival.

    Parameters
    ----------
    writer : Writer
    p : BuiltProjection
    learned : LearnedDelay
    sides : sequence of (group, index, names)
        What they read: the results of the population, in the order of the sums, and, with analog
        inputs, their size ``x``.
    """
    own, sums = View(p.group, "_synapse"), parameter_sums(DELAY, writer.network.rate_averaging)
    (_, _, results), *values = sides
    factor = "x*" if values else ""
    for number, slope in enumerate(slope_names(learned).values()):
        statements = [
            f"{x} = {x} + {factor}{slope}*{result}" for x, result in zip(sums, results, strict=True)
        ]
        writer.block(p.name, f"lag_{number}", statements, *views(sides), own)


def write_delay_traces(
    writer: Writer, p: BuiltProjection[Connection], learned: LearnedDelay
) -> ParameterProgram:
    """Write the steps of the traces of a projection's delays, and return their program."""
    groups, drive = writer.groups, f"drive_{DELAY}"
    program, slopes = groups.delay(p.target, p.connection.receptor), slope_names(learned)
    own = View(p.group, "_synapse", {x: x for x in (drive, *program.variables, *slopes.values())})
    pre = View(groups.groups[f"{p.name}_pre_window"], "_pre_0", {"pre": "pre"})
    for number, slope in enumerate(slopes.values()):
        writer.block(p.name, f"lag_{number}", [f"{drive} = {drive} + {slope}*pre"], pre, own)
    window = groups.groups[f"{p.target}_window"]
    code, windows = repeat([*program.step, f"{drive} = 0"], 1, (window, "_post", window.names))
    writer.block(
        p.name,
        "delay_trace",
        code,
        *windows,
        own,
        writer.own(p.target, "_post"),
        writer.filter_parameters(p.target),
        writer.control,
    )
    return program
