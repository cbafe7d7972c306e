"""Blocks of an environment, of the actions in it, and of what follows from them at the end."""

from __future__ import annotations

from collections.abc import Iterable

from eprop_brian.network.episodes import (
    ACTIONS,
    CHOICE,
    ENVIRONMENT,
    EPISODES,
    REPORTED,
    REWARD_ERROR,
    Acting,
    actions_of,
    code_group,
)
from eprop_brian.network.step.exogenous import draw
from eprop_brian.network.step.parts import ActingPart, CodePart
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.symbolic.environment import Section
from eprop_brian.symbolic.names import substituted

__all__ = ["advantage_view", "reward_view", "rewarded", "steps_view", "write_environment"]

#: Index of a trial's or an environment's variables, which belong to no neuron; it is always 0.
_PLACE = "_of_environment"
#: Actions that are learned from: there may be none.
_SCORED = "clip(n_scored, 1, 1e30)"
#: What an advantage is, from the last action of an episode backwards (`eprop_brian.network.parts`).
_ADVANTAGE = (
    "advantage = reward_kept + {discount}*value_after - value + {discount}*{trace_decay}*advantage"
)


def advantage_view(writer: Writer) -> View:
    """The advantage of the action whose losses are computed."""
    return View(writer.groups.groups[ENVIRONMENT], _PLACE, {"advantage": "advantage"})


def reward_view(writer: Writer) -> View:
    """The last reward prediction error, which the critic has."""
    assert writer.groups.acting is not None
    critic = writer.groups.acting.agent.value
    return View(writer.groups.groups[critic], _PLACE, {REWARD_ERROR: REWARD_ERROR})


def rewarded(writer: Writer, statements: Iterable[str]) -> list[str]:
    """What a reward prediction error makes of tags, with the number by which these decay."""
    assert writer.groups.acting is not None
    agent = writer.groups.acting.agent
    numbers = {"tag_decay": f"({agent.discount!r}*{agent.trace_decay!r})"}
    return [substituted(line, numbers) for line in statements]


def steps_view(writer: Writer) -> list[View]:
    """The steps that a trial has had, if not all have the same number."""
    name = writer.groups.steps_group
    if not name:
        return []
    return [View(writer.groups.groups[name], _PLACE, {"n_steps": "n_steps"})]


def write_environment(writer: Writer) -> ActingPart:
    """Write the blocks of an environment and of an agent in it."""
    a = writer.groups.acting
    assert a is not None
    environment = writer.own(ENVIRONMENT, _PLACE)
    _write_episode(writer, a, environment)
    for readout in writer.network.readouts:
        _write_answers(writer, a, readout.name)
    _write_choice(writer, a)
    _write_advantage(writer, a, environment)
    policy = a.agent.policy
    return ActingPart(
        policy=policy,
        value=a.agent.value,
        steps=a.steps,
        window=a.window,
        discrete=bool(a.environment.n_actions),
        bootstrap=a.agent.bootstrap,
        codes=tuple(_write_code(writer, a, number) for number in range(len(a.codes))),
        actions=tuple(writer.array(ENVIRONMENT, name) for name in a.actions),
        n_action=writer.array(ENVIRONMENT, "n_action"),
        n_scored=writer.array(ENVIRONMENT, "n_scored"),
        done=writer.array(ENVIRONMENT, "done"),
        over=writer.array(ENVIRONMENT, "over" if a.environment.external else "done"),
        candidates=writer.array(policy, "candidate", "_neuron"),
        choice=writer.array(CHOICE, "output"),
        chosen=writer.array(policy, "y_target", "_neuron"),
        kept=writer.array(actions_of(policy), "y_target"),
    )


def _drawn(section: Section, step: str, index: str, name: str, dtype: type) -> list[str]:
    """Statements that draw the random numbers of a section."""
    return [
        f"_draw_{number} = {draw(kind, name, number, dtype, step, index)}"
        for number, kind in enumerate(section.draws)
    ]


def _write_episode(writer: Writer, a: Acting, environment: View) -> None:
    """How an episode begins, goes on after an action, and is reported."""
    dtype = writer.groups.dtype
    begin = ["reward = 0", "done = 0", "over = 0", "return_so_far = 0", "squared_error = 0"]
    if writer.groups.tagging is not None:
        _write_rewards(writer, a, environment)
    initial = _drawn(a.map.initial, "0", "0", f"{ENVIRONMENT} initial", dtype)
    step = _drawn(a.map.step, "_now", "0", f"{ENVIRONMENT} step", dtype)
    if a.environment.external:
        # Whoever takes turns with the program sets the reward, and whether it is done.
        step = []
    else:
        step += a.map.step.statements
    writer.block(ENVIRONMENT, "begin", [*initial, *a.map.initial.statements, *begin], environment)
    # An episode is looked at afterwards; run again, an unstable one would soon be another.
    kept = ("reward", *a.map.states)
    writer.block(
        ENVIRONMENT,
        "step",
        [*step, *(f"{x}_kept = {x}" for x in kept), "return_so_far = return_so_far + reward"],
        View(writer.groups.groups[ACTIONS], "_acted", {f"{x}_kept": x for x in kept}),
        environment,
    )
    n_actions = f"(n_steps/{a.steps})"
    values = ("return_so_far", n_actions, f"squared_error/{_SCORED}", "done")
    reported = dict(zip(REPORTED, values, strict=True))
    writer.block(
        ENVIRONMENT,
        "report",
        [f"{name}_reported = {value}" for name, value in reported.items()],
        View(
            writer.groups.groups[EPISODES],
            "_record",
            {f"{name}_reported": name for name in REPORTED},
        ),
        environment,
    )


def _write_rewards(writer: Writer, a: Acting, environment: View) -> None:
    """How much better than expected a reward was, and what it leads to."""
    names = {"value": "answered", **{x: x for x in (REWARD_ERROR, "value_before")}}
    critic = View(writer.groups.groups[a.agent.value], _PLACE, names)
    error = f"{REWARD_ERROR} = reward + {a.agent.discount!r}*value - value_before"
    writer.block(ENVIRONMENT, "next_value", [error], critic, environment)
    writer.block(ENVIRONMENT, "expect", ["value_before = value"], critic)
    last = [f"{REWARD_ERROR} = reward - value_before"]
    writer.block(ENVIRONMENT, "no_value", last, critic, environment)


def _write_code(writer: Writer, a: Acting, number: int) -> CodePart:
    """How inputs sense the environment in a step."""
    coded = a.codes[number]
    inputs, group = a.map.codes[coded.number], code_group(coded.number)
    statements = [
        "episode_time = _now*dt",
        f"time_of_action = (_now - {a.steps}*floor(_now/{a.steps}))*dt",
        *_drawn(inputs.section, "_now", "index", f"{ENVIRONMENT} {group}", writer.groups.dtype),
        *inputs.section.statements,
    ]
    views = [View(writer.groups.groups[coded.group], "_coded", {"z": "z"})]
    history = writer.groups.groups.get(f"{coded.group}_history")
    if history is not None:
        statements.append("stored = z")
        views.append(View(history, "_history", {"stored": "x"}))
    writer.block(
        group,
        "code",
        statements,
        *views,
        writer.own(group),
        writer.own(ENVIRONMENT, _PLACE),
    )
    return CodePart(group, coded.group, inputs.size, coded.before)


def _write_answers(writer: Writer, a: Acting, readout: str) -> None:
    """The outputs that count for an action, which are kept until its advantage is known."""
    own = writer.own(readout)
    kept = View(
        writer.groups.groups[actions_of(readout)],
        "_acted",
        {"answered_kept": "answered", "y_target_kept": "y_target"},
    )
    if a.window > 1:
        writer.block(readout, "first_answer", [f"answered = y/{a.window}"], own)
        writer.block(readout, "answer", [f"answered = answered + y/{a.window}"], own)
    else:
        writer.block(readout, "answer", ["answered = y"], own)
    writer.block(
        readout, "keep", ["answered_kept = answered", "y_target_kept = y_target"], kept, own
    )
    recall = ["answered = answered_kept", "y_target = y_target_kept", "softmax_sum = 0"]
    writer.block(readout, "recall", recall, kept, own)


def _write_choice(writer: Writer, a: Acting) -> None:
    """How an action is chosen: at random, or the best one."""
    policy, groups = a.agent.policy, writer.groups
    if a.environment.n_actions:
        # Of exponential waiting times at the rates p, each is the shortest with probability p. The
        # number drawn may be 0, and the time then too.
        kind, waiting = "uniform", "clip(greedy - (1 - greedy)*log(1 - _draw_0), 1e-30, 1e30)"
        choose = [f"candidate = p/{waiting}", "y_target = 0"]
    else:
        kind = "normal"
        choose = [f"y_target = answered + (1 - greedy)*{a.agent.noise!r}*_draw_0"]
    drawn = _drawn(Section((), (kind,)), "_now", "number", f"{ENVIRONMENT} choice", groups.dtype)
    writer.block(policy, "choose", [*drawn, *choose], writer.own(policy), writer.control)


def _write_advantage(writer: Writer, a: Acting, environment: View) -> None:
    """The advantages of the actions of an episode, and the targets of the critic."""
    groups = writer.groups
    numbers = {"discount": repr(a.agent.discount), "trace_decay": repr(a.agent.trace_decay)}
    statements = [
        _ADVANTAGE.format(**numbers),
        "value_after = value",
        "squared_error = squared_error + advantage**2",
        "advantage_kept = advantage",
        "value_target = value + advantage",
    ]
    critic = View(
        groups.groups[a.agent.value], _PLACE, {"value": "answered", "value_target": "y_target"}
    )
    actions = View(
        groups.groups[ACTIONS], "_acted", {"reward_kept": "reward", "advantage_kept": "advantage"}
    )
    writer.block(ENVIRONMENT, "advantage", statements, critic, actions, environment)
    writer.block(ENVIRONMENT, "after_last", ["advantage = 0", "value_after = 0"], environment)
    writer.block(
        ENVIRONMENT, "cut_off", ["advantage = 0", "value_after = value"], critic, environment
    )
    name = a.agent.policy
    if a.environment.n_actions:
        writer.block(name, "add_entropy", ["entropy = entropy - p*log(p)"], writer.own(name))
    writer.block(
        name,
        "report_entropy",
        [f"entropy_reported = entropy/{_SCORED}"],
        View(groups.groups["entropies"], "_record", {"entropy_reported": "entropy"}),
        environment,
        writer.own(name),
    )
