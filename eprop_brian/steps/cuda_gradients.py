"""Gradients in CUDA: a thread for every output, neuron and synapse, for many trials at a time."""

from __future__ import annotations

from collections.abc import Sequence

from eprop_brian.steps.cuda import CudaLoops
from eprop_brian.steps.gradients import Accumulate, AllSynapses, Backward, Filter
from eprop_brian.steps.nodes import Each
from eprop_brian.steps.printer import Lines
from eprop_brian.steps.spiking import SPIKES_AT_ONCE, Signal

__all__ = ["CudaGradients"]

_COPY = "char* const _own = _memory.copies + (size_t)({copy})*{bytes};"
_WAVE = "const eprop_brian::Wave _wave"


class CudaGradients(CudaLoops):
    """Kernels for what trials add to the sums that updates are made of."""

    AT = "const int _at = blockIdx.x*blockDim.x + threadIdx.x;"

    def kernel(self, name: str, parameters: str, body: Lines, threads: int = 256) -> Lines:
        """A kernel, with pointers to what all trials share."""
        more = f", {parameters}" if parameters else ""
        head = f"__global__ void __launch_bounds__({threads}) {name}"
        return [
            f"{head}(const eprop_brian::Memory _memory{more})",
            *self.braces(self.memory.shared_pointers(), body),
        ]

    def own(self, copy: str, restrict: bool = False) -> Lines:
        """Pointers to what a trial has for itself."""
        memory, array = self.memory, self.schedule.frame.rules.steps_of_trial
        steps = [f"const int _T = (int){self.pointer(array)}[0];"] if array else []
        return [
            _COPY.format(copy=copy, bytes=memory.own_bytes),
            *memory.own_pointers(restrict),
            *steps,
        ]

    def numbered(self, number: int, body: Lines, n: str = "") -> Lines:
        """What one projection's blocks of threads do, for up to `n` elements."""
        some = f" && _at < {n}" if n else ""
        return [f"if (blockIdx.z == {number}{some})", *self.braces(body)]

    def synapse(self, node: AllSynapses) -> Lines:
        """A block for synapse ``_at``."""
        return [
            *self.ends(node.synapses),
            *self.constants(node.block),
            *self.synapse_alone(node),
        ]

    def synapse_alone(self, node: AllSynapses) -> Lines:
        """A block for the synapse from ``_pre`` to ``_post``."""
        before, after = (
            [f"if (_pre == _post) {self.pointer(name)}[_synapse] = 0;" for name in names]
            for names in (node.before, node.after)
        )
        return [*before, *self.braces(self.statements(node.block)), *after]

    # --- what the frame calls --------------------------------------------------------------------

    def gradient_kernels(self) -> str:
        """All kernels of the phase ``learn``."""
        lines: Lines = []
        if self._found(Filter):
            lines += self._filter_errors()
        if self._found(Backward):
            lines += self._run_backwards()
        lines += self._accumulate() + self._fold_shares()
        if self._neurons():
            lines += self._accumulate_neurons()
        return "\n".join(lines)

    def launch_backwards(self, level: int = 0) -> str:
        """How the host launches the way backwards of a wave of trials."""
        trials, lines = "(size_t)wave.n_trials", []
        for name, kind in (("filter_errors", Filter), ("run_backwards", Backward)):
            nodes = self._found(kind)
            if nodes:
                size = f"dim3(blocks({trials}*{max(node.n for node in nodes)}), {len(nodes)})"
                lines.append(f"launch({name}, {size}, 256, memory, wave.n_trials);")
        return f"\n{self._LEVEL * level}".join(lines)

    def launch_sums(self, level: int = 0) -> str:
        """How the host launches the sums over a wave of trials."""
        grid = f"blocks({self.memory.most_synapses})"
        n = len(self.memory.summed)
        lines = [
            "for (int share = 0; share < wave.n_shares(); share += memory.n_shares)",
            *self.braces(
                [
                    "const int n_shares = std::min(memory.n_shares, wave.n_shares() - share);",
                    f"const dim3 one({grid}, 1, {n}), all({grid}, n_shares, {n});",
                    "launch(accumulate, all, 256, memory, wave, share);",
                    "launch(fold_shares, one, 256, memory, wave, share, n_shares);",
                ]
            ),
        ]
        return f"\n{self._LEVEL * level}".join(lines)

    def launch_neurons(self) -> str:
        """How the host launches the sums of neurons."""
        if not self._neurons():
            return ""
        return f"launch(accumulate_neurons, blocks({self.memory.most_neurons}), 256, memory, wave);"

    # --- the kernels ------------------------------------------------------------------------------

    def _found(self, kind: type) -> list:
        return [node for node in self.schedule.nodes("learn") if isinstance(node, kind)]

    def _filter_errors(self) -> Lines:
        body: Lines = ["const int _id = blockIdx.x*blockDim.x + threadIdx.x;"]
        for number, node in enumerate(self._found(Filter)):
            memory, block = self.memory, node.block
            carried = memory.written(block, "_neuron")
            inner = [
                *memory.declare(carried),
                *self.constants(block),
                "#pragma unroll 4",
                "for (int _t = _T - 1; _t >= 0; _t--)",
                *self.braces(
                    [f"const int _history = {node.row} + _neuron;"],
                    self._filtered(node, carried),
                ),
            ]
            opening, *lines, closing = self.braces(inner)
            body += [
                f"if (blockIdx.y == {number} && _id < _n_copies*{node.n})",
                *self.braces(
                    [f"const int _neuron = _id % {node.n};"],
                    self.own(f"_id / {node.n}"),
                    [f"[=]({memory.parameters(block)})", opening, *lines],
                    [f"{closing}({memory.arguments(block)});"],
                ),
            ]
        return self.kernel("filter_errors", "const int _n_copies", body)

    def _filtered(self, node: Filter, carried: Sequence[str]) -> Lines:
        """A step of an output's filter."""
        memory = self.memory
        lines = memory.local(self.statements(node.block), carried, [node.block])
        if not node.between:
            return lines
        between = memory.local(self.statements(node.between), carried, [node.block])
        return [f"if ({node.condition})", *self.braces(lines), "else", *self.braces(between)]

    def _run_backwards(self) -> Lines:
        body: Lines = ["const int _id = blockIdx.x*blockDim.x + threadIdx.x;"]
        for number, node in enumerate(self._found(Backward)):
            body += [
                f"if (blockIdx.y == {number} && _id < _n_copies*{node.n})",
                *self.braces(
                    [f"const int _neuron = _id % {node.n};"],
                    self.own(f"_id / {node.n}"),
                    self._backwards(node),
                ),
            ]
        return self.kernel("run_backwards", "const int _n_copies", body)

    def _backwards(self, node: Backward) -> Lines:
        memory, block = self.memory, node.block
        carried = memory.written(block, "_neuron")
        used = [block, *(signal.block for signal in node.signals)]
        declared = list(carried)
        if node.signals:
            declared += [name for name in node.sums if name not in carried]
        late = []
        if node.late_rows:
            # Spikes that would arrive after the end.
            late = [
                f"for (int _t = _T; _t < _T + {node.late_rows}; _t++)",
                *self.braces(
                    [
                        f"{self.pointer(name)}[_t*{node.tile} + _neuron] = 0;"
                        for name in node.results
                    ]
                ),
            ]
        step: Lines = memory.declare(node.sums, again=True) if node.signals else []
        for signal in node.signals:
            # What would arrive after the end is lost.
            step += [f"if (_t + {node.lag} < _T)", *self._signal_of_neuron(signal, used)]
        step += [
            f"const int _history = _t*{node.width} + _neuron;",
            f"const int _tile = _t*{node.tile} + _neuron;",
        ]
        for k, fused in enumerate(node.fused):
            step += [
                f"const int _output_{k} = {fused.row}*{fused.n_outputs} + {fused.number};",
                f"const int _synapse_{k} = {fused.number * node.width} + _neuron;",
            ]
        step += memory.local(self.statements(block), declared, used)
        opening, *inner, closing = self.braces(
            self.constants(block),
            ["#pragma unroll 4", "for (int _t = _T - 1; _t >= 0; _t--)", *self.braces(step)],
        )
        sums = [
            f"{memory.partial(name)}[_neuron] = {memory.name(name)};"
            for name in memory.sums_of(node)
        ]
        return [
            *memory.declare(declared),
            *late,
            f"[&]({memory.parameters(*used)})",
            opening,
            *inner,
            f"{closing}({memory.arguments(*used)});",
            *sums,
        ]

    def _signal_of_neuron(self, node: Signal, used: Sequence[str]) -> Lines:
        memory, block = self.memory, node.block
        s = node.synapses
        body = [
            f"const int _synapse = _pre*{s.width} + _post;",
            *self.sent(node),
            *memory.local(self.statements(block), memory.written(block, "_post"), used),
        ]
        return self.braces(
            ["const int _post = _neuron;", *self.constants(block)],
            [f"for (int _pre = {node.first_output}; _pre < {s.n_pre}; _pre++)"],
            self.braces(body),
        )

    def _accumulate(self) -> Lines:
        """A thread per synapse and share of trials, which go in their order."""
        memory = self.memory
        body = [
            self.AT,
            "const int _share = _first_share + blockIdx.y;",
            f"{self.real}* const _partials = ({self.real}*)_memory.partials;",
        ]
        for number, node in enumerate(memory.summed):
            sums = memory.sums_over_trials(node)
            one = self._spikes_of(node) if isinstance(node, Accumulate) else []
            if isinstance(node, AllSynapses):
                one = memory.local(self.statements(node.block), sums)
            inner = [
                *self.ends(node.synapses),
                *memory.declare(sums),
                "if (_wave.continues(_share))",
                *self.braces(memory.load(sums, again=True)),
                "for (int _copy = _wave.begin(_share); _copy < _wave.end(_share); _copy++)",
                *self.braces(
                    self.own("_copy", restrict=True),
                    self.constants(node.block) if node.block else [],
                    one,
                ),
            ]
            for name in sums:
                place = f"(size_t)blockIdx.y*{memory.n_partials} + {memory.partials[name]}"
                inner.append(f"_partials[{place} + _synapse] = {memory.name(name)};")
            body += self.numbered(number, inner, self.n_synapses(node.synapses))
        return self.kernel("accumulate", f"{_WAVE}, const int _first_share", body)

    def _spikes_of(self, node: Accumulate) -> Lines:
        """What the spikes of one neuron contribute to one synapse in a trial."""
        memory, s, source = self.memory, node.synapses, node.source.name
        sums = memory.sums_over_trials(node)
        late = node.delay + node.first_row
        lines = [
            f"const int* _spike = _times_{source} + _begin_{source}[_pre];",
            f"const int* _end = _times_{source} + _begin_{source}[_pre + 1];",
        ]
        if node.delay:
            lines.append(f"while (_end > _spike && _end[-1] + {node.delay} >= _T) _end--;")
        values, value = [], []
        if node.inputs:
            first = self.trial_values(node.inputs, "_wave.first_trial + _copy")
            lines.append(f"const int _first_value = {first} + _pre;")
            steps = [node.inputs.step(f"_spike[{k}]") for k in range(SPIKES_AT_ONCE)]
            values = [
                f"const int _value_{k} = _first_value + {step}*{node.inputs.row};"
                for k, step in enumerate(steps)
            ]
            value = [f"const int _value = _first_value + {steps[0]}*{node.inputs.row};"]
        row = f"{late * node.width}"
        if s.extra is not None:
            row = f"({late} + {self.extra(s)})*{node.width}"
        arrivals = [node.arrival(f"_spike[{k}]") for k in range(SPIKES_AT_ONCE)]
        tiles = [
            f"const int _tile_{k} = _row + {step}*{node.width};" for k, step in enumerate(arrivals)
        ]
        several: Lines = []
        if node.several:
            several = [
                f"for (; _end - _spike >= {SPIKES_AT_ONCE}; _spike += {SPIKES_AT_ONCE})",
                *self.braces(values, tiles, memory.local(self.statements(node.several), sums)),
            ]
        one: Lines = []
        if node.block:
            one = [f"const int _tile = _row + {arrivals[0]}*{node.width};"]
            one += memory.local(self.statements(node.block), sums)
        lagged = memory.local(self.lagged(node, "*_spike"), sums) if node.lagged else []
        return [
            *lines,
            f"const int _row = {row} + _post;",
            *several,
            "for (; _spike < _end; _spike++)",
            *self.braces(value, one, lagged),
        ]

    def _fold_shares(self) -> Lines:
        """Shares of a wave enter the sums of the batch in their order."""
        memory = self.memory
        body = [self.AT, f"{self.real}* const _partials = ({self.real}*)_memory.partials;"]
        folds = [n for n in self.schedule.phases["fold"] if isinstance(n, AllSynapses)]
        for number, node in enumerate(folds):
            sums = [n for n in memory.written(node.block, "_synapse") if n in memory.partials]
            parts = [
                f"{self.pointer(name)}[_synapse] = _partials[(size_t)_share*{memory.n_partials}"
                f" + {memory.partials[name]} + _synapse];"
                for name in sums
            ]
            inner = [
                *self.ends(node.synapses),
                *self.constants(node.block),
                "for (int _share = 0; _share < _n_shares; _share++)",
                *self.braces(
                    parts,
                    ["if (_wave.folds(_first_share + _share))"],
                    self.braces(self.statements(node.block)),
                ),
            ]
            body += self.numbered(number, inner, self.n_synapses(node.synapses))
        parameters = f"{_WAVE}, const int _first_share, const int _n_shares"
        return self.kernel("fold_shares", parameters, body)

    def _neurons(self) -> bool:
        """Whether neurons have sums over trials."""
        passes = self._found(Backward)
        return bool(self._found(Each)) or any(self.memory.sums_of(node) for node in passes)

    def _accumulate_neurons(self) -> Lines:
        memory = self.memory
        inner: Lines = self.own("_copy")
        for node in self._found(Each):
            inner += self._neuron(node)
        for node in self._found(Backward):
            adds = [
                f"{self.pointer(name)}[_at] += {memory.partial(name)}[_at];"
                for name in memory.sums_of(node)
            ]
            if adds:
                inner += [f"if (_at < {node.n})", *self.braces(adds)]
        folds = [n for n in self.schedule.phases["fold"] if isinstance(n, Each)]
        folded = [line for node in folds for line in self._neuron(node)]
        body = [
            self.AT,
            "for (int _share = 0; _share < _wave.n_shares(); _share++)",
            *self.braces(
                ["for (int _copy = _wave.begin(_share); _copy < _wave.end(_share); _copy++)"],
                self.braces(inner),
                ["if (_wave.folds(_share))", *self.braces(folded)] if folded else [],
            ),
        ]
        return self.kernel("accumulate_neurons", _WAVE, body)

    def _neuron(self, node: Each) -> Lines:
        """A block for neuron ``_at``."""
        lines = [f"const int {node.index} = _at;", *self.constants(node.block)]
        inner = self.braces(self.statements(node.block))
        return [f"if (_at < {node.n})", *self.braces(lines, inner)]
