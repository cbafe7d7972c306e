"""What the printers of all languages share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.gradients import Accumulate, Combine
from eprop_brian.steps.labels import LabelProbabilities
from eprop_brian.steps.nodes import (
    Choose,
    Column,
    Count,
    Counter,
    Each,
    Fire,
    For,
    ForFired,
    If,
    Int,
    Lap,
    Let,
    Node,
    Once,
    Put,
    Record,
    Row,
    Show,
    Stop,
)
from eprop_brian.steps.schedule import Schedule
from eprop_brian.steps.spiking import (
    DelayTraces,
    Deliver,
    Inputs,
    Passes,
    Signal,
    Spikes,
    Synapses,
    Traces,
    plus,
)

__all__ = ["CLikePrinter", "Printer", "indented"]

Lines = list[str]


def indented(lines: Iterable[str]) -> Lines:
    """Lines one level further in."""
    return [f"    {line}" for line in lines]


class Printer:
    """Writes a schedule in one language; it has a method ``print_<node>`` for every kind of node.

    Parameters
    ----------
    code : StepCode
    schedule : Schedule
    scalar, vector : mapping of str to sequence of str
        Statements of every block in the language, as Brian2 generates them: those that are the same
        for all elements, and those of an element.
    pointer : callable
        What an array is called in the language, by its name in the blocks.
    real : str
        Float type of all state, ``"double"`` or ``"float"``.
    memory : object, optional
        Where a device keeps the arrays, if its language must know.
    """

    #: What a level of indentation is in the text of a phase.
    _LEVEL = "    "

    def __init__(
        self,
        code: StepCode,
        schedule: Schedule,
        scalar: Mapping[str, Sequence[str]],
        vector: Mapping[str, Sequence[str]],
        pointer: Callable[[str], str],
        real: str,
        memory: Any = None,
    ) -> None:
        self.code, self.schedule, self.pointer = code, schedule, pointer
        self.real, self.memory = real, memory
        self._scalar, self._vector = scalar, vector

    def phase(self, name: str, level: int = 0) -> str:
        """A phase of the schedule as text, so many levels further in."""
        return self.text(self.schedule.phases.get(name, ()), level)

    def lap(self, stage: str, level: int = 0) -> str:
        """The end of a stage that the frame itself has, if time is measured."""
        stages = self.schedule.frame.rules.stages
        return self.text([Lap(stages.index(stage))] if stages else [], level)

    def text(self, nodes: Iterable[Node], level: int = 0) -> str:
        """Nodes as text, of which a template has indented the first line."""
        return f"\n{self._LEVEL * level}".join(self.lines(nodes))

    def lines(self, nodes: Iterable[Node]) -> Lines:
        """The lines of some nodes."""
        return [
            line
            for node in nodes
            for line in getattr(self, f"print_{type(node).__name__.lower()}")(node)
        ]

    def expression(self, text: str | int) -> str:
        """An expression with the language's names of its arrays."""
        return re.sub(r"\{(\w+)\}", lambda match: self.pointer(match[1]), str(text))

    def constants(self, block: str) -> Lines:
        """Statements of a block that are the same for all elements."""
        return [line for lines in self._scalar[block] for line in lines.split("\n")]

    def statements(self, block: str) -> Lines:
        """Statements of a block for one element."""
        return [line for lines in self._vector[block] for line in lines.split("\n")]

    def begin(self, spikes: Spikes, step: str = "_step", shift: int = 0) -> str:
        """Where the spikes of a step, and so many more, begin in the list of a source.

        The step before a trial's first is -1.
        """
        place = shift + 1
        index = f"{step} + {place}" if place > 0 else step if place == 0 else f"{step} - {-place}"
        return f"{self.pointer(spikes.first)}[{index}]"

    def extra(self, synapses: Synapses) -> str:
        """Steps by which the delays of the synapses at hand exceed the least."""
        if isinstance(synapses.extra, str):
            return f"{self.pointer(synapses.extra)}[_synapse]"
        return str(synapses.extra or 0)


class CLikePrinter(Printer):
    """C++ and CUDA, which differ in how a loop runs and in who writes a single element."""

    #: What is added to a neuron's number for its place in a row of results.
    first_of_tile = ""
    #: Who goes through the loops of a function of ``ctc.h``.
    threads = "OneThread"

    @property
    def integer(self) -> str:
        """Type of loop indices and places."""
        return "int"

    def loop(self, index: str, first: str | int, end: str | int, body: Lines) -> Lines:
        """A loop whose iterations may run in any order."""
        raise NotImplementedError

    def single(self, lines: Lines) -> Lines:
        """What must happen once."""
        raise NotImplementedError

    def synapse_end(self, synapses: Synapses) -> int:
        """Up to which postsynaptic neuron a loop over a row goes."""
        raise NotImplementedError

    def place(self, name: str, value: str | int) -> str:
        """The declaration of an index, or a place in an array."""
        return f"const {self.integer} {name} = {value};"

    def head(self, index: str, first: str | int, end: str | int, by: str | int = 1) -> str:
        """The head of a loop that one thread goes through in order."""
        ahead = f"{index}++" if by == 1 else f"{index} += {by}"
        return f"for ({self.integer} {index} = {first}; {index} < {end}; {ahead})"

    def smaller(self, a: str | int, b: str | int) -> str:
        """The smaller one of two indices or places."""
        return f"({a} < {b} ? {a} : {b})"

    def braces(self, *parts: Lines) -> Lines:
        """A block of statements."""
        return ["{", *indented(line for lines in parts for line in lines), "}"]

    def block(self, name: str) -> Lines:
        """The statements of a block for one element, with constants of its own."""
        return self.braces(self.constants(name), self.statements(name))

    def over(
        self, block: str, index: str, n: int | str, rows: Mapping[str, str], first: str | int = 0
    ) -> Lines:
        """A block for all values of an index; `rows` are where other indices begin."""
        own = [self.place(name, f"{start} + {index}") for name, start in rows.items()]
        return self.braces(
            self.constants(block), self.loop(index, first, n, [*own, *self.statements(block)])
        )

    def row(self, synapses: Synapses, body: Lines, first: str = "0", end: str = "") -> Lines:
        """A loop over the synapses of ``_pre``, onto some of the neurons unless it is sparse."""
        s = synapses
        feedback = []
        if s.feedback_width:
            feedback = [self.place("_feedback", f"_post*{s.feedback_width} + _pre")]
        if s.first is not None and s.post is not None:
            own = [self.place("_post", f"{self.pointer(s.post)}[_synapse]"), *feedback]
            rows = self.pointer(s.first)
            return self.loop("_synapse", f"{rows}[_pre]", f"{rows}[_pre + 1]", [*own, *body])
        own = [self.place("_synapse", f"_pre*{s.width} + _post"), *feedback]
        return self.loop("_post", first, end or self.synapse_end(s), [*own, *body])

    def row_of(self, block: str, synapses: Synapses) -> Lines:
        """A block for the synapses of ``_pre``."""
        return self.braces(self.constants(block), self.row(synapses, self.statements(block)))

    def later(self, node: Deliver) -> Lines:
        """Where what arrives later is kept."""
        if node.synapses.extra is None:
            return []
        row = f"(_now + {self.extra(node.synapses)}) % {node.later_rows}"
        return [self.place("_later", f"{row}*{node.synapses.width} + _post")]

    def lagged(self, node: Accumulate, spike: str) -> Lines:
        """Results of the steps before and after the arrival of a spike of step `spike`."""
        lines = []
        for lag, block in node.lagged.items():
            late = self.late(node.synapses, lag)
            row = f"({spike} + {node.delay + node.first_row} + {late})*{node.width}"
            place = self.place("_tile", f"{row} + {self.first_of_tile}_post")
            lines += self.braces(self.constants(block), [place], self.statements(block))
        return lines

    def late(self, synapses: Synapses, lag: int) -> str:
        """Steps by which delays and a lag exceed the least delay, none if they do not."""
        late = f"{self.extra(synapses)} + {lag}"
        return f"({late} > 0 ? {late} : 0)" if lag < 0 else f"({late})"

    def delay_trace(self, node: DelayTraces) -> Lines:
        """The trace of a synapse's delay, after what arrives around the spikes."""
        n_pre, rows = node.synapses.n_pre, node.pre_rows
        lines = [self.place("_post_0", "_row_0 + _post")]
        for lag, block in node.lagged.items():
            step = f"_now_0 + {rows} - {self.late(node.synapses, lag)}"
            place = self.place("_pre_0", f"({step}) % {rows}*{n_pre} + _pre")
            lines += self.braces(self.constants(block), [place], self.statements(block))
        return [*lines, *self.statements(node.block)]

    def delay_steps(self, node: DelayTraces, synapses: Lines) -> Lines:
        """The steps that traces of delays do on end."""
        places = [
            self.place("_now_0", "_from + _k"),
            self.place("_row_0", f"_now_0 % {node.window_rows}*{node.synapses.width}"),
        ]
        head = self.head("_k", 0, node.steps)
        return self.braces(self.constants(node.block), [head], self.braces(places, synapses))

    def combined(self, node: Combine, at: str) -> Lines:
        """The sum that an element is set to."""
        first, index, factor = (self.pointer(x) for x in (node.first, node.index, node.factor))
        term = f"{factor}[_term]*{self.pointer(node.source)}[{index}[_term]]"
        return [
            f"{self.real} _sum = 0;",
            f"{self.head('_term', f'{first}[{at}]', f'{first}[{at} + 1]')} _sum += {term};",
            f"{self.pointer(node.array)}[{at}] = _sum;",
        ]

    def sent(self, node: Signal) -> Lines:
        """Where the signal stands that a connection hands on."""
        late = f" - {self.pointer(node.delay)}[_synapse]" if node.delay else ""
        return [self.place("_sent", f"({node.row}{late})*{node.synapses.n_pre} + _pre")]

    def trial_values(self, inputs: Inputs, trial: str = "_trial") -> str:
        """Where the values of a trial begin."""
        if not inputs.pattern:
            return str(inputs.before)
        pattern = f"({self.integer}){self.pointer(inputs.pattern)}[{trial}]"
        return f"{pattern}*{inputs.n_steps * inputs.row}{plus(inputs.before)}"

    def step_words(self, inputs: Inputs) -> str:
        """Where the words of the step begin."""
        pattern = f"(size_t){self.pointer(inputs.pattern)}[_trial]*{inputs.n_steps}"
        return f"({pattern} + {inputs.step('_step')})*{inputs.row}{plus(inputs.before)}"

    def windows(self, node: Traces) -> Lines:
        """Where it is kept what traces read of the steps from ``_from`` on."""
        lines = []
        for k in range(node.steps):
            step = f"_from + {k}"
            if node.synapses.extra is not None:
                step = f"_from + {k + node.pre_rows} - {self.extra(node.synapses)}"
            lines += [
                self.place(f"_post_{k}", f"_row_{k} + _post"),
                self.place(f"_pre_{k}", f"({step}) % {node.pre_rows}*{node.synapses.n_pre} + _pre"),
            ]
        return lines

    def window_rows(self, node: Traces) -> Lines:
        """The rows of what is kept of the postsynaptic side."""
        return [
            self.place(f"_row_{k}", f"(_from + {k}) % {node.window_rows}*{node.synapses.width}")
            for k in range(node.steps)
        ]

    def silent(self, node: Traces | DelayTraces) -> str:
        """Whether the traces of the synapses of ``_pre`` are left alone."""
        if isinstance(node, Traces) and node.since is not None:
            return f"{self.pointer(node.since)}[_pre] >= {node.limit}"
        return f"!_heard_{node.source.name}[_pre]"

    def print_each(self, node: Each) -> Lines:
        return self.over(node.block, node.index, node.n, node.rows)

    def print_show(self, node: Show) -> Lines:
        return []

    def print_row(self, node: Row) -> Lines:
        rows = {"_synapse": f"_pre*{node.n_post}", **node.rows}
        return self.over(node.block, "_post", node.n_post, rows)

    def print_column(self, node: Column) -> Lines:
        own = [self.place("_synapse", f"_neuron*{node.width} + _pre")]
        body = [*own, *self.statements(node.block)]
        return self.braces(self.constants(node.block), self.loop("_neuron", 0, node.n, body))

    def print_once(self, node: Once) -> Lines:
        own = [self.place(index, value) for index, value in node.indices.items()]
        return self.single([*own, *self.constants(node.block), *self.statements(node.block)])

    def print_let(self, node: Let) -> Lines:
        return [f"const {self.real} {node.name} = {self.pointer(node.array)}[{node.index}];"]

    def print_int(self, node: Int) -> Lines:
        return [self.place(node.name, self.expression(node.value))]

    def print_stop(self, node: Stop) -> Lines:
        return [f"if ({self.expression(node.condition)}) _T = _step + 1;"]

    def print_choose(self, node: Choose) -> Lines:
        condition = self.expression(node.condition)
        return [self.place(node.name, f"{condition} ? {node.then} : {node.otherwise}")]

    def print_counter(self, node: Counter) -> Lines:
        return [f"{self.integer} {node.name} = 0;"]

    def print_put(self, node: Put) -> Lines:
        value = self.expression(node.value)
        return self.single([f"{self.pointer(node.array)}[{node.index}] = {value};"])

    def print_record(self, node: Record) -> Lines:
        place = f"{self.pointer(node.array)}[{node.at} + _i]"
        return self.loop("_i", 0, node.n, [f"{place} = {self.expression(node.value)};"])

    def print_count(self, node: Count) -> Lines:
        return [f"{node.name}++;"]

    def print_if(self, node: If) -> Lines:
        lines = [f"if ({self.expression(node.condition)})", *self.braces(self.lines(node.then))]
        if node.otherwise:
            lines += ["else", *self.braces(self.lines(node.otherwise))]
        return lines

    def print_for(self, node: For) -> Lines:
        i = node.index
        head = self.head(i, node.first, node.end)
        return [head, *self.braces(self.lines(node.body))]

    def print_fire(self, node: Fire) -> Lines:
        candidates, fired = self.pointer(node.candidates), f"{self.pointer(node.into)} + {node.at}"
        found = f"eprop_brian::fire({candidates}, {node.n}, {node.one}, {fired})"
        return [f"const int32_t* const _fired = {fired};", self.place("_n_fired", found)]

    def print_forfired(self, node: ForFired) -> Lines:
        return [
            self.head("_s", 0, "_n_fired"),
            *self.braces([self.place("_pre", "_fired[_s]")], self.lines(node.body)),
        ]

    def print_labelprobabilities(self, node: LabelProbabilities) -> Lines:
        at = {node.labels: node.at_labels, node.sums: node.at_sums}

        def place(array: str) -> str:
            return f"{self.pointer(array)} + {at[array]}" if array in at else self.pointer(array)

        given = [node.most_labels, node.n, place(node.labels), place(node.frame_steps)]
        given += [place(node.sums), node.row, place(node.y), place(node.p), place(node.y_target)]
        given += [place(node.log_likelihood), place(node.room)]
        frames = f"const eprop_brian::LabelledFrames<{self.real}> _frames ="
        call = f"eprop_brian::{self.threads}(), {node.most_frames}, _frames"
        return self.braces(
            [frames, f"    {{{', '.join(map(str, given))}}};"],
            [f"eprop_brian::label_probabilities({call});"],
        )

    def print_passes(self, node: Passes) -> Lines:
        first = [self.place("_from", "_traced")]
        lines, left = [], ""
        if node.several:
            head = f"for (; _known - _traced >= {node.steps}; _traced += {node.steps})"
            lines, left = [head, *self.braces(first, self.lines(node.several))], "_known == _T && "
        head = f"for (; {left}_traced < _known; _traced++)"
        return [*lines, head, *self.braces(first, self.lines(node.single))]
