"""Schedules in CUDA: a block of threads, which go through the nodes together."""

from __future__ import annotations

from eprop_brian.steps.nodes import Noise, Sums, Sync
from eprop_brian.steps.printer import CLikePrinter, Lines

__all__ = ["CudaPrinter"]


class CudaPrinter(CLikePrinter):
    """See `eprop_brian.steps.printer.Printer`; `memory` is `eprop_brian.devices.cuda_memory`'s."""

    def loop(self, index: str, n: int, body: Lines) -> Lines:
        head = f"for (int {index} = threadIdx.x; {index} < {n}; {index} += blockDim.x)"
        return [head, *self.braces(body)]

    def single(self, lines: Lines) -> Lines:
        return ["if (threadIdx.x == 0)", *self.braces(lines)]

    def print_sync(self, node: Sync) -> Lines:
        return ["__syncthreads();"]

    def print_sums(self, node: Sums) -> Lines:
        """A thread adds up what belongs to its columns in registers."""
        memory, sums = self.memory, self.memory.written(node.block, "_post")
        inner = [
            f"const int _synapse = _pre*{node.n_post} + _post;",
            *memory.local(self.statements(node.block), sums).split("\n"),
        ]
        body = [
            *memory.load(sums).split("\n"),
            "#pragma unroll 4",
            f"for (int _pre = 0; _pre < {node.n_pre}; _pre++)",
            *self.braces(inner),
            *memory.store(sums).split("\n"),
        ]
        return self.braces(self.constants(node.block), self.loop("_post", node.n_post, body))

    def print_noise(self, node: Noise) -> Lines:
        value = f"eprop_brian::normal({node.seed}, {node.time}, _i)"
        return self.loop("_i", node.n, [f"{self.pointer(node.array)}[_i] = {value};"])
