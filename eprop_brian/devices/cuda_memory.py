"""The memory of a CUDA program: what all trials share, and what every trial has for itself.

A batch's trials run at the same time, each on a copy of everything that a trial changes: what the
phases of a trial write, apart from sums over trials and from what has a row for every trial. Two
stretches of memory hold all arrays at places that are known when the program is generated: one is
shared, one is there once per copy. In a kernel, pointers to them have the names that Brian2's
statements use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.gradients import Accumulate, AllSynapses, Backward, ClipNorm
from eprop_brian.steps.nodes import Each, Node
from eprop_brian.steps.schedule import Schedule, blocks_of
from eprop_brian.steps.spiking import Hear, SortSpikes

__all__ = ["Memory"]

#: What arrays are aligned to: what a GPU reads at once.
_LINE = 256
#: Most trials at a time: as many blocks as the largest GPU runs at the same time.
MOST_COPIES = 1024
#: Loop indices of what there is a row of for every trial, wherever it runs.
_OF_TRIALS = ("_record", "_answered")
#: Loop indices that change from step to step.
_OF_STEPS = r"_history|_output_\d|_sent"
_TYPES = {"float64": "double", "float32": "float", "int32": "int32_t", "int64": "int64_t"}


@dataclass(frozen=True)
class _Place:
    """An array in memory."""

    pointer: str
    type: str
    offset: int
    size: int
    bytes: int


class _Stretch:
    """Arrays one after the other."""

    def __init__(self) -> None:
        self.places: dict[str, _Place] = {}
        self.bytes = 0

    def add(self, pointer: str, dtype: np.dtype, size: int) -> None:
        n_bytes = int(size) * np.dtype(dtype).itemsize
        kind = _TYPES[np.dtype(dtype).name]
        self.places[pointer] = _Place(pointer, kind, self.bytes, int(size), n_bytes)
        self.bytes += -(-max(n_bytes, 1) // _LINE) * _LINE

    def pointers(self, base: str, restrict: bool) -> list[str]:
        """Declarations of pointers to all of them."""
        qualifier = "__restrict__ " if restrict else ""
        return [
            f"{p.type}* {qualifier}const {p.pointer} = ({p.type}*)({base} + {p.offset}ull);"
            for p in self.places.values()
        ]


class Memory:
    """Where the arrays of a program are, and how its kernels write them.

    Parameters
    ----------
    code : StepCode
    arrays : mapping of str to ArrayVariable
        All arrays, by ``"group.variable"``.
    device : brian2 Device
        Gives arrays their names.
    schedule : Schedule
    threads : int
        Threads that run a trial.

    Attributes
    ----------
    most_copies : int
        Most trials at a time.
    summed : list of Accumulate or AllSynapses
        What sums over the trials of a batch are made by, a projection each.
    partials : dict of str to int
        Where the sums of a share of trials begin, by the names of the arrays in the blocks.
    n_partials : int
        Numbers of a share.
    most_rows, most_synapses, most_neurons : int
        Of the largest projection and population that kernels go through.
    n_squares : int
        Rows of which gradients' squares are summed.
    """

    def __init__(
        self,
        code: StepCode,
        arrays: Mapping[str, ArrayVariable],
        device,
        schedule: Schedule,
        threads: int,
    ) -> None:
        self._code, self._device, self.threads = code, device, threads
        self._shared, self._own = _Stretch(), _Stretch()
        self._sums = self._written(schedule.nodes("begin_call"))
        of_trials: set[str] = set()
        if not schedule.alone:
            of_trials = self._written(schedule.nodes(*schedule.trial)) - self._sums
        rows = {n for n in of_trials if code.variables.indices[n] in _OF_TRIALS}
        mine = self._pointers_of(of_trials) - self._pointers_of(rows)
        self._keys = {key: self._pointer(variable) for key, variable in arrays.items()}
        for key, variable in arrays.items():
            pointer = self._keys[key]
            stretch = self._own if pointer in mine else self._shared
            stretch.add(pointer, variable.dtype, variable.size)
        self.most_copies = min(schedule.most_trials, MOST_COPIES)
        self._add_lists(schedule)
        self._add_sums(schedule)

    def _add_lists(self, schedule: Schedule) -> None:
        """Lists of a trial's spikes."""
        for node in schedule.nodes(*schedule.trial):
            sizes: dict[str, int] = {}
            if isinstance(node, Hear):
                sizes = {f"_heard_{node.spikes.name}": node.spikes.n}
            for s in node.sources if isinstance(node, SortSpikes) else ():
                # Spikes of each neuron, and the place of each spike among its neuron's.
                listed = self._code.variables[s.neuron].size
                sizes |= {f"_count_{s.name}": s.n, f"_rank_{s.name}": listed}
                sizes |= {f"_begin_{s.name}": s.n + 1, f"_times_{s.name}": listed}
            for name, size in sizes.items():
                self._own.add(name, np.dtype(np.int32), size)

    def _add_sums(self, schedule: Schedule) -> None:
        """Sums over trials, of which every share of a batch has its part."""
        learn = schedule.nodes("learn")
        self.summed = [node for node in learn if isinstance(node, Accumulate | AllSynapses)]
        self.partials: dict[str, int] = {}
        self.n_partials = 0
        for sums in self.summed:
            for name in self.sums_over_trials(sums):
                self.partials[name] = self.n_partials
                self.n_partials += sums.synapses.size
        for backward in (node for node in learn if isinstance(node, Backward)):
            for name in self.sums_of(backward):
                self._own.add(self.partial(name), self._code.variables[name].dtype, backward.n)
        neurons = [node.n for node in learn if isinstance(node, Each | Backward)]
        self.most_neurons = max(neurons, default=1)
        self.most_synapses = max((sums.synapses.n for sums in self.summed), default=1)
        norms = [node for node in schedule.nodes("update") if isinstance(node, ClipNorm)]
        gradients = [gradient for node in norms for gradient, _ in node.gradients]
        self.most_rows = max((g.synapses.n_pre for g in gradients), default=0)
        self.n_squares = self.most_rows * len(gradients)

    def sums_over_trials(self, node: Accumulate | AllSynapses) -> list[str]:
        """Arrays that the sums of a projection are in."""
        blocks = node.blocks if isinstance(node, Accumulate) else (node.block,)
        return sorted({name for block in blocks for name in self.written(block, "_synapse")})

    def sums_of(self, node: Backward) -> list[str]:
        """Sums over trials that neurons have of their way backwards, for learned parameters."""
        return [name for name in self.written(node.block, "_neuron") if name in self._sums]

    def partial(self, name: str) -> str:
        """What a trial adds to such a sum."""
        return "_partial" + self._pointer(self._code.variables[name]).removeprefix("_ptr")

    def _written(self, nodes: Iterable[Node]) -> set[str]:
        """Arrays that nodes write, by their names in the blocks."""
        names: set[str] = set()
        for node in nodes:
            names |= {*node.sets()}
            for block in blocks_of(node, self._code.blocks):
                names |= self._assigned(block)
        return names

    def _assigned(self, block: str) -> set[str]:
        """Arrays that a block writes."""
        names = {line.split(" = ")[0] for line in self._code.blocks[block].split("\n")}
        variables = self._code.variables
        return {name for name in names if isinstance(variables.get(name), ArrayVariable)}

    def _pointers_of(self, names: Iterable[str]) -> set[str]:
        return {self._pointer(self._code.variables[name]) for name in names}

    def _pointer(self, variable: ArrayVariable) -> str:
        return self._device.get_array_name(variable, access_data=True, prefix="_ptr")

    # --- what a template calls -------------------------------------------------------------------

    @property
    def shared_bytes(self) -> int:
        """Size of what all trials share."""
        return self._shared.bytes

    @property
    def own_bytes(self) -> int:
        """Size of what a trial has for itself."""
        return self._own.bytes

    def shared_pointers(self, restrict: bool = False) -> list[str]:
        """Declarations of pointers to what all trials share."""
        return self._shared.pointers("_memory.shared", restrict)

    def own_pointers(self, restrict: bool = False) -> list[str]:
        """Declarations of pointers to what a trial has for itself, from ``_own`` on."""
        return self._own.pointers("_own", restrict)

    def offset(self, name: str) -> int:
        """Place in the shared memory of an array, by its name in the blocks."""
        return self._shared.places[self._pointer(self._code.variables[name])].offset

    def written(self, block: str, index: str) -> list[str]:
        """Arrays with a loop index that a block writes, by their names in the blocks."""
        indices = self._code.variables.indices
        return sorted(n for n in self._assigned(block) if indices[n] == index)

    def name(self, name: str) -> str:
        """The variable that stands for an array's element while a thread works on it."""
        return "_local" + self._pointer(self._code.variables[name]).removeprefix("_ptr")

    def declare(self, names: Iterable[str], again: bool = False) -> list[str]:
        """Such variables, which are 0."""
        return [f"{self._type(n, again)}{self.name(n)} = 0;" for n in names]

    def load(self, names: Iterable[str], again: bool = False) -> list[str]:
        """Such variables, with the values of the arrays."""
        return [f"{self._type(n, again)}{self.name(n)} = {self._element(n)};" for n in names]

    def store(self, names: Iterable[str]) -> list[str]:
        """Back into the arrays."""
        return [f"{self._element(n)} = {self.name(n)};" for n in names]

    def local(
        self, lines: Iterable[str], names: Iterable[str], ahead: Iterable[str] = ()
    ) -> list[str]:
        """Statements with such variables in the place of the arrays' elements.

        What the blocks `ahead` read of other steps, and do not write, is read as what no one writes
        meanwhile: a GPU then reads it ahead of what is written in between.
        """
        text = "\n".join(lines)
        for n in names:
            text = text.replace(self._element(n), self.name(n))
        pointers = self._pointers_of(n for block in ahead for n in self._assigned(block))
        for pointer in {*self._pointers(ahead)} - pointers:
            text = re.sub(rf"\b{pointer}\[({_OF_STEPS})\]", rf"__ldg({pointer} + \1)", text)
        return text.split("\n")

    def parameters(self, *blocks: str) -> str:
        """The arrays of some blocks as parameters of a function.

        A compiler believes of a parameter, unlike of a pointer in a block of statements, that it
        shares its array with no other, and reads ahead of what is written meanwhile.
        """
        return ", ".join(f"{self._type_of(p)}* __restrict__ {p}" for p in self._pointers(blocks))

    def arguments(self, *blocks: str) -> str:
        """What such a function is called with."""
        return ", ".join(self._pointers(blocks))

    def _pointers(self, blocks: Iterable[str]) -> list[str]:
        names = {n for block in blocks for n in get_identifiers(self._code.blocks[block])}
        variables = {n: self._code.variables.get(n) for n in names}
        return sorted(
            {self._pointer(v) for v in variables.values() if isinstance(v, ArrayVariable)}
        )

    def _type_of(self, pointer: str) -> str:
        stretch = self._own if pointer in self._own.places else self._shared
        return stretch.places[pointer].type

    def _type(self, name: str, again: bool) -> str:
        return "" if again else _TYPES[np.dtype(self._code.variables[name].dtype).name] + " "

    def _element(self, name: str) -> str:
        index = self._code.variables.indices[name]
        return f"{self._pointer(self._code.variables[name])}[{index}]"

    # --- what the host program reads --------------------------------------------------------------

    def table(self, initial: Mapping[str, float]) -> str:
        """The header ``table.h``: arrays by their keys, and those with a value from the start.

        Parameters
        ----------
        initial : mapping of str to float
        """
        entries = []
        for key, pointer in self._keys.items():
            if pointer in self._own.places:
                place, where = self._own.places[pointer], "memory.copies"
                copies = "memory.n_copies, memory.own_bytes"
            else:
                place, where = self._shared.places[pointer], "memory.shared"
                copies = "1, 0"
            entries.append(f'{{"{key}", {{{where} + {place.offset}ull, {place.bytes}, {copies}}}}}')
        lines = [
            "namespace eprop_brian",
            "{",
            "inline Arrays table(const Memory& memory)",
            "{",
            "    return {\n        " + ",\n        ".join(entries) + "};",
            "}",
            "",
            "inline void initialize(Arrays& arrays)",
            "{",
        ]
        for key, value in initial.items():
            kind = self._shared.places[self._keys[key]].type
            lines += ["    {", f"        const {kind} value = {float(value)!r};"]
            lines += [f'        put(arrays["{key}"], &value);', "    }"]
        return "\n".join([*lines, "}", "}", ""])
