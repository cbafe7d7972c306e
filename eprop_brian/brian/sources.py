"""Groups while they are described: what they send, and the lines of their step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers

from eprop_brian.brian.context import Context, in_si_units, renamed
from eprop_brian.brian.parts import Code, GroupPart
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.transmission import Transmission

__all__ = ["Source", "endings", "lagged_lines", "start_of", "written"]


@dataclass
class Source:
    """A group of inputs, neurons or readouts while it is described, with the lines of its step.

    Attributes
    ----------
    part : GroupPart
    names : dict of str to str
        Names in the group, of what the statements call otherwise.
    entering : str
        What the group calls the spike that enters synapses in this step.
    outside : list of str
        Statements that compute time, random numbers and timed arrays, in the group's names.
    first, lines, sending, last : list of str
        Statements of a step: with the spikes of the step before, of the neurons, of what synapses
        hand on of the new spikes, and with these.
    begin : list of str
        At the start of a trial.
    traced : list of str
        When learning signals have arrived.
    trial, batch : list of str
        At the end of a trial and of a batch.
    refresh : list of str
        At the start of a trial, before the states.
    values, comments : dict
        Numbers that its statements may read, by their names there, and what these are.
    si_units : bool
        Whether its statements are in SI units without names.
    sent : list of (Transmission, str)
        What synapses hand on of its spikes, and the variable that has it.
    kept : dict of str to list of str
        What was sent before, a variable for each step.
    presynaptic : dict
        Traces that synapses share, with what they are called here.
    learned : dict of str to str
        Parameters that learn, and the variables that hold them.
    hears : dict of str to list of str
        Variables that a learning signal is the sum of, by its name in the statements.
    """

    part: GroupPart
    names: dict[str, str] = field(default_factory=dict)
    entering: str = "x"
    outside: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    begin: list[str] = field(default_factory=list)
    traced: list[str] = field(default_factory=list)
    trial: list[str] = field(default_factory=list)
    batch: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)
    values: dict[str, float | np.ndarray] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    si_units: bool = False
    sending: list[str] = field(default_factory=list)
    sent: list[tuple[Transmission, str]] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)
    presynaptic: dict[tuple, dict[str, str]] = field(default_factory=dict)
    learned: dict[str, str] = field(default_factory=dict)
    hears: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, unit: str = "1", comment: str = "") -> str:
        """Add a variable, which starts every trial at 0."""
        self.names[name] = self.part.variable(name, unit, comment=comment)
        self.begin.append(f"{self.names[name]} = 0")
        return self.names[name]

    @property
    def is_input(self) -> bool:
        """Whether what it sends in a step enters in that step, rather than in the next."""
        return self.entering == "x"

    @property
    def spike(self) -> str:
        """The variable of its spikes."""
        return "x" if self.is_input else self.names["z"]

    def transmitted(self, transmission: Transmission, dt: float) -> str:
        """The variable with what synapses hand on of its spikes; the same for equal ones."""
        for known, variable in self.sent:
            if transmission.hands_on_as(known):
                return variable
        step, part = transmission.map, self.part
        part.comment += [f"Synapses: {step.synapse!r}"]
        value = part.variable("sent", comment="what synapses hand on of its spikes")
        names = {"value_sent": value, "z": self.spike}
        for state, initial in step.initial_values(dt).items():
            names[state] = part.variable(state)
            self.begin.append(f"{names[state]} = {start_of(part, names[state], initial)}")
        self.begin.append(f"{value} = 0")
        numbers: dict[str, Any] = {**transmission.units, **step.parameters}
        for parameter, number in numbers.items():
            if np.ndim(number):
                names[parameter] = part.variable(parameter, values=np.asarray(number))
        lines = transmission.statements(inputs=self.is_input)
        names |= part.constants_in(lines, numbers, {})
        self.sending += renamed(lines, names)
        self.si_units |= in_si_units(lines)
        self.sent.append((transmission, value))
        return value

    def presynaptic_traces(
        self,
        lines: Iterable[str],
        names: Iterable[str],
        values: Mapping,
        comments: Mapping,
        sent: str,
    ) -> dict[str, str]:
        """Add traces that live on the presynaptic neurons; returns what they are called here.

        Synapses whose traces are the same share them. `sent` is what they are traces of.
        """
        lines, names = list(lines), list(names)
        read = get_identifiers("\n".join(lines))
        numbers = {k: float(v) for k, v in values.items() if k in read and not np.ndim(v)}
        key = (tuple(lines), tuple(sorted(numbers.items())), sent)
        if key not in self.presynaptic:
            constants = self.part.constants_in(lines, numbers, comments)
            variables = {name: self.part.variable(name) for name in names}
            self.begin += [f"{variable} = 0" for variable in variables.values()]
            self.presynaptic[key] = variables
            self.si_units |= in_si_units(lines)
            written = renamed(lines, {**constants, **variables, "pre": sent})
            (self.last if self.is_input else self.first).extend(written)
        return self.presynaptic[key]

    def before(self, sent: str, steps: int) -> str:
        """The variable of what was sent so many steps before the newest."""
        if not steps:
            return sent
        kept = self.kept.setdefault(sent, [])
        while len(kept) < steps:
            number = len(kept) + 1
            comment = f"{sent} of {number} step{'s' * (number > 1)} before"
            kept.append(self.part.variable(f"{sent}_{number}", comment=comment))
            self.begin.append(f"{kept[-1]} = 0")
        return kept[steps - 1]

    def finish(self, context: Context) -> None:
        """Put the lines into the code of the group."""
        codes, checked = self.part.codes, not self.si_units
        slot = "inputs" if self.is_input else "groups"
        if self.refresh:
            codes.append(
                Code(
                    self.refresh,
                    "trials",
                    -1,
                    "trial",
                    "what follows from parameters that learn",
                    has_units=checked,
                )
            )
        shifted = []
        for sent, kept in self.kept.items():
            if self.is_input:
                self.begin.append(f"{sent} = 0")
            names = [sent, *kept]
            shifted += [f"{names[k]} = {names[k - 1]}" for k in range(len(kept), 0, -1)]
        if self.begin:
            units = {*self.part.variables.values()} - {"1"}
            codes.append(
                Code(self.begin, "trials", 0, "trial", "a trial begins", has_units=not units)
            )
        step = [*shifted, *self.first, *self.lines, *self.sending, *self.last]
        codes.append(Code(step, slot, comment="a step", has_units=checked))
        sums = [
            f"{self.names[heard]} = {' + '.join(parts)}"
            for heard, parts in self.hears.items()
            if len(parts) > 1
        ]
        if sums:
            codes.append(Code(sums, "signals", 1, comment="the learning signal"))
        if self.traced:
            codes.append(
                Code(
                    self.traced,
                    "traces",
                    comment="eligibility traces of the parameters that learn",
                    has_units=checked,
                )
            )
        codes += endings(context, self.trial, self.batch, 0, checked)


def endings(
    context: Context, trial: Iterable[str], batch: Iterable[str], order: int, checked: bool
) -> list[Code]:
    """The code of the ends of trials and batches, which runs when the next ones begin."""
    trial, batch = list(trial), list(batch)
    if context.batch_size == 1:
        trial, batch = [*trial, *batch], []
    what = "the end of a trial" if context.batch_size > 1 else "the end of a trial, and the update"
    codes = [
        Code(trial, "updates", order, "trial", what, checked),
        Code(batch, "updates", order + 2, "batch", "the update at the end of a batch", checked),
    ]
    return [code for code in codes if code.lines]


def start_of(part: GroupPart, state: str, initial: np.ndarray | float) -> str:
    """What a state begins a trial with: a number, or a variable with one value per neuron."""
    if np.ndim(initial):
        return part.variable(f"{state}_initial", values=np.asarray(initial))
    return repr(float(initial)) if initial else "0"


def written(source: Source, lines: list[str]) -> list[str]:
    """Lines in the names of a group, which gets the constants that they read."""
    numbers = {k: v for k, v in source.values.items() if k not in source.names}
    constants = source.part.constants_in(lines, numbers, source.comments)
    return renamed(lines, {**source.names, **constants})


def lagged_lines(lines: Iterable[str], lag: int) -> list[str]:
    """Lines in which a learning signal meets the filtered traces of the step before.

    That is where readouts see spikes a step late, and so answer them a step later.
    """
    lines = list(lines)
    if not lag:
        return lines
    filtered = [line.split(" = ")[0] for line in lines if line.startswith("filtered_")]
    heard = {name: f"{name}_heard" for name in filtered}
    return [
        *(f"{late} = {name}" for name, late in heard.items()),
        *(substituted(x, heard) if x.startswith("signal_sum") else x for x in lines),
    ]
