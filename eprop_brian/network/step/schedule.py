"""The schedule of a network: its phases, and the frame of a call around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eprop_brian.network.built import SHARE
from eprop_brian.network.step.acting import resume
from eprop_brian.network.step.learning import begin_call, fold, learn, update
from eprop_brian.network.step.parts import NetworkParts, Rules
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.traces import pending_updates
from eprop_brian.network.step.trial import begin_trial, end_of_trial, places, refresh, step
from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.schedule import Schedule

__all__ = ["NetworkFrame", "network_schedule"]


@dataclass(frozen=True)
class NetworkFrame:
    """What the frame of a call reads.

    Attributes
    ----------
    rules : Rules
    control : mapping of str to str
        Arrays of the numbers that steer a call.
    share : int
        Trials whose gradients are summed before the sum enters the batch's.
    seconds : str
        Array of the time that stages took, if it is measured.
    """

    rules: Rules
    control: Mapping[str, str]
    share: int
    seconds: str


def network_schedule(
    parts: NetworkParts, code: StepCode, n_trials: int, seconds: str = ""
) -> Schedule:
    """The schedule of a network.

    The frame says when phases run: ``begin_call``; for every trial ``refresh``, ``begin``, ``step``
    as often as there are steps, ``end`` and, if it learns, ``learn``; ``resume`` where an episode
    goes on that an earlier call has begun; ``fold`` at the end of a share of a batch, ``update`` at
    the end of the batch; ``pending`` in a call without trials.
    ``places`` comes before a trial and, where a call is a single step, before every step.

    It defines ``_T``, ``_trial``, ``_step``, ``_now`` (``_before_first + _step``), ``_learning``
    and, where steps run again in the backward pass, ``_again``.

    Parameters
    ----------
    parts : NetworkParts
    code : StepCode
    n_trials : int
        Most trials of a call.
    seconds : str
        As for `NetworkFrame`.
    """
    running, rules = Running(parts, code.blocks), parts.rules
    one_step = step(running)
    phases = {
        "begin_call": begin_call(running),
        "refresh": refresh(running),
        "places": places(running),
        "begin": begin_trial(running),
        "resume": resume(running),
        "step": one_step,
        "end": end_of_trial(running),
        "learn": learn(running, one_step),
        "fold": fold(running),
        "update": update(running),
        "pending": pending_updates(running),
    }
    # Weights that change within a trial are those that the next begins with.
    alone = rules.updates != "batch"
    n_synapses = max(p.synapses.n for p in parts.projections)
    return Schedule(
        "step",
        NetworkFrame(rules, parts.control, SHARE, seconds),
        phases,
        trial=() if rules.continuous else ("begin", "resume", "step", "end", "learn"),
        most_trials=1 if alone else n_trials,
        most_elements=n_synapses if rules.online else max(p.spikes.n for p in parts.populations),
        alone=alone,
        refusal="" if rules.learning else "programs that only run trials",
    )
