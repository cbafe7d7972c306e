"""A spiking neuron as equation strings.

A `Neuron` is data: the equations of one time step, the condition for a spike, the surrogate for
the spike's missing derivative, and parameters. Nothing here computes; `eprop_brian.symbolic` turns
a `Neuron` into a step map and derives its learning rule.

Two ways of writing a neuron are understood:

*update style*, as papers print it: ``update`` holds one statement per state. Statements run in the
order written, each sees the values already updated above it. ``I`` is the step's summed weighted
input, ``z`` the neuron's own spike of the step before, and ``not_refractory`` is 1, or 0 in a step
in which the neuron is refractory.

*Brian2 style*: ``model`` holds differential equations with units, integrated by ``method``;
``reset`` runs after a spike; ``on_pre`` is the effect of a presynaptic spike of weight ``w``. The
step is ``on_pre``, ``reset`` (where the step before spiked), then Brian2's own state updater, which
is the order of a Brian2 simulation seen from one threshold test to the next.

A neuron may have several receptors, each with dynamics of its own, and every connection then drives
one of them. In Brian2 style ``on_pre`` is a mapping, ``{"ampa": "g_ampa += w", "gaba": "g_gaba +=
w"}``; in update style ``receptors = ("ampa", "gaba")`` names them, and statements read ``I_ampa``
and ``I_gaba`` in place of ``I``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, TypeAlias

from brian2.input.timedarray import TimedArray
from brian2.units import second
from brian2.units.fundamentalunits import Quantity

from eprop_brian.base.description import Described, Description, assignments
from eprop_brian.equations.brian_arguments import expression_of, names_used, text_of
from eprop_brian.equations.parametrised import Parametrised

__all__ = ["Neuron", "Parameter"]

#: Fields that are equations, a condition or a time: strings, whatever is passed.
_TEXTS = (
    *("update", "model", "method", "reset", "on_pre", "threshold", "surrogate"),
    *("refractory", "refractory_surrogate"),
)
#: A string, once the neuron is made; `Equations`, a quantity, None or False may be passed.
Text: TypeAlias = Any
#: A number, a Brian2 quantity, a string with a unit ("20 ms"), or one value per neuron.
Parameter = Any


@dataclass(frozen=True)
class Neuron(Described, Parametrised):
    """A spiking neuron as equation strings.

    Arguments may be what Brian2 takes: `Equations`, quantities, None or False for nothing, and a
    namespace. They are kept as strings and parameters.

    Parameters
    ----------
    name : str
        Short lower-case name, used in the names of the Brian2 objects built from it.
    threshold : str
        Condition for a spike, a comparison such as ``"v >= v_th + beta*a"``. Of several that are
        joined by ``and`` the gradient follows that which the inputs reach.
    surrogate : str
        dz/dv as an expression of the states. Evaluated, never differentiated. Default: piecewise
        linear, 0.3/w high and w wide, with the distance w of the threshold at the start of a trial.
    refractory_surrogate : str
        dz/dv in the steps in which the neuron is refractory, likewise; may be a constant.
    update : str
        Update style: one statement per state, one per line.
    model : str or Equations
        Brian2 style: differential equations and subexpressions.
    method, reset : str
        Brian2 style: name of Brian2's state updater (``""`` or None: the one that Brian2 chooses),
        and statements after a spike.
    on_pre : str or mapping
        Brian2 style: the effect of a presynaptic spike of weight ``w`` (``"v += w"``). A mapping
        has that of every receptor, by name; the inputs of a step enter in its order.
    on_pre_order : str
        Brian2 style: what spikes do that reach a neuron in one step, where the effect of one
        depends on what another has changed (``"v += w*(E - v)"``): ``"summed"``, all act on the
        value before them, or ``"sequential"``, one after the other as in Brian2.
    receptors : tuple of str
        Update style: names of the receptors; none for a single input ``I``.
    refractory : str or Quantity
        Time without spikes after a spike: a time (``"5 ms"``), a parameter's name or an expression.
        The smallest inter-spike interval is this time in steps: rounded in update style, and in
        Brian2 style cut off, as Brian2 does. In Brian2 style also a condition (``"v > v_T"``),
        which keeps a neuron that has spiked refractory while it holds.
    parameters : mapping
        Numbers, quantities, or strings with units; an array gives every neuron its own value.
    constants : mapping
        Quantities computed once from the parameters and ``dt``, as expressions
        (``{"alpha": "exp(-dt/tau_m)"}``), or numbers.
    timed_arrays : mapping
        Signals that equations read as functions of time, ``I_ext(t)``: Brian2's `TimedArray`, which
        may stand among the parameters too, or a mapping of its ``values``, their ``dt`` and their
        ``unit``. One with a column for each neuron is read as ``I_ext(t, i)``.
    initial : mapping
        Value of a state at the start of a trial, as an expression of the parameters or a quantity;
        0 if absent.
    detach : tuple of str, optional
        States whose path through the neuron's own spike is not differentiated. Default: the states
        the input enters, and the membrane: of the states that the input reaches without a spike,
        those whose rise makes the threshold's condition true.
    source : str
        Where the equations come from.
    namespace : mapping, optional
        More parameters, of which those are taken that the equations name.
    """

    formulas: ClassVar[str] = "eprop_brian.symbolic.derivation:formulas_of"
    kind: ClassVar[str] = "neuron"

    name: str
    threshold: Text
    surrogate: Text = ""
    update: Text = ""
    model: Text = ""
    method: Text = "exact"
    reset: Text = ""
    on_pre: Text = ""
    on_pre_order: str = "summed"
    receptors: tuple[str, ...] = ()
    refractory: Text = ""
    refractory_surrogate: Text = "0"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    timed_arrays: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, Any] = field(default_factory=dict)
    detach: tuple[str, ...] | None = None
    source: str = ""
    namespace: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, namespace: Mapping[str, Any] | None) -> None:
        for name in _TEXTS:
            self._keep(name, text_of(getattr(self, name)))
        for name in ("constants", "initial"):
            values = getattr(self, name)
            if isinstance(values, Mapping):
                self._keep(name, {k: expression_of(x) for k, x in values.items()})
        if namespace is not None and not isinstance(namespace, Mapping):
            raise ValueError(
                f"neuron '{self.name}': namespace is a mapping from names, not {namespace!r}"
            )
        if not all(
            isinstance(values, Mapping)
            for values in (self.parameters, self.timed_arrays, self.constants, self.initial)
        ):
            return  # Refused by name where the neuron is read.
        if namespace:
            self._keep("parameters", {**self._taken(namespace), **self.parameters})
        # As plain data: Brian2's object holds functions, which cannot be sent to a worker.
        given = {n: v for n, v in self.parameters.items() if isinstance(v, TimedArray)}
        if given:
            rest = {n: v for n, v in self.parameters.items() if n not in given}
            self._keep("parameters", rest)
        if given or any(isinstance(v, TimedArray) for v in self.timed_arrays.values()):
            arrays = {n: _plain(v) for n, v in {**self.timed_arrays, **given}.items()}
            self._keep("timed_arrays", arrays)

    @classmethod
    def from_brian2(
        cls,
        group: Any,
        synapses: Any = None,
        *,
        namespace: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Neuron:
        """The neurons of a `brian2.NeuronGroup`, which is neither run nor changed.

        Equations, method, threshold, reset and refractory time are those of the group. Its
        parameters and the states at the start of a trial have their present values. Variables that
        synapses have of their own are no part of it: `Network.from_brian2` reads them.

        Parameters
        ----------
        group : NeuronGroup
        synapses : Synapses, iterable of them, or mapping of str to either
            Where ``on_pre`` comes from. What differs from synapse to synapse is the weight. Several
            `Synapses` become receptors, unless what their spikes do differs by a number; a mapping
            names the receptors, which otherwise have the names of the first of their synapses.
        namespace : mapping, optional
            Values of names that the equations use, besides the group's own namespace. Default: the
            variables where this is called, as for `brian2.run`.
        **fields
            Fields of the neuron that a group does not have (``surrogate``, ``detach``, ``source``),
            or others in place of its own: ``name``, ``threshold``, or ``on_pre`` where there are no
            synapses.

        Raises
        ------
        ValueError, EquationError
            If a name has no value, or something has no counterpart.
        """
        from eprop_brian.brian.reading.neurons import neuron_from_brian2

        return neuron_from_brian2(group, synapses, namespace=namespace, level=1, **fields)

    def _keep(self, name: str, value: Any) -> None:
        # The way in which a frozen dataclass sets its own fields.
        object.__setattr__(self, name, value)

    def _taken(self, namespace: Mapping[str, Any]) -> dict[str, Any]:
        """What the equations name of a namespace."""
        values = (self.on_pre_by_receptor, self.constants, self.initial, self.parameters)
        texts = [
            *(getattr(self, name) for name in _TEXTS),
            *(x for v in values for x in v.values()),
        ]
        return names_used(namespace, texts)

    @property
    def on_pre_by_receptor(self) -> Mapping[str, str]:
        """The effect of a presynaptic spike at every receptor; at ``""`` without receptors."""
        return {"": self.on_pre} if isinstance(self.on_pre, str) else self.on_pre

    @property
    def receptor_names(self) -> tuple[str, ...]:
        """Names of the receptors; ``("",)`` for a single input without a name."""
        return tuple(self.receptors or self.on_pre_by_receptor)

    def description(self) -> Description:
        """Its equations and parameters, for `print` and notebooks."""
        refractory = [self.refractory] if self.refractory.strip() else []
        if refractory and self.refractory_surrogate.strip() != "0":
            refractory.append(f"surrogate = {self.refractory_surrogate}")
        rows = [
            ("update", _lines(self.update)),
            ("model", _lines(self.model)),
            ("method", self.method if self.model.strip() else ""),
            *_on_pre_rows(self.on_pre_by_receptor),
            ("on_pre_order", "" if self.on_pre_order == "summed" else self.on_pre_order),
            ("receptors", ", ".join(self.receptors)),
            ("reset", _lines(self.reset)),
            ("threshold", self.threshold.strip()),
            ("surrogate", self.surrogate.strip()),
            ("refractory", "\n".join(refractory)),
            ("parameters", assignments(self.parameters)),
            ("constants", assignments(self.constants)),
            ("timed arrays", "\n".join(_signal(*item) for item in self.timed_arrays.items())),
            ("initial", assignments(self.initial)),
            ("detach", "" if self.detach is None else ", ".join(self.detach) or "nothing"),
            ("source", self.source),
        ]
        return Description(f"Neuron {self.name}", rows)

    def __repr__(self) -> str:
        equations = _lines(self.update or self.model).replace("\n", "; ")
        return f"<neuron '{self.name}': {equations}>"


def _on_pre_rows(effects: Mapping[str, str]) -> list[tuple[str, str]]:
    """The effect of a presynaptic spike, a row for each receptor."""
    return [
        (f"on_pre, {receptor}" if receptor else "on_pre", _lines(code))
        for receptor, code in effects.items()
    ]


def _plain(array: Any) -> Any:
    """A timed array as values with their unit and the time between them."""
    if not isinstance(array, TimedArray):
        return array
    return {"values": Quantity(array.values, dim=array.dim), "dt": array.dt * second}


def _signal(name: str, array: Any) -> str:
    """A timed array in a description."""
    if not isinstance(array, Mapping) or not {"values", "dt"} <= {*array}:
        return f"{name} = {array}"
    return f"{name}: {len(array['values'])} values, one every {array['dt']}"


def _lines(code: str) -> str:
    """Code without indentation and empty lines."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
