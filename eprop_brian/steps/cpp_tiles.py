"""Neurons in C++ a tile at a time, and who of them spikes."""

from __future__ import annotations

from eprop_brian.steps.fusing import Tiled
from eprop_brian.steps.printer import CLikePrinter, Lines
from eprop_brian.steps.spiking import Deliver, Spikes

__all__ = ["CppTiles"]

#: Bytes of the widest registers, of which rows of whole vectors are a multiple.
_VECTOR_BYTES = 64
#: Vectors of a tile at most: as many registers hold sums.
_MOST_VECTORS = 16
#: Neurons of a population from which on threads share it out: a step of fewer is over too soon.
_SHARED_OUT = 1024
#: Most sums that are no whole vectors, such as those of a few readouts.
_MOST_SINGLE = 16


class CppTiles(CLikePrinter):
    """What happens to neurons between their inputs and the list of their spikes.

    The frame includes ``tiles.h``.
    """

    def fits_in_tiles(self, width: int) -> bool:
        """Whether a row of so many numbers can be summed in registers."""
        return width <= _MOST_SINGLE or width * self._size % _VECTOR_BYTES == 0

    def shared_out(self, width: int) -> bool:
        """Whether threads share out neurons, whose row has so many numbers, in every step."""
        return width >= _SHARED_OUT and self._tile(width) < width

    @property
    def _size(self) -> int:
        """Bytes of a number."""
        return 4 if self.real == "float" else 8

    def _tile(self, width: int) -> int:
        """Numbers of a tile: with few tiles, of which the last one repeats little of the others."""
        lanes = _VECTOR_BYTES // self._size
        if width % lanes:
            return width
        vectors = width // lanes
        if vectors <= _MOST_VECTORS:
            return width
        sizes = range(_MOST_VECTORS // 4, _MOST_VECTORS + 1)
        half = _MOST_VECTORS // 2
        return lanes * min(sizes, key=lambda k: (-(-vectors // k) * k, abs(k - half)))

    def print_tiled(self, node: Tiled) -> Lines:
        width = node.advance.padded or node.advance.n
        tile = self._tile(width)
        lines = self.constants(node.advance.block)
        for k, deliver in enumerate(node.delivers):
            source = deliver.source
            lines += [
                self.place(f"_first_{k}", self.begin(source, deliver.step, -deliver.delay)),
                self.place(f"_end_{k}", self.begin(source, deliver.step, 1 - deliver.delay)),
            ]
        body, statements = self._sums(node, width, tile)
        index, size = node.advance.index, f"{tile}"
        if width % tile:
            # Whole vectors, which the compiler must see.
            lanes = _VECTOR_BYTES // self._size
            least = self.smaller(tile, f"{width} - _begin")
            body.append(self.place("_vectors", f"{least}/{lanes}"))
            size = f"{lanes}*_vectors"
        places = [
            self.place(index, "_begin + _i"),
            *(self.place(name, f"{row} + {index}") for name, row in node.advance.rows.items()),
        ]
        body += self.loop("_i", 0, size, [*places, *statements])
        if self.shared_out(width):
            return self._shared(node, lines, body, size, tile)
        if tile == width:
            return self.braces(lines, [self.place("_begin", 0)], body)
        return self.braces(lines, [self.head("_begin", 0, width, tile), *self.braces(body)])

    def _shared(self, node: Tiled, lines: Lines, body: Lines, size: str, tile: int) -> Lines:
        """Tiles that threads share out; each lists the spikes of its own neurons, in order."""
        width = node.advance.padded or node.advance.n
        own = f"const eprop_brian::Range _own(_thread, {width}, {tile});"
        head = self.head("_begin", "_own.first", "_own.last", tile)
        if node.spikes is None:
            return self.braces(lines, self.on_threads([own, head, *self.braces(body)]))
        s, count = node.spikes.spikes, node.spikes.count
        found = self.listed(s, "_begin", f"_begin + {size}", count, "_found + _own.first")
        begun = f"{self.integer} _end = 0;"
        part = [own, begun, head, *self.braces(body, found), "_n_found[_thread] = _end;"]
        listed = f"{self.pointer(s.neuron)} + _end"
        joined = [
            own,
            f"eprop_brian::copy(_found + _own.first, _n_found[_thread], {listed});",
            "_end += _n_found[_thread];",
        ]
        return self.braces(
            [f"static int32_t _found[{width}];"],
            [f"static {self.integer} _n_found[eprop_brian::most_threads];"],
            lines,
            self.on_threads(part),
            [f"{self.integer} _end = {self.begin(s)};"],
            ["for (int _thread = 0; _thread < eprop_brian::n_threads(); _thread++)"],
            self.braces(joined),
            [f"{self.begin(s, shift=1)} = _end;"],
        )

    def on_threads(self, body: Lines) -> Lines:
        """What every thread does, ``_thread`` by its number."""
        opening, *inner, closing = self.braces(body)
        return ["eprop_brian::share_out([=](const int _thread)", opening, *inner, f"{closing});"]

    def _sums(self, node: Tiled, width: int, tile: int) -> tuple[Lines, Lines]:
        """What sums up what arrives at a tile, and the statements of its neurons that read it."""
        lines: Lines = []
        statements = self.statements(node.advance.block)
        first, repeated = "_begin", ""
        if width % tile:
            # The last tile begins early: it sums again what belongs to the one before.
            lines.append(self.place("_from", self.smaller("_begin", width - tile)))
            first, repeated = "_from", "_begin - _from + "
        whole = width * self._size % _VECTOR_BYTES == 0
        for number, into in enumerate(node.arrays):
            pointer, sums = self.pointer(into), f"_sums_{number}"
            declared = f"{self.real} {sums}[{tile}]"
            if whole:
                declared = f"eprop_brian::Registers<{self.real}, {tile}>::type {sums}"
            lines.append(declared + (" = {};" if into in node.transient else ";"))
            if into not in node.transient:
                lines.append(f"std::memcpy({sums}, {pointer} + {first}, sizeof {sums});")
            for k, deliver in enumerate(node.delivers):
                if deliver.adds and self.pointer(deliver.adds[0]) == pointer:
                    lines += self._add(deliver, k, sums, first)
            arrived = f"_arrived_{number}"
            lines += [
                f"alignas({_VECTOR_BYTES}) {self.real} {arrived}[{tile}];",
                f"std::memcpy({arrived}, {sums}, sizeof {sums});",
            ]
            place = f"{pointer}[{node.advance.index}]"
            kept = [
                line
                for line in statements
                if not (into in node.transient and line.startswith(f"{place} = "))
            ]
            statements = [
                line
                if line.startswith(f"{place} = ")
                else line.replace(place, f"{arrived}[{repeated}_i]")
                for line in kept
            ]
        return lines, statements

    def _add(self, node: Deliver, number: int, sums: str, first: str) -> Lines:
        """Add the rows of the spikes that arrive."""
        assert node.adds is not None
        weights, spikes = self.pointer(node.adds[1]), self.pointer(node.source.neuron)
        return [
            "eprop_brian::add_rows(",
            f"    {sums}, {weights} + {first}, {node.synapses.width}, {spikes}, "
            f"_first_{number}, _end_{number});",
        ]

    def listed(self, s: Spikes, first: str, end: str, count: str = "", into: str = "") -> Lines:
        """List those of some neurons that spike, and count the spikes of each."""
        counts = self.pointer(count) if count else f"({self.real}*)0"
        into = into or self.pointer(s.neuron)
        return [
            "_end = eprop_brian::list_spikes(",
            f"    {self.pointer(s.z)}, {first}, {end}, {s.n}, {into}, _end, {counts});",
        ]
