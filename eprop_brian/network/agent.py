"""A network that acts: whether its agent, its readouts and an environment fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eprop_brian.equations.environment import Environment
from eprop_brian.equations.losses import gaussian_policy, policy_gradient
from eprop_brian.network.parts import Agent
from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.errors import EquationError, named
from eprop_brian.symbolic.expressions import parse_expression, symbol
from eprop_brian.symbolic.losses import ErrorPart, split_error

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["check_agent", "check_environment", "policy_loss", "split_errors"]


def policy_loss(agent: Agent, environment: Environment, entropy: float = 0.0) -> str:
    """The loss equation of an actor, as its actions need it.

    Parameters
    ----------
    agent : Agent
    environment : Environment
    entropy : float
        Factor of the bonus for the entropy of the policy (of discrete actions).

    Raises
    ------
    ValueError
        If the factor is negative, or there is one for continuous actions.
    """
    if environment.n_actions:
        return policy_gradient(entropy)
    if entropy:
        raise ValueError(
            f"entropy = {entropy} has no effect on continuous actions, such as those of "
            f"environment '{environment.name}', whose entropy follows from the agent's noise: set "
            "it to 0 (--set agent.entropy=0.0)"
        )
    return gaussian_policy(agent.noise)


def check_agent(agent: Agent, network: Resolved) -> None:
    """Refuse an agent whose readouts cannot be an actor and a critic.

    Raises
    ------
    ValueError
    """
    readouts = {readout.name: readout for readout in network.readouts}
    names = [*agent.policies, *agent.values]
    for name in names:
        role = "policy" if name in agent.policies else "value"
        role = role if name in (agent.policy, agent.value) else f"local {role}"
        if name not in readouts:
            raise ValueError(
                f"{role} of the agent is a readout, but there is no readout '{name}'; there are "
                f"{', '.join(readouts)}"
            )
        if readouts[name].window_steps is not None:
            raise ValueError(
                f"readout '{name}' is the agent's {role}, whose loss counts at the actions: leave "
                "its window away"
            )
    others = [name for name in readouts if name not in names]
    if others or len({*names}) < len(names):
        raise ValueError(
            "an agent has two readouts, its policy and its value, and two of each pair in local"
            + (f"; '{others[0]}' would have no target" if others else "")
        )
    for name in agent.values:
        if readouts[name].size != 1:
            raise ValueError(
                f"readout '{name}' predicts a return and has 1 output, not {readouts[name].size}"
            )
        if readouts[name].loss.softmax:
            raise ValueError(
                f"readout '{name}' predicts a return, which is no probability: its loss reads y"
            )
        if readouts[name].loss.is_modulator:
            raise ValueError(
                f"readout '{name}' predicts a return, but its loss is the modulator, which "
                "predicts nothing: take 'squared_error'"
            )
    policy = readouts[agent.policy]
    for name in agent.policies:
        if not readouts[name].loss.reads_advantage:
            raise ValueError(
                f"readout '{name}' is a policy, but its loss does not read the advantage, so that "
                "rewards would change nothing: take policy_gradient() or gaussian_policy(...) of "
                "eprop_brian.equations.losses"
            )
    for readout in (readouts[name] for name in agent.policies):
        if readout.size != policy.size or readout.loss.softmax != policy.loss.softmax:
            raise ValueError(
                f"readout '{readout.name}' learns the actions of '{policy.name}': it needs as many "
                f"outputs, {policy.size}, not {readout.size}, and a loss of the same kind"
            )
    if network.continuous:
        raise ValueError("an agent learns from episodes: it needs updates = 'batch' or 'action'")
    if network.c_reg and network.rate_averaging != "trial":
        raise ValueError(
            "episodes differ in length: the rate regulariser (c_reg) needs rate_averaging = "
            f"'trial' with an agent, not '{network.rate_averaging}'"
        )
    if network.c_v or network.average_gradient:
        option = "c_v" if network.c_v else "average_gradient"
        raise ValueError(
            f"{option} divides by the steps of a trial, but episodes differ in length: leave it "
            "away with an agent"
        )
    if network.gradient == "online":
        _check_online(network)
        split_errors(network)


def _check_online(network: Resolved) -> None:
    """Refuse learning signals that would not meet the traces of the actions they are for."""
    assert network.agent is not None
    if network.agent.local:
        raise ValueError(
            f"local of the agent: the error of '{network.agent.local[0][1]}' is not the advantage "
            "that tags wait for with gradient = 'online': choose 'factored'"
        )
    if network.readout_delay:
        raise ValueError(
            "readouts see spikes late, but with gradient = 'online' an action is tagged in its own "
            "step: leave the delay of the projections to them away, or choose 'factored'"
        )
    for signal in network.signals:
        what = f"learning signal '{signal.name}'"
        if signal.delay_steps is not None or signal.diffusion is not None:
            how = "is delayed" if signal.delay_steps is not None else "diffuses"
            raise ValueError(
                f"{what} {how}, but with gradient = 'online' an action is tagged in its own step: "
                f"leave the {'delay' if how == 'is delayed' else 'diffusion'} away, or choose "
                "'factored'"
            )
        text, error = signal.feedback.signal, symbol("error")
        expression = parse_expression(text, what)
        if derivative(expression, error).has(error) or expression.subs(error, 0) != 0:
            raise EquationError(
                what,
                text,
                "must be proportional to the error, a part of which is known reward by reward with "
                "gradient = 'online': choose 'factored', or send the error itself",
            )


def split_errors(network: Resolved) -> dict[str, tuple[ErrorPart, ErrorPart]]:
    """What rewards multiply of the error of each readout of an agent, and what they do not.

    Raises
    ------
    EquationError
        If an error is not linear in the advantage.
    """
    assert network.agent is not None
    errors = {}
    for readout in network.readouts:
        target = "y + advantage" if readout.name == network.agent.value else ""
        with named(f"readout '{readout.name}'"):
            errors[readout.name] = split_error(readout.loss, [*readout.values], target)
    return errors


def check_environment(environment: Environment, network: Resolved) -> None:
    """Refuse an environment that the network cannot act in.

    Raises
    ------
    ValueError
    """
    where = f"environment '{environment.name}'"
    if network.agent is None:
        raise ValueError(
            f"the trials are episodes of {where}, but the network has no Agent: add "
            "Agent(policy=<readout>, value=<readout>), or use Network.for_task"
        )
    policy = next(r for r in network.readouts if r.name == network.agent.policy)
    if policy.size != environment.action_outputs:
        what = "actions" if environment.n_actions else "components of an action"
        raise ValueError(
            f"{where} has {environment.action_outputs} {what}, but readout '{policy.name}' has "
            f"{policy.size} outputs"
        )
    if policy.loss.softmax != bool(environment.n_actions):
        needed = (
            "chooses among actions, by the softmax probability p"
            if environment.n_actions
            else "has continuous actions, around the outputs y"
        )
        raise ValueError(f"{where} {needed}: the loss of readout '{policy.name}' must read it")
    if environment.action_size and not network.agent.noise:
        raise ValueError(
            f"{where} has continuous actions, which the agent explores by its noise: it must be "
            "above 0, and the deviation in the loss of its policy"
        )
    if network.agent.bootstrap and environment.most_actions == 1:
        raise ValueError(
            f"{where} has one action: an episode that is cut off after it has nothing to learn "
            "from; leave bootstrap of the agent away"
        )
    if environment.n_inputs != network.n_inputs:
        raise ValueError(
            f"{where} is coded by {environment.n_inputs} inputs, but the network has "
            f"{network.n_inputs}"
        )
