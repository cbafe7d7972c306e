"""Schedules in C++: one thread, whose inner loops become vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.fusing import fused
from eprop_brian.steps.nodes import Copy, Each, Fill, Lap, Node, Noise, Pairs, Sums, Sync
from eprop_brian.steps.printer import CLikePrinter, Lines, indented
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
    Traces,
    UpdateRows,
)

__all__ = ["CppLoops"]

#: Rows of a matrix that a loop over its columns goes through together.
_ROWS_AT_ONCE = 4
#: Neurons that are looked at one by one only if one of them spikes.
_SPIKING_BLOCK = 32


class CppLoops(CLikePrinter):
    """What happens in a step; see `eprop_brian.steps.printer.Printer`.

    The frame defines ``INDEPENDENT``.
    """

    def loop(self, index: str, first: str | int, end: str | int, body: Lines) -> Lines:
        head = f"for (int {index} = {first}; {index} < {end}; {index}++)"
        return ["INDEPENDENT", head, *self.braces(body)]

    def lines(self, nodes: Iterable[Node]) -> Lines:
        """The lines of some nodes, neighbouring loops as one."""
        lines: Lines = []
        for group in fused(nodes, self.code.blocks, self.code.variables):
            loops = [node for node in group if isinstance(node, Each)]
            lines += self._together(loops) if len(loops) > 1 else super().lines(group)
        return lines

    def _together(self, loops: Sequence[Each]) -> Lines:
        """Loops over the same elements as one."""
        # Several blocks may read the same number.
        constants = dict.fromkeys(x for node in loops for x in self.constants(node.block))
        index, n, body = loops[0].index, loops[0].padded or loops[0].n, []
        for node in loops:
            own = [f"const int {name} = {row} + {index};" for name, row in node.rows.items()]
            body += self.braces(own, self.statements(node.block))
        return self.braces([*constants], self.loop(index, 0, n, body))

    def single(self, lines: Lines) -> Lines:
        return self.braces(lines)

    def synapse_end(self, synapses: Synapses) -> int:
        return synapses.width

    def spikes(self, spikes: Spikes, shift: int, body: Lines, step: str = "_step") -> Lines:
        """A loop over the spikes of a step."""
        first, end = self.begin(spikes, step, shift), self.begin(spikes, step, shift + 1)
        return [f"for (int _s = {first}; _s < {end}; _s++)", *self.braces(body)]

    def every_row(self, block: str, synapses: Synapses, *, padding: bool = True) -> Lines:
        """A block for all synapses, the presynaptic index outside."""
        end = "" if padding else str(synapses.n_post)
        rows = self.row(synapses, self.statements(block), end=end)
        head = f"for (int _pre = 0; _pre < {synapses.n_pre}; _pre++)"
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
        return [f"std::fill_n({self.pointer(node.array)} + {node.at}, {node.n}, 0);"]

    def print_copy(self, node: Copy) -> Lines:
        source, array = self.pointer(node.source), self.pointer(node.array)
        return [f"std::copy_n({source} + {node.begin}, {node.n}, {array} + {node.at});"]

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
            body.append(f"for (int _first = 0; _first < {whole}; _first += {_ROWS_AT_ONCE})")
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
                f"const int _pre = {first} + {k};",
                f"const int _synapse = _pre*{node.n_post} + _post;",
            ]
            body += self.braces(own, self.statements(node.block))
        return self.braces(self.loop("_post", 0, node.n_post, body))

    def print_noise(self, node: Noise) -> Lines:
        head = f"for (int _i = 0; _i < {node.n}; _i++)"
        value = f"eprop_brian::normal({node.seed}, {node.time}, _i)"
        return [head, f"    {self.pointer(node.array)}[_i] = {value};"]

    # --- spikes -----------------------------------------------------------------------------------

    def print_startspikes(self, node: StartSpikes) -> Lines:
        s, first = node.spikes, self.pointer(node.spikes.first)
        carried = self.listed(s, "0", s.n) if node.carried else []
        by_neuron = [f"static int _begin_{s.name}[{s.n + 2}];"]
        by_neuron.append(f"static std::vector<int> _times_{s.name};")
        return [
            *(by_neuron if node.by_neuron else []),
            f"{first}[0] = 0;",
            *self.braces(["int _end = 0;"], carried, [f"{first}[1] = _end;"]),
        ]

    def listed(self, s: Spikes, first: str, end: str | int, count: str = "") -> Lines:
        """Lists those of some neurons that spike, and counts the spikes of each."""
        listed = [f"{self.pointer(s.neuron)}[_end++] = _neuron;"]
        counted = [f"{self.pointer(count)}[_neuron] += 1;"] if count else []
        return [
            f"for (int _neuron = {first}; _neuron < {end}; _neuron++)",
            f"    if ({self.pointer(s.z)}[_neuron] > 0)",
            *indented(self.braces(listed, counted)),
        ]

    def print_readinputs(self, node: ReadInputs) -> Lines:
        s, inputs = node.spikes, node.inputs
        z, data = self.pointer(s.z), self.pointer(inputs.data)
        opening = f"int _end = {self.begin(s)};"
        closing = f"{self.begin(s, shift=1)} = _end;"
        if inputs.analog:
            # What is not 0 arrives as a spike does, with a size.
            values = f"{data} + {self.trial_values(inputs)} + _step*{inputs.row}"
            listed = [f"std::copy_n({values}, {s.n}, {z});", *self._not_zero(s)]
            return self.braces([opening], listed, [closing])
        words = -(-s.n // 32)
        clear = [f"for (int _neuron = 0; _neuron < {s.n}; _neuron++) {z}[_neuron] = 0;"]
        keep = [f"{z}[_neuron] = 1;"]
        bits = "for (uint32_t _bits = (uint32_t)_words[_w]; _bits; _bits &= _bits - 1)"
        inner = [
            "const int _neuron = 32*_w + __builtin_ctz(_bits);",
            f"{self.pointer(s.neuron)}[_end++] = _neuron;",
            *(keep if node.kept else []),
        ]
        return self.braces(
            [
                opening,
                *(clear if node.kept else []),
                f"const int32_t* const _words = {data} + {self.step_words(inputs)};",
            ],
            [f"for (int _w = 0; _w < {words}; _w++)"],
            indented([bits, *self.braces(inner)]),
            [closing],
        )

    def _not_zero(self, s: Spikes) -> Lines:
        """Lists those whose value is not 0."""
        z, listed = self.pointer(s.z), self.pointer(s.neuron)
        return [
            f"for (int _neuron = 0; _neuron < {s.n}; _neuron++)",
            f"    if ({z}[_neuron] != 0) {listed}[_end++] = _neuron;",
        ]

    def print_listspikes(self, node: ListSpikes) -> Lines:
        """Most neurons are silent: a block of them is looked at only where one is not."""
        s = node.spikes
        if node.analog:
            opening, closing = f"int _end = {self.begin(s)};", f"{self.begin(s, shift=1)} = _end;"
            return self.braces([opening], self._not_zero(s), [closing])
        full = s.width // _SPIKING_BLOCK * _SPIKING_BLOCK
        lines = [f"int _end = {self.begin(s)};"]
        if full:
            lines.append(f"for (int _block = 0; _block < {full}; _block += {_SPIKING_BLOCK})")
            lines += self._list_block(node, "_block", _SPIKING_BLOCK)
        if s.width > full:
            lines += self._list_block(node, str(full), s.width - full)
        return self.braces(lines, [f"{self.begin(s, shift=1)} = _end;"])

    def _list_block(self, node: ListSpikes, start: str, size: int) -> Lines:
        """Padding may spike, and is left out."""
        s = node.spikes
        end = f"std::min({start} + {size}, {s.n})"
        return self.braces(
            [
                f"{self.real} _fired = 0;",
                f"for (int _i = 0; _i < {size}; _i++) _fired += {self.pointer(s.z)}[{start} + _i];",
                "if (_fired > 0)",
                *indented(self.listed(s, start, end, node.count)),
            ]
        )

    def print_sortspikes(self, node: SortSpikes) -> Lines:
        return [line for spikes in node.sources for line in self._sorted(spikes)]

    def _sorted(self, s: Spikes) -> Lines:
        """``_times`` from ``_begin[neuron]`` on."""
        begin, times = f"_begin_{s.name}", f"_times_{s.name}"
        listed = f"{self.pointer(s.neuron)}[_s]"
        end = f"{self.pointer(s.first)}[_T + 1]"
        places = self.spikes(s, 0, [f"{times}[_next[{listed}]++] = _t;"], step="_t")
        return self.braces(
            [
                f"const int _count = {end};",
                f"int* _next = {begin} + 1;",
                f"std::fill({begin}, {begin} + {s.n + 2}, 0);",
                f"{times}.resize(_count + 1);",
                f"for (int _s = 0; _s < _count; _s++) _next[{listed} + 1]++;",
                f"for (int _i = 0; _i < {s.n}; _i++) _next[_i + 1] += _next[_i];",
                "for (int _t = 0; _t < _T; _t++)",
                *indented(places),
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
            f"const int _end = {self.begin(source, shift=1 - node.delay)};",
            f"int _s = {self.begin(source, shift=-node.delay)};",
        ]
        if node.several and not s.sparse:
            rows, places = [], []
            for k in range(SPIKES_AT_ONCE):
                if node.analog:
                    rows.append(f"const int _pre_{k} = {spikes}[_s + {k}];")
                rows.append(f"const int _row_{k} = {spikes}[_s + {k}]*{s.width};")
                places.append(f"const int _synapse_{k} = _row_{k} + _post;")
            body = [*places, *self.statements(node.several)]
            lines.append(f"for (; _s <= _end - {SPIKES_AT_ONCE}; _s += {SPIKES_AT_ONCE})")
            lines += self.braces(rows, self.loop("_post", 0, s.width, body))
        one = self.row(s, [*self.later(node), *self.statements(node.block)])
        return self.braces(
            self.constants(node.block),
            lines,
            ["for (; _s < _end; _s++)", *self.braces([f"const int _pre = {spikes}[_s];", *one])],
        )

    def print_arrive(self, node: Arrive) -> Lines:
        since = f"{self.pointer(node.since)}[_pre]"
        body = [
            f"const int _pre = {self.pointer(node.source.neuron)}[_s];",
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
            f"for (int _pre = 0; _pre < {node.update.synapses.n_pre}; _pre++)",
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
            [f"for (int _pre = {node.first_output}; _pre < {s.n_pre}; _pre++)"],
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
            [f"for (int _pre = 0; _pre < {s.n_pre}; _pre++)"],
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
        head = f"for (int _pre = 0; _pre < {s.n_pre}; _pre++)"
        return self.delay_steps(node, [head, *self.braces(skipped, row)])

    def print_follow(self, node: Follow) -> Lines:
        weight = f"{self.pointer(node.weights)}[_synapse]"
        body = [f"{self.pointer(node.feedback)}[_post*{node.width} + _pre] = {weight};"]
        return [
            f"std::fill_n({self.pointer(node.feedback)}, {node.size}, 0);",
            f"for (int _pre = 0; _pre < {node.synapses.n_pre}; _pre++)",
            *self.braces(self.row(node.synapses, body, end=str(node.synapses.n_post))),
        ]
