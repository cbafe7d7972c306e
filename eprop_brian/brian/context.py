"""What the description of every part of a network reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from brian2.utils.stringtools import get_identifiers

from eprop_brian.network.built import optimizer_names
from eprop_brian.network.graph import Connection, ReadoutGroup, SignalConnection
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.names import READOUT, owned, substituted
from eprop_brian.symbolic.programs import ReadoutProgram, readout_program
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.symbolic.scope import scoped, scoped_receptor
from eprop_brian.training.state import SessionState

__all__ = ["Context", "guarded", "in_si_units", "renamed"]

#: Whether a batch has ended, as none has when the first one begins; and the number of the update.
UPDATES = "updates = int(t_in_timesteps > 0)"
UPDATE_NUMBER = "k = clip(1.0*(t_in_timesteps // steps_per_batch), 1, inf)"


def renamed(lines: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Lines in which names are replaced."""
    return [substituted(line, names) for line in lines]


def guarded(lines: Iterable[str], kept: Collection[str]) -> list[str]:
    """The lines of an update that changes nothing when the first batch begins.

    Clocks of Brian2 tick at the start, too.

    Parameters
    ----------
    lines : iterable of str
    kept : collection of str
        Variables that outlast the update.
    """
    changes = []
    for line in lines:
        name, value = line.split(" = ", 1)
        changes.append(f"{name} = where(updates, {value}, {name})" if name in kept else line)
    numbered = any("k" in get_identifiers(line) for line in changes)
    return [UPDATES, *[UPDATE_NUMBER] * numbered, *changes]


def in_si_units(lines: Iterable[str], units: Iterable[str] = ()) -> bool:
    """Whether the units of lines cannot be checked: they read ``dt`` or variables with units."""
    return any(unit != "1" for unit in units) or "dt" in get_identifiers("\n".join(lines))


@dataclass(frozen=True)
class Context:
    """A network with its weights, and the sizes of its trials.

    Attributes
    ----------
    state : SessionState
    batch_size : int
    """

    state: SessionState
    batch_size: int

    @property
    def network(self) -> Resolved:
        """What follows from the network."""
        return self.state.resolved

    @property
    def n_steps(self) -> int:
        """Steps of a trial."""
        return self.state.n_steps

    @cached_property
    def systems(self) -> dict[str, EligibilitySystem]:
        """The derivation of each population in the names of the statements."""
        return {p.name: scoped(p.system) for p in self.network.populations}

    @cached_property
    def readout_names(self) -> dict[str, dict[str, str]]:
        """Parameters of each readout with their names in the statements."""
        return {r.name: owned([*r.values], READOUT) for r in self.network.readouts}

    @cached_property
    def readout_programs(self) -> dict[str, ReadoutProgram]:
        """The filter of each readout in the names of the statements."""
        names = self.readout_names
        return {r.name: readout_program(r.readout, names[r.name]) for r in self.network.readouts}

    @property
    def filter(self) -> ReadoutProgram:
        """The filter of eligibility traces, the same for all readouts."""
        return self.readout_programs[self.network.readouts[0].name]

    @cached_property
    def constants(self) -> dict[str, float]:
        """Numbers of learning that any statement may read."""
        network, first = self.network, self.network.readouts[0]
        values: dict[str, Any] = {
            "c_reg": network.c_reg,
            "kappa_reg": network.kappa_reg,
            "voltage_scale": network.c_v / self.n_steps,
            "c_l2": network.c_l2,
            "clip_value": network.clip_value,
            "gradient_scale": self.state.gradient_scale,
            "n_steps": self.n_steps,
            "batch_size": self.batch_size,
            "steps_per_batch": self.n_steps * self.batch_size,
            **{self.readout_names[first.name][k]: v for k, v in first.values.items()},
        }
        for optimizer in network.optimizers:
            names = optimizer_names(network, optimizer)
            values |= {names[k]: v for k, v in optimizer.parameters.items()}
        return {name: value for name, value in values.items() if value is not None}

    @cached_property
    def comments(self) -> dict[str, str]:
        """What some of the constants are."""
        first = self.network.readouts[0]
        return {
            self.readout_names[first.name][name]: text
            for name, text in first.readout.constants.items()
        }

    @property
    def averaging(self) -> str:
        """What the rate regulariser compares with its target; ``"none"`` without one."""
        return self.network.rate_averaging if self.network.c_reg else "none"

    def learns(self, population: str) -> bool:
        """Whether synapses onto a population or its parameters learn."""
        plastic = (c for c in self.network.connections if c.plastic)
        learned = next(p.learned for p in self.network.populations if p.name == population)
        return bool(learned) or any(population in c.targets for c in plastic)

    def on_synapses(self, connection: Connection, target: str) -> EligibilitySystem:
        """The derivation of a target whose synapses keep all traces, if their delays differ."""
        system = self.systems[target]
        if not connection.spread:
            return system
        return replace(
            system,
            placement={
                receptor: dict.fromkeys(components, "synapse")
                for receptor, components in system.placement.items()
            },
        )

    def receptor(self, connection: Connection) -> str:
        """The receptor that a connection drives, in the names of the statements."""
        return scoped_receptor(connection.receptor)

    def is_analog(self, connection: Connection, source: str) -> bool:
        """Whether values arrive rather than spikes."""
        analog = self.state.capacity.analog and source in self.network.input_slices
        return analog or bool(connection.reads) or connection.transmission is not None

    def signal_of(self, signal: SignalConnection, population: str) -> str:
        """The learning signal of a population that a readout's error enters."""
        reads = self.network.reads(population, signal.source)
        return signal_name(self.systems[population].number_of(reads))

    def signals_to(self, population: str, heard: str) -> list[SignalConnection]:
        """What a learning signal of a population is summed of."""
        return [
            s
            for s in self.network.signals
            if population in s.targets and self.signal_of(s, population) == heard
        ]

    def signals_along(self, connection: Connection, population: str) -> list[SignalConnection]:
        """Learning signals that come back through the synapses of a connection to a readout."""
        return [
            s
            for s in self.network.signals
            if s.follows == connection.name
            and (s.symmetric or s.learns)
            and population in s.targets
        ]

    def sent(self, readout: ReadoutGroup) -> str:
        """The equation of what a readout's learning signals carry."""
        equations = (s.feedback.signal for s in self.network.signals if s.source == readout.name)
        return next(equations, "error").strip()

    def longest_signal(self, readout: ReadoutGroup) -> int:
        """Steps before this one of which a readout keeps its signals."""
        delays = [
            int(s.delay_steps.max())
            for s in self.network.signals
            if s.source == readout.name and s.delay_steps is not None
        ]
        return max(delays, default=1) - 1
