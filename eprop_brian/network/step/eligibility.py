"""Blocks of the eligibility traces of a projection."""

from __future__ import annotations

from collections.abc import Iterable

from eprop_brian.network.graph import Connection
from eprop_brian.network.learned_delays import DELAY
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.delays import write_delay_traces
from eprop_brian.network.step.episodes import reward_view, rewarded
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View, repeat
from eprop_brian.symbolic.programs import (
    REWARDED,
    cutoff_program,
    direct_name,
    parameter_sums,
)
from eprop_brian.symbolic.scope import scoped_receptor

__all__ = ["write_traces"]


def write_traces(writer: Writer, p: BuiltProjection[Connection], to_readout: bool) -> None:
    """Write the blocks of the traces of a projection."""
    groups, continuous = writer.groups, writer.network.continuous
    target, receptor = p.target, p.connection.receptor
    learned = p.connection.learned_delay
    # Not the optimizer's states: the neuron's parameters may share their names.
    traces = [*groups.trace_variables(target, receptor)[1], "gradient_sum", "batch_trace_sum"]
    if learned:
        delays = write_delay_traces(writer, p, learned)
        of_delays = (f"drive_{DELAY}", *delays.variables)
        traces += [*of_delays, *parameter_sums(DELAY, writer.network.rate_averaging)]
    own = View(p.group, "_synapse", {name: name for name in traces})
    post, pre_own = writer.own(target, "_post"), View(p.pre_group, "_neuron")
    silent = "int(pre == 0)" if groups.is_analog(p) else "(1 - pre)"
    counted = [f"since = (since + 1)*{silent}"] if continuous else []
    views: tuple[View, ...] = (own, post, writer.control)
    pre_code: Iterable[str] = ()
    pre_names: tuple[str, ...] = ()
    synapse: list[str] = []
    gradient: list[str] = []
    sums: tuple[str, ...] = ()
    reward: list[str] = []
    if to_readout:
        pre_code = groups.readout_programs[target].pre_trace
        synapse = ["signal_sum = signal_sum + error*eps_y"]
        if tags := groups.tags(target):
            direct = direct_name("error")
            synapse = ["tag = tag + error*eps_y"]
            synapse += [f"signal_sum = signal_sum + {direct}*eps_y"] * bool(tags.direct)
            reward = [*REWARDED]
        gradient = ["gradient_sum = gradient_sum + signal_sum"]
        pre_names, sums = groups.trace_variables(target, receptor)
    elif p.connection.plastic:
        online = groups.online_of(target, receptor)
        pre_code, synapse, gradient = online.pre, [*online.synapse], [*online.gradient]
        sums, pre_names = online.synapse_variables, online.pre_variables
        reward = [*online.reward]
        views = (own, post, writer.filter_parameters(target), writer.control)
    if learned:
        gradient += delays.gradient
        reward += delays.reward
        sums = (*sums, *of_delays)
    source = View(groups.groups[groups.sender(p)], "_neuron", {"z": "z"})
    entered = ["pre = z", *pre_code, *counted]
    writer.block(p.name, "pre_trace", entered, source, pre_own, post, writer.control)
    kept = {f"{name}_stored": name for name in ("pre", *pre_names)}
    window = View(groups.groups[f"{p.name}_pre_window"], "_window", kept)
    stored = [f"{stored_name} = {name}" for stored_name, name in kept.items()]
    writer.block(p.name, "window_pre", stored, window, pre_own)
    for n_steps in {1, groups.steps_per_pass} if p.connection.plastic else ():
        _write_trace(writer, p, synapse, n_steps, views)
    if continuous:
        _write_decay(writer, p, to_readout, views)
        return
    writer.block(p.name, "gradient", gradient, *views)
    if reward:
        writer.block(p.name, "reward", rewarded(writer, reward), own, reward_view(writer))
    writer.block(p.name, "zero", [f"{v} = 0" for v in sums], own)
    writer.block(p.name, "zero_pre", [f"{v} = 0" for v in ("pre", *pre_names)], pre_own)


def _write_trace(
    writer: Writer,
    p: BuiltProjection[Connection],
    statements: Iterable[str],
    n_steps: int,
    views: Iterable[View],
) -> None:
    """Statements of a synapse for some steps on end, from what was kept of each."""
    groups = writer.groups.groups
    pre, post = groups[f"{p.name}_pre_window"], groups[f"{p.target}_window"]
    code, windows = repeat(
        statements,
        n_steps,
        (pre, "_pre", pre.names),
        (post, "_post", post.names),
    )
    writer.block(p.name, f"trace_{n_steps}", code, *windows, *views)


def _write_decay(
    writer: Writer, p: BuiltProjection[Connection], to_readout: bool, views: Iterable[View]
) -> None:
    """What happens to traces that were cut off when a spike arrives."""
    network, groups = writer.network, writer.groups
    # A readout's synapse has no trace of its own that would decay.
    if network.trace_cutoff_steps is None or to_readout:
        return
    system = groups.systems[p.target]
    receptor = scoped_receptor(p.connection.receptor)
    statements = cutoff_program(system, groups.readout_program, network.rate_averaging, receptor)
    counter = View(p.pre_group, "_pre", {"skipped": "skipped"})
    writer.block(p.name, "decay", statements, counter, *views)
