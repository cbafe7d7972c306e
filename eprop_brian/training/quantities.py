"""What can be recorded of a network: names, units, and where a program has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.network.episodes import REWARD_ERROR
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.coefficients import eps_name
from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.expressions import symbol
from eprop_brian.symbolic.names import SYNAPSE, input_name, own
from eprop_brian.symbolic.parameters import unit_name
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.symbolic.scope import scoped_receptor
from eprop_brian.symbolic.units import trace_units

__all__ = [
    "Recordable",
    "chosen_quantities",
    "default_quantities",
    "recordable",
    "recordables",
    "slow_components",
]

_COMPONENT = "component of the eligibility vector"
#: What can be recorded, as it is listed.
_HEADINGS = {
    "inputs": "of inputs",
    "neurons": "of neurons",
    "synapses": "of synapses",
    "outputs": "of readouts",
    "pairs": "of neurons and outputs",
}


@dataclass(frozen=True)
class Recordable:
    """A quantity of a part of a network that can be recorded.

    Attributes
    ----------
    name : str
    part : str
        Whose it is: an input group, a population or a readout; of synapses, their target.
    kind : str
        What its columns are: ``"inputs"``, ``"neurons"``, ``"synapses"``, ``"outputs"``, or
        ``"pairs"`` of neurons and outputs.
    meaning : str
    variable : str
        What the statements of a step call it; ``""`` if it follows from something else.
    units : mapping of str to str
        SI unit, by the connection of the synapses that have it; of all others the key is ``""``.
    is_state : bool
        Whether it is a state of a neuron, whose name is the user's.
    learning : bool
        Whether only a program that learns has it.
    of_episodes : bool
        Whether only episodes of an environment have it.
    """

    name: str
    part: str
    kind: str
    meaning: str
    variable: str = ""
    units: Mapping[str, str] = field(default_factory=lambda: {"": "1"})
    is_state: bool = False
    learning: bool = False
    of_episodes: bool = False


def recordables(network: Resolved) -> list[Recordable]:
    """Everything that can be recorded of a network."""
    found = [
        Recordable("inputs", name, "inputs", "spikes or values of the inputs")
        for name in network.input_slices
    ]
    for population in network.populations:
        found += _of_neurons(network, population)
    for population in network.populations:
        found += _of_synapses(network, population)
    for readout in network.readouts:
        found += [
            Recordable("y", readout.name, "outputs", "readouts", "y"),
            Recordable("output", readout.name, "outputs", "what the task scores"),
            Recordable("target", readout.name, "outputs", "what the output should be"),
            Recordable("error", readout.name, "outputs", "dE/dy", "error"),
        ]
    if network.agent is not None:
        meaning = "reward prediction error of the action before, until the next action"
        found.append(
            Recordable(
                REWARD_ERROR,
                network.agent.value,
                "outputs",
                meaning,
                REWARD_ERROR,
                learning=True,
                of_episodes=True,
            )
        )
    return [q for q in found if q.units and (network.keys.trained or not q.learning)]


def _of_neurons(network: Resolved, population: PopulationGroup) -> Iterator[Recordable]:
    name, system = population.name, population.system
    units = trace_units(system)

    def neurons(quantity: str, meaning: str, variable: str, unit: str = "1", **options: bool):
        return Recordable(quantity, name, "neurons", meaning, variable, {"": unit}, **options)

    for state in system.step.states:
        yield neurons(state, "state", own(state), units.states[state], is_state=True)
    yield neurons("spikes", "whether the neuron spikes", "")
    if membrane_of(population):
        unit = units.states[membrane_of(population)]
        yield neurons("threshold", "what the membrane must reach to spike", "", unit)
    for receptor in system.drive:
        variable, behind = input_name(scoped_receptor(receptor)), f"_{receptor}" if receptor else ""
        meaning = f"weighted spikes that arrive{f' at {receptor}' if receptor else ''}"
        yield neurons(f"input_current{behind}", meaning, variable, units.inputs[receptor])
    yield neurons("psi", "surrogate derivative", "psi", units.surrogate, learning=True)
    for number in range(len(system.readings) + 1):
        behind = f"_reading_{number}" if number else ""
        meaning = (
            "L" if not number else f"L of what readouts read, {system.readings[number - 1].text}"
        )
        variable = signal_name(number)
        yield neurons(f"learning_signal{behind}", meaning, variable, learning=True)
    if any(name in signal.targets and not signal.emitted for signal in network.signals):
        meaning = "what the learning signal of each output brings"
        yield Recordable("transmitted", name, "pairs", meaning, "transmitted", learning=True)


def _of_synapses(network: Resolved, population: PopulationGroup) -> Iterator[Recordable]:
    name, system = population.name, population.system
    units = trace_units(system)
    # Those of which a synapse has traces.
    connections = [c for c in network.connections if name in c.targets and c.plastic]

    def synapses(
        quantity: str, meaning: str, variable: str, units: Mapping[str, str], **options: bool
    ):
        return Recordable(
            quantity, name, "synapses", meaning, variable, units, learning=True, **options
        )

    for state in system.components:
        of_those = [c for c in connections if state in system.placement[c.receptor]]
        by_connection = {c.name: units.component(state, c.receptor) for c in of_those}
        meaning = f"{_COMPONENT}, d{state}/dw"
        yield synapses(eps_name(state), meaning, eps_name(own(state)), by_connection)
    inverse = {c.name: units.trace(c.receptor) for c in connections}
    meaning = "dz/dw along the neuron's own past"
    yield synapses("eligibility_trace", meaning, "eligibility_trace", inverse)
    meaning = "the same, filtered as the readout filters spikes"
    yield synapses("filtered_trace", meaning, "filtered_trace", inverse)
    if network.agent is not None:
        meaning = "what reward prediction errors are multiplied by: traces of actions"
        yield synapses("tag", meaning, "tag", inverse, of_episodes=True)
    moving: dict[str, dict[str, str]] = {}
    for c in connections:
        if c.transmission is not None:
            step = c.transmission.map
            for state in step.states:
                moving.setdefault(state, {})[c.name] = unit_name(step.dimensions[state])
    for state, of_each in moving.items():
        yield synapses(f"synapse_{state}", "state of the synapse", own(state, SYNAPSE), of_each)
    if network.continuous:
        of_weights = {c.name: units.inputs[c.receptor] for c in connections}
        yield synapses("w", "weight, while the network learns", "w", of_weights)


def membrane_of(population: PopulationGroup) -> str:
    """The state that a spike condition compares, if it is one and all else is known; else ``""``.

    It stands alone on the left, or is the only one that the margin rises with one to one:
    ``v - v_th > 0*mV``.
    """
    step = population.system.step
    if {s.name for s in step.margin.free_symbols} - {
        *step.states,
        *step.parameters,
        *step.constants,
        "dt",
    }:
        return ""
    left = step.threshold.partition(">")[0].strip()
    if left in step.states:
        return left
    rising = [s for s in step.states if (derivative(step.margin, symbol(s)) - 1).is_zero]
    return rising[0] if len(rising) == 1 else ""


def recordable(network: Resolved) -> str:
    """Everything that can be recorded of a network as text, a line each."""
    lines = []
    found = recordables(network)
    for kind, heading in _HEADINGS.items():
        rows: dict[tuple[str, str, str], list[str]] = {}
        for q in (q for q in found if q.kind == kind):
            unit = ", ".join(dict.fromkeys(q.units.values()))
            rows.setdefault((q.name, unit, q.meaning), []).append(q.part)
        lines += [heading] * bool(rows)
        lines += [
            f"  {name} ({unit}; {', '.join(parts)}): {meaning}"
            for (name, unit, meaning), parts in rows.items()
        ]
    return "\n".join(lines)


def default_quantities(network: Resolved) -> list[str]:
    """What is recorded unless something else is asked for.

    Everything of neurons except input currents, everything of inputs and readouts, and the
    eligibility traces of synapses.
    """
    found = recordables(network)
    known = {q.name for q in found if not q.is_state}
    shown = {"eligibility_trace", "filtered_trace"}
    names = (
        f"{q.part}.{q.name}" if q.is_state and q.name in known else q.name
        for q in found
        if q.is_state
        or q.name in shown
        or q.kind not in ("synapses", "pairs")
        and not q.of_episodes
        and not q.name.startswith("input_current")
    )
    return list(dict.fromkeys(names))


def slow_components(network: Resolved) -> list[str]:
    """Components of eligibility vectors that outlast the membrane's: those of its other states.

    Only where membranes are known and synapses carry the component, as of adaptation.
    """
    membranes = {p.name: membrane_of(p) for p in network.populations}
    names = (
        q.name
        for q in recordables(network)
        if q.kind == "synapses" and membranes[q.part] and q.meaning.startswith(_COMPONENT)
        if q.name != eps_name(membranes[q.part])
    )
    return list(dict.fromkeys(names))


def chosen_quantities(
    network: Resolved, names: Iterable[str] | None
) -> dict[str, Sequence[Recordable]]:
    """Find quantities by name.

    Parameters
    ----------
    network : Resolved
    names : iterable of str, optional
        ``"psi"``, of all parts that have it, or ``"lif.psi"``, of one. Where a neuron has a state
        that is called as another quantity is, the name alone means the latter and ``"lif.psi"`` the
        state. Default: `default_quantities`.

    Returns
    -------
    dict of str to list of Recordable

    Raises
    ------
    ValueError
        For a name that nothing has; the message lists what there is.
    """
    found = recordables(network)
    if isinstance(names, str):
        raise ValueError(f"quantities is a list of names: [{names!r}]")
    chosen: dict[str, Sequence[Recordable]] = {}
    for name in default_quantities(network) if names is None else names:
        part, _, last = str(name).rpartition(".")
        same = [q for q in found if q.name == last and part in ("", q.part)]
        # Of a part, its state; of all parts, what has this name in every network.
        preferred = [q for q in same if q.is_state == bool(part)]
        if not same:
            known = [*dict.fromkeys(q.name for q in found)]
            raise ValueError(
                f"unknown quantity '{name}'{_hint(str(name), known)}. There are,\n"
                f"{recordable(network)}"
            )
        chosen[str(name)] = preferred or same
    return chosen


#: What quantities are called elsewhere.
_OTHER_NAMES = {
    "L": "learning_signal",
    "z": "spikes",
    "e": "eligibility_trace",
    "I": "input_current",
    "v_th": "threshold",
    "weight": "w",
    "weights": "w",
}


def _hint(name: str, known: Sequence[str]) -> str:
    other = _OTHER_NAMES.get(name)
    return f" (did you mean '{other}'?)" if other in known else did_you_mean(name, known)
