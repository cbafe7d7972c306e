"""Figure of an episode: what was sensed and done, what came of it, and what is learned from it."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from eprop_brian.figures.style import (
    COLOURS,
    colours,
    draw_analog_inputs,
    draw_spikes,
    legend_beside,
    lighter,
    mark_optimum,
    named_units,
    stacked,
    styled,
)
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.training.episodes import Episode
from eprop_brian.training.recorded import Recording

__all__ = ["draw_neurons", "draw_policy", "legible", "outcome_of", "plot_episode", "policy_of"]

#: Colours of actions; those of populations are `COLOURS`.
_ACTION_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00")
#: Actions that a legend names one by one.
_MOST_NAMED = 10
#: Values at no more actions than this are marked each.
_FEW_ACTIONS = 40
#: Spikes in a row up to which its ticks have their usual width.
_FEW_SPIKES = 100.0
_THINNEST = 0.2
#: What is drawn of synapses, and what its axis calls it.
_TRACES = {"filtered_trace": "filtered\ntrace ē", "tag": "tag"}
#: From one row of chosen actions to the next, above probabilities.
_ROW = 0.12
_GOOD, _BAD = COLOURS[2], COLOURS[1]


@styled()
def plot_episode(
    episode: Episode,
    network: Network | Resolved,
    traces: Recording | None = None,
    title: str | None = None,
) -> Figure:
    """Draw an episode as Bellec et al. 2020 do (their figures 4 and 5).

    The panels share their time axis: inputs; spikes of the neurons; the policy, with the actions
    that were chosen above it; the rewards; the critic's value with the return that it is to
    predict; the error of its prediction from each action to the next (temporal difference); the
    advantages; filtered eligibility traces of synapses, and their tags, the traces of past
    actions that those errors are multiplied by.

    Parameters
    ----------
    episode : Episode
    network : Network or Resolved
        Which played it.
    traces : Recording, optional
        Of the traces of synapses in it (`eprop_brian.training.fresh_episodes.record_traces`).
    title : str, optional

    Returns
    -------
    Figure
    """
    resolved = as_resolved(network)
    dt = 1e3 * float(resolved.dt)
    heights = {"inputs": 1.0, "neurons": 1.3, "policy": 0.95}
    heights |= dict.fromkeys(("reward", "value", "difference", "advantage"), 0.95)
    if traces is not None and traces.synapses:
        heights |= dict.fromkeys((name for name in _TRACES if name in traces), 1.0)
    figure, panels = stacked(heights, "time in the episode (ms)")
    _draw_inputs(panels["inputs"], episode, dt)
    draw_neurons(panels["neurons"], episode, resolved, dt)
    if len(resolved.populations) > 1:
        legible(legend_beside(panels["neurons"]))
    time = (episode.steps + 1) * dt
    draw_policy(panels["policy"], episode, time)
    legend_beside(panels["policy"])
    _draw_rewards(panels["reward"], episode, time)
    _draw_value(panels["value"], episode, time, resolved)
    _draw_signed(panels["difference"], time, _differences(episode, resolved))
    panels["difference"].set_ylabel("TD error δ\n(dimensionless)")
    _draw_signed(panels["advantage"], time, episode.advantages)
    panels["advantage"].set_ylabel("advantage\n(dimensionless)")
    if traces is not None and traces.synapses:
        for name, label in _TRACES.items():
            if name in traces:
                _draw_traces(panels[name], traces, name, label, len(episode.inputs))
    panels["inputs"].set_xlim(0.0, len(episode.inputs) * dt)
    if title:
        figure.suptitle(title)
    return figure


def outcome_of(episode: Episode) -> str:
    """What came of an episode, in a few words: ``"return 4.2, 210 actions"``."""
    n = len(episode.actions)
    end = "" if episode.done else ", cut off"
    return f"return {episode.rewards.sum():.4g}, {n} action{'s' * (n != 1)}{end}"


def policy_of(episode: Episode) -> np.ndarray:
    """The policy at each action, shape (n_actions, n_policy).

    The probability of each discrete action, or the mean of each number of a continuous one.
    """
    if episode.actions.ndim > 1:
        return episode.outputs
    powers = np.exp(episode.outputs - episode.outputs.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def draw_policy(ax: Axes, episode: Episode, time: np.ndarray, share: float = 1.0) -> None:
    """Draw probabilities one above the other, or continuous actions around their means.

    Parameters
    ----------
    ax : Axes
    episode : Episode
    time : array, shape (n_actions,)
        When each action was chosen, which the axis shows.
    share : float
        How much of the episode is shown at a time.
    """
    policy = policy_of(episode)
    n = policy.shape[1]
    labels = [f"action {k}" if n <= _MOST_NAMED else None for k in range(n)]
    few = n <= len(_ACTION_COLOURS)
    action_colours = list(_ACTION_COLOURS[:n]) if few else colours(n)
    if episode.actions.ndim > 1:
        for k, (label, colour) in enumerate(zip(labels, action_colours, strict=True)):
            ax.plot(time, episode.actions[:, k], ".", color=lighter(colour, 0.5), markersize=2)
            look = {**_marked(time), "clip_on": True}
            ax.plot(time, policy[:, k], color=colour, label=label, **look)
        ax.set_ylabel("action\n(dimensionless)")
        return
    # What a policy says at an action is what came in since the action before.
    edges = np.concatenate([[0.0], time])
    heights = np.concatenate([np.zeros((len(policy), 1)), np.cumsum(policy, axis=1)], axis=1)
    heights = np.concatenate([heights[:1], heights])
    for k, (label, colour) in enumerate(zip(labels, action_colours, strict=True)):
        area: dict[str, Any] = {"color": lighter(colour, 0.25), "linewidth": 0, "label": label}
        ax.fill_between(edges, heights[:, k], heights[:, k + 1], step="pre", **area)
        chosen = time[episode.actions == k]
        width = _tick_width(share * len(time))
        row = np.full(len(chosen), 1.0 + _ROW * (k + 1))
        ax.plot(chosen, row, "|", color=colour, markersize=3, markeredgewidth=width)
    ax.set_ylim(0.0, 1.0 + _ROW * (n + 1))
    ax.set_yticks([0.0, 0.5, 1.0])
    ax.set_ylabel("policy\n(probability)")


def _marked(time: np.ndarray) -> dict[str, Any]:
    """How curves of few actions look, which may be a single point."""
    return (
        {"marker": ".", "markersize": 4, "clip_on": False}
        if len(time) <= _FEW_ACTIONS
        else {"linewidth": 0.8}
    )


def _tick_width(n: float) -> float:
    """Width of ticks that stand this many in a row."""
    return max(_THINNEST, 0.6 * min(1.0, _FEW_SPIKES / max(1.0, n)))


def _draw_inputs(ax: Axes, episode: Episode, dt: float) -> None:
    """Spikes, or values as shades."""
    n_steps, n_inputs = episode.inputs.shape
    if episode.inputs.dtype == bool:
        _draw_raster(ax, episode.inputs, dt, "black")
        ax.set_ylim(-1, n_inputs)
        ax.set_ylabel("input neuron\n(index)")
        return
    draw_analog_inputs(ax, episode.inputs, n_steps * dt)


def _draw_raster(
    ax: Axes,
    spikes: np.ndarray,
    dt: float,
    colour: str,
    label: str | None = None,
    first: int = 0,
    share: float = 1.0,
) -> None:
    """Spikes (n_steps, n), whose first neuron is in row `first`; where there are many, finer."""
    steps, neurons = np.nonzero(spikes)
    width = _tick_width(share * len(steps) / max(1, spikes.shape[1]))
    n = first + spikes.shape[1]
    draw_spikes(ax, steps * dt, first + neurons, n, colour, label, width)


def draw_neurons(
    ax: Axes, episode: Episode, network: Resolved, dt: float, share: float = 1.0
) -> None:
    """Draw the spikes of all populations.

    Parameters
    ----------
    ax : Axes
    episode : Episode
    network : Resolved
    dt : float
        Length of a step in the unit of the axis.
    share : float
        How much of the episode is shown at a time.
    """
    for (name, columns), colour in zip(network.slices.items(), cycle(COLOURS), strict=False):
        spikes = episode.spikes[:, columns]
        _draw_raster(ax, spikes, dt, colour, name, columns.start, share)
    ax.set_ylim(-1, episode.spikes.shape[1])
    ax.set_ylabel("recurrent neuron\n(index)")


def legible(legend: Legend) -> None:
    """Make ticks in a legend larger than those of many spikes are."""
    for handle in legend.legend_handles:
        assert isinstance(handle, Line2D)
        handle.set(markersize=6.0, markeredgewidth=1.2)


def _draw_rewards(ax: Axes, episode: Episode, time: np.ndarray) -> None:
    """A line from 0 to every reward, or an area where they stand too close."""
    if len(time) <= _FEW_ACTIONS:
        ax.vlines(time, 0.0, episode.rewards, color=COLOURS[3], linewidth=1.5, clip_on=False)
    else:
        ax.fill_between(
            time, 0.0, episode.rewards, step="pre", color=lighter(COLOURS[3], 0.6), linewidth=0
        )
        ax.plot(time, episode.rewards, drawstyle="steps-pre", color=COLOURS[3], linewidth=0.8)
    mark_optimum(ax, 0.0)
    ax.set_ylabel("reward\n(dimensionless)")


def _draw_value(ax: Axes, episode: Episode, time: np.ndarray, network: Resolved) -> None:
    assert network.agent is not None
    target = "return R" if network.agent.trace_decay == 1 else "λ-return"
    look = _marked(time)
    ax.plot(time, episode.values, color=COLOURS[0], label="value V", **look)
    ax.plot(time, episode.targets, color="black", linestyle="--", label=target, **look)
    ax.set_ylabel("value\n(dimensionless)")
    legend_beside(ax)


def _differences(episode: Episode, network: Resolved) -> np.ndarray:
    """Errors of the value from each action to the next, shape (n_actions,).

    After the last action it is 0, or unknown where the advantage is.
    """
    assert network.agent is not None
    after = np.append(episode.values[1:], 0.0)
    after[-1:] += 0.0 * episode.advantages[-1:]
    differences: np.ndarray = episode.rewards + network.agent.discount * after - episode.values
    return differences


def _draw_signed(ax: Axes, time: np.ndarray, values: np.ndarray) -> None:
    """A curve whose two sides of 0 have colours."""
    mark_optimum(ax, 0.0)
    for side, colour in ((values > 0, _GOOD), (values < 0, _BAD)):
        look: dict[str, Any] = {"color": lighter(colour, 0.5), "linewidth": 0}
        ax.fill_between(time, 0.0, values, where=side, interpolate=True, **look)
    ax.plot(time, values, color="black", **{**_marked(time), "linewidth": 0.5})


def _draw_traces(ax: Axes, traces: Recording, name: str, label: str, n_steps: int) -> None:
    """Curves of all synapses, up to the end of the episode."""
    recorded, time = traces[name], traces.time[:n_steps]
    each = zip(traces.synapses, colours(len(traces.synapses)), strict=True)
    for column, (synapse, colour) in enumerate(each):
        values = recorded.values[:n_steps, column]
        ax.plot(time, values, color=colour, linewidth=0.8, label=str(synapse))
    ax.set_ylabel(f"{label}\n({named_units(recorded.units)})")
    legend_beside(ax)
