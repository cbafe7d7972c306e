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
from eprop_brian.network.step.learned import update_of_parameter
from eprop_brian.network.step.writing import Writer, views
from eprop_brian.steps.blocks import View
from eprop_brian.symbolic.programs import parameter_sums

__all__ = ["write_learned_delays"]


def write_learned_delays(
    writer: Writer,
    p: BuiltProjection[Connection],
    learned: LearnedDelay,
    sides: Sequence[tuple[Group, str, Sequence[str]]],
) -> None:
    """Write the blocks of a projection's delays, apart from those of the sums over trials.

    Parameters
    ----------
    writer : Writer
    p : BuiltProjection
    learned : LearnedDelay
    sides : sequence of (group, index, names)
        What the sums over presynaptic spikes read: the results of the population, in the order of
        the sums, and, with analog inputs, their size ``x``.
    """
    own = View(p.group, "_synapse")
    sums = parameter_sums(DELAY, writer.network.rate_averaging)
    cleared = [f"{x} = 0" for pair in sums.items() for x in pair]
    update = update_of_parameter(writer, DELAY, sums, cleared)
    rates = View(writer.groups.groups[p.target], "_post", {"rate_factor": "rate_factor"})
    writer.block(p.name, "learn_delays", update, own, rates, writer.control)
    least, slopes = p.connection.least_delay, slope_names(learned)
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
        rounded.append(f"{slope} = -w{causal}*({learned.slope(lag, 'offset')})")
    writer.block(p.name, "round_delays", rounded, own)
    (_, _, results), *values = sides
    factor = "x*" if values else ""
    for number, slope in enumerate(slopes.values()):
        statements = [
            f"{x} = {x} + {factor}{slope}*{result}" for x, result in zip(sums, results, strict=True)
        ]
        writer.block(p.name, f"lag_{number}", statements, *views(sides), own)
