"""Trained networks as NIR graphs (package ``nir``, https://neuroir.org).

NIR says what a network computes in continuous time, and leaves to each reader how it takes a time
step. What a graph made here means in steps of the network's ``dt``: a spike is the value 1 for one
step; an integrator takes a step with its input held constant, after those that feed it; a spike
above threshold resets a LIF node before the next step. Read so, it is the network.

What has no nodes of this meaning is refused, all of it in one error.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.files import beside, read_numbers
from eprop_brian.base.sparse import MOST_PAIRS, Matrix, dense
from eprop_brian.base.suggestions import unknown
from eprop_brian.export.linear import (
    ARRIVING,
    ONE,
    SPIKE,
    LinearNeuron,
    NotLinearError,
    linear_neuron,
)
from eprop_brian.network.graph import Connection, PopulationGroup, ReadoutGroup
from eprop_brian.network.learned_delays import rounded
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT
from eprop_brian.symbolic.expressions import evaluate, split_statements
from eprop_brian.tasks import Task

if TYPE_CHECKING:
    import nir

__all__ = ["DISCRETISATIONS", "NirError", "export_run", "to_nir"]

#: How a reader takes a step of ``tau v' = -v``: by the factor exp(-dt/tau), or 1 - dt/tau.
DISCRETISATIONS = ("exact", "euler")

#: How many times its threshold a membrane never reaches.
_OUT_OF_REACH = 1e6


class NirError(ValueError):
    """Parts of a network have no NIR node.

    Attributes
    ----------
    missing : tuple of str
        All of them, and why.
    """

    def __init__(self, missing: list[str]) -> None:
        self.missing = tuple(missing)
        super().__init__("NIR has no node for:\n" + "\n".join(f"- {part}" for part in missing))


def export_run(folder: Path, path: Path, task: Task | None = None, **options: Any) -> None:
    """Write the trained network of a run as a NIR file.

    Parameters
    ----------
    folder : Path
        A run (`eprop_brian.runs.run`).
    path : Path
        The file, by custom ``.nir``.
    task : Task, optional
        The task of the run, if it is one of your own that no installed package offers.
    **options
        As for `to_nir`.

    Raises
    ------
    ValueError
        If the folder holds no run, or the package ``nir`` is missing.
    NirError
        See `to_nir`.
    """
    nir = _package()
    config = RunConfig.read(folder, task)
    task = config.make_task()
    arrays = read_numbers(Path(folder) / CHECKPOINT)
    graph = to_nir(config.make_network(task), arrays, **options)
    graph.metadata["task"] = task.name
    with beside(path) as temporary:
        nir.write(str(temporary), graph)


def to_nir(
    network: Network,
    weights: Mapping[str, Matrix],
    *,
    discretisation: str = "exact",
    portable: bool = False,
) -> nir.NIRGraph:
    """Write a network as a NIR graph.

    Parameters
    ----------
    network : Network
    weights : mapping
        Matrices [post, pre], dense or sparse, by the names of the projections, learned parameters
        by ``"population.parameter"`` and learned delays by ``"delay.projection"``, as
        `Session.weights` has them.
    discretisation : {"exact", "euler"}
        How the reader takes a step; time constants are such that it decays by the network's factor.
    portable : bool
        Write each population as one LIF or CubaLIF node, as most importers want it. That recurrent
        spikes take a step, and that a reset subtracts the threshold, then stands in the metadata
        alone. Otherwise the graph itself says so, by delays and by nodes for every state.

    Returns
    -------
    nir.NIRGraph
        Nodes ``input``, ``output`` and one that spikes for each population, by its name.

    Raises
    ------
    NirError
        If something has no node; it names all there is.
    ValueError
        If there is no such discretisation, or the package ``nir`` is missing.
    """
    if discretisation not in DISCRETISATIONS:
        raise ValueError(unknown("discretisation", discretisation, DISCRETISATIONS))
    return _Graph(network.resolved, weights, discretisation == "exact", portable).build()


def _package() -> Any:
    if find_spec("nir") is None:
        raise ValueError("export to NIR needs the package nir: pip install 'eprop_brian[nir]'")
    import nir

    return nir


class _Graph:
    """A NIR graph that grows."""

    def __init__(
        self, network: Resolved, weights: Mapping[str, Matrix], exact: bool, portable: bool
    ) -> None:
        self.nir = _package()
        self.network, self.weights = network, weights
        self.dt = float(network.dt)
        self.exact, self.portable = exact, portable
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        #: Where weighted spikes arrive, by population.
        self.entries: dict[str, list[str]] = {}
        self.missing: list[str] = []

    def build(self) -> nir.NIRGraph:
        network, nir = self.network, self.nir
        self._add("input", nir.Input(np.array([network.n_inputs])))
        for population in network.populations:
            self._population(population)
        if len(network.input_slices) > 1:
            self.missing.append("several groups of inputs: a graph has one input")
        if len(network.readouts) > 1:
            self.missing.append("several readouts: a graph has one output")
        self.missing += [
            f"inputs '{g.name}', which are constant" for g in network.inputs if g.constant
        ]
        self.missing += [
            f"'{c.name}', which reads '{c.reads}': the nodes of a graph hand on spikes"
            for c in network.connections
            if c.reads
        ]
        self.missing += [
            f"'{c.name}', whose synapses have dynamics of their own"
            for c in network.connections
            if c.transmission is not None
        ]
        self.missing += [
            f"'{c.name}', of whose weights neurons sum a function"
            for c in network.connections
            if any(network.weight_function(c, target) for target in c.targets)
        ]
        self._readout(network.readouts[0])
        for c in network.connections:
            n_post, n_pre = c.shape
            if c.adjacency is not None and n_post * n_pre > MOST_PAIRS:
                pairs = f"{n_post} x {n_pre}, at most {MOST_PAIRS}"
                self.missing.append(f"'{c.name}': a Linear node holds all pairs ({pairs})")
        if self.missing:
            raise NirError(self.missing)
        for source in (*network.input_slices, *network.slices):
            for c in network.connections:
                for target in c.targets if source in c.sources else ():
                    self._projection(c, source, target)
        graph = nir.NIRGraph(self.nodes, self.edges)
        graph.metadata = self._metadata()
        return graph

    def _metadata(self) -> dict[str, Any]:
        subtracts = any("reset" in node.metadata for node in self.nodes.values())
        return {
            "source": f"eprop_brian {version('eprop_brian')}",
            "dt": self.dt,
            "discretisation": "exact" if self.exact else "euler",
            "signals": "in steps of dt; a spike is 1 for one step",
            "recurrence": "a spike arrives in the next step"
            if self.portable
            else "as the Delay nodes say; no cycle is without one",
            # What Rockpool, snnTorch and SpikingJelly call it.
            **({"reset_mechanism": "subtract"} if subtracts else {}),
            "output": "readouts y" + ", before the softmax" * self.network.readouts[0].loss.softmax,
        }

    # --- neurons ----------------------------------------------------------------------------------

    def _population(self, population: PopulationGroup) -> None:
        step = population.system.step
        changed = {
            name: np.asarray(self.weights[f"{population.name}.{name}"])
            for name in population.learned
        }
        try:
            neuron = linear_neuron(step, self.dt, population.size, changed)
            if self.portable:
                self._one_node(population.name, neuron)
            elif neuron.reset is None:
                self._states(population.name, neuron, [*neuron.decay])
                self._threshold(population.name, neuron)
            else:
                self._resetting(population.name, neuron)
        except NotLinearError as error:
            self.missing += [f"neuron '{population.name}': {x}" for x in error.reasons]
            return
        self.nodes[population.name].metadata |= {
            "neuron": step.neuron.name,
            "equations": "; ".join([*step.code, f"spike: {step.threshold}"]),
        }

    def _integrator(self, decay: np.ndarray, gain: np.ndarray, constant: Any) -> dict[str, Any]:
        """Parameters of ``tau v' = v_leak - v + r*input`` for ``v = decay*v + gain*input + ...``"""
        left = 1 - decay
        tau = -self.dt / np.log(decay) if self.exact else self.dt / left
        zero = np.zeros_like(decay)
        return {"tau": tau, "r": gain / left, "v_leak": constant / left + zero}

    def _resetting(self, name: str, neuron: LinearNeuron) -> None:
        """A membrane that a spike sets to a value: LIF, or CubaLIF with a single current before."""
        membrane = neuron.membrane
        others = [state for state in neuron.decay if state != membrane]
        limits = {"v_threshold": neuron.limit, "v_reset": neuron.reset}
        if len(others) == 1 and self._is_current(neuron, others[0]):
            terms = neuron.terms[membrane]
            own = self._integrator(neuron.decay[membrane], terms[others[0]], terms.get(ONE, 0))
            decay = neuron.decay[others[0]]
            current = self._integrator(decay, neuron.terms[others[0]][ARRIVING], 0)
            self._add(
                name,
                self.nir.CubaLIF(
                    tau_syn=current["tau"],
                    w_in=current["r"],
                    tau_mem=own["tau"],
                    r=own["r"],
                    v_leak=own["v_leak"],
                    **limits,
                ),
            )
            self.entries[name] = [name]
            self._note_start(name, neuron, membrane)
            return
        self._states(name, neuron, others)
        gain, unit = self._gain(neuron, membrane)
        own = self._integrator(neuron.decay[membrane], gain, neuron.terms[membrane].get(ONE, 0))
        self._add(name, self.nir.LIF(**own, **limits))
        self._drive(name, name, neuron, membrane, unit)
        self._note_start(name, neuron, membrane)

    @staticmethod
    def _is_current(neuron: LinearNeuron, state: str) -> bool:
        """Whether a state does nothing but filter what arrives, for the membrane alone."""
        return (
            neuron.terms[state].keys() == {ARRIVING}
            and neuron.terms[neuron.membrane].keys() - {ONE} == {state}
            and not np.any(neuron.initial[state])
        )

    def _one_node(self, name: str, neuron: LinearNeuron) -> None:
        """The neuron as a LIF or CubaLIF node, whose reset may be meant to subtract."""
        membrane = neuron.membrane
        if np.any(neuron.silence):
            raise NotLinearError(["a refractory time needs more than one node"])
        if neuron.reset is not None:
            others = [state for state in neuron.decay if state != membrane]
            if not others or (len(others) == 1 and self._is_current(neuron, others[0])):
                self._resetting(name, neuron)
                return
        elif {*neuron.decay} == {membrane} and ARRIVING in neuron.terms[membrane]:
            terms = neuron.terms[membrane]
            own = self._integrator(neuron.decay[membrane], terms[ARRIVING], terms.get(ONE, 0))
            # At the threshold, where continuous time has the reset, to subtract is to set.
            reset = neuron.threshold + terms.get(SPIKE, 0)
            node = self.nir.LIF(**own, v_threshold=neuron.limit, v_reset=reset)
            node.metadata = {"reset": "subtracts v_threshold - v_reset, after the step's decay"}
            self._add(name, node)
            self.entries[name] = [name]
            self._note_start(name, neuron, membrane)
            return
        states = ", ".join(state for state in neuron.decay if state != membrane)
        raise NotLinearError([f"{states} beside its membrane needs more than one node"])

    def _states(self, name: str, neuron: LinearNeuron, states: list[str]) -> None:
        """A leaky integrator for every state."""
        for state in states:
            gain, unit = self._gain(neuron, state)
            own = self._integrator(neuron.decay[state], gain, neuron.terms[state].get(ONE, 0))
            self._add(f"{name}_{state}", self.nir.LI(**own))
            self._note_start(f"{name}_{state}", neuron, state)
        for state in states:
            self._drive(f"{name}_{state}", name, neuron, state, self._gain(neuron, state)[1])

    def _threshold(self, name: str, neuron: LinearNeuron) -> None:
        self._add(name, self.nir.Threshold(neuron.limit))
        for state, factor in neuron.margin.items():
            self._edge(f"{name}_{state}", name, factor, f"{name}_{state}_in_threshold")
        # No membrane rises so far: it is the threshold that every spike lifts, for some steps.
        lifted = _OUT_OF_REACH * (np.max(np.abs(neuron.threshold)) or 1.0)
        for steps in range(1, np.max(neuron.silence) + 1):
            factor = np.where(neuron.silence >= steps, -lifted, 0.0)
            before = self._delayed(name, steps, len(factor))
            self._edge(before, name, factor, f"{name}_silent_after_{steps}")

    @staticmethod
    def _gain(neuron: LinearNeuron, state: str) -> tuple[np.ndarray, str | None]:
        """Gain of an integrator's input, and the term that it belongs to: no scaling in between."""
        terms = {name: x for name, x in neuron.terms[state].items() if name != ONE}
        for unit in (ARRIVING, *terms):
            if unit in terms and np.all(terms[unit] != 0):
                return terms[unit], unit
        return np.ones_like(neuron.decay[state]), None

    def _drive(
        self, node: str, name: str, neuron: LinearNeuron, state: str, unit: str | None
    ) -> None:
        """Connect what drives a state with its node."""
        gain, _ = self._gain(neuron, state)
        for term, factor in neuron.terms[state].items():
            share = np.ones_like(gain) if term == unit else factor / gain
            scale = f"{name}_{term}_in_{state}"
            if term == ARRIVING:
                entry = node
                if term != unit:
                    self._add(scale, self.nir.Scale(share))
                    self.edges.append((scale, node))
                    entry = scale
                self.entries.setdefault(name, []).append(entry)
            elif term == SPIKE:
                before = self._delayed(name, 1, len(gain))
                self._edge(before, node, share, f"{name}_spike_in_{state}")
            elif term != ONE:
                self._edge(f"{name}_{term}", node, share, scale)

    def _note_start(self, node: str, neuron: LinearNeuron, state: str) -> None:
        """NIR does not say where a trial starts; rest goes without saying."""
        rest = neuron.terms[state].get(ONE, 0) / (1 - neuron.decay[state])
        if not np.allclose(neuron.initial[state], rest, rtol=1e-9, atol=0):
            self.nodes[node].metadata["v_initial"] = neuron.initial[state]

    # --- connections ------------------------------------------------------------------------------

    def _add(self, name: str, node: Any) -> None:
        if name in self.nodes:
            raise ValueError(f"two nodes of the graph would be called '{name}': rename a neuron")
        self.nodes[name] = node

    def _edge(self, source: str, target: str, factor: np.ndarray, scale: str) -> None:
        """An edge, through a node that scales if it has to."""
        if np.all(factor == 1):
            self.edges.append((source, target))
            return
        self._add(scale, self.nir.Scale(factor))
        self.edges += [(source, scale), (scale, target)]

    def _delayed(self, source: str, steps: int, size: int) -> str:
        """The node of a source's spikes of some steps before."""
        node = "input" if source in self.network.input_slices else source
        if not steps:
            return node
        name = f"{node}_{steps}_steps_ago"
        if name not in self.nodes:
            self._add(name, self.nir.Delay(np.full(size, steps * self.dt)))
            self.edges.append((node, name))
        return name

    def _projection(self, c: Connection, source: str, target: str) -> None:
        """A linear node for all synapses of a delay."""
        block = c.targets[target], c.sources[source]
        values, each = dense(c.matrix(self.weights[c.name])[block]), c.delay_steps
        if c.learned_delay is not None:
            each = rounded(dense(self.weights[c.delay_key]))
        steps = np.broadcast_to(each if isinstance(each, int) else dense(each[block]), values.shape)
        implied = c.least_delay if self.portable else 0
        delays = [int(delay) for delay in np.unique(steps[values != 0])]
        if not delays and c.kind != "recurrent":
            # Inputs, populations and readouts are connected even if by nothing.
            delays = [c.least_delay]
        for delay in delays:
            name = f"{source}_to_{target}"
            if not isinstance(each, int):
                name = f"{name}_after_{delay}_steps"
            self._add(name, self.nir.Linear(np.where(steps == delay, values, 0.0)))
            before = self._delayed(source, delay - implied, values.shape[1])
            self.edges.append((before, name))
            self.edges += [(name, entry) for entry in self.entries.get(target, [])]

    def _readout(self, group: ReadoutGroup) -> None:
        readout = group.readout
        where, values = f"readout '{readout.name}'", {**group.values, "dt": self.dt}
        # Linear, as its step has been checked to be: three values say all.
        ((_, update),) = split_statements(readout.update, where)
        rest, decay, gain = (
            evaluate(update, {**values, "y": y, "I": arriving}, where)
            for y, arriving in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
        )
        if not 0 < decay - rest < 1:
            self.missing.append(f"{where}: y does not decay by a factor between 0 and 1 in a step")
            return
        one = np.ones(group.size)
        own = self._integrator((decay - rest) * one, (gain - rest) * one, rest)
        self._add(group.name, self.nir.LI(**own))
        self._add("output", self.nir.Output(np.array([group.size])))
        self.edges.append((group.name, "output"))
        self.entries[group.name] = [group.name]
