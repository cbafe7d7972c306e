"""Kernels of a CUDA program besides that of a trial: a thread for every element.

Between two `Sync` nodes of a phase the threads need not wait for each other: that is a kernel.
What a trial computes after its end has kernels by the kind of node, each with its own number of
threads: an output's or a neuron's way backwards, a synapse's sum over trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eprop_brian.steps.cuda_gradients import CudaGradients
from eprop_brian.steps.gradients import AllSynapses, ClipNorm, Combine
from eprop_brian.steps.nodes import Each, If, Node, Put, Sync
from eprop_brian.steps.printer import Lines
from eprop_brian.steps.spiking import Follow, UpdateRows

__all__ = ["CudaPrinter"]

#: Threads of a block, and of one that goes through the rows of a matrix.
_THREADS, _ROW_THREADS = 256, 128


class CudaPrinter(CudaGradients):
    """See `eprop_brian.steps.printer.Printer`."""

    def kernels(self, *phases: str) -> str:
        """The kernels of some phases."""
        return "\n".join(line for phase in phases for line in self._kernels(phase))

    def launches(self, phase: str, level: int = 0) -> str:
        """How the host launches the kernels of a phase."""
        lines: Lines = []
        for number, (condition, nodes) in enumerate(_segments(self.schedule.phases[phase])):
            launch = self._launches(f"{phase}_{number}", nodes)
            lines += [f"if ({condition})", *self.braces(launch)] if condition else launch
        return f"\n{self._LEVEL * level}".join(lines)

    def _kernels(self, phase: str) -> Lines:
        lines: Lines = []
        for number, (_, nodes) in enumerate(_segments(self.schedule.phases[phase])):
            name = f"{phase}_{number}"
            if isinstance(nodes[0], ClipNorm):
                lines += self._measuring(name, nodes[0])
            elif isinstance(nodes[0], UpdateRows):
                threads = self.memory.threads
                lines += self.kernel(name, "", self.lines(nodes), threads)
            elif isinstance(nodes[0], Follow):
                numbered = [self.numbered(k, self.lines([f])) for k, f in enumerate(nodes)]
                lines += self.kernel(name, "", sum(numbered, []))
            else:
                lines += self.kernel(name, "", [self.AT, *self._elements(nodes)])
        return lines

    def _launches(self, name: str, nodes: Sequence[Node]) -> Lines:
        if isinstance(nodes[0], ClipNorm):
            rows, n = self.memory.most_rows, len(nodes[0].gradients)
            return [
                f"launch({name}, dim3({rows}, 1, {n}), {_ROW_THREADS}, memory);",
                f"launch({name}_sum, 1, {_THREADS}, memory, {rows * n});",
            ]
        if isinstance(nodes[0], UpdateRows):
            return [f"launch({name}, 1, {self.memory.threads}, memory);"]
        if isinstance(nodes[0], Follow):
            return [f"launch({name}, dim3(1, 1, {len(nodes)}), {_THREADS}, memory);"]
        most, n_synapses = 1, 0
        for node in nodes:
            if isinstance(node, AllSynapses):
                most, n_synapses = max(most, node.synapses.n), n_synapses + 1
            elif isinstance(node, Combine):
                most, n_synapses = max(most, node.n), n_synapses + 1
            elif isinstance(node, Each):
                most = max(most, node.n)
        grid = f"dim3(blocks({most}), 1, {max(1, n_synapses)})"
        return [f"launch({name}, {grid}, {_THREADS}, memory);"]

    def _elements(self, nodes: Iterable[Node]) -> Lines:
        """Nodes for element ``_at``; every projection has blocks of threads of its own."""
        lines: Lines = []
        number = 0
        for node in nodes:
            if isinstance(node, AllSynapses):
                lines += self.numbered(number, self.synapse(node), self.n_synapses(node.synapses))
                number += 1
            elif isinstance(node, Combine):
                lines += self.numbered(number, self.combined(node, "_at"), str(node.n))
                number += 1
            elif isinstance(node, Each):
                body = [f"const int {node.index} = _at;", *self.constants(node.block)]
                inner = self.braces(self.statements(node.block))
                lines += self.numbered(0, [*body, *inner], str(node.n))
            elif isinstance(node, Put):
                value = self.expression(node.value)
                put = f"{self.pointer(node.array)}[{node.index}] = {value};"
                lines += self.numbered(0, [put], "1")
        return lines

    def _measuring(self, name: str, node: ClipNorm) -> Lines:
        """Gradients, and the sums of their squares, a row of a projection a block of threads."""
        # In double precision: the square of a large float may not be a number.
        lines = ["double _square = 0;"]
        for number, (gradient, array) in enumerate(node.gradients):
            values = self.pointer(array)
            square = f"_square += (double){values}[_synapse]*{values}[_synapse];"
            body = [*self.synapse_alone(gradient), square]
            row = [
                "const int _pre = blockIdx.x;",
                *self.constants(gradient.block),
                *self.row(gradient.synapses, body),
            ]
            lines += [
                f"if (blockIdx.z == {number} && blockIdx.x < {gradient.synapses.n_pre})",
                *self.braces(row),
            ]
        summed = "_square = eprop_brian::sum_of_block(_square);"
        place = "_memory.squares[blockIdx.z*gridDim.x + blockIdx.x]"
        lines += [summed, *self.single([f"{place} = _square;"])]
        scale = [
            "double _square = 0;",
            *self.loop("_i", 0, "_n_squares", ["_square += _memory.squares[_i];"]),
            summed,
            *self.single(
                [
                    f"const double _norm = sqrt(_square), _most = {self.pointer(node.most)}[0];",
                    f"{self.pointer(node.factor)}[0] = _norm > _most ? _most/_norm : 1;",
                ]
            ),
        ]
        return [
            *self.kernel(name, "", lines, _ROW_THREADS),
            *self.kernel(f"{name}_sum", "const int _n_squares", scale),
        ]


def _segments(nodes: Iterable[Node]) -> list[tuple[str, list[Node]]]:
    """What stands between two `Sync`, and under which condition."""
    segments: list[tuple[str, list[Node]]] = [("", [])]
    for node in nodes:
        if isinstance(node, If):
            segments += [(node.condition, inner) for _, inner in _segments(node.then)]
        if isinstance(node, If | Sync):
            segments.append(("", []))
        else:
            segments[-1][1].append(node)
    return [segment for segment in segments if segment[1]]
