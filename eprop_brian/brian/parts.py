"""What a network is in Brian2: groups of neurons, synapses, and the code that they run.

These are data. `eprop_brian.brian.objects` makes Brian2's objects of them, and
`eprop_brian.brian.script` prints them as a script, so that both are one network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers

from eprop_brian.brian.functions import PYTHON
from eprop_brian.symbolic.names import free_name, shown
from eprop_brian.symbolic.parameters import UNITS

__all__ = [
    "SCHEDULE",
    "Code",
    "GroupPart",
    "NetworkPart",
    "ObjectPart",
    "Outcome",
    "Pathway",
    "Summed",
    "SynapsesPart",
    "WeightBlock",
]

#: Slots of a time step, in their order, and what happens in them. Those of Brian2 have its names.
SCHEDULE = {
    "start": "monitors of states",
    "updates": "the end of the trial before, and the update at the end of a batch",
    "arrivals": "spikes of the step before arrive",
    "trials": "a trial begins",
    "inputs": "inputs of this step, and what they bring",
    "groups": "neurons",
    "thresholds": "spikes of this step",
    "resets": "none: a spike acts on its neuron within the step",
    "synapses": "which readouts see at once",
    "readouts": "readouts",
    "errors": "losses and their errors",
    "signals": "learning signals",
    "traces": "eligibility traces",
    "end": "nothing",
}


@dataclass(frozen=True)
class Code:
    """Statements that run in every step, or in the first step of every trial or batch.

    Attributes
    ----------
    lines : sequence of str
    when : str
        The slot.
    order : int
        In its slot.
    clock : {"step", "trial", "batch"}
    comment : str
    has_units : bool
        Whether Brian2 can check units. Derivatives are in SI units, without their names.
    """

    lines: Sequence[str]
    when: str
    order: int = 0
    clock: str = "step"
    comment: str = ""
    has_units: bool = True


@dataclass(frozen=True)
class Summed:
    """A variable of a group that synapses sum up in every step."""

    variable: str
    expression: str
    when: str
    order: int = 0


@dataclass(frozen=True)
class Pathway:
    """What a spike does at a synapse.

    Attributes
    ----------
    lines : sequence of str
    when : str
    order : int
    delay : int or array of int
        In steps, beside the one that passes where a slot comes before that of the spikes.
    """

    lines: Sequence[str]
    when: str
    order: int = 0
    delay: int | np.ndarray = 0


@dataclass
class ObjectPart:
    """What neurons and synapses have in common.

    Attributes
    ----------
    name : str
    variables : dict of str to str
        Stored per neuron or synapse, and their units.
    constants : dict of str to number
        The same for all.
    arrays : dict of str to array
        Values of variables at the beginning.
    comments : dict of str to str
        What variables and constants are.
    functions : dict of str to str
        Timed arrays that the code calls, by the names that it has for them.
    codes : list of Code
    """

    name: str
    comment: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    codes: list[Code] = field(default_factory=list)
    #: Names that mean something else in this object's code.
    taken: set[str] = field(default_factory=set)

    def free(self, wanted: str) -> str:
        """A name that means nothing yet, as much like the wanted one as there is."""
        names = {*self.taken, *self.variables, *self.constants, *self.functions, *UNITS, *PYTHON}
        return free_name(shown(wanted), names)

    def variable(
        self, wanted: str, unit: str = "1", values: np.ndarray | None = None, comment: str = ""
    ) -> str:
        """Add a variable and return its name."""
        name = self.free(wanted)
        self.variables[name] = unit
        if values is not None:
            self.arrays[name] = values
        if comment:
            self.comments[name] = comment
        return name

    def constant(self, wanted: str, value: float, comment: str = "") -> str:
        """Add a constant and return its name; one that there is with this value serves."""
        if self.constants.get(shown(wanted)) == value:
            return shown(wanted)
        name = self.free(wanted)
        self.constants[name] = value
        if comment:
            self.comments[name] = comment
        return name

    def calls(self, name: str) -> bool:
        """Whether its code calls a function."""
        return any(name in get_identifiers(line) for line in self.lines)

    @property
    def lines(self) -> list[str]:
        """All lines of its code."""
        return [line for code in self.codes for line in code.lines]

    def constants_in(
        self,
        lines: Sequence[str],
        values: Mapping[str, float | np.ndarray],
        comments: Mapping[str, str],
    ) -> dict[str, str]:
        """Add the constants that lines read; returns their names."""
        read = get_identifiers("\n".join(lines))
        return {
            name: self.constant(name, _number(value), comments.get(name, ""))
            for name, value in values.items()
            if name in read and not np.ndim(value)
        }


def _number(value: Any) -> float:
    """A whole number as such, another one as a float."""
    return int(value) if isinstance(value, int | np.integer) else float(value)


@dataclass
class GroupPart(ObjectPart):
    """A `NeuronGroup`.

    Attributes
    ----------
    size : int
    threshold, threshold_when : str
        Condition of a spike, and its slot; ``""``: these do not spike.
    """

    size: int = 1
    threshold: str = ""
    threshold_when: str = "thresholds"


@dataclass
class SynapsesPart(ObjectPart):
    """`Synapses`.

    Attributes
    ----------
    source, target : str
    connect : {"all", "others", "pairs"}
        All pairs; all but those of a neuron with itself; those in `pairs`.
    pairs : tuple of array of int
        Presynaptic and postsynaptic neuron of every synapse.
    summed : list of Summed
    on_pre : Pathway, optional
    """

    source: str = ""
    target: str = ""
    connect: str = "all"
    pairs: tuple[np.ndarray, np.ndarray] = field(
        default_factory=lambda: (np.zeros(0, int), np.zeros(0, int))
    )
    summed: list[Summed] = field(default_factory=list)
    on_pre: Pathway | None = None

    @property
    def lines(self) -> list[str]:
        """All lines of its code."""
        return [*super().lines, *(self.on_pre.lines if self.on_pre is not None else ())]


@dataclass(frozen=True)
class WeightBlock:
    """The part of a matrix [post, pre] that an object's variable holds.

    Of a learned parameter, which is a vector, `object` is a group.
    """

    matrix: str
    object: str
    variable: str
    row: int = 0
    column: int = 0
    transposed: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a readout reports at the end of a trial.

    Attributes
    ----------
    readout : str
    loss : str
        Variable that holds the sum of the losses of a trial.
    outputs : tuple of str
        Variables with the sums of its output, one for each answer.
    mean_over_readouts : bool
    counted : array, shape (n_trials,)
        Steps over which the loss is a mean; 1 where it is a sum.
    steps : array, shape (n_trials, n_answers)
        Steps over which the outputs are means.
    """

    readout: str
    loss: str
    outputs: tuple[str, ...]
    mean_over_readouts: bool
    counted: np.ndarray
    steps: np.ndarray


@dataclass
class NetworkPart:
    """A whole network.

    Attributes
    ----------
    title : list of str
    dt : float
        In seconds.
    n_steps, n_trials, batch_size : int
    timed : dict of str to array
        Values of timed arrays, one row a step or a trial.
    groups : dict of str to GroupPart
    synapses : dict of str to SynapsesPart
    outcomes : list of Outcome
    weights : list of WeightBlock
    shapes : dict of str to tuple
        Of the matrices.
    """

    title: list[str]
    dt: float
    n_steps: int
    n_trials: int
    batch_size: int
    timed: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, GroupPart] = field(default_factory=dict)
    synapses: dict[str, SynapsesPart] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    weights: list[WeightBlock] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def spiking(self) -> list[str]:
        """Populations, whose spikes are recorded."""
        return [
            g.name for g in self.groups.values() if g.threshold and g.threshold_when != "inputs"
        ]

    def calls(self, name: str) -> bool:
        """Whether some code calls a function."""
        parts = (*self.groups.values(), *self.synapses.values())
        return any(part.calls(name) for part in parts)
