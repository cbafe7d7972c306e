"""Schedules in C++: one thread, whose inner loops become vectors."""

from __future__ import annotations

from brian2.utils.stringtools import get_identifiers

from eprop_brian.steps.nodes import Noise, Sums, Sync
from eprop_brian.steps.printer import CLikePrinter, Lines

__all__ = ["CppPrinter"]

#: Rows of a matrix that a loop over its columns goes through together.
_ROWS_AT_ONCE = 4


class CppPrinter(CLikePrinter):
    """See `eprop_brian.steps.printer.Printer`. The frame defines ``INDEPENDENT``."""

    def loop(self, index: str, n: int, body: Lines) -> Lines:
        head = f"for (int {index} = 0; {index} < {n}; {index}++)"
        return ["INDEPENDENT", head, *self.braces(body)]

    def single(self, lines: Lines) -> Lines:
        return self.braces(lines)

    def print_sync(self, node: Sync) -> Lines:
        return []

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
        return self.braces(self.loop("_post", node.n_post, body))

    def print_noise(self, node: Noise) -> Lines:
        head = f"for (int _i = 0; _i < {node.n}; _i++)"
        value = f"eprop_brian::normal({node.seed}, {node.time}, _i)"
        return [head, f"    {self.pointer(node.array)}[_i] = {value};"]
