"""Schedules in CUDA: a block of threads, which go through the nodes together."""

from __future__ import annotations

from eprop_brian.steps.gradients import AllSynapses
from eprop_brian.steps.nodes import Copy, Fill, Lap, Noise, Pairs, Sums, Sync
from eprop_brian.steps.printer import CLikePrinter, Lines
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

__all__ = ["CudaLoops"]

_SYNC = "__syncthreads();"


class CudaLoops(CLikePrinter):
    """What happens in a step; see `eprop_brian.steps.printer.Printer`.

    `memory` is `eprop_brian.devices.cuda_memory`'s.
    """

    threads = "BlockOfThreads"

    def loop(self, index: str, first: str | int, end: str | int, body: Lines) -> Lines:
        start = "threadIdx.x" if str(first) == "0" else f"{first} + threadIdx.x"
        head = f"for (int {index} = {start}; {index} < {end}; {index} += blockDim.x)"
        return [head, *self.braces(body)]

    def single(self, lines: Lines) -> Lines:
        return ["if (threadIdx.x == 0)", *self.braces(lines)]

    def synapse_end(self, synapses: Synapses) -> int:
        return synapses.n_post

    def n_synapses(self, s: Synapses) -> str:
        """How many synapses there are, without padding."""
        return str(s.n_pre * s.n_post) if s.first is None else f"{self.pointer(s.first)}[{s.n_pre}]"

    def ends(self, s: Synapses) -> Lines:
        """Names of a synapse's ends; ``_at`` numbers the synapses without padding."""
        if s.first is not None and s.post is not None:
            row = f"eprop_brian::row_of({self.pointer(s.first)}, {s.n_pre}, _at)"
            lines = [
                f"const int _synapse = _at, _post = {self.pointer(s.post)}[_at];",
                f"const int _pre = {row};",
            ]
        else:
            lines = [
                f"const int _pre = _at / {s.n_post}, _post = _at % {s.n_post};",
                f"const int _synapse = _pre*{s.width} + _post;",
            ]
        if s.feedback_width:
            lines.append(f"const int _feedback = _post*{s.feedback_width} + _pre;")
        return lines

    def every_synapse(self, s: Synapses, body: Lines) -> Lines:
        """A loop over all synapses."""
        return self.loop("_at", 0, self.n_synapses(s), [*self.ends(s), *body])

    def print_sync(self, node: Sync) -> Lines:
        return [_SYNC]

    def print_lap(self, node: Lap) -> Lines:
        return []

    def print_fill(self, node: Fill) -> Lines:
        where = f"{self.pointer(node.array)} + {node.at}"
        return self.loop("_i", 0, node.n, [f"({where})[_i] = 0;"])

    def print_copy(self, node: Copy) -> Lines:
        source = f"{self.pointer(node.source)}[{node.begin} + _i]"
        return self.loop(
            "_i", 0, node.n, [f"{self.pointer(node.array)}[{node.at} + _i] = {source};"]
        )

    def print_pairs(self, node: Pairs) -> Lines:
        body = [
            f"for (int _pre = 0; _pre < {node.n}; _pre++)",
            *self.braces(self.statements(node.block)),
        ]
        return self.braces(self.constants(node.block), self.loop("_post", 0, node.n, body))

    def print_sums(self, node: Sums) -> Lines:
        """A thread adds up what belongs to its columns in registers."""
        memory, sums = self.memory, self.memory.written(node.block, "_post")
        inner = [
            f"const int _synapse = _pre*{node.n_post} + _post;",
            *memory.local(self.statements(node.block), sums),
        ]
        body = [
            *memory.load(sums),
            "#pragma unroll 4",
            f"for (int _pre = 0; _pre < {node.n_pre}; _pre++)",
            *self.braces(inner),
            *memory.store(sums),
        ]
        return self.braces(self.constants(node.block), self.loop("_post", 0, node.n_post, body))

    def print_noise(self, node: Noise) -> Lines:
        value = f"eprop_brian::normal({node.seed}, {node.time}, _i)"
        return self.loop("_i", 0, node.n, [f"{self.pointer(node.array)}[_i] = {value};"])

    # --- spikes -----------------------------------------------------------------------------------

    def print_timesofspikes(self, node: TimesOfSpikes) -> Lines:
        return []

    def print_startspikes(self, node: StartSpikes) -> Lines:
        s = node.spikes
        first = self.pointer(s.first)
        clear = self.loop("_i", 0, s.n, [f"_count_{s.name}[_i] = 0;"]) if node.by_neuron else []
        lines = [*clear, *self.single([f"{first}[0] = 0;", f"{first}[1] = 0;"])]
        if not node.carried:
            return lines
        spiking = f"{self.pointer(s.z)}[_neuron] {'!=' if node.analog else '>'} 0"
        return [*lines, _SYNC, *self.listed(s, spiking, node.by_neuron, shift=-1)]

    def listed(self, s: Spikes, spiking: str, by_neuron: bool, shift: int = 0) -> Lines:
        """Lists the neurons that spike, in their order."""
        listed = [f"{self.pointer(s.neuron)}[_place] = _neuron;"]
        if by_neuron:
            listed.append(f"_rank_{s.name}[_place] = _count_{s.name}[_neuron]++;")
        first, end = (self.begin(s, shift=shift + k) for k in (0, 1))
        if shift < 0:
            first, end = f"{self.pointer(s.first)}[0]", f"{self.pointer(s.first)}[1]"
        call = [
            "const int _end = eprop_brian::list_spikes(",
            f"    {s.n}, [&](int _neuron) {{ return {spiking}; }}, {first},",
            f"    [&](int _neuron, int _place) {{ {' '.join(listed)} }});",
        ]
        return self.braces(call, self.single([f"{end} = _end;"]), [_SYNC])

    def print_readinputs(self, node: ReadInputs) -> Lines:
        s, inputs = node.spikes, node.inputs
        z, data = self.pointer(s.z), self.pointer(inputs.data)
        if inputs.analog:
            # What is not 0 arrives as a spike does, with a size.
            step = inputs.step("_step")
            value = f"{data}[{self.trial_values(inputs)} + {step}*{inputs.row} + _neuron]"
            kept = self.loop("_neuron", 0, s.n, [f"{z}[_neuron] = {value};"])
            return [*kept, *self.listed(s, f"{z}[_neuron] != 0", node.by_neuron)]
        bit = "(_words[_neuron >> 5] >> (_neuron & 31)) & 1"
        kept = self.loop("_neuron", 0, s.n, [f"{z}[_neuron] = {bit};"]) if node.kept else []
        words = [f"const int32_t* const _words = {data} + {self.step_words(inputs)};"]
        return self.braces(words, kept, self.listed(s, bit, node.by_neuron))

    def print_listspikes(self, node: ListSpikes) -> Lines:
        s = node.spikes
        spiking = f"{self.pointer(s.z)}[_neuron] {'!=' if node.analog else '>'} 0"
        counted = []
        if node.count:
            one = [f"if ({spiking}) {self.pointer(node.count)}[_neuron] += 1;"]
            counted = self.loop("_neuron", 0, s.n, one)
        return [*counted, *self.listed(s, spiking, node.by_neuron)]

    def print_sortspikes(self, node: SortSpikes) -> Lines:
        """``_times`` from ``_begin[neuron]`` on."""
        lines = []
        for s in node.sources:
            sums = [
                "int _sum = 0;",
                f"for (int _neuron = 0; _neuron < {s.n}; _neuron++)",
                *self.braces(
                    [
                        f"_begin_{s.name}[_neuron] = _sum;",
                        f"_sum += _count_{s.name}[_neuron];",
                    ]
                ),
                f"_begin_{s.name}[{s.n}] = _sum;",
            ]
            lines += self.single(sums)
        lines.append(_SYNC)
        for s in node.sources:
            first, end = self.begin(s, "_t"), self.begin(s, "_t", 1)
            begin = f"_begin_{s.name}[{self.pointer(s.neuron)}[_s]]"
            body = [
                f"for (int _s = {first}; _s < {end}; _s++)",
                f"    _times_{s.name}[{begin} + _rank_{s.name}[_s]] = _t;",
            ]
            lines += self.loop("_t", 0, "_T", body)
        return lines

    def print_forget(self, node: Forget) -> Lines:
        s = node.spikes
        return self.loop("_i", 0, s.n, [f"_heard_{s.name}[_i] = 0;"])

    def print_hear(self, node: Hear) -> Lines:
        s = node.spikes
        heard = [f"_heard_{s.name}[{self.pointer(s.neuron)}[_s]] = 1;"]
        return self.loop("_s", self.begin(s), self.begin(s, shift=1), heard)

    # --- synapses ---------------------------------------------------------------------------------

    def print_deliver(self, node: Deliver) -> Lines:
        """Spike by spike; where all pairs are connected each thread has neurons of its own."""
        s, source = node.synapses, node.source
        spikes = self.pointer(source.neuron)
        first = self.begin(source, node.step, -node.delay)
        end = f"const int _end = {self.begin(source, node.step, 1 - node.delay)};"
        if s.sparse:
            one = self.row(s, [*self.later(node), *self.statements(node.block)])
            body = [
                f"const int _pre = {spikes}[_s];",
                *one,
                # The next row may reach the same neurons from other threads.
                _SYNC,
            ]
            return self.braces(
                self.constants(node.block),
                # What was delivered before reached the same neurons from other threads.
                [end, _SYNC, f"for (int _s = {first}; _s < _end; _s++)", *self.braces(body)],
            )
        memory, sums = self.memory, self.memory.written(node.block, "_post")
        body = [f"int _s = {first};", *memory.load(sums)]
        if node.several:
            places = []
            for k in range(SPIKES_AT_ONCE):
                if node.analog:
                    places.append(f"const int _pre_{k} = {spikes}[_s + {k}];")
                places.append(f"const int _synapse_{k} = {spikes}[_s + {k}]*{s.width} + _post;")
            body.append(f"for (; _s <= _end - {SPIKES_AT_ONCE}; _s += {SPIKES_AT_ONCE})")
            body += self.braces(places, memory.local(self.statements(node.several), sums))
        one = [
            f"const int _pre = {spikes}[_s];",
            f"const int _synapse = _pre*{s.width} + _post;",
            *self.later(node),
            *memory.local(self.statements(node.block), sums),
        ]
        body += ["for (; _s < _end; _s++)", *self.braces(one), *memory.store(sums)]
        return self.braces(self.constants(node.block), [end], self.loop("_post", 0, s.n_post, body))

    def print_arrive(self, node: Arrive) -> Lines:
        since = f"{self.pointer(node.since)}[_pre]"
        body = [
            f"const int _pre = {self.pointer(node.source.neuron)}[_s];",
            f"if ({since} >= {node.never}) continue;",
        ]
        if node.decay:
            skipped = f"{self.pointer(node.skipped)}[_pre]"
            body += [_SYNC, *self.single([f"{skipped} = {since} + 1 - {node.cutoff};"]), _SYNC]
            body += [f"if ({skipped} > 0)", *self.row_of(node.decay, node.synapses)]
        if node.update:
            body += self.print_rowupdate(node.update)
        first, end = (self.begin(node.source, shift=k - node.delay) for k in (0, 1))
        return [f"for (int _s = {first}; _s < {end}; _s++)", *self.braces(body, [_SYNC])]

    def print_rowupdate(self, node: RowUpdate) -> Lines:
        updates = f"{self.pointer(node.updates)}[_pre]"
        return self.braces(
            [_SYNC, *self.single([f"{updates} += 1;"]), _SYNC],
            self.constants(node.block),
            self.row(node.synapses, self.updated(node)),
        )

    def updated(self, node: RowUpdate | AllSynapses) -> Lines:
        """The update of one synapse."""
        before, after = (
            [f"if (_pre == _post) {self.pointer(name)}[_synapse] = 0;" for name in names]
            for names in (node.before, node.after)
        )
        return [*before, *self.braces(self.statements(node.block)), *after]

    def print_updaterows(self, node: UpdateRows) -> Lines:
        update = node.update
        late = f"{self.pointer(node.since)}[_pre]"
        counted = [f"if ({late} < {node.limit}) {self.pointer(update.updates)}[_pre] += 1;"]
        body = [f"if ({late} >= {node.limit}) continue;", *self.updated(update)]
        return [
            *self.loop("_pre", 0, update.synapses.n_pre, counted),
            _SYNC,
            *self.braces(self.constants(update.block), self.every_synapse(update.synapses, body)),
        ]

    def print_allsynapses(self, node: AllSynapses) -> Lines:
        body = self.updated(node)
        return self.braces(self.constants(node.block), self.every_synapse(node.synapses, body))

    def print_signal(self, node: Signal) -> Lines:
        s = node.synapses
        if s.sparse:
            row = [*self.sent(node), *self.statements(node.block)]
            # Other threads reach the same neurons before it and with the next row.
            head = f"for (int _pre = {node.first_output}; _pre < {s.n_pre}; _pre++)"
            rows = [_SYNC, head, *self.braces(self.row(s, row), [_SYNC])]
            return self.braces(self.constants(node.block), rows)
        body = [
            f"for (int _pre = {node.first_output}; _pre < {s.n_pre}; _pre++)",
            *self.braces(
                [f"const int _synapse = _pre*{s.width} + _post;", *self.sent(node)],
                self.statements(node.block),
            ),
        ]
        return self.braces(self.constants(node.block), self.loop("_post", 0, s.n_post, body))

    def print_traces(self, node: Traces) -> Lines:
        body = [
            f"if ({self.silent(node)}) continue;",
            *self.windows(node),
            *self.statements(node.block),
        ]
        return self.braces(
            self.constants(node.block),
            self.window_rows(node),
            self.every_synapse(node.synapses, body),
        )

    def print_delaytraces(self, node: DelayTraces) -> Lines:
        body = [f"if ({self.silent(node)}) continue;", *self.delay_trace(node)]
        return self.delay_steps(node, self.every_synapse(node.synapses, body))

    def print_follow(self, node: Follow) -> Lines:
        feedback = self.pointer(node.feedback)
        weight = f"{self.pointer(node.weights)}[_synapse]"
        return [
            *self.loop("_i", 0, node.size, [f"{feedback}[_i] = 0;"]),
            _SYNC,
            *self.every_synapse(
                node.synapses, [f"{feedback}[_post*{node.width} + _pre] = {weight};"]
            ),
        ]
