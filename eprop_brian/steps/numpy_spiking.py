"""Spikes and synapses in NumPy: a loop over spikes, slices and arrays of indices for the rest."""

from __future__ import annotations

from eprop_brian.steps.gradients import (
    Accumulate,
    Again,
    AllSynapses,
    Backward,
    ClipNorm,
    Combine,
    Filter,
)
from eprop_brian.steps.numpy import NumpyLoops
from eprop_brian.steps.printer import Lines, indented
from eprop_brian.steps.spiking import (
    Arrive,
    DelayTraces,
    Deliver,
    Follow,
    Forget,
    Hear,
    Inputs,
    ListSpikes,
    Passes,
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
    plus,
)

__all__ = ["NumpyPrinter"]


class NumpyPrinter(NumpyLoops):
    """See `eprop_brian.steps.printer.Printer`. The frame imports what `NumpyLoops` needs."""

    # --- spikes -----------------------------------------------------------------------------------

    def spikes(self, spikes: Spikes, step: str, shift: int) -> str:
        """The neurons that spike in a step, and so many more."""
        first, end = self.begin(spikes, step, shift), self.begin(spikes, step, shift + 1)
        return f"{self.pointer(spikes.neuron)}[int({first}):int({end})]"

    def print_timesofspikes(self, node: TimesOfSpikes) -> Lines:
        return []

    def print_startspikes(self, node: StartSpikes) -> Lines:
        s = node.spikes
        spiking = self.pointer(s.z) + ("" if node.analog else " > 0")
        some = "" if node.carried else "[:0]"
        return [
            f"_fired = _numpy.flatnonzero({spiking}){some}",
            f"{self.pointer(s.neuron)}[:len(_fired)] = _fired",
            f"{self.pointer(s.first)}[:2] = 0, len(_fired)",
        ]

    def print_readinputs(self, node: ReadInputs) -> Lines:
        s, inputs = node.spikes, node.inputs
        z, data = self.pointer(s.z), self.pointer(inputs.data)
        trial = self._row_of_trial(inputs, "_step")
        if inputs.analog:
            start = f"_start = {trial}*{inputs.row}{plus(inputs.before)}"
            return [start, f"{z}[:] = {data}[_start:_start + {s.n}]", *self._list(s)]
        words = -(-s.n // 32)
        bits = f"{data}[_start:_start + {words}].view('uint8')"
        return [
            f"_start = {trial}*{inputs.row}{plus(inputs.before)}",
            f"{z}[:] = _numpy.unpackbits({bits}, bitorder='little')[:{s.n}]",
            *self._list(s),
        ]

    def _row_of_trial(self, inputs: Inputs, step: str) -> str:
        """The row of the data of a step."""
        pattern = self.pointer(inputs.pattern)
        return f"(int({pattern}[_trial])*{inputs.n_steps} + {inputs.step(step)})"

    def print_listspikes(self, node: ListSpikes) -> Lines:
        counted = [f"{self.pointer(node.count)}[_fired] += 1"] if node.count else []
        return [*self._list(node.spikes), *counted]

    def _list(self, s: Spikes) -> Lines:
        space = self.pointer(s.spikespace)
        return [
            f"_fired = _numpy.flatnonzero({self.pointer(s.z)})",
            f"_begin = int({self.begin(s)})",
            "_end = _begin + len(_fired)",
            f"{self.pointer(s.neuron)}[_begin:_end] = _fired",
            f"{self.begin(s, shift=1)} = _end",
            f"{space}[:len(_fired)] = _fired",
            f"{space}[-1] = len(_fired)",
        ]

    def print_sortspikes(self, node: SortSpikes) -> Lines:
        return []

    def print_forget(self, node: Forget) -> Lines:
        return []

    def print_hear(self, node: Hear) -> Lines:
        return []

    # --- synapses ---------------------------------------------------------------------------------

    def row(self, s: Synapses) -> Lines:
        """The synapses of neuron ``_pre``."""
        if s.first is not None and s.post is not None:
            first = self.pointer(s.first)
            return [
                f"_synapse = slice(int({first}[_pre]), int({first}[_pre + 1]))",
                f"_post = {self.pointer(s.post)}[_synapse]",
            ]
        return [
            f"_synapse = slice(_pre*{s.n_post}, (_pre + 1)*{s.n_post})",
            "_post = slice(None)",
        ]

    def cells(self, s: Synapses) -> str:
        """The postsynaptic neurons of the synapses at hand as an array."""
        return "_post" if s.sparse else f"_numpy.arange({s.n_post})"

    def ends(self, s: Synapses) -> Lines:
        """All synapses, and both ends of each as arrays of indices."""
        neurons = f"_numpy.arange({s.n_pre})"
        if s.first is not None and s.post is not None:
            return [
                f"_pre = _numpy.repeat({neurons}, _numpy.diff({self.pointer(s.first)}))",
                "_synapse = slice(0, len(_pre))",
                f"_post = {self.pointer(s.post)}[_synapse]",
            ]
        return [
            f"_pre = _numpy.repeat({neurons}, {s.n_post})",
            f"_post = _numpy.tile(_numpy.arange({s.n_post}), {s.n_pre})",
            "_synapse = slice(None)",
        ]

    def print_deliver(self, node: Deliver) -> Lines:
        s, later = node.synapses, []
        if s.extra is not None:
            row = f"(_now + {self.extra(s)}) % {node.later_rows}*{s.n_post}"
            later = [f"_later = {row} + {self.cells(s)}"]
        body = [*self.row(s), *later, *self.block(node.block, {})]
        return [f"for _pre in {self.spikes(node.source, node.step, -node.delay)}:", *indented(body)]

    def print_arrive(self, node: Arrive) -> Lines:
        since, skipped = self.pointer(node.since), self.pointer(node.skipped)
        body = [f"if {since}[_pre] >= {node.never}:", "    continue", *self.row(node.synapses)]
        if node.decay:
            body += [
                f"{skipped}[_pre] = {since}[_pre] + 1 - {node.cutoff}",
                f"if {skipped}[_pre] > 0:",
                *indented(self.block(node.decay, {})),
            ]
        if node.update:
            body += self.print_rowupdate(node.update)
        return [f"for _pre in {self.spikes(node.source, '_step', -node.delay)}:", *indented(body)]

    def print_rowupdate(self, node: RowUpdate) -> Lines:
        s = node.synapses
        feedback = []
        if s.feedback_width:
            feedback = [f"_feedback = {self.cells(s)}*{s.feedback_width} + _pre"]
        return [
            *feedback,
            f"{self.pointer(node.updates)}[_pre] += 1",
            *(f"{self.pointer(name)}[_pre*{s.n_post + 1}] = 0" for name in node.before),
            *self.block(node.block, {}),
            *(f"{self.pointer(name)}[_pre*{s.n_post + 1}] = 0" for name in node.after),
        ]

    def print_updaterows(self, node: UpdateRows) -> Lines:
        body = [*self.row(node.update.synapses), *self.print_rowupdate(node.update)]
        active = f"{self.pointer(node.since)} < {node.limit}"
        return [f"for _pre in _numpy.flatnonzero({active}):", *indented(body)]

    def print_signal(self, node: Signal) -> Lines:
        s = node.synapses
        late = f" - {self.pointer(node.delay)}[_synapse]" if node.delay else ""
        body = [
            *self.row(s),
            f"_sent = ({node.row}{late})*{s.n_pre} + _pre",
            *self.block(node.block, {}),
        ]
        return [f"for _pre in range({node.first_output}, {s.n_pre}):", *indented(body)]

    def print_passes(self, node: Passes) -> Lines:
        head = "for _from in range(_first_known, _known):"
        return [head, *indented(self.lines(node.single))]

    def print_traces(self, node: Traces) -> Lines:
        s = node.synapses
        lines = [
            *self.ends(s),
            f"_post_0 = _from % {node.window_rows}*{s.n_post} + _post",
            f"_pre_0 = (_from - {self.extra(s)}) % {node.pre_rows}*{s.n_pre} + _pre",
        ]
        if node.cut_off and node.since is not None:
            lines += [
                f"_active = _numpy.flatnonzero({self.pointer(node.since)}[_pre] < {node.limit})",
                "_synapse = _active if isinstance(_synapse, slice) else _synapse[_active]",
                "_pre, _post = _pre[_active], _post[_active]",
                "_pre_0, _post_0 = _pre_0[_active], _post_0[_active]",
            ]
        return [*lines, *self.block(node.block, {})]

    def print_delaytraces(self, node: DelayTraces) -> Lines:
        s = node.synapses
        lines = [*self.ends(s), f"_post_0 = _from % {node.window_rows}*{s.n_post} + _post"]
        for lag, block in node.lagged.items():
            step = f"(_from - _numpy.maximum({self.extra(s)} + {lag}, 0)) % {node.pre_rows}"
            lines += [f"_pre_0 = {step}*{s.n_pre} + _pre", *self.block(block, {})]
        return [*lines, *self.block(node.block, {})]

    def print_follow(self, node: Follow) -> Lines:
        feedback = self.pointer(node.feedback)
        weights = f"{self.pointer(node.weights)}[_synapse]"
        return [
            *self.ends(node.synapses),
            f"{feedback}[:] = 0",
            f"{feedback}[_post*{node.width} + _pre] = {weights}",
        ]

    # --- gradients and updates --------------------------------------------------------------------

    def print_filter(self, node: Filter) -> Lines:
        history = f"slice({node.row}, {node.row} + {node.n})"
        indices = {"_neuron": "slice(None)", "_history": history}
        body = self.block(node.block, indices)
        if node.between:
            between = indented(self.block(node.between, indices))
            body = [f"if {node.condition}:", *indented(body), "else:", *between]
        return [
            *self.block(node.zero, {"_neuron": "slice(None)"}),
            "for _t in range(_T - 1, -1, -1):",
            *indented(body),
        ]

    def print_backward(self, node: Backward) -> Lines:
        body = [f"{self.pointer(x)}[:] = 0" for x in node.sums] if node.signals else []
        for signal in node.signals:
            # What would arrive after the end is lost.
            body += [f"if _t + {node.lag} < _T:", *indented(self.print_signal(signal))]
        for k, fused in enumerate(node.fused):
            start = fused.number * node.n
            body += [
                f"_output_{k} = {fused.row}*{fused.n_outputs} + {fused.number}",
                f"_synapse_{k} = slice({start}, {start + node.n})",
            ]
        row = node.steps.row("_t")
        body.append(f"_history = _tile = slice({row}*{node.n}, ({row} + 1)*{node.n})")
        body += self.block(node.block, {"_neuron": "slice(None)"})
        late = []
        if node.late_rows and not node.steps.partial:
            # An episode before may have been longer.
            rows = f"_T*{node.tile}:(_T + {node.late_rows})*{node.tile}"
            late = [f"{self.pointer(name)}[{rows}] = 0" for name in node.results]
        return [
            *(self.block(node.zero, {"_neuron": "slice(None)"}) if node.zero else []),
            *late,
            f"for _t in range({node.steps.end} - 1, {node.steps.first} - 1, -1):",
            *indented(body),
            *self.lines(node.then),
        ]

    def print_accumulate(self, node: Accumulate) -> Lines:
        s = node.synapses
        extra = "" if s.extra is None else f" + {self.extra(s)}"
        value = []
        if node.inputs:
            row = "_t"
            if node.inputs.pattern:
                row = self._row_of_trial(node.inputs, "_t")
            value = [f"_value = {row}*{node.inputs.row}{plus(node.inputs.before)} + _pre"]
        first = node.steps.row(f"{node.arrival('_t')} + {node.delay + node.first_row}")
        rows = [(f"{first}{extra}", node.block)] if node.block else []
        for lag, block in node.lagged.items():
            rows.append((f"{first} + _numpy.maximum({self.extra(s)} + {lag}, 0)", block))
        body = [*self.row(s), *value]
        for row, block in rows:
            body += [f"_tile = ({row})*{s.n_post} + {self.cells(s)}", *self.block(block, {})]
        spikes = f"for _pre in {self.spikes(node.source, '_t', 0)}:"
        # The last spikes first, as segments of a trial follow each other.
        delay = node.delay + (int(s.extra or 0) if node.steps.partial else 0)
        least, end = f"max(0, {node.steps.first} - {delay})", node.steps.end
        return [
            f"for _t in range({end} - {delay} - 1, {least} - 1, -1):",
            *indented([spikes, *indented(body)]),
        ]

    def print_again(self, node: Again) -> Lines:
        head = f"for _step in range({node.steps.first}, {node.steps.end}):"
        body = ["_now = _before_first + _step", *self.lines(node.body)]
        return ["_again = 1", head, *indented(body), "_again = 0"]

    def print_allsynapses(self, node: AllSynapses) -> Lines:
        s = node.synapses
        feedback = []
        if s.feedback_width:
            feedback = [f"_feedback = _post*{s.feedback_width} + _pre"]
        return [
            *self.ends(s),
            *(f"{self.pointer(name)}[::{s.n_pre + 1}] = 0" for name in node.before),
            *feedback,
            *self.block(node.block, {}),
            *(f"{self.pointer(name)}[::{s.n_pre + 1}] = 0" for name in node.after),
        ]

    def print_combine(self, node: Combine) -> Lines:
        first, index, factor = (self.pointer(x) for x in (node.first, node.index, node.factor))
        elements = f"_numpy.repeat(_numpy.arange({node.n}), _numpy.diff({first}))"
        terms = f"{factor}*{self.pointer(node.source)}[{index}]"
        return [
            f"{self.pointer(node.array)}[:{node.n}] = _numpy.bincount(",
            f"    {elements}, {terms}, minlength={node.n}",
            ")",
        ]

    def print_clipnorm(self, node: ClipNorm) -> Lines:
        lines = ["_square = 0.0"]
        for gradient, array in node.gradients:
            values = f"{self.pointer(array)}[_synapse].astype(float)"
            lines += self.print_allsynapses(gradient)
            lines.append(f"_square += float(_numpy.sum({values}**2))")
        scale = f"{self.pointer(node.most)}[0]/max(_square**0.5, 1e-300)"
        return [*lines, f"{self.pointer(node.factor)}[0] = min(1.0, {scale})"]
