"""E-prop's gradient by automatic differentiation of the code that Brian2 itself generates.

Brian2 turns a `NeuronGroup` and its `Synapses` into abstract code: statements of the state update,
the spike condition, the effect of a presynaptic spike and the reset. Here they are evaluated one by
one in JAX, in the order of Brian2's schedule. Nothing of the package's symbolic layer takes part.

A spike is a step whose derivative is the surrogate. Gradients stop where e-prop's do: at a spike as
other neurons receive it, and at a neuron's own spike as it resets the states that are detached.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import brian2
import jax
import jax.numpy as jnp
import numpy as np
from brian2.core.variables import ArrayVariable, Constant, Subexpression
from brian2.groups.neurongroup import SubexpressionUpdater
from brian2.input.timedarray import TimedArray
from brian2.parsing.rendering import NumpyNodeRenderer
from brian2.parsing.statements import parse_statement

from eprop_brian.symbolic.parameters import UNITS
from support.stock import Simulation, weight_name

__all__ = ["AbstractCode"]

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

#: Variables of a group that no statement writes.
_CLOCKS = ("N", "i", "t", "dt", "t_in_timesteps", "_spikespace")


def _exprel(x):
    near = jnp.abs(x) < 1e-9
    safe = jnp.where(near, 1.0, x)
    return jnp.where(near, 1 + x / 2, jnp.expm1(safe) / safe)


def _number(x):
    """What `int` makes of a condition, or of a number."""
    return jnp.trunc(jnp.asarray(x, dtype=float))


FUNCTIONS = {
    **{
        name: getattr(jnp, name)
        for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "log10", "sqrt")
        + ("floor", "ceil", "sign", "abs", "clip", "arcsin", "arccos", "arctan", "expm1", "log1p")
        + ("logical_not", "inf", "pi", "e")
    },
    "int": _number,
    "exprel": _exprel,
    "timestep": lambda t, dt: jnp.trunc((t + 1e-3 * dt) / dt),
    "True": True,
    "False": False,
}


@jax.custom_jvp
def spike(margin, slope, fired):
    """1 where the neuron fired; its derivative by the margin of the threshold is `slope`."""
    return fired


@spike.defjvp
def _spike_jvp(primals, tangents):
    _, slope, _ = primals
    return spike(*primals), slope * tangents[0]


class Names(dict):
    """Names as expressions of a group or of synapses read them.

    First what is given, then all that Brian2 would find.
    """

    def __init__(self, owner: Any, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.owner = owner

    def __missing__(self, name: str) -> Any:
        variable = self.owner.variables.get(name)
        if isinstance(variable, Subexpression):
            return evaluated(variable.expr, self)
        if isinstance(variable, Constant | ArrayVariable):
            return np.asarray(variable.get_value())
        if name in self.owner.namespace:
            value = self.owner.namespace[name]
            return (
                _lookup(value, self.owner) if isinstance(value, TimedArray) else np.asarray(value)
            )
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        return float(UNITS[name])


def _lookup(array: TimedArray, owner: Any):
    """A timed array as a function of time, by Brian2's own rule for the sample."""
    values, dt = jnp.asarray(array.values), float(array.dt)
    upsampling = max(int(2 ** np.ceil(np.log2(8 / float(owner.clock.dt) * dt))), 1)

    def sample(t, i=None):
        step = jnp.floor(jnp.round(t / (dt / upsampling)) / upsampling).astype(int)
        row = values[jnp.clip(step, 0, len(values) - 1)]
        return row if i is None else row[i]

    return sample


def evaluated(expression: str, names: Names) -> Any:
    """An expression in JAX."""
    return eval(NumpyNodeRenderer().render_expr(expression), {}, names)


def statements(code: str) -> Iterator[tuple[str, str, str]]:
    """Name, operation and expression of every statement."""
    for line in code.replace(";", "\n").splitlines():
        if line.split("#")[0].strip():
            yield parse_statement(line)[:3]


def written_out(name: str, operation: str, expression: str) -> str:
    """The value that a statement gives to a name, ``x += 1`` as ``x + (1)``."""
    return expression if operation in ("=", ":=") else f"{name} {operation[:-1]} ({expression})"


def variables_of(owner: Any) -> dict[str, np.ndarray]:
    """The present values of all that the statements of a group or of synapses may write."""
    return {
        name: np.array(variable.get_value())
        for name, variable in owner.variables.items()
        if isinstance(variable, ArrayVariable)
        and variable.owner.name == owner.name
        and name not in _CLOCKS
        and np.dtype(variable.dtype).kind in "fb"
    }


class GroupCode:
    """What Brian2 runs for a group in a step.

    Parameters
    ----------
    group : NeuronGroup
        One that has not run. Its code is there when it has.
    """

    def __init__(self, group: brian2.NeuronGroup) -> None:
        self.group = group
        self.initial = variables_of(group)

    def run(self, code: str, states: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """The states after some statements."""
        names = Names(self.group, {**states, **now})
        for name, operation, expression in statements(code):
            names[name] = evaluated(written_out(name, operation, expression), names)
        return {name: names[name] for name in states}

    def unless_refractory(self, new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        """The new states; those that are ``(unless refractory)`` stay as they are while it is."""
        for name in new:
            condition = self.group.variables[name].conditional_write
            if condition is not None:
                new[name] = jnp.where(new[condition.name], new[name], old[name])
        return new

    def updated(self, states: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """The states after the state update."""
        for part in self.group.contained_objects:
            if isinstance(part, SubexpressionUpdater):
                states = self.run(part.abstract_code, states, now)
        new = self.run(self.group.state_updater.abstract_code, states, now)
        return self.unless_refractory(new, states)

    def fired(self, states: dict[str, Any], now: Mapping[str, Any], surrogate: str):
        """Spikes, and the states that a spike makes refractory."""
        names = Names(self.group, {**states, **now})
        holds, margin, active = threshold(self.group.events["spike"], names)
        if "not_refractory" in states:
            active = active & states["not_refractory"]
        spikes = jnp.asarray(holds & active, dtype=float)
        if "not_refractory" in states:
            states = {
                **states,
                "not_refractory": states["not_refractory"] & (spikes == 0),
                "lastspike": jnp.where(spikes > 0, now["t"], states["lastspike"]),
            }
        slope = jnp.where(active, evaluated(surrogate, names), 0.0)
        return spike(margin, jax.lax.stop_gradient(slope), spikes), states

    def reset(self, states, z, now: Mapping[str, Any], detached: Collection[str]):
        """The states after the reset."""
        if "spike" not in self.group.resetter:
            return states
        stopped = jax.lax.stop_gradient
        after = self.run(self.group.resetter["spike"].abstract_code, states, now)
        for name, value in after.items():
            if value is states[name]:
                continue
            path = stopped(z) if name in detached else z
            jump = stopped(jnp.where(jnp.isfinite(states[name]), value - states[name], 0.0))
            # However large they are. The derivative by the spike is their difference.
            after[name] = jnp.where(z > 0, value, states[name]) + jump * (path - stopped(path))
        return after


class SynapsesCode:
    """What Brian2 runs for synapses in a step, their variables as matrices [post, pre].

    Parameters
    ----------
    synapses : Synapses
        Which have not run.
    """

    def __init__(self, synapses: brian2.Synapses) -> None:
        self.synapses = synapses
        shape = len(synapses.target), len(synapses.source)
        self.initial = {}
        for name, values in variables_of(synapses).items():
            self.initial[name] = matrix = np.zeros(shape)
            matrix[synapses.j, synapses.i] = values
        del self.initial[weight_name(synapses.target)]

    def names(self, states, own, weights, now) -> Names:
        """What statements read: their own variables and those of the target neurons."""
        columns = {name: jnp.asarray(value)[..., None] for name, value in states.items()}
        given = {**columns, **{f"{name}_post": value for name, value in columns.items()}}
        return Names(
            self.synapses, {**given, **own, **now, weight_name(self.synapses.target): weights}
        )

    def updated(self, states, own, weights, now):
        """Summed variables of the target, and own variables after their state update."""
        summed = {}
        for name, updater in self.synapses.summed_updaters.items():
            names = self.names(states, own, weights, now)
            summed[name.removesuffix("_post")] = evaluated(updater.expression.code, names).sum(1)
        names = self.names(states, own, weights, now)
        updater = self.synapses.state_updater
        code = "" if updater is None else updater.abstract_code
        for name, operation, expression in statements(code):
            names[name] = evaluated(written_out(name, operation, expression), names)
        return summed, {name: names[name] for name in own}

    def delivered(self, states, own, weights, spikes, now):
        """What the spikes (n_pre,) add to variables of the target, and own variables after."""
        names, added = self.names(states, own, weights, now), {}
        for name, operation, expression in statements(self.synapses.pre.abstract_code):
            value = evaluated(expression, names)
            target = name.removesuffix("_post")
            if name in own:
                value = evaluated(written_out(name, operation, expression), names)
                names[name] = jnp.where(spikes > 0, value, own[name])
            elif target in states:
                assert operation == "+=", "the inputs of a step are summed"
                added[target] = added.get(target, 0.0) + jnp.sum(value * spikes, axis=1)
            else:
                names[name] = value
        return added, {name: names[name] for name in own}


def threshold(condition: str, names: Names):
    """Whether the first comparison of a condition holds, by how much, and whether the others do."""
    parsed = ast.parse(condition.strip(), mode="eval").body
    parts = parsed.values if isinstance(parsed, ast.BoolOp) else [parsed]
    compared, *others = parts
    assert isinstance(compared, ast.Compare)
    left, right = (
        evaluated(ast.unparse(x), names) for x in (compared.left, compared.comparators[0])
    )
    (operator,) = compared.ops
    margin = left - right if isinstance(operator, ast.Gt | ast.GtE) else right - left
    holds = margin >= 0 if isinstance(operator, ast.GtE | ast.LtE) else margin > 0
    active = jnp.ones(np.shape(margin), dtype=bool)
    for other in others:
        active = active & evaluated(ast.unparse(other), names)
    return holds, margin, active


class AbstractCode:
    """What Brian2 runs for a group and its synapses.

    Parameters
    ----------
    simulation : Simulation
        Which has not run. Its code is there when it has.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.drive = simulation.drive
        self.group = GroupCode(simulation.group)
        self.pathways = [
            (matrix, receptor, SynapsesCode(synapses))
            for matrix, receptor, synapses in simulation.pathways
        ]

    def gradient(
        self,
        surrogate: str,
        detached: Collection[str],
        w_out: np.ndarray,
        kappa: float,
        targets: np.ndarray,
        draws: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
        """E-prop's gradient of the squared error of leaky readouts, and the spikes.

        Parameters
        ----------
        surrogate : str
            Derivative of a spike by the margin of its threshold.
        detached : collection of str
            States whose reset is not differentiated.
        w_out : array, shape (n_outputs, size)
        kappa : float
            Decay of a readout in a step.
        targets : array, shape (n_steps, n_outputs)
        draws : mapping of str to array, shape (n_steps, n_draws, size), optional
            What the functions ``rand`` and ``randn`` give in a step, call by call.

        Returns
        -------
        dict of str to dict of str to array
            ``"w_in"`` and ``"w_rec"`` by receptor.
        bool array, shape (n_steps, size)
        """
        drive, n_steps = self.drive, len(self.drive.inputs)
        # The slot of synapses of a step is where the inputs of the package's next step enter.
        entering = np.roll(drive.inputs, -1, axis=0).astype(float)
        entering[-1] = 0
        t = np.arange(n_steps) * float(drive.dt)

        def loss(weights):
            def step(carry, now):
                states, synapses, y = carry
                t, x, target, drawn = now
                calls = {name: iter(numbers) for name, numbers in drawn.items()}
                moment = {"t": t, **{name: partial(next, x) for name, x in calls.items()}}
                states, synapses, z = self.step(
                    states, synapses, x, weights, moment, surrogate, detached
                )
                y = kappa * y + w_out @ z
                return (states, synapses, y), (jnp.sum((y - target) ** 2) / 2, z)

            initial = (self.group.initial, [code.initial for _, _, code in self.pathways])
            start = jax.tree.map(jnp.asarray, (*initial, np.zeros(len(w_out))))
            _, (errors, z) = jax.lax.scan(step, start, (t, entering, targets, dict(draws or {})))
            return errors.sum(), z

        weights = {"w_in": dict(drive.w_in), "w_rec": dict(drive.w_rec)}
        gradient, z = jax.jit(jax.grad(loss, has_aux=True))(weights)
        gradient = jax.tree.map(np.array, gradient)
        for matrix in gradient["w_rec"].values():
            np.fill_diagonal(matrix, 0)
        return gradient, np.asarray(z) > 0

    def step(self, states, synapses, x, weights, now, surrogate: str, detached: Collection[str]):
        """States of neurons and synapses, and spikes, by Brian2's schedule of a step."""
        synapses = list(synapses)
        for k, (matrix, receptor, code) in enumerate(self.pathways):
            w = weights[matrix][receptor]
            summed, synapses[k] = code.updated(states, synapses[k], w, now)
            states = {**states, **summed}
        states = self.group.updated(states, now)
        z, states = self.group.fired(states, now, surrogate)
        for k, (matrix, receptor, code) in enumerate(self.pathways):
            spikes = x if matrix == "w_in" else jax.lax.stop_gradient(z)
            w = weights[matrix][receptor]
            added, synapses[k] = code.delivered(states, synapses[k], w, spikes, now)
            new = {
                name: value + added.get(name, 0.0)
                for name, value in states.items()
                if name in added
            }
            states = self.group.unless_refractory({**states, **new}, states)
        return self.group.reset(states, z, now, detached), synapses, z
