"""Learned delays: how long spikes take along each synapse, as a number that learns.

The network runs with delays that are rounded to whole steps. Their derivative is that of a spike
that arrives spread over a few steps (`eprop_brian.equations.delays`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from brian2.units import Quantity, second

from eprop_brian.base.checks import check_positive, check_positive_quantity, check_real, is_number
from eprop_brian.base.sparse import values_of
from eprop_brian.equations.delays import GAUSSIAN_BUMP
from eprop_brian.network.delays import delay_steps, longest
from eprop_brian.network.learned import LearnedRange
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    expression_text,
    parse_expression,
    refuse_steps,
    require_known,
    symbol,
)
from eprop_brian.symbolic.parameters import parse_quantity

if TYPE_CHECKING:
    from eprop_brian.network.graph import Connection
    from eprop_brian.network.resolved import Resolved

__all__ = [
    "DELAY",
    "RANGE",
    "LearnedDelay",
    "as_learned_delay",
    "check_learned_delay",
    "rounded",
    "slope_names",
]

#: Variable of the synapses that holds the delay in steps before it is rounded.
DELAY = "exact_delay"
#: Numbers that an update of it reads, as an update of a neuron's parameter does.
RANGE = tuple(f"{name}_{DELAY}" for name in ("eta", "scale", "minimum", "maximum"))
#: Standard deviations beyond which a bump is left out.
_DEVIATIONS = 3


@dataclass(frozen=True)
class LearnedDelay:
    """How the delays of a connection learn.

    The optimizer changes them relative to the longest, so that one learning rate fits delays and
    weights; then they are clipped to lie between the shortest that there can be and the longest.

    Parameters
    ----------
    longest : int
        Longest delay in steps.
    width : float
        Width of the bump in steps.
    shape : str
        The bump, an expression of ``lag`` and ``width`` in steps whose sum over the steps is 1.
    reach : int, optional
        Steps before and after the arrival beyond which the bump is 0. Default: three widths.
    eta : float, optional
        Learning rate of the relative delays; default: the optimizer's.
    """

    longest: int
    width: float = 1.5
    shape: str = GAUSSIAN_BUMP
    reach: int | None = None
    eta: float | None = None

    def __post_init__(self) -> None:
        check_positive("longest learned delay", self.longest)
        if self.reach is not None:
            check_positive("reach of a learned delay", self.reach)
        if not is_number(self.width) or not 0 < self.width < np.inf:
            raise ValueError(f"width of a learned delay must be above 0, not {self.width!r}")
        if self.eta is not None:
            check_real("eta of a learned delay", self.eta, minimum=0)
        self._slope()

    @property
    def lags(self) -> range:
        """The steps before and after the arrival in which the bump is not 0."""
        reach = math.ceil(_DEVIATIONS * self.width) if self.reach is None else int(self.reach)
        return range(-reach, reach + 1)

    def slope(self, steps: int, offset: str) -> str:
        """The derivative of the bump where lag is `steps` and the variable `offset` together."""
        return expression_text(self._slope().subs(symbol("lag"), steps + symbol(offset)))

    def _slope(self) -> sympy.Expr:
        where = "learned delay, shape"
        shape = parse_expression(self.shape, where)
        known = {"lag", "width"}
        require_known(sorted(s.name for s in shape.free_symbols), known, where, self.shape)
        lag = symbol("lag")
        refuse_steps(shape, {lag}, self.shape, where)
        slope = shape.subs(symbol("width"), float(self.width)).diff(lag)
        if slope == 0:
            raise EquationError(where, self.shape, "does not change with lag: nothing can learn")
        return slope

    def bounds(self, least: int) -> LearnedRange:
        """Bounds and scale in steps, where the shortest delay that there can be is `least`."""
        return LearnedRange(float(self.longest), float(least), float(self.longest), self.eta)


def as_learned_delay(where: str, given: Any, dt: Quantity) -> LearnedDelay | None:
    """A `LearnedDelay`, or a mapping with its fields; ``longest`` and ``width`` may be times.

    Parameters
    ----------
    where : str
        Whose it is, for errors.
    given : LearnedDelay, mapping or None
    dt : Quantity

    Raises
    ------
    ValueError
        If it is none of these, or a field does not fit.
    """
    if given is None or isinstance(given, LearnedDelay):
        return given
    names = [f.name for f in fields(LearnedDelay)]
    if not isinstance(given, Mapping) or "longest" not in given or {*given} - {*names}:
        raise ValueError(
            f"{where}: learned_delay takes {', '.join(names)}, for example "
            f"{{longest = '20 ms'}}; got {given!r}"
        )
    options = dict(given)
    if not is_number(options["longest"]):
        steps = delay_steps(f"{where}, longest delay", options["longest"], dt, 1, ())
        options["longest"] = longest(steps)
    width = options.get("width")
    if width is not None and not is_number(width):
        width = parse_quantity(width, where) if isinstance(width, str) else width
        check_positive_quantity(f"{where}, width of its learned delay", width, second, "2*ms")
        options["width"] = float(width) / float(dt)
    return LearnedDelay(**options)


def slope_names(learned: LearnedDelay) -> dict[int, str]:
    """Variables of the synapses for the bump's slope, times the weight, by lag."""
    return {lag: f"slope_{number}" for number, lag in enumerate(learned.lags)}


def rounded(delays: np.ndarray) -> np.ndarray:
    """Delays as the network runs with them, rounded to the nearest step and up from halfway.

    No rounding error enters, so that programs of either precision find the same (see
    `eprop_brian.network.step.delays`).
    """
    below = np.floor(delays)
    return below + (delays - below >= 0.5)


def check_learned_delay(connection: Connection, network: Resolved) -> None:
    """Refuse delays that cannot learn.

    Raises
    ------
    ValueError
        If the connection or the network has no way of learning them, or they start out of bounds.
    """
    learned = connection.learned_delay
    if learned is None:
        return
    refusal = next(_refusals(connection, learned, network), "")
    if refusal:
        raise ValueError(f"projection '{connection.name}': {refusal}")


def _refusals(connection: Connection, learned: LearnedDelay, network: Resolved) -> Iterator[str]:
    """Why delays cannot learn."""
    if connection.to_readout:
        yield "the delay of a readout cannot learn, since all its spikes have the same"
    if network.gradient == "bptt":
        yield "gradient = 'bptt' cannot learn delays, since rounding to steps has no derivative"
    if network.updates != "batch":
        yield f"delays learn between batches: updates must be 'batch', not '{network.updates}'"
    if connection.signs is not None:
        yield "delays cannot learn where rewiring moves synapses, which would inherit them"
    least, longest = connection.least_delay, learned.longest
    if longest <= least:
        yield f"the longest learned delay must be more than {least} steps, not {longest}"
    steps = values_of(connection.delay_steps)
    if np.any(np.less(steps, least)) or np.any(np.greater(steps, longest)):
        yield (
            f"learned delays must start between {least} and {longest} steps, not at "
            f"{int(np.min(steps))} to {int(np.max(steps))}"
        )
    if "delay" in {
        *(x for o in network.optimizers for x in o.states),
        *(p.name for p in network.populations),
    }:
        yield "learned delays are kept as 'delay', a name that something else has: rename it"
    if learned.eta is not None and "eta" not in network.optimizer.parameters:
        yield (
            f"its learned delay has an eta, but optimizer '{network.optimizer.name}' has none: "
            "its learning rate must be called eta"
        )
