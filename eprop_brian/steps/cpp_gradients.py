"""Gradients and updates in C++."""

from __future__ import annotations

from collections.abc import Sequence

from eprop_brian.steps.cpp import CppLoops
from eprop_brian.steps.gradients import Accumulate, AllSynapses, Backward, ClipNorm, Filter
from eprop_brian.steps.printer import Lines
from eprop_brian.steps.spiking import SPIKES_AT_ONCE

__all__ = ["CppPrinter"]


class CppPrinter(CppLoops):
    """See `eprop_brian.steps.printer.Printer`."""

    first_of_tile = "-_first + "

    def print_filter(self, node: Filter) -> Lines:
        zero = self.over(node.zero, "_neuron", node.n, {})
        steps = "for (int _t = _T - 1; _t >= 0; _t--)"
        return [*zero, steps, *self.over(node.block, "_neuron", node.n, {"_history": node.row})]

    def print_backward(self, node: Backward) -> Lines:
        """As many neurons at a time as the cache holds, then over their presynaptic spikes."""
        lines = self.over(node.zero, "_neuron", "_last", {}, first="_first")
        if node.late_rows:
            late = f"_T*{node.tile}, {node.late_rows * node.tile}"
            lines += [f"std::fill_n({self.pointer(name)} + {late}, 0);" for name in node.results]
        lines += [
            *self.constants(node.block),
            "for (int _t = _T - 1; _t >= 0; _t--)",
            *self.braces(self._step_back(node)),
        ]
        for then in node.then:
            if isinstance(then, Accumulate):
                lines += self.accumulate(then)
            else:
                lines += self.lines([then])
        return [
            f"for (int _first = 0; _first < {node.width}; _first += {node.tile})",
            *self.braces(
                [f"const int _last = std::min(_first + {node.tile}, {node.width});"], lines
            ),
        ]

    def _step_back(self, node: Backward) -> Lines:
        lines = []
        if node.signals:
            for signal in map(self.pointer, node.sums):
                lines.append(f"std::fill({signal} + _first, {signal} + _last, 0);")
        for one in node.signals:
            # What would arrive after the end is lost.
            lines += [f"if (_t + {node.lag} < _T)", *self.signal(one, "_first", "_last")]
        for k, fused in enumerate(node.fused):
            lines.append(f"const int _output_{k} = {fused.row}*{fused.n_outputs} + {fused.number};")
        places = [
            f"const int _history = _t*{node.width} + _neuron;",
            f"const int _tile = _t*{node.tile} + _neuron - _first;",
            *(
                f"const int _synapse_{k} = {fused.number * node.width} + _neuron;"
                for k, fused in enumerate(node.fused)
            ),
        ]
        body = [*places, *self.statements(node.block)]
        return [*lines, *self.loop("_neuron", "_first", "_last", body)]

    def print_accumulate(self, node: Accumulate) -> Lines:
        whole = f"const int _first = 0, _last = {node.synapses.width};"
        return self.braces([whole], self.accumulate(node))

    def accumulate(self, node: Accumulate) -> Lines:
        """The sums of the synapses onto neurons ``_first`` to ``_last``."""
        s, name = node.synapses, node.source.name
        late = node.delay + node.first_row
        body = []
        for ending, place in (("_spike", ""), ("_end", " + 1")):
            where = f"&_times_{name}[0] + _begin_{name}[_pre{place}]"
            body.append(f"const int* {ending} = {where};")
        if node.delay:
            body.append(f"while (_end > _spike && _end[-1] + {node.delay} >= _T) _end--;")
        value = self.trial_values(node.inputs) if node.inputs else ""
        if node.several and not s.sparse and s.extra is None:
            rows, tiles = [], []
            for k in range(SPIKES_AT_ONCE):
                if node.inputs:
                    rows.append(
                        f"const int _value_{k} = {value} + _spike[{k}]*{node.inputs.row} + _pre;"
                    )
                rows.append(f"const int _row_{k} = (_spike[{k}] + {late})*{node.width} - _first;")
                tiles.append(f"const int _tile_{k} = _row_{k} + _post;")
            inner = [*tiles, *self.statements(node.several)]
            body.append(f"for (; _end - _spike >= {SPIKES_AT_ONCE}; _spike += {SPIKES_AT_ONCE})")
            body += self.braces(rows, self.row(s, inner, "_first", "_last"))
        extra = "" if s.extra is None else f" + {self.extra(s)}*{node.width}"
        one = []
        if node.inputs:
            one.append(f"const int _value = {value} + *_spike*{node.inputs.row} + _pre;")
        one.append(f"const int _row = (*_spike + {late})*{node.width} - _first;")
        inner = []
        if node.block:
            inner = [f"const int _tile = _row{extra} + _post;", *self.statements(node.block)]
        inner += self.lagged(node, "*_spike")
        body += ["for (; _spike < _end; _spike++)"]
        body += self.braces(one, self.row(s, inner, "_first", "_last"))
        return self.braces(
            self.constants(node.block) if node.block else [],
            [f"for (int _pre = 0; _pre < {s.n_pre}; _pre++)", *self.braces(body)],
        )

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
        return [f"for (int _i = 0; _i < {s.n_pre}; _i++)", *self.braces(lines)]

    def print_clipnorm(self, node: ClipNorm) -> Lines:
        # In double precision: the square of a large float may not be a number.
        lines = ["double _square = 0;"]
        for gradient, array in node.gradients:
            s, name = gradient.synapses, self.pointer(array)
            squares = [f"_square += (double){name}[_synapse]*{name}[_synapse];"]
            lines += self.print_allsynapses(gradient)
            lines += [
                f"for (int _pre = 0; _pre < {s.n_pre}; _pre++)",
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
