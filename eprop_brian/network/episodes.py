"""What a program keeps of an environment and of the actions in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.base.checks import whole_steps
from eprop_brian.equations.environment import Environment
from eprop_brian.network.agent import check_environment
from eprop_brian.network.parts import Agent
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.environment import OBSERVATION, EnvironmentMap, environment_map

if TYPE_CHECKING:
    from eprop_brian.network.groups import NetworkGroups

__all__ = [
    "ACTIONS",
    "CHOICE",
    "ENVIRONMENT",
    "EPISODES",
    "REWARD_ERROR",
    "Acting",
    "CodedInputs",
    "acting",
    "actions_of",
    "REPORTED",
    "code_group",
    "environment_parameters",
    "make_environment",
    "readout_variables",
]

#: The groups of an environment, of the actions of an episode, and of what is reported of episodes.
ENVIRONMENT, ACTIONS, EPISODES = "environment", "environment_actions", "episodes"
#: The store of the output that was chosen.
CHOICE = "environment_choice"
#: How much better than expected the last reward was and what it leads to.
REWARD_ERROR = "reward_prediction_error"
#: Numbers of a trial that steer and sum up an episode.
_OF_EPISODE = (
    *("reward", "done", "over", "n_action", "advantage", "value_after"),
    *("return_so_far", "squared_error", "n_steps", "n_scored"),
)
#: What is reported of every episode.
REPORTED = ("episode_return", "n_actions", "value_error", "is_done")


def code_group(number: int) -> str:
    """The group of the inputs of a code."""
    return f"environment_code_{number}"


def actions_of(readout: str) -> str:
    """The store of a readout's outputs and targets at the actions of an episode."""
    return f"{readout}_actions"


@dataclass(frozen=True)
class CodedInputs:
    """The inputs of a code.

    Attributes
    ----------
    number : int
        Of the code.
    group : str
        The inputs of the network that they belong to.
    before : int
        Inputs of that group which come first.
    """

    number: int
    group: str
    before: int


@dataclass(frozen=True)
class Acting:
    """How a network acts in an environment.

    Attributes
    ----------
    agent : Agent
    environment : Environment
    map : EnvironmentMap
    steps : int
        Network steps from one action to the next.
    window : int
        Steps before an action over which readouts are averaged.
    codes : tuple of CodedInputs
    """

    agent: Agent
    environment: Environment
    map: EnvironmentMap = field(repr=False)
    steps: int
    window: int
    codes: tuple[CodedInputs, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """Variables of an action: one, or one for each component of a continuous one."""
        size = self.environment.action_size
        return tuple(f"action_{k}" for k in range(size)) if size > 1 else ("action",)


def acting(network: Resolved, environment: Environment, n_steps: int) -> Acting:
    """How a network acts in an environment.

    Parameters
    ----------
    network : Resolved
    environment : Environment
    n_steps : int
        Of the longest episode.

    Raises
    ------
    ValueError, EquationError
        If they do not fit together.
    """
    check_environment(environment, network)
    where, dt = f"environment '{environment.name}'", network.dt
    steps = whole_steps(f"action_every of {where}", environment.action_every, dt)
    window = 1
    if environment.action_window is not None:
        window = whole_steps(f"action_window of {where}", environment.action_window, dt)
    if steps * environment.most_actions != n_steps:
        raise ValueError(
            f"{where} has {environment.most_actions} actions of {steps} steps at most, but the "
            f"trials have {n_steps} steps"
        )
    if environment.external and network.gradient == "online":
        raise ValueError(
            f"{where} is outside of the program, which ends a call at every action and forgets "
            "the traces of gradient = 'online': choose 'factored'"
        )
    if window > 1 and network.gradient == "online":
        raise ValueError(
            f"{where} averages readouts over {window} steps before an action, for which "
            "gradient = 'online' has no tag: choose 'factored', or leave action_window away"
        )
    assert network.agent is not None  # checked above
    return Acting(
        network.agent,
        environment,
        environment_map(environment),
        steps,
        window,
        _coded(environment, network),
    )


def _coded(environment: Environment, network: Resolved) -> tuple[CodedInputs, ...]:
    """Where the inputs of each code stand."""
    codes, first = [], 0
    for number, code in enumerate(environment.codes):
        for name, where in network.input_slices.items():
            if where.start <= first and first + code.size <= where.stop:
                codes.append(CodedInputs(number, name, first - where.start))
                break
        else:
            raise ValueError(
                f"code {number + 1} of environment '{environment.name}' has the inputs {first} to "
                f"{first + code.size - 1}, which are no part of a single group of inputs: "
                f"{dict(network.input_slices)}"
            )
        first += code.size
    return tuple(codes)


def make_environment(groups: NetworkGroups) -> None:
    """Make the groups of an environment."""
    a = groups.acting
    assert a is not None
    one = "1"
    variables = [*a.map.states, *a.map.parameters, *a.actions, *_OF_EPISODE]
    groups.group(ENVIRONMENT, 1, dict.fromkeys(variables, one))
    groups.store(ACTIONS, a.environment.most_actions, ["reward", "advantage", *a.map.states])
    groups.store(EPISODES, groups.capacity.n_trials, REPORTED)
    for code in a.codes:
        inputs = a.map.codes[code.number]
        variables = [*inputs.parameters, "index"]
        if inputs.senses is not None:
            variables.append(OBSERVATION)
        groups.group(code_group(code.number), inputs.size, dict.fromkeys(variables, one))
        if a.map.analog and groups.learning and not groups.online:
            name = f"{code.group}_history"
            if name not in groups.groups:
                size = next(i.size for i in groups.network.inputs if i.name == code.group)
                groups.store(name, size * groups.capacity.n_steps, ["x"])
    policy = next(r for r in groups.network.readouts if r.name == a.agent.policy)
    groups.store("entropies", groups.capacity.n_trials * policy.size, ["entropy"])
    groups.store(CHOICE, policy.size, ["output"], np.int32)
    for readout in groups.network.readouts:
        size = readout.size * a.environment.most_actions
        groups.store(actions_of(readout.name), size, ["answered", "y_target"])


def readout_variables(groups: NetworkGroups, readout: str) -> list[str]:
    """Variables that a readout has in an environment."""
    if groups.acting is None:
        return []
    own = ["answered", "y_target"]
    if readout == groups.acting.agent.policy:
        own += ["entropy", "candidate", "number"]
    elif groups.tagging is not None:
        own += [REWARD_ERROR, "value_before"]
    return own


def environment_parameters(
    a: Acting, network: Resolved
) -> dict[tuple[str, str], np.ndarray | float]:
    """Values of what the equations of an environment read, by group and variable."""
    values: dict[tuple[str, str], np.ndarray | float] = {
        (ENVIRONMENT, name): value for name, value in a.map.parameters.items()
    }
    policy = next(r for r in network.readouts if r.name == a.agent.policy)
    values[policy.name, "number"] = np.arange(float(policy.size))
    for code in a.codes:
        inputs = a.map.codes[code.number]
        group = code_group(code.number)
        values[group, "index"] = np.arange(float(inputs.size))
        for name, value in inputs.parameters.items():
            values[group, name] = np.broadcast_to(value, inputs.size)
    return values
