"""Exogenous quantities: what a step reads of the time, of random numbers and of timed arrays.

No weight moves them, so their derivatives are 0 and only their values are missing. A derivation
takes them for numbers that change from step to step. `eprop_brian.symbolic.exogenous_reader` finds
them in the equations of a neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from brian2.core.functions import DEFAULT_FUNCTIONS, Function
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from eprop_brian.base.random import neuron_normals, neuron_uniforms
from eprop_brian.symbolic.timed_arrays import TimedValues

__all__ = [
    "DRAWN_BY",
    "DRAW_FUNCTIONS",
    "Draw",
    "Exogenous",
    "Place",
    "Sample",
    "Time",
    "uniform_draws",
]

#: What draws numbers of a kind in the equations of a neuron.
DRAWN_BY = {"uniform": "rand", "normal": "randn"}


def _of_halves(draw: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A function that draws, of a key in two halves."""

    def drawn(low, high, step, neuron, population, number):
        key = (int(high) % 2**32 << 32) + int(low) % 2**32
        return draw(key, step, neuron, population, number)

    return drawn


#: What draws in the statements of a program, by names that no user's equations can have, in NumPy.
#: Their arguments are the halves of the trial's key, the step, the neuron, and numbers of the
#: population and of the draw. ``native/draws.h`` has them without the underscore.
DRAW_FUNCTIONS = {
    "_neuron_normal": _of_halves(neuron_normals),
    "_neuron_uniform": _of_halves(neuron_uniforms),
}
for _name, _function in DRAW_FUNCTIONS.items():
    DEFAULT_FUNCTIONS[_name] = Function(_function, arg_units=[1] * 6, return_unit=1)


@dataclass(frozen=True)
class Exogenous:
    """A quantity of a step that follows from no state.

    Attributes
    ----------
    name : str
        In the statements of the step.
    """

    name: str

    @property
    def call(self) -> str:
        """What stands for it in the equations of a neuron."""
        return self.name

    @property
    def stored(self) -> str:
        """Its name in the statements of a program."""
        raise NotImplementedError

    @property
    def words(self) -> str:
        """What it is, for a derivation."""
        raise NotImplementedError

    @property
    def dim(self) -> Dimension:
        """Its unit."""
        return DIMENSIONLESS

    @property
    def at_rest(self) -> float:
        """Its value in a step in which nothing happens."""
        return 0.0

    @property
    def varies(self) -> bool:
        """Whether it changes from step to step."""
        return True

    @property
    def several(self) -> bool:
        """Whether it differs from neuron to neuron."""
        return True


@dataclass(frozen=True)
class Time(Exogenous):
    """The time since the start of the trial or, without trials, of everything.

    Attributes
    ----------
    steps_ago : int
        0 for that of the step; 1 for that of the step before, in which Brian2 has done what a spike
        does at the beginning of this one.
    """

    steps_ago: int = 0

    @property
    def call(self) -> str:
        """See `Exogenous.call`."""
        return "t"

    @property
    def stored(self) -> str:
        """See `Exogenous.stored`."""
        return "time_before" if self.steps_ago else "time"

    @property
    def words(self) -> str:
        """See `Exogenous.words`."""
        return "the time of the step before" if self.steps_ago else "the time"

    @property
    def dim(self) -> Dimension:
        """See `Exogenous.dim`."""
        return second.dim

    @property
    def several(self) -> bool:
        """See `Exogenous.several`."""
        return False


@dataclass(frozen=True)
class Draw(Exogenous):
    """A random number of every neuron and step.

    Attributes
    ----------
    kind : {"normal", "uniform"}
    number : int
        From 1 on, among the draws of a step.
    """

    kind: str = "normal"
    number: int = 0

    @property
    def call(self) -> str:
        """See `Exogenous.call`."""
        return f"{DRAWN_BY[self.kind]}()"

    @property
    def stored(self) -> str:
        """See `Exogenous.stored`."""
        return f"draw_{self.number}"

    @property
    def words(self) -> str:
        """See `Exogenous.words`."""
        kinds = {"normal": "normal, of variance 1", "uniform": "uniform from 0 to 1"}
        return f"a random number for every neuron and step, {kinds[self.kind]}"

    @property
    def at_rest(self) -> float:
        """See `Exogenous.at_rest`."""
        return 0.5 if self.kind == "uniform" else 0.0


@dataclass(frozen=True)
class Sample(Exogenous):
    """What a timed array has at some time.

    Attributes
    ----------
    array : str
        Its name.
    values : TimedValues
    time, column : str
        The arguments of the call: expressions of ``t``, ``i``, ``N``, ``dt``, parameters and
        constants. The second is ``""`` for an array of one value for each time.
    number : int
        From 1 on, among the samples of a step.
    steps_ago : int
        As for `Time`.
    several : bool
        See `Exogenous.several`.
    constant : bool
        Whether its value must hold for the whole step, as an exact solution takes it to do.
    """

    array: str = ""
    values: TimedValues = field(kw_only=True, compare=False)
    time: str = "t"
    column: str = ""
    number: int = 0
    steps_ago: int = 0
    several: bool = False  # type: ignore[assignment]
    constant: bool = False

    @property
    def call(self) -> str:
        """See `Exogenous.call`."""
        return f"{self.array}({', '.join(x for x in (self.time, self.column) if x)})"

    @property
    def stored(self) -> str:
        """See `Exogenous.stored`."""
        return f"sample_{self.number}"

    @property
    def words(self) -> str:
        """See `Exogenous.words`."""
        return f"{self.call}{' in the step before' if self.steps_ago else ''}"

    @property
    def dim(self) -> Dimension:
        """See `Exogenous.dim`."""
        return self.values.dim

    @property
    def at_rest(self) -> float:
        """See `Exogenous.at_rest`: the first value."""
        return float(self.values.values.flat[0])


@dataclass(frozen=True)
class Place(Exogenous):
    """A neuron's number in its population, ``i``, or the size of the population, ``N``."""

    @property
    def stored(self) -> str:
        """See `Exogenous.stored`."""
        return "index" if self.several else "size"

    @property
    def words(self) -> str:
        """See `Exogenous.words`."""
        return "the neuron's number" if self.several else "the number of neurons"

    @property
    def at_rest(self) -> float:
        """See `Exogenous.at_rest`."""
        return 0.0 if self.several else 1.0

    @property
    def varies(self) -> bool:
        """See `Exogenous.varies`."""
        return False

    @property
    def several(self) -> bool:
        """See `Exogenous.several`."""
        return self.name == "i"


def uniform_draws(quantities: Iterable[Exogenous]) -> list[str]:
    """The names of random numbers between 0 and 1."""
    return [q.name for q in quantities if isinstance(q, Draw) and q.kind == "uniform"]
