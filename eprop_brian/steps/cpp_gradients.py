"""Gradients and updates in C++."""

from __future__ import annotations

from collections.abc import Sequence

from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.cpp import CppLoops
from eprop_brian.steps.cpp_registers import LANES, Registers, registers
from eprop_brian.steps.gradients import (
    Accumulate,
    Again,
    AllSynapses,
    Backward,
    ClipNorm,
    Combine,
    Filter,
)
from eprop_brian.steps.printer import Lines, indented
from eprop_brian.steps.spiking import Synapses

__all__ = ["CppPrinter"]

#: Rows after which memory is asked for one: in every row there is little to do.
_ROWS_AHEAD = 8
#: Vectors of each variable that stay in registers together, and if there is one variable alone.
_VECTORS, _MOST_VECTORS = 4, 8


def _synapses(node: Backward) -> list[str]:
    """Indices of the feedback weights of the fused outputs."""
    return [f"_synapse_{k}" for k in range(len(node.fused))]


class CppPrinter(CppLoops):
    """See `eprop_brian.steps.printer.Printer`."""

    first_of_tile = "-_first + "

    def print_filter(self, node: Filter) -> Lines:
        kept = self.registers(node.block, ("_neuron",))
        places = [self.place("_neuron", "_start + _lane")]
        history = self.place("_history", f"{node.row} + _neuron")
        body, between = (
            self.loop("_lane", 0, "_n", [*places, history, *kept.statements(statements)])
            for statements in (
                self.statements(node.block),
                self.statements(node.between) if node.between else [],
            )
        )
        if node.between:
            chosen = self.braces(body)
            body = [f"if ({node.condition})", *chosen, "else", *self.braces(between)]
        steps = [
            f"for ({self.integer} _t = _T - 1; _t >= 0; _t--)",
            *self.braces(body),
        ]
        return self.braces(
            self.over(node.zero, "_neuron", node.n, {}),
            self.constants(node.block),
            [f"const {self.integer} _first = 0, _last = {node.n};"],
            self.strips(node.n, node.n, kept, places, steps),
        )

    def print_backward(self, node: Backward) -> Lines:
        """As many neurons at a time as the cache holds, then over their presynaptic spikes."""
        lines = []
        if node.zero:
            lines = self.over(node.zero, "_neuron", "_last", {}, first="_first")
        if node.late_rows and not node.steps.partial:
            late = f" + _T*{node.tile}, {node.late_rows * node.tile}"
            lines += [f"eprop_brian::clear({self.pointer(name)}{late});" for name in node.results]
        # Signals are summed in memory.
        kept = self.registers(node.block, ("_neuron", *_synapses(node)), but=node.sums)
        steps = [
            f"for ({self.integer} _t = {node.steps.end} - 1; _t >= {node.steps.first}; _t--)",
            *self.braces(self._step_back(node, kept)),
        ]
        places = [self.place("_neuron", "_start + _lane")]
        for index, fused in zip(_synapses(node), node.fused, strict=True):
            places.append(self.place(index, f"{fused.number * node.width} + _neuron"))
        lines += self.constants(node.block)
        lines += self.strips(node.width, node.tile, kept, places, steps)
        for then in node.then:
            if isinstance(then, Accumulate):
                lines += self.accumulate(then)
            else:
                lines += self.lines([then])
        one = self.braces(
            [self.place("_last", self.smaller(f"_first + {node.tile}", node.width))], lines
        )
        if self._can_be_shared(node):
            return self._shared_tiles(node, one)
        return [self.head("_first", 0, node.width, node.tile), *one]

    def _can_be_shared(self, node: Backward) -> bool:
        """Whether threads share out the tiles: what follows in a tile is theirs alone."""
        return node.tile < node.width and all(
            isinstance(x, Accumulate) and not x.synapses.sparse for x in node.then
        )

    def _shared_tiles(self, node: Backward, body: Lines) -> Lines:
        """Tiles on several threads, each with results of its own."""
        places, names = [], []
        for number, result in enumerate(node.results):
            pointer, size = self.pointer(result), self.code.variables[result].size
            own = f"_results_{number}"
            places += [
                f"static {self.real}* {own}[eprop_brian::most_threads];",
                f"{own}[0] = {pointer};",
                "for (int _thread = 1; _thread < eprop_brian::n_threads(); _thread++)",
                f"    if (!{own}[_thread])",
                f"        {own}[_thread] = ({self.real}*)eprop_brian::allocate("
                f"{size}*sizeof({self.real}));",
            ]
            names.append(f"{self.real}* const __restrict {pointer} = {own}[_thread];")
        head = self.head("_first", "_own.first", "_own.last", node.tile)
        tiles = f"const eprop_brian::Range _own(_thread, {node.width}, {node.tile});"
        return self.braces(places, self.on_threads([*names, tiles, head, *body]))

    def _step_back(self, node: Backward, kept: Registers) -> Lines:
        lines = []
        if node.signals:
            for signal in map(self.pointer, node.sums):
                lines.append(f"eprop_brian::clear({signal} + _start, _n);")
        for one in node.signals:
            # What would arrive after the end is lost.
            lines += [f"if (_t + {node.lag} < _T)", *self.signal(one, "_start", "_start + _n")]
        for k, fused in enumerate(node.fused):
            output = f"{fused.row}*{fused.n_outputs} + {fused.number}"
            lines.append(self.place(f"_output_{k}", output))
        row = node.steps.row("_t")
        body = [
            self.place("_neuron", "_start + _lane"),
            self.place("_history", f"{row}*{node.width} + _neuron"),
            self.place("_tile", f"{row}*{node.tile} + _neuron - _first"),
            *kept.statements(self.statements(node.block)),
        ]
        return [*lines, *self.loop("_lane", 0, "_n", body)]

    def print_accumulate(self, node: Accumulate) -> Lines:
        whole = f"const {self.integer} _first = 0, _last = {node.synapses.width};"
        return self.braces([whole], self.accumulate(node))

    def accumulate(self, node: Accumulate) -> Lines:
        """The sums of the synapses onto neurons ``_first`` to ``_last``."""
        s, name = node.synapses, node.source.name
        body = self._found_row(node) if s.sparse else []
        for ending, place in (("_spike", ""), ("_end", " + 1")):
            where = f"_times_{name}.data + _begin_{name}[_pre{place}]"
            body.append(f"const {self.integer}* {ending} = {where};")
        if node.steps.partial:
            delay = node.delay + int(s.extra or 0)
            for ending, step in (("_spike", node.steps.first), ("_end", node.steps.end)):
                body.append(f"{ending} = std::lower_bound(_spike, _end, {step} - {delay});")
        elif node.delay:
            body.append(f"while (_end > _spike && _end[-1] + {node.delay} >= _T) _end--;")
        body.append("if (_spike == _end) continue;")
        if node.block and not node.lagged and not s.sparse:
            body += self._sums_of_row(node, node.block)
        else:
            inner = []
            if node.block:
                inner = [self._result(node), *self.statements(node.block)]
            inner += self.lagged(node, "*_at")
            if s.sparse:
                body += self._sparse_row(s, self._spikes_of(node, inner))
            else:
                body += self._spikes_of(node, self.row(s, inner, "_first", "_last"))
        head = self.head("_pre", 0, s.n_pre)
        if s.sparse:
            head = self.head("_at_row", 0, "_n_found")
        return self.braces(
            self.constants(node.block) if node.block else [],
            self._find_rows(node) if s.sparse else [],
            [head, *self.braces(body)],
        )

    def _find_rows(self, node: Accumulate) -> Lines:
        """The rows that have synapses onto neurons before ``_last``, of neurons that have spiked.

        ``_next`` is the next synapse of every row, and ``_onto`` the neuron onto which it is.
        """
        s, begin = node.synapses, f"_begin_{node.source.name}"
        rows, post = self.pointer(str(s.first)), self.pointer(str(s.post))
        there = f"{begin}[_pre] < {begin}[_pre + 1] && {rows}[_pre] < {rows}[_pre + 1]"
        start = [
            f"_next[_pre] = {rows}[_pre];",
            f"_onto[_pre] = {there} ? {post}[_next[_pre]] : INT_MAX;",
        ]
        every_row = self.head("_pre", 0, s.n_pre)
        # Without a branch, which nothing could predict.
        find = ["_found[_n_found] = _pre;", "_n_found += _onto[_pre] < _last;"]
        return [
            f"static {self.integer} _next[{s.n_pre}], _onto[{s.n_pre}], _found[{s.n_pre} + 1];",
            "if (_first == 0)",
            *indented([every_row, *self.braces(start)]),
            f"{self.integer} _n_found = 0;",
            *(every_row, *self.braces(find)),
        ]

    def _found_row(self, node: Accumulate) -> Lines:
        """A row that has been found; of a later one memory is asked for the next synapse."""
        s, name, indices = node.synapses, node.source.name, self.code.variables.indices
        used = {x for block in node.blocks for x in get_identifiers(self.code.blocks[block])}
        arrays = sorted(self.pointer(x) for x in used if indices.get(x) == "_synapse")
        later = f"_found[{self.smaller(f'_at_row + {_ROWS_AHEAD}', '_n_found - 1')}]"
        return [
            f"const {self.integer} _pre = _found[_at_row], _later = {later};",
            *(f"__builtin_prefetch({array} + _next[_later]);" for array in arrays),
            f"__builtin_prefetch({self.pointer(str(s.post))} + _next[_later] + 1);",
            f"__builtin_prefetch(_times_{name}.data + _begin_{name}[_later]);",
        ]

    def _sparse_row(self, synapses: Synapses, body: Lines) -> Lines:
        """The synapses of ``_pre`` up to ``_last``; a row goes on in the next tile."""
        rows, post = self.pointer(str(synapses.first)), self.pointer(str(synapses.post))
        following = f"_post = ++_synapse < _end_of_row ? {post}[_synapse] : INT_MAX"
        return [
            f"{self.integer} _synapse = _next[_pre], _post = _onto[_pre];",
            self.place("_end_of_row", f"{rows}[_pre + 1]"),
            f"for (; _post < _last; {following})",
            *self.braces(body),
            "_next[_pre] = _synapse;",
            "_onto[_pre] = _post;",
        ]

    def _spikes_of(self, node: Accumulate, body: Lines) -> Lines:
        """A loop over the spikes of ``_pre``, the last first."""
        late = node.delay + node.first_row
        one = []
        if node.inputs:
            value = self.trial_values(node.inputs)
            step = node.inputs.step("*_at")
            one.append(self.place("_value", f"{value} + {step}*{node.inputs.row} + _pre"))
        row = node.steps.row(f"{node.arrival('*_at')} + {late}")
        one.append(self.place("_row", f"({row})*{node.width} - _first"))
        return [
            f"for (const {self.integer}* _at = _end; _at-- > _spike;)",
            *self.braces(["IN_ORDER;"], one, body),
        ]

    def _result(self, node: Accumulate) -> str:
        """Where the result stands that a spike meets."""
        s = node.synapses
        extra = "" if s.extra is None else f" + {self.extra(s)}*{node.width}"
        return self.place("_tile", f"_row{extra} + _post")

    def _sums_of_row(self, node: Accumulate, block: str) -> Lines:
        """What the synapses of ``_pre`` gather, in registers through all of its spikes."""
        s = node.synapses
        kept = self.registers(block, ("_post", "_synapse"))
        places = [
            self.place("_post", "_start + _lane"),
            self.place("_synapse", f"_pre*{s.width} + _post"),
        ]
        inner = [*places, self._result(node), *kept.statements(self.statements(block))]
        spikes = self._spikes_of(node, self.loop("_lane", 0, "_n", inner))
        # Those of the next neuron, which lie a row away in memory, are fetched meanwhile.
        vectors = self.head("_lane", 0, "_n", LANES[self.real])
        fetched = [vectors, *self.braces(places, kept.fetched(s.width))]
        return self.strips(s.width, node.width, kept, places, [*fetched, *spikes])

    def registers(self, block: str, indices: Sequence[str], but: Sequence[str] = ()) -> Registers:
        """What a block keeps in registers of what it uses at some indices."""
        return registers(self.code, self.pointer, block, indices, but)

    def strips(self, width: int, tile: int, kept: Registers, places: Lines, body: Lines) -> Lines:
        """`body` for ``_n`` elements from ``_start`` on, up to ``_last``, some vectors at a time.

        `places` are the indices of element ``_lane``; `tile` is how many elements there are up to
        ``_last``, or fewer in the last tile of `width`.
        """
        strip = (_MOST_VECTORS if len(kept.kept) == 1 else _VECTORS) * LANES[self.real]
        rests = sorted({n % strip for n in (tile, width % tile)} - {0})
        filled = self.loop("_lane", 0, "_n", [*places, *kept.filled()])
        stored = self.loop("_lane", 0, "_n", [*places, *kept.stored()]) if kept.stored() else []
        opening, *inner, closing = self.braces(kept.declared(strip), filled, body, stored)
        lines = [
            f"const auto _strip = [&](const {self.integer} _start, const {self.integer} _n)",
            *("__attribute__((always_inline))", opening, *inner, f"{closing};"),
            f"{self.integer} _start = _first;",
        ]
        if min(tile, width) >= strip:
            head = f"for (; _start + {strip} <= _last; _start += {strip})"
            lines += [head, f"    _strip(_start, {strip});"]
        for rest in rests:
            lines += [f"if (_last - _start == {rest})", f"    _strip(_start, {rest});"]
        return self.braces(lines)

    def print_again(self, node: Again) -> Lines:
        """The frame has a step as a function, which computes the same numbers again."""
        head = self.head("_step", node.steps.first, node.steps.end)
        return [head, "    _run_step(_step, 1);"]

    def print_allsynapses(self, node: AllSynapses) -> Lines:
        return [
            *self._no_autapses(node, node.before),
            *self.every_row(node.block, node.synapses),
            *self._no_autapses(node, node.after),
        ]

    def _no_autapses(self, node: AllSynapses, arrays: Sequence[str]) -> Lines:
        """Values of neurons onto themselves are 0."""
        if not arrays:
            return []
        s = node.synapses
        lines = [f"{self.pointer(name)}[_i*{s.width} + _i] = 0;" for name in arrays]
        return [self.head("_i", 0, s.n_pre), *self.braces(lines)]

    def print_combine(self, node: Combine) -> Lines:
        head = self.head("_at", 0, node.n)
        return [head, *self.braces(self.combined(node, "_at"))]

    def print_clipnorm(self, node: ClipNorm) -> Lines:
        # In double precision: the square of a large float may not be a number.
        lines = ["double _square = 0;"]
        for gradient, array in node.gradients:
            s, name = gradient.synapses, self.pointer(array)
            squares = [f"_square += (double){name}[_synapse]*{name}[_synapse];"]
            lines += self.print_allsynapses(gradient)
            lines += [
                self.head("_pre", 0, s.n_pre),
                *self.braces(self.row(s, squares, end=str(s.n_post))),
            ]
        most = f"{self.pointer(node.most)}[0]"
        return self.braces(
            lines,
            [
                f"const double _norm = std::sqrt(_square), _most = {most};",
                f"{self.pointer(node.factor)}[0] = _norm > _most ? _most/_norm : 1;",
            ],
        )
