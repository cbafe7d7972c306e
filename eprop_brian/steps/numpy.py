"""Schedules in Python with NumPy: a loop is a slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eprop_brian.steps.labels import LabelProbabilities
from eprop_brian.steps.nodes import (
    Choose,
    Column,
    Copy,
    Count,
    Counter,
    Each,
    Fill,
    Fire,
    For,
    ForFired,
    If,
    Int,
    Lap,
    Let,
    Node,
    Noise,
    Once,
    Pairs,
    Put,
    Record,
    Row,
    Show,
    Stop,
    Sums,
    Sync,
)
from eprop_brian.steps.printer import Lines, Printer, indented

__all__ = ["NumpyLoops", "fire", "normal"]


class NumpyLoops(Printer):
    """Nodes of `eprop_brian.steps.nodes`. The frame imports `fire` and `normal`."""

    def block(self, block: str, indices: Mapping[str, str]) -> Lines:
        """A block for elements that the given indices have."""
        own = [f"{index} = {value}" for index, value in indices.items()]
        return [*own, *self.constants(block), *self.statements(block)]

    def print_each(self, node: Each) -> Lines:
        return self.block(node.block, {node.index: "slice(None)", **_slices(node.rows, node.n)})

    def print_show(self, node: Show) -> Lines:
        return self.block(node.block, {"_neuron": "slice(None)", **_slices(node.rows, node.n)})

    def print_row(self, node: Row) -> Lines:
        rows = {"_synapse": f"_pre*{node.n_post}", **node.rows}
        return self.block(node.block, {"_post": "slice(None)", **_slices(rows, node.n_post)})

    def print_column(self, node: Column) -> Lines:
        column = f"slice(_pre, None, {node.width})"
        return self.block(node.block, {"_neuron": "slice(None)", "_synapse": column})

    def print_once(self, node: Once) -> Lines:
        # A slice of one, for an element that is written: what is read by a number is a copy.
        return self.block(node.block, _slices(node.indices, 1))

    def print_sums(self, node: Sums) -> Lines:
        row = self.block(node.block, _slices({"_synapse": f"_pre*{node.n_post}"}, node.n_post))
        return ["_post = slice(None)", f"for _pre in range({node.n_pre}):", *indented(row)]

    def print_pairs(self, node: Pairs) -> Lines:
        return self.print_sums(Sums(node.block, node.n, node.n))

    def print_let(self, node: Let) -> Lines:
        return [f"{node.name} = {self.pointer(node.array)}[{node.index}]"]

    def print_put(self, node: Put) -> Lines:
        value = self.expression(node.value)
        return [f"{self.pointer(node.array)}[{node.index}] = {value}"]

    def print_int(self, node: Int) -> Lines:
        return [f"{node.name} = int({self.expression(node.value)})"]

    def print_choose(self, node: Choose) -> Lines:
        condition = self.expression(node.condition)
        return [f"{node.name} = {node.then} if {condition} else {node.otherwise}"]

    def print_stop(self, node: Stop) -> Lines:
        return [f"if {self.expression(node.condition)}:", "    _T = _step + 1"]

    def print_counter(self, node: Counter) -> Lines:
        return [f"{node.name} = 0"]

    def print_fill(self, node: Fill) -> Lines:
        return [f"{self.pointer(node.array)}[{node.at}:{node.at} + {node.n}] = 0"]

    def print_copy(self, node: Copy) -> Lines:
        given = f"{self.pointer(node.source)}[{node.begin}:{node.begin} + {node.n}]"
        return [f"{self.pointer(node.array)}[{node.at}:{node.at} + {node.n}] = {given}"]

    def print_record(self, node: Record) -> Lines:
        place = f"{self.pointer(node.array)}[{node.at}:{node.at} + {node.n}]"
        return [f"_i = _numpy.arange({node.n})", f"{place} = {self.expression(node.value)}"]

    def print_for(self, node: For) -> Lines:
        head = f"for {node.index} in range({node.first}, {node.end}):"
        return [head, *indented(self.body(node.body))]

    def print_lap(self, node: Lap) -> Lines:
        return []

    def body(self, nodes: Iterable[Node]) -> Lines:
        """The lines of nodes where there must be one."""
        return self.lines(nodes) or ["pass"]

    def print_count(self, node: Count) -> Lines:
        return [f"{node.name} += 1"]

    def print_if(self, node: If) -> Lines:
        lines = [f"if {self.expression(node.condition)}:", *indented(self.body(node.then))]
        if node.otherwise:
            lines += ["else:", *indented(self.body(node.otherwise))]
        return lines

    def print_fire(self, node: Fire) -> Lines:
        found = f"_fired = _fire({self.pointer(node.candidates)}, {node.one})"
        return [found, f"{self.pointer(node.into)}[{node.at}:{node.at} + len(_fired)] = _fired"]

    def print_forfired(self, node: ForFired) -> Lines:
        return ["for _pre in _fired:", *indented(self.lines(node.body))]

    def print_noise(self, node: Noise) -> Lines:
        value = f"_normal({node.seed}, {node.time}, {node.n})"
        return [f"{self.pointer(node.array)}[:] = {value}"]

    def print_labelprobabilities(self, node: LabelProbabilities) -> Lines:
        def some(array: str, at: str, n: str | int) -> str:
            return f"{self.pointer(array)}[{at}:{at} + {n}]"

        labels = some(node.labels, node.at_labels, node.most_labels)
        # The outputs of a readout are some of a row, and the last row may end with them.
        n_sums = (node.most_frames - 1) * node.row + node.n
        sums = some(node.sums, node.at_sums, n_sums)
        rows = f"({node.most_frames}, {node.n})"
        strides = f"({node.row}*_sums.itemsize, _sums.itemsize)"
        steps = some(node.frame_steps, "0", node.most_frames)
        lines = [
            f"_sums = {sums}",
            f"_sums = _numpy.lib.stride_tricks.as_strided(_sums, {rows}, {strides})",
            f"_y, _p, _y_target, _log_likelihood = _label_probabilities({steps}, {labels}, _sums)",
            "_n_frames = len(_p)",
            f"{self.pointer(node.log_likelihood)}[0] = _log_likelihood",
            f"_sums[:_n_frames] = _p*({steps})[:_n_frames, _numpy.newaxis]",
        ]
        for array, value in ((node.y, "_y"), (node.p, "_p"), (node.y_target, "_y_target")):
            lines.append(f"{self.pointer(array)}[:_n_frames*{node.n}] = {value}.ravel()")
        return lines

    def print_sync(self, node: Sync) -> Lines:
        return []


def _slices(rows: Mapping[str, str], n: int) -> dict[str, str]:
    """`n` elements from the given places on, by index."""
    return {index: f"slice({start}, {start} + {n})" for index, start in rows.items()}


def fire(candidates: np.ndarray, one: bool) -> list[int]:
    """Neurons that spike, see `eprop_brian.steps.nodes.Fire`."""
    fired = np.flatnonzero(candidates > 0)
    if one and len(fired):
        fired = fired[[np.argmax(candidates[fired])]]
    return fired.tolist()


def _mixed(z: np.ndarray) -> np.ndarray:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def normal(seed: int, time: int, n: int) -> np.ndarray:
    """Normal numbers, see `eprop_brian.steps.nodes.Noise`; as ``noise.h`` has them."""
    with np.errstate(over="ignore"):
        key = np.array([seed], dtype=np.uint64) + (np.uint64(time) << np.uint64(32))
        z = _mixed(_mixed(key) + np.arange(n, dtype=np.uint64))
    radius = np.sqrt(-2 * np.log(((z >> np.uint64(32)) + 0.5) / 4294967296.0))
    return radius * np.cos(2 * np.pi * ((z & np.uint64(0xFFFFFFFF)) / 4294967296.0))
