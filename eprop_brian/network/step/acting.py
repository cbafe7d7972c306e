"""A network in an environment: what it senses, how it acts, what it learns from at the end."""

from __future__ import annotations

from eprop_brian.network.episodes import ENVIRONMENT
from eprop_brian.network.step.parts import ActingPart, InputPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.steps.nodes import (
    Choose,
    Each,
    Fill,
    Fire,
    For,
    If,
    Int,
    Node,
    Once,
    Put,
    Stop,
    Sync,
)
from eprop_brian.steps.spiking import ListSpikes, plus

__all__ = [
    "act",
    "begin_episode",
    "code",
    "learn_from_episode",
    "resume",
    "reward",
    "reward_at_end",
]

_PLACE = {"_of_environment": "0"}


def begin_episode(running: Running) -> list[Node]:
    """The state of an environment that an episode begins with."""
    if running.parts.acting is None:
        return []
    return [Once(block_name(ENVIRONMENT, "begin"), _PLACE)]


def code(running: Running, source: InputPart) -> list[Node]:
    """Inputs that sense an environment, in a step."""
    acting, spikes, rules = running.parts.acting, source.spikes, running.rules
    nodes: list[Node] = []
    for part in acting.codes if acting else ():
        if part.inputs == spikes.name:
            rows = {"_coded": str(part.before)}
            if source.inputs is not None:
                rows["_history"] = f"_step*{spikes.n}{plus(part.before)}"
            nodes.append(Each(block_name(part.name, "code"), part.n, rows))
    analog = source.inputs is not None
    return [*nodes, Sync(), ListSpikes(spikes, "", rules.factored, analog=analog)]


def act(running: Running) -> list[Node]:
    """What a step adds to the readouts' answers and, at an action, what follows from it."""
    acting, parts, rules = running.parts.acting, running.parts, running.rules
    assert acting is not None
    nodes: list[Node] = []
    for r in parts.readouts:
        # No errors until the advantages are known, or until there is an action to tag.
        row = f"(_step + {rules.signal_rows})*{r.n}"
        nodes += [Fill(errors, str(r.n), row) for errors in r.errors]
        nodes += running.outputs(r, "silent")
    answers = [node for r in parts.readouts for node in running.outputs(r, "answer")]
    if acting.window > 1:
        first = [node for r in parts.readouts for node in running.outputs(r, "first_answer")]
        since = f"_step % {acting.steps} - {acting.steps - acting.window}"
        answers = [If(f"{since} == 0", first), If(f"{since} > 0", answers)]
    action = [
        Int("_action", f"(_step + 1)/{acting.steps} - 1"),
        Put(acting.n_action, "0", "_action"),
        *([If("_action > 0", [_of_reward("next_value")]), _of_reward("expect")] * rules.online),
        *_choose(running, acting),
    ]
    if not rules.external:
        action += go_on(running, "_action")
    if rules.online:
        action.append(If("_learning", _send(running, acting)))
    return [*nodes, *answers, Sync(), If(f"(_step + 1) % {acting.steps} == 0", action)]


def _choose(running: Running, acting: ActingPart) -> list[Node]:
    """An action is chosen and kept."""
    policy = running.parts.readout(acting.policy)
    kept = _every_output(running, "keep")
    choose = running.outputs(policy, "choose")
    if not acting.discrete:
        put = [Put(a, "0", f"{{{acting.chosen}}}[{k}]") for k, a in enumerate(acting.actions)]
        return [*choose, Sync(), *kept, *put, Sync()]
    (action,) = acting.actions
    chosen = f"{{{acting.choice}}}[0]"
    place = f"_action*{policy.n} + _chosen"
    return [
        *running.probabilities(policy),
        *choose,
        Sync(),
        Fire(acting.candidates, policy.n, "1", acting.choice, "0"),
        *kept,
        Sync(),
        Int("_chosen", chosen),
        Put(action, "0", "_chosen"),
        Put(acting.kept, place, "1"),
        Sync(),
    ]


def _every_output(running: Running, what: str) -> list[Node]:
    """A block for what all readouts have of an action."""
    readouts = running.parts.readouts
    return [n for r in readouts for n in running.outputs(r, what, acted=f"_action*{r.n}")]


def _of_reward(what: str) -> Node:
    return Once(block_name(ENVIRONMENT, what), _PLACE)


def _send(running: Running, acting: ActingPart) -> list[Node]:
    """Errors of an action, but for the advantage that they are to be multiplied by."""
    parts, rules = running.parts, running.rules
    policy = parts.readout(acting.policy)
    nodes = [*running.outputs(policy, "recall", acted=f"_action*{policy.n}"), Sync()]
    direct: list[Node] = []
    for r in parts.readouts:
        row = f"(_step + {rules.signal_rows})*{r.n}"
        nodes += [*running.loss(r, "rewarded", history=row), Sync()]
        direct += [*running.loss(r, "direct", history=row), Sync()]
    if acting.bootstrap:
        # The last action of an episode that is cut off is not learned from.
        is_done = If(f"{{{acting.done}}}[0] > 0", direct)
        return [*nodes, If("_step < _T - 1", direct, [is_done])]
    return [*nodes, *direct]


def reward_at_end(running: Running) -> list[Node]:
    """What the last reward of an episode makes of the tags, if its action is learned from."""
    acting, rules = running.parts.acting, running.rules
    if acting is None or not rules.online:
        return []
    nodes = [_of_reward("no_value"), Sync(), *reward(running)]
    if acting.bootstrap:
        nodes = [If(f"{{{acting.done}}}[0] > 0", nodes)]
    return [If("_learning", nodes), Sync()]


def reward(running: Running) -> list[Node]:
    """What a reward prediction error makes of the tags of synapses and neurons."""
    nodes: list[Node] = []
    for p in running.parts.learning:
        nodes += running.each(p.name, "reward", p.synapses.size, index="_synapse")
    for population in running.parts.populations:
        nodes += running.neurons(population, "parameter_reward")
    return nodes


def go_on(running: Running, action: str) -> list[Node]:
    """What the environment makes of an action, by its number, or has made of it outside."""
    acting = running.parts.acting
    assert acting is not None
    return [
        Once(block_name(ENVIRONMENT, "step"), {**_PLACE, "_acted": action}),
        Sync(),
        Stop(f"{{{acting.over}}}[0] > 0"),
    ]


def resume(running: Running) -> list[Node]:
    """An episode goes on after an environment outside of the program has made a step."""
    rules = running.rules
    if not rules.external:
        return []
    going_on = [
        # The action belongs to the last step of the call before.
        Int("_step", "_first_step - 1"),
        Int("_action", f"_first_step/{rules.external} - 1"),
        *go_on(running, "_action"),
    ]
    return [If("_first_step > 0", going_on)]


def learn_from_episode(running: Running) -> list[Node]:
    """Advantages from the last action backwards, with the losses of actor and critic."""
    acting, parts, rules = running.parts.acting, running.parts, running.rules
    assert acting is not None
    policy, value = (parts.readout(name) for name in (acting.policy, acting.value))
    begin: list[Node] = [Once(block_name(ENVIRONMENT, "after_last"), _PLACE)]
    scored: Node = Int("_n_scored", "_n_acted")
    if acting.bootstrap:
        cut_off = f"{{{acting.done}}}[0] == 0"
        scored = Choose("_n_scored", cut_off, "_n_acted - 1", "_n_acted")
        begin = [
            If(
                cut_off,
                [
                    *running.outputs(value, "recall", acted="_n_scored"),
                    Sync(),
                    Once(block_name(ENVIRONMENT, "cut_off"), _PLACE),
                ],
                begin,
            ),
        ]
    row = f"((_action + 1)*{acting.steps} - 1 + {rules.signal_rows})"
    body: list[Node] = [
        Int("_action", "_n_scored - 1 - _k"),
        *_every_output(running, "recall"),
        Sync(),
        Once(block_name(ENVIRONMENT, "advantage"), {**_PLACE, "_acted": "_action"}),
        *(node for r in parts.readouts for node in running.probabilities(r)),
        Sync(),
        *running.outputs(policy, "add_entropy"),
    ]
    for k, r in enumerate(parts.readouts):
        body += running.loss(r, answered=f"_answers_{k}", history=f"{row}*{r.n}")
        if acting.window > 1 and rules.learning:
            before = running.outputs(r, "share", history=f"({row} - _before)*{r.n}")
            body += [For("_before", "1", str(acting.window), before)]
    body.append(Sync())
    return [
        Int("_n_acted", f"_T/{acting.steps}"),
        scored,
        *begin,
        Sync(),
        For("_k", "0", "_n_scored", body),
        Put(acting.n_scored, "0", "_n_scored"),
        Put(rules.steps_of_trial, "0", "_T"),
        Sync(),
        Once(block_name(ENVIRONMENT, "report"), {**_PLACE, "_record": "_trial"}),
        *running.outputs(policy, "report_entropy", record=f"_trial*{policy.n}"),
    ]
