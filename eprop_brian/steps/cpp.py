"""Schedules in C++: one thread, whose inner loops become vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from brian2.core.variables import ArrayVariable
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.indices import index_type
from eprop_brian.steps.cpp_tiles import CppTiles
from eprop_brian.steps.fusing import Tiling, fused
from eprop_brian.steps.nodes import Copy, Each, Fill, Lap, Node, Noise, Pairs, Sums, Sync
from eprop_brian.steps.printer import Lines, indented
from eprop_brian.steps.spiking import (
    SPIKES_AT_ONCE,
    Arrive,
    DelayTraces,
    Deliver,
    Follow,
    Forget,
    Hear,
    ListSpikes,
    ReadInputs,
    RowUpdate,
    Signal,
    SortSpikes,
    Spikes,
    StartSpikes,
    Synapses,
    TimesOfSpikes,
    Traces,
    UpdateRows,
)
from eprop_brian.steps.steady import steady_constants

__all__ = ["CppLoops"]

#: Rows of a matrix that a loop over its columns goes through together.
_ROWS_AT_ONCE = 4
#: Spikes after whose rows memory is asked for a row, and numbers of 8 bytes that it sends at once.
_SPIKES_AHEAD, _IN_LINE = 2, 8


class CppLoops(CppTiles):
    """What happens in a step; see `eprop_brian.steps.printer.Printer`.

    The frame defines ``INDEPENDENT``.
    """

    @cached_property
    def integer(self) -> str:
        """See `CLikePrinter.integer`: one of 64 bits only where an array is so large."""
        arrays = (v for v in self.code.variables.values() if isinstance(v, ArrayVariable))
        is_large = index_type(max((int(v.size) for v in arrays), default=0)) is np.int64
        return "int64_t" if is_large else "int"

    def loop(self, index: str, first: str | int, end: str | int, body: Lines) -> Lines:
        head = self.head(index, first, end)
        return ["INDEPENDENT", head, *self.braces(body)]

    def constants(self, block: str) -> Lines:
        return [] if block in self._steady else super().constants(block)

    def steady(self, level: int = 0) -> str:
        """The constants that no step changes: a frame declares them before its loop over steps."""
        lines = dict.fromkeys(line for lines in self._steady.values() for line in lines)
        return f"\n{self._LEVEL * level}".join(lines)

    @cached_property
    def _steady(self) -> dict[str, Lines]:
        """Constants of blocks that only steps run, and that no step changes, by block."""
        blocks = {name: super(CppLoops, self).constants(name) for name in self.code.blocks}
        return steady_constants(blocks, self.code, self.schedule)

    def lines(self, nodes: Iterable[Node]) -> Lines:
        """The lines of some nodes, neighbouring loops as one."""
        lines: Lines = []
        nodes = self._tiling.tiled(nodes)
        for group in fused(nodes, self.code.blocks, self.code.variables):
            loops = [node for node in group if isinstance(node, Each)]
            lines += self._together(loops) if len(loops) > 1 else super().lines(group)
        return lines

    @cached_property
    def _tiling(self) -> Tiling:
        return Tiling(self.code, self.schedule, self.fits_in_tiles, self.shared_out)

    def _together(self, loops: Sequence[Each]) -> Lines:
        """Loops over the same elements as one."""
        # Several blocks may read the same number.
        constants = dict.fromkeys(x for node in loops for x in self.constants(node.block))
        index, n, body = loops[0].index, loops[0].padded or loops[0].n, []
        for node in loops:
            own = [self.place(name, f"{row} + {index}") for name, row in node.rows.items()]
            body += self.braces(own, self.statements(node.block))
        return self.braces([*constants], self.loop(index, 0, n, body))

    def single(self, lines: Lines) -> Lines:
        return self.braces(lines)

    def synapse_end(self, synapses: Synapses) -> int:
        return synapses.width

    def spikes(self, spikes: Spikes, shift: int, body: Lines, step: str = "_step") -> Lines:
        """A loop over the spikes of a step."""
        first, end = self.begin(spikes, step, shift), self.begin(spikes, step, shift + 1)
        return [self.head("_s", first, end), *self.braces(body)]

    def every_row(self, block: str, synapses: Synapses, *, padding: bool = True) -> Lines:
        """A block for all synapses, the presynaptic index outside."""
        end = "" if padding else str(synapses.n_post)
        rows = self.row(synapses, self.statements(block), end=end)
        head = self.head("_pre", 0, synapses.n_pre)
        return self.braces(self.constants(block), [head, *self.braces(rows)])

    def print_sync(self, node: Sync) -> Lines:
        return []

    def print_lap(self, node: Lap) -> Lines:
        return self.braces(
            [
                "const unsigned long long _ticks_now = eprop_brian::ticks();",
                f"_ticks[{node.stage}] += _ticks_now - _before;",
                "_before = _ticks_now;",
            ]
        )

    def print_each(self, node: Each) -> Lines:
        return self.over(node.block, node.index, node.padded or node.n, node.rows)

    def print_fill(self, node: Fill) -> Lines:
        return [f"eprop_brian::clear({self.pointer(node.array)} + {node.at}, {node.n});"]

    def print_copy(self, node: Copy) -> Lines:
        source, array = self.pointer(node.source), self.pointer(node.array)
        return [f"eprop_brian::copy({source} + {node.begin}, {node.n}, {array} + {node.at});"]

    def print_pairs(self, node: Pairs) -> Lines:
        return self.every_row(node.block, Synapses(node.n, node.n, node.n, node.n**2))

    def print_sums(self, node: Sums) -> Lines:
        """Several rows at a time: what belongs to the columns stays in registers."""
        used = get_identifiers(self.code.blocks[node.block])
        indices = self.code.variables.indices
        arrays = sorted(
            self.pointer(name)
            for name in used & set(self.code.variables)
            if indices[name] in ("_pre", "_post", "_synapse")
        )
        whole = node.n_pre - node.n_pre % _ROWS_AT_ONCE
        body = self.constants(node.block)
        if whole:
            body.append(self.head("_first", 0, whole, _ROWS_AT_ONCE))
            body += self._several(node, "_first", _ROWS_AT_ONCE)
        if whole < node.n_pre:
            body += self._several(node, str(whole), node.n_pre - whole)
        # A parameter, unlike a pointer in a block, is believed to share its array with no other.
        parameters = ", ".join(f"{self.real}* __restrict {name}" for name in arrays)
        opening, *inner, closing = self.braces(body)
        return [f"[&]({parameters})", opening, *inner, f"{closing}({', '.join(arrays)});"]

    def _several(self, node: Sums, first: str, count: int) -> Lines:
        body = []
        for k in range(count):
            own = [
                self.place("_pre", f"{first} + {k}"),
                self.place("_synapse", f"_pre*{node.n_post} + _post"),
            ]
            body += self.braces(own, self.statements(node.block))
        return self.braces(self.loop("_post", 0, node.n_post, body))

    def print_noise(self, node: Noise) -> Lines:
        head = self.head("_i", 0, node.n)
        value = f"eprop_brian::normal({node.seed}, {node.time}, _i)"
        return [head, f"    {self.pointer(node.array)}[_i] = {value};"]

    # --- spikes -----------------------------------------------------------------------------------

    def print_timesofspikes(self, node: TimesOfSpikes) -> Lines:
        s = node.spikes
        begin = f"static {self.integer} _begin_{s.name}[{s.n + 2}];"
        return [begin, f"static eprop_brian::Numbers<{self.integer}> _times_{s.name};"]

    def print_startspikes(self, node: StartSpikes) -> Lines:
        s, first = node.spikes, self.pointer(node.spikes.first)
        listed = self._not_zero(s) if node.analog else self.listed(s, "0", str(s.width))
        carried = listed if node.carried else []
        return [
            f"{first}[0] = 0;",
            *self.braces([f"{self.integer} _end = 0;"], carried, [f"{first}[1] = _end;"]),
        ]

    def print_readinputs(self, node: ReadInputs) -> Lines:
        s, inputs = node.spikes, node.inputs
        z, data = self.pointer(s.z), self.pointer(inputs.data)
        opening = f"{self.integer} _end = {self.begin(s)};"
        closing = f"{self.begin(s, shift=1)} = _end;"
        if inputs.analog:
            # What is not 0 arrives as a spike does, with a size.
            step = inputs.step("_step")
            values = f"{data} + {self.trial_values(inputs)} + {step}*{inputs.row}"
            listed = [f"eprop_brian::copy({values}, {s.n}, {z});", *self._not_zero(s)]
            return self.braces([opening], listed, [closing])
        words = -(-s.n // 32)
        clear = [f"{self.head('_neuron', 0, s.n)} {z}[_neuron] = 0;"]
        keep = [f"{z}[_neuron] = 1;"]
        bits = "for (uint32_t _bits = (uint32_t)_words[_w]; _bits; _bits &= _bits - 1)"
        inner = [
            self.place("_neuron", "32*_w + __builtin_ctz(_bits)"),
            f"{self.pointer(s.neuron)}[_end++] = _neuron;",
            *(keep if node.kept else []),
        ]
        return self.braces(
            [
                opening,
                *(clear if node.kept else []),
                f"const int32_t* const _words = {data} + {self.step_words(inputs)};",
            ],
            [self.head("_w", 0, words)],
            indented([bits, *self.braces(inner)]),
            [closing],
        )

    def _not_zero(self, s: Spikes) -> Lines:
        """Lists those whose value is not 0."""
        z, listed = self.pointer(s.z), self.pointer(s.neuron)
        return [
            self.head("_neuron", 0, s.n),
            f"    if ({z}[_neuron] != 0) {listed}[_end++] = _neuron;",
        ]

    def print_listspikes(self, node: ListSpikes) -> Lines:
        s = node.spikes
        listed = self._not_zero(s) if node.analog else self.listed(s, "0", str(s.width), node.count)
        opening = f"{self.integer} _end = {self.begin(s)};"
        closing = f"{self.begin(s, shift=1)} = _end;"
        return self.braces([opening], listed, [closing])

    def print_sortspikes(self, node: SortSpikes) -> Lines:
        return [line for spikes in node.sources for line in self._sorted(spikes)]

    def _sorted(self, s: Spikes) -> Lines:
        """``_times`` from ``_begin[neuron]`` on.

        The last step that begins at a spike is noted first: few spikes a step are no loop then,
        whose end a processor would guess wrong.
        """
        begin, times = f"_begin_{s.name}", f"_times_{s.name}"
        neuron, first = self.pointer(s.neuron), self.pointer(s.first)
        return self.braces(
            [
                self.place("_count", f"{first}[_T + 1]"),
                f"{self.integer}* _next = {begin} + 1;",
                f"eprop_brian::clear({begin}, {s.n + 2});",
                f"{self.head('_s', 0, '_count')} _next[{neuron}[_s] + 1]++;",
                f"{self.head('_i', 0, s.n)} _next[_i + 1] += _next[_i];",
                f"{self.integer}* const _times = {times}.of(_count + 1);",
                f"static eprop_brian::Numbers<{self.integer}> _first_steps;",
                f"{self.integer}* const _begun = _first_steps.of(_count + 1);",
                "eprop_brian::clear(_begun, _count + 1);",
                f"{self.head('_t', 1, '_T')} _begun[{first}[_t + 1]] = _t;",
                f"for ({self.integer} _s = 0, _t = 0; _s < _count; _s++)",
                *indented(
                    self.braces(
                        [
                            "if (_t < _begun[_s]) _t = _begun[_s];",
                            f"_times[_next[{neuron}[_s]]++] = _t;",
                        ]
                    )
                ),
            ]
        )

    def print_forget(self, node: Forget) -> Lines:
        return [f"bool _heard_{node.spikes.name}[{node.spikes.n}] = {{}};"]

    def print_hear(self, node: Hear) -> Lines:
        s = node.spikes
        return self.spikes(s, 0, [f"_heard_{s.name}[{self.pointer(s.neuron)}[_s]] = true;"])

    # --- synapses ---------------------------------------------------------------------------------

    def print_deliver(self, node: Deliver) -> Lines:
        s, source = node.synapses, node.source
        spikes = self.pointer(source.neuron)
        lines = [
            self.place("_end", self.begin(source, node.step, 1 - node.delay)),
            f"{self.integer} _s = {self.begin(source, node.step, -node.delay)};",
        ]
        if node.several and not s.sparse:
            rows, places = [], []
            for k in range(SPIKES_AT_ONCE):
                if node.analog:
                    rows.append(self.place(f"_pre_{k}", f"{spikes}[_s + {k}]"))
                rows.append(self.place(f"_row_{k}", f"{spikes}[_s + {k}]*{s.width}"))
                places.append(self.place(f"_synapse_{k}", f"_row_{k} + _post"))
            body = [*places, *self.statements(node.several)]
            lines.append(f"for (; _s <= _end - {SPIKES_AT_ONCE}; _s += {SPIKES_AT_ONCE})")
            lines += self.braces(rows, self.loop("_post", 0, s.width, body))
        one = [*self.later(node), *self.statements(node.block)]
        if s.sparse:
            # To add one by one is faster than to gather and scatter vectors.
            one = [*self._fetch_ahead(node), *self.row(s, ["IN_ORDER;", *one])]
        else:
            one = self.row(s, one)
        return self.braces(
            self.constants(node.block),
            lines,
            ["for (; _s < _end; _s++)", *self.braces([self.place("_pre", f"{spikes}[_s]"), *one])],
        )

    def _fetch_ahead(self, node: Deliver) -> Lines:
        """Fetch the row of a later spike: sparse rows, each somewhere else, are no stream."""
        s, indices = node.synapses, self.code.variables.indices
        used = {name for name in get_identifiers(self.code.blocks[node.block]) if name in indices}
        names = {str(s.post), *(name for name in used if indices[name] == "_synapse")}
        if isinstance(s.extra, str):
            names.add(s.extra)
        rows, spikes = self.pointer(str(s.first)), self.pointer(node.source.neuron)
        fetched = [f"__builtin_prefetch({self.pointer(name)} + _at);" for name in sorted(names)]
        head = self.head("_at", f"{rows}[_ahead]", f"{rows}[_ahead + 1]", _IN_LINE)
        later = self.smaller(f"_s + {_SPIKES_AHEAD}", "_end - 1")
        ahead = self.place("_ahead", f"{spikes}[{later}]")
        return self.braces([ahead, head, *self.braces(fetched)])

    def print_arrive(self, node: Arrive) -> Lines:
        since = f"{self.pointer(node.since)}[_pre]"
        body = [
            self.place("_pre", f"{self.pointer(node.source.neuron)}[_s]"),
            f"if ({since} >= {node.never}) continue;",
        ]
        if node.decay:
            skipped = f"{self.pointer(node.skipped)}[_pre]"
            body.append(f"{skipped} = {since} + 1 - {node.cutoff};")
            body += [f"if ({skipped} > 0)", *self.row_of(node.decay, node.synapses)]
        if node.update:
            body += self.print_rowupdate(node.update)
        return self.spikes(node.source, -node.delay, body)

    def print_rowupdate(self, node: RowUpdate) -> Lines:
        place = f"[_pre*{node.synapses.width} + _pre]"
        return self.braces(
            [f"{self.pointer(node.updates)}[_pre] += 1;"],
            [f"{self.pointer(name)}{place} = 0;" for name in node.before],
            self.constants(node.block),
            self.row(node.synapses, self.statements(node.block)),
            [f"{self.pointer(name)}{place} = 0;" for name in node.after],
        )

    def print_updaterows(self, node: UpdateRows) -> Lines:
        return [
            self.head("_pre", 0, node.update.synapses.n_pre),
            f"    if ({self.pointer(node.since)}[_pre] < {node.limit})",
            *indented(self.print_rowupdate(node.update)),
        ]

    def print_signal(self, node: Signal) -> Lines:
        return self.signal(node, "0", "")

    def signal(self, node: Signal, first: str, end: str) -> Lines:
        """The learning signal of some of the neurons."""
        s = node.synapses
        body = [*self.sent(node), *self.statements(node.block)]
        return self.braces(
            self.constants(node.block),
            [self.head("_pre", node.first_output, s.n_pre)],
            self.braces(self.row(s, body, first, end)),
        )

    def print_traces(self, node: Traces) -> Lines:
        s = node.synapses
        windows = self.windows(node)
        outside = []
        if s.extra is None:
            # The same for all synapses of a row.
            outside, windows = windows[1::2], windows[::2]
        body = [*windows, *self.statements(node.block)]
        return self.braces(
            self.constants(node.block),
            [self.head("_pre", 0, s.n_pre)],
            self.braces(
                [f"if ({self.silent(node)}) continue;"],
                outside,
                self.window_rows(node),
                self.row(s, body),
            ),
        )

    def print_delaytraces(self, node: DelayTraces) -> Lines:
        s = node.synapses
        row = self.row(s, self.delay_trace(node))
        skipped = [f"if ({self.silent(node)}) continue;"]
        head = self.head("_pre", 0, s.n_pre)
        return self.delay_steps(node, [head, *self.braces(skipped, row)])

    def print_follow(self, node: Follow) -> Lines:
        weight = f"{self.pointer(node.weights)}[_synapse]"
        body = [f"{self.pointer(node.feedback)}[_post*{node.width} + _pre] = {weight};"]
        return [
            f"eprop_brian::clear({self.pointer(node.feedback)}, {node.size});",
            self.head("_pre", 0, node.synapses.n_pre),
            *self.braces(self.row(node.synapses, body, end=str(node.synapses.n_post))),
        ]
