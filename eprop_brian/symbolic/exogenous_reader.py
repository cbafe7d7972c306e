"""Finds exogenous quantities in the equations of a neuron.

`Reader` puts a name in the place of every call (``rand()``, ``I_ext(t)``), and finds those that are
names already (``t``, ``i``, ``N``).

Brian2's state updaters may read the time and timed arrays between two steps and draw several random
numbers, so their own text is what is read in the end (`Reader.restored`). White noise is what they
make of it: ``xi*dt`` is ``dt**.5*randn()``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from brian2.equations.equations import Equations
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exogenous import DRAWN_BY, Draw, Exogenous, Place, Sample, Time
from eprop_brian.symbolic.expressions import (
    expression_text,
    parse_expression,
    require_dimensions,
)
from eprop_brian.symbolic.names import free_name, substituted
from eprop_brian.symbolic.timed_arrays import TimedValues

__all__ = ["Reader", "check_noise", "check_samples", "noise_in", "noise_kind"]

#: Functions of random numbers, and what they draw.
_DRAWS = {function: kind for kind, function in DRAWN_BY.items()}
#: A line of Brian2's state updaters that draws what stands for ``xi*dt``.
_NOISE_LINE = re.compile(r"^(xi(?:_\w+)?) = dt\*\*\.5 \* randn\(\)$", re.MULTILINE)
#: Methods that integrate white noise; the first only where no state multiplies it.
_FOR_NOISE = ("euler", "heun", "milstein")
_XI = (second**-0.5).dim


def noise_in(code: str) -> dict[str, Dimension]:
    """The white noise that some code names, ``xi`` or ``xi_...``, with its unit."""
    names = sorted(get_identifiers(code))
    return {name: _XI for name in names if name == "xi" or name.startswith("xi_")}


def noise_kind(equations: Equations, where: str) -> str | None:
    """``"additive"`` or, where a state multiplies it, ``"multiplicative"`` noise; None without any.

    Raises
    ------
    EquationError
        If noise is no term of its own, with a factor.
    """
    try:
        return equations.stochastic_type
    except (AssertionError, ValueError) as error:
        # Brian2 looks for a factor of the noise, and finds none in a square or a sine of it.
        raise EquationError(
            where,
            ", ".join(sorted(equations.stochastic_variables)),
            "must be multiplied by a factor and added: write `+ sigma*xi/tau**.5`",
        ) from error


def check_noise(method: str, equations: Equations, where: str) -> None:
    """Check that a method integrates the white noise of equations.

    Raises
    ------
    EquationError
        If it does not, with those that do.
    """
    kind = noise_kind(equations, where)
    methods = {None: (method,), "additive": _FOR_NOISE, "multiplicative": _FOR_NOISE[1:]}[kind]
    if method not in methods:
        noise = ", ".join(sorted(equations.stochastic_variables))
        times = "" if kind == "additive" else " multiplied by a state"
        choice = f"{', '.join(methods[:-1])} or {methods[-1]}"
        raise EquationError(
            where,
            f"method = {method}",
            f"cannot integrate white noise ({noise}){times}: choose {choice}",
        )


def check_samples(
    quantities: Iterable[Exogenous],
    known: Mapping[str, Dimension],
    states: Collection[str],
    where: str,
) -> None:
    """Check that timed arrays are read at a time, and at a column's number.

    Parameters
    ----------
    quantities : iterable of Exogenous
    known : mapping of str to Dimension
        Of the neuron's parameters and constants, and ``dt``.
    states : collection of str
        Of the neuron.
    where : str
        Named in errors.
    """
    known = {**known, "t": second.dim, "i": DIMENSIONLESS, "N": DIMENSIONLESS}
    for sample in (q for q in quantities if isinstance(q, Sample)):
        at = f"{where}, {sample.call}"
        moving = sorted(get_identifiers(f"{sample.time} {sample.column}") & {*states})
        if moving:
            raise EquationError(
                at,
                sample.call,
                f"is read where the state '{moving[0]}' says. What it has in every step is looked "
                "up before a trial, when no state is known: read it at t, i, N and parameters",
            )
        require_dimensions(sample.time, second.dim, known, at, sample.call)
        if sample.column:
            require_dimensions(sample.column, DIMENSIONLESS, known, at, sample.call)


class Reader:
    """Reads the exogenous quantities in the equations of a neuron.

    Parameters
    ----------
    neuron : Neuron
    arrays : mapping of str to TimedValues
        Its timed arrays.
    several : collection of str
        Parameters that have one value per neuron.
    where : str
        Named in errors.

    Attributes
    ----------
    quantities : dict of str to Exogenous
        What has been found, by name.
    """

    def __init__(
        self,
        neuron: Neuron,
        arrays: Mapping[str, TimedValues],
        several: Collection[str],
        where: str,
    ) -> None:
        self._arrays, self._several, self._where = arrays, {*several, "i"}, where
        texts = (neuron.update, neuron.model, neuron.threshold, neuron.surrogate, neuron.reset)
        named = get_identifiers("\n".join((*texts, *neuron.on_pre_by_receptor.values())))
        self._taken = {*named, *neuron.parameters, *neuron.constants} - {*arrays}
        self.quantities: dict[str, Exogenous] = {}
        self._noise: dict[str, str] = {}

    def neuron(self, neuron: Neuron) -> Neuron:
        """The neuron with names in the place of calls."""
        self._refuse_noise(neuron)
        on_pre = {r: self._of_synapses(code) for r, code in neuron.on_pre_by_receptor.items()}
        return replace(
            neuron,
            update=self.read(neuron.update),
            model=self.read(neuron.model),
            reset=self.read(neuron.reset, 1),
            refractory=self.read(neuron.refractory),
            on_pre=on_pre[""] if isinstance(neuron.on_pre, str) else on_pre,
            threshold=self.read(neuron.threshold),
            # Which a random number is no part of, as a check says.
            surrogate=self.read(neuron.surrogate, functions=()),
        )

    def _refuse_noise(self, neuron: Neuron) -> None:
        """Raise for white noise outside of differential equations."""
        codes = (neuron.update, neuron.threshold, neuron.surrogate, neuron.reset)
        for code in (*codes, *neuron.on_pre_by_receptor.values()):
            for name in noise_in(code):
                raise EquationError(
                    self._where,
                    code.strip(),
                    f"'{name}' is white noise, which belongs to a differential equation: write "
                    "randn() for a normal number",
                )

    def _of_synapses(self, code: str) -> str:
        """The effect of a spike, as `read`; Brian2 runs it once for every synapse."""
        meanings = {
            "i": "is the number of the presynaptic neuron; that of the neuron itself is j",
            "N": "is the number of synapses; the number of neurons is N_post",
            **dict.fromkeys(_DRAWS, "draws a number for every spike of every synapse"),
        }
        for name in sorted(get_identifiers(code) & meanings.keys()):
            raise EquationError(
                f"{self._where}, on_pre",
                code.strip(),
                f"'{name}' {meanings[name]}, and the inputs of a step are summed before they enter",
            )
        return self.read(substituted(code, {"j": "i", "N_post": "N"}), 1)

    def read(
        self, code: str, steps_ago: int = 0, functions: Collection[str] = tuple(_DRAWS)
    ) -> str:
        """Code with names in the place of calls.

        Parameters
        ----------
        code : str
            Statements, equations or an expression.
        steps_ago : int
            1 for what Brian2 would have done in the step before.
        functions : collection of str
            Those of random numbers that may be called.
        """
        code = self._with_noise(code)
        read, position = [], 0
        for call in _calls(code, (*functions, *self._arrays)):
            name = self._draw(call) if call.function in _DRAWS else self._sample(call, steps_ago)
            read += [code[position : call.begin], name]
            position = call.end
        code = "".join(read) + code[position:]
        named = get_identifiers(code)
        for name in sorted(named & {"i", "N"}):
            self._add(Place(name))
        if "t" not in named:
            return code
        if not steps_ago:
            self._add(Time("t"))
            return code
        earlier = [q.name for q in self.quantities.values() if isinstance(q, Time) and q.steps_ago]
        before = earlier[0] if earlier else free_name("t_before", self._taken)
        self._add(Time(before, steps_ago))
        return substituted(code, {"t": before})

    def restored(self, equations: Equations) -> Equations:
        """Equations with calls in the place of names, as Brian2's state updaters read them."""
        named = equations.identifiers
        calls = {name: q.call for name, q in self.quantities.items() if name in named}
        return equations.substitute(**calls) if calls else equations

    def refuse_changing(self, names: Collection[str]) -> None:
        """Raise if equations that are to be solved exactly name what changes within a step."""
        for name, quantity in self.quantities.items():
            if name in names and quantity.varies and not isinstance(quantity, Sample):
                raise EquationError(
                    self._where,
                    "method = exact",
                    f"cannot integrate a model that reads {quantity.call}, which changes within a "
                    "step: choose exponential_euler, euler or rk2",
                )

    def hold_constant(self, names: Collection[str]) -> None:
        """Remember of samples that equations which name them were solved as if they held a step."""
        for name, quantity in self.quantities.items():
            if name in names and isinstance(quantity, Sample):
                self.quantities[name] = replace(quantity, constant=True)

    def reserve(self, names: Iterable[str]) -> None:
        """Leave some names to others."""
        self._taken.update(names)

    @property
    def differing(self) -> set[str]:
        """Names whose values differ from neuron to neuron: of parameters too."""
        return self._several | {name for name, q in self.quantities.items() if q.several}

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The units of what was found, by name."""
        return {name: quantity.dim for name, quantity in self.quantities.items()}

    def used_in(self, *codes: str) -> tuple[Exogenous, ...]:
        """The quantities that some code names, in the order in which it names them."""
        words = re.findall(r"[A-Za-z_]\w*", "\n".join(codes))
        return tuple(self.quantities[w] for w in dict.fromkeys(words) if w in self.quantities)

    def renumbered(self, neuron: Neuron, statements: Sequence[tuple[str, str]]):
        """Statements and neuron with draws numbered in their order, and what they read.

        A draw that a state updater has repeated is read no more.
        """
        codes = [expression for _, expression in statements]
        used = self.used_in(*codes, neuron.threshold, neuron.surrogate)
        names: dict[str, str] = {}
        quantities: list[Exogenous] = []
        taken = self._taken - {name for name, q in self.quantities.items() if isinstance(q, Draw)}
        for quantity in used:
            if isinstance(quantity, Draw):
                number = 1 + sum(isinstance(q, Draw) for q in quantities)
                name = free_name(f"{DRAWN_BY[quantity.kind]}_{number}", taken)
                names[quantity.name] = name
                quantity = replace(quantity, name=name, number=number)
            quantities.append(quantity)
        neuron = replace(
            neuron,
            threshold=substituted(neuron.threshold, names),
            surrogate=substituted(neuron.surrogate, names),
        )
        renamed = [(name, substituted(expression, names)) for name, expression in statements]
        return neuron, renamed, tuple(quantities)

    def _with_noise(self, code: str) -> str:
        """What a state updater has written, with the same draw for a noise wherever it stands.

        In order: Brian2 goes through a set.
        """
        lines = sorted(match[1] for match in _NOISE_LINE.finditer(code))
        for name in lines:
            if name not in self._noise:
                self._noise[name] = self._new_draw("randn")
        drawn = [f"{name} = dt**0.5*{self._noise[name]}\n" for name in lines]
        return "".join(drawn) + _NOISE_LINE.sub("", code) if lines else code

    def _draw(self, call: _Call) -> str:
        if call.arguments:
            raise EquationError(
                self._where, call.text, f"draws a number for every neuron: write {call.function}()"
            )
        return self._new_draw(call.function)

    def _new_draw(self, function: str) -> str:
        number = 1 + sum(isinstance(q, Draw) for q in self.quantities.values())
        name = free_name(f"{function}_{number}", self._taken)
        self._add(Draw(name, _DRAWS[function], number))
        return name

    def _sample(self, call: _Call, steps_ago: int) -> str:
        values = self._arrays[call.function]
        n = values.values.ndim
        if len(call.arguments) != n:
            kind, form = ("values", "t") if n == 1 else ("rows of values", "t, i")
            raise EquationError(
                self._where, call.text, f"is an array of {kind}: write {call.function}({form})"
            )
        time, column = (*(self._argument(text) for text in call.arguments), "")[:2]
        samples = [q for q in self.quantities.values() if isinstance(q, Sample)]
        for same in samples:
            if (same.array, same.time, same.column, same.steps_ago) == (
                *(call.function, time, column),
                steps_ago,
            ):
                return same.name
        name = free_name(call.function + "_before" * steps_ago, self._taken)
        number = len(samples) + 1
        several = bool(column or get_identifiers(time) & self._several)
        self._add(
            Sample(
                name,
                call.function,
                time,
                column,
                number,
                steps_ago,
                several,
                values=values,
            )
        )
        return name

    def _argument(self, text: str) -> str:
        """An argument in the form that sympy gives it: updaters write the same one otherwise."""
        return expression_text(parse_expression(text, self._where))

    def _add(self, quantity: Exogenous) -> None:
        self.quantities[quantity.name] = quantity
        self._taken.add(quantity.name)


@dataclass(frozen=True)
class _Call:
    """A call of a function in a code."""

    function: str
    arguments: tuple[str, ...]
    text: str
    begin: int
    end: int


def _calls(code: str, functions: Collection[str]) -> Iterator[_Call]:
    """The calls of some functions, none within another."""
    if not functions:
        return
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, functions))})\s*\(")
    position = 0
    while (match := pattern.search(code, position)) is not None:
        depth, end = 1, match.end()
        commas = []
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            commas += [end] * (depth == 1 and code[end] == ",")
            end += 1
        edges = [match.end() - 1, *commas, end - 1]
        parts = [code[a + 1 : b].strip() for a, b in zip(edges, edges[1:], strict=False)]
        arguments = () if parts == [""] else tuple(parts)
        yield _Call(match[1], arguments, code[match.start() : end], match.start(), end)
        position = end
