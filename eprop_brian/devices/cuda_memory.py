"""The memory of a CUDA program: what all trials share, and what every trial has for itself.

A batch's trials run at the same time, each on a copy of everything that a trial changes. Two
stretches of memory hold all arrays at places that are known when the program is generated: one is
shared, one is there once per copy. In a kernel, pointers to them have the names that Brian2's
statements use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.network.blocks import StepCode

__all__ = ["Memory", "most_rows", "written_by_trials"]

#: What arrays are aligned to: what a GPU reads at once.
_LINE = 256
#: Most trials at a time: as many blocks as the largest GPU runs at the same time.
MOST_COPIES = 1024
#: Blocks of a projection and of a population that are not a trial's own.
_SHARED_BLOCKS = frozenset(
    ("zero_sums", "fold", "measure", "optimize", "accumulate", "accumulate_several", "gradient")
)
_SHARED_NEURON_BLOCKS = frozenset(
    ("refresh", "learn", "zero_learned", "fold", "zero_sums", "tally", "parameter_gradient")
)
#: What there is a row of for every trial, wherever it runs.
_BY_TRIAL = ("outcomes", "answers", "trials")
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

    def pointers(self, base: str, restrict: bool) -> str:
        qualifier = "__restrict__ " if restrict else ""
        return "\n".join(
            f"{p.type}* {qualifier}const {p.pointer} = ({p.type}*)({base} + {p.offset}ull);"
            for p in self.places.values()
        )


def written_by_trials(code: StepCode, plan: Mapping[str, Any]) -> set[str]:
    """Names, in the blocks, of the arrays that a trial writes."""
    blocks = set(code.blocks)
    for p in plan["projections"]:
        blocks -= {p[key] for key in _SHARED_BLOCKS if key in p}
    found = {plan["inputs"]["z"]}
    for p in plan["populations"]:
        blocks -= {p[key] for key in _SHARED_NEURON_BLOCKS if key in p}
        if plan["rate_per_batch"]:
            blocks -= {p["rate"]}
        found.add(p["spike_count"])
    for source in (plan["inputs"], *plan["populations"]):
        found |= {source["spikes"], source["first"]}
    for block in blocks:
        found |= _assigned(code, block)
    sums = {name for p in plan["populations"] for name in _sums(code, p)}
    return {name for name in found - sums if code.variables[name].owner.name not in _BY_TRIAL}


def _assigned(code: StepCode, block: str) -> set[str]:
    """Arrays that a block writes."""
    names = {line.split(" = ")[0] for line in code.blocks[block].split("\n")}
    return {name for name in names if isinstance(code.variables.get(name), ArrayVariable)}


def _sums(code: StepCode, population: Mapping[str, Any]) -> list[str]:
    """Sums over trials that the learned parameters of a population have."""
    if not population["learned"]:
        return []
    return sorted(_assigned(code, population["zero_learned"]))


def most_rows(plan: Mapping[str, Any]) -> int:
    """Presynaptic neurons of the largest projection."""
    return max(p["n_pre"] for p in plan["projections"])


class Memory:
    """Where the arrays of a program are, and how a template writes them.

    Parameters
    ----------
    code : StepCode
    arrays : mapping of str to ArrayVariable
        All arrays, by ``"group.variable"``.
    device : brian2 Device
        Gives arrays their names.
    own : set of str
        Names in the blocks of the arrays that every trial has for itself.
    """

    def __init__(
        self, code: StepCode, arrays: Mapping[str, ArrayVariable], device, own: Iterable[str] = ()
    ) -> None:
        self._code, self._device = code, device
        self._shared, self._own = _Stretch(), _Stretch()
        mine = {self._pointer(code.variables[name]) for name in own}
        self._keys = {key: self._pointer(variable) for key, variable in arrays.items()}
        for key, variable in arrays.items():
            pointer = self._keys[key]
            stretch = self._own if pointer in mine else self._shared
            stretch.add(pointer, variable.dtype, variable.size)

    def _pointer(self, variable: ArrayVariable) -> str:
        return self._device.get_array_name(variable, access_data=True, prefix="_ptr")

    # --- what a template asks for -----------------------------------------------------------------

    @property
    def shared_bytes(self) -> int:
        """Size of what all trials share."""
        return self._shared.bytes

    @property
    def own_bytes(self) -> int:
        """Size of what a trial has for itself."""
        return self._own.bytes

    def shared_pointers(self, restrict: bool = False) -> str:
        """Declarations of pointers to what all trials share."""
        return self._shared.pointers("_memory.shared", restrict)

    def own_pointers(self, restrict: bool = False) -> str:
        """Declarations of pointers to what a trial has for itself, from ``_own`` on."""
        return self._own.pointers("_own", restrict)

    def offset(self, name: str) -> int:
        """Place in the shared memory of an array, by its name in the blocks."""
        return self._shared.places[self._pointer(self._code.variables[name])].offset

    def written(self, block: str, index: str) -> list[str]:
        """Arrays with a loop index that a block writes, by their names in the blocks."""
        indices = self._code.variables.indices
        return sorted(n for n in _assigned(self._code, block) if indices[n] == index)

    def name(self, name: str) -> str:
        """The variable that stands for an array's element while a thread works on it."""
        return "_local" + self._pointer(self._code.variables[name]).removeprefix("_ptr")

    def declare(self, names: Iterable[str], again: bool = False) -> str:
        """Such variables, which are 0."""
        return "\n".join(f"{self._type(n, again)}{self.name(n)} = 0;" for n in names)

    def load(self, names: Iterable[str], again: bool = False) -> str:
        """Such variables, with the values of the arrays."""
        return "\n".join(
            f"{self._type(n, again)}{self.name(n)} = {self._element(n)};" for n in names
        )

    def store(self, names: Iterable[str]) -> str:
        """Back into the arrays."""
        return "\n".join(f"{self._element(n)} = {self.name(n)};" for n in names)

    def local(self, lines: Iterable[str], names: Iterable[str], ahead: Iterable[str] = ()) -> str:
        """Statements with such variables in the place of the arrays' elements.

        What the blocks `ahead` read of other steps, and do not write, is read as what no one writes
        meanwhile: a GPU then reads it ahead of what is written in between.
        """
        text = "\n".join(lines)
        for n in names:
            text = text.replace(self._element(n), self.name(n))
        written = {n for block in ahead for n in _assigned(self._code, block)}
        pointers = {self._pointer(self._code.variables[n]) for n in written}
        for pointer in {*self._pointers(ahead)} - pointers:
            text = re.sub(rf"\b{pointer}\[({_OF_STEPS})\]", rf"__ldg({pointer} + \1)", text)
        return text

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

    # --- what the host program asks for -----------------------------------------------------------

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


class NetworkMemory(Memory):
    """The memory of a network that learns from trials, with what its kernels need besides.

    Parameters
    ----------
    code, arrays, device
        As for `Memory`.
    plan : mapping
        What the ``step`` template follows.
    n_trials : int
        Most trials of a call.
    """

    def __init__(
        self, code: StepCode, arrays: Mapping[str, ArrayVariable], device, plan, n_trials: int
    ) -> None:
        super().__init__(code, arrays, device, written_by_trials(code, plan))
        self._plan = plan
        sources = (plan["inputs"], *plan["populations"])
        for s in sources:
            name, listed = s["name"], code.variables[s["spikes"]].size
            extra = {}
            if not plan["online"]:
                # Spikes of each neuron, and the place of each spike among its neuron's.
                extra = {"count": s["n"], "rank": listed, "begin": s["n"] + 1, "times": listed}
            elif not plan["continuous"]:
                extra = {"heard": s["n"]}
            for what, size in extra.items():
                self._own.add(f"_{what}_{name}", np.dtype(np.int32), size)
        if not plan["online"]:
            for p in plan["populations"]:
                for sum_name in self.sums_of(p):
                    self._own.add(self.partial(sum_name), code.variables[sum_name].dtype, p["n"])
        self._partials: dict[tuple[int, str], int] = {}
        self.n_partials = 0
        for number, name, size in self._summed():
            self._partials[number, name] = self.n_partials
            self.n_partials += size
        self.most_copies = 1 if plan["continuous"] else min(n_trials, MOST_COPIES)
        self.most_rows = most_rows(plan)
        clipped = "clip_norm" in plan
        self.n_squares = self.most_rows * len(plan["projections"]) if clipped else 0
        self.most_synapses = max(
            p["size"] if p["sparse"] else p["n_pre"] * p["n_post"] for p in plan["projections"]
        )

    def _summed(self) -> Iterator[tuple[int, str, int]]:
        """Sums over trials that the synapses of each projection have."""
        if self._plan["continuous"]:
            return
        for number, p in enumerate(self._plan["projections"]):
            for name in self.written(p.get("gradient") or p["accumulate"], "_synapse"):
                yield number, name, p["size"]

    def first_partial(self, number: int, name: str) -> int:
        """Where the sums of a projection, by its number, begin among those of a share."""
        return self._partials[number, name]

    def sums_of(self, population: Mapping[str, Any]) -> list[str]:
        """Sums over trials of the learned parameters of a population."""
        return _sums(self._code, population)

    def partial(self, name: str) -> str:
        """What a trial adds to such a sum."""
        return "_partial" + self._pointer(self._code.variables[name]).removeprefix("_ptr")

    def tile(self, projection: Mapping[str, Any]) -> int:
        """Width of the results of a projection's target."""
        target = projection["target"]
        return next(p["tile"] for p in self._plan["populations"] if p["name"] == target)
