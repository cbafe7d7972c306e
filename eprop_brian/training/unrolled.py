"""A network unrolled in time for automatic differentiation, in JAX.

JAX differentiates the equations that the devices run: the step maps of the neurons, the readout's
update and the loss, translated from the same strings, in the same order within a step. A spike is a
step function whose derivative is the neuron's surrogate.

The derivative is the total one: it follows a spike into the other neurons, which e-prop does not,
and into the neuron's own reset, which e-prop leaves out by default. States that a neuron detaches
are detached here too. With the same states detached, the gradient differs from e-prop's only in the
paths through other neurons. But the reset holds the derivative down: without it, the derivative
explodes in long trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.network.exogenous import exogenous_values
from eprop_brian.network.frames import n_frames
from eprop_brian.network.graph import Connection, spans
from eprop_brian.network.resolved import Resolved
from eprop_brian.training.jax_functions import Values
from eprop_brian.training.jax_labels import label_scores
from eprop_brian.training.jax_parts import Neurons, Outputs, Wires, spread, synapse_mask

__all__ = ["Crossing", "Links", "Simulation", "Trajectory", "Unrolled", "counted_steps", "total"]

Exogenous = Mapping[str, Values]
_NOTHING: Exogenous = {}


class Simulation(NamedTuple):
    """Results of trials.

    Attributes
    ----------
    losses : array, shape (n_trials, n_outputs)
        Sum of the loss over the steps that count.
    outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        Sums of what the network reports over the learning window, or over the steps of each answer.
    counts : array, shape (n_trials, n_recurrent)
        Spikes of every neuron until the end of the trial.
    last : array of bool, shape (n_steps, n_recurrent)
        Spikes of the last trial.
    cost : array, shape (n_trials,)
        Sum of the voltage regulariser's cost over steps and neurons.
    is_number : array of bool, shape (n_trials,)
        Whether no state is NaN at the end.
    """

    losses: jax.Array
    outputs: jax.Array
    counts: jax.Array
    last: jax.Array
    cost: jax.Array
    is_number: jax.Array


class Links(NamedTuple):
    """Where derivatives are cut between steps, and zeros that are added, by which they are read.

    Attributes
    ----------
    cut : array of bool, shape (n_steps,)
        Steps that no derivative passes on its way back: neither by states of neurons as the step
        leaves them, nor by readouts as it finds them. What another step's loss depends on passes
        one of the two.
    states : array, shape (n_steps, n_trials, n_states)
        Added to the states of all neurons behind the cut, in `Crossing`'s order.
    outputs : array, shape (n_steps, n_trials, n_outputs)
        Added to the readouts behind the cut.
    arriving : array, shape (n_steps, n_trials, n_recurrent)
        Added to the spikes of the step before where other neurons receive them.
    """

    cut: jax.Array
    states: jax.Array
    outputs: jax.Array
    arriving: jax.Array


class Crossing(NamedTuple):
    """What passes from each step to the next, before a cut.

    Attributes
    ----------
    states : array, shape (n_steps, n_trials, n_states)
        States of all neurons after the step: those of each population, one state after the other.
    outputs : array, shape (n_steps, n_trials, n_outputs)
        Readouts before the step.
    spikes : array, shape (n_steps, n_trials, n_recurrent)
    """

    states: jax.Array
    outputs: jax.Array
    spikes: jax.Array


class Trajectory(NamedTuple):
    """Trials before their outputs are judged.

    Attributes
    ----------
    outputs : tuple of array, shape (n_steps, n_trials, n_outputs)
        Of each readout.
    kept : Any
        What was kept of the spikes of each step.
    counts, cost
        As for `Simulation`.
    states : array, shape (n_trials, n_states)
        Of all neurons, at the end.
    crossing : Crossing or None
        What passed from step to step, with links.
    """

    outputs: tuple[jax.Array, ...]
    kept: Any
    counts: jax.Array
    cost: jax.Array
    states: jax.Array
    crossing: Crossing | None


def _of_last_trial(z: jax.Array) -> jax.Array:
    return z[-1] > 0


class Unrolled:
    """A network over the steps of trials.

    Parameters
    ----------
    network : Resolved
    learning_window : int
        Steps at the end of a trial in which the error counts.
    dtype : type
        Float type of all state.
    n_answers : int
        Most answers of a trial with periods; 0 without.
    local : bool
        Whether a spike reaches other neurons without its derivative, which leaves the derivative
        that e-prop takes.
    twice : bool
        Whether what is differentiated may be differentiated again: surrogates have a derivative.

    Attributes
    ----------
    masks : dict of str to array of bool
        Where each connection has synapses whose weights are not shared.
    """

    def __init__(
        self,
        network: Resolved,
        learning_window: int,
        dtype: type,
        n_answers: int = 0,
        local: bool = False,
        twice: bool = False,
    ) -> None:
        self.network, self.learning_window, self.dtype = network, learning_window, dtype
        self.n_answers, self.local = n_answers, local
        self.masks = {c.name: synapse_mask(c) for c in network.connections if not c.shared}
        self._shared = [c for c in network.connections if c.shared]
        dt, cost = float(network.dt), network.voltage_cost if network.c_v else ""
        self._recurrent = [Wires(c, network.slices, network) for c in self._of_kind("recurrent")]
        self._outputs = [
            Wires(c, network.slices, network) for c in self._of_kind("readout") if not c.from_inputs
        ]
        # Constant inputs come last.
        groups = sorted(network.inputs, key=lambda group: group.constant)
        self._n_constant = sum(group.size for group in groups if group.constant)
        entering = [c for c in network.connections if c.from_inputs]
        self._inputs = [Wires(c, spans(groups), network) for c in entering]
        self._longest = max((d for wires in self._recurrent for d in wires.delays), default=1)
        self._kinds = [Neurons(p, dt, cost, twice) for p in network.populations]
        self._readouts = [Outputs(r, dt, dtype) for r in network.readouts]

    def _of_kind(self, kind: str) -> list[Connection]:
        return [c for c in self.network.connections if c.kind == kind]

    def exogenous(self, keys: np.ndarray, n_steps: int) -> Exogenous:
        """What each population reads of time, random numbers and timed arrays, by its name.

        Parameters
        ----------
        keys : array of int, shape (n_trials,)
            Of the trials' noise.
        n_steps : int
        """
        dt = float(self.network.dt)
        return {
            p.name: exogenous_values(p, keys, n_steps, dt, self.dtype)
            for p in self.network.populations
        }

    def simulate(
        self,
        weights: Values,
        x: jax.Array,
        targets: jax.Array,
        periods: jax.Array,
        exogenous: Exogenous = _NOTHING,
        advantage: jax.Array | None = None,
        lengths: jax.Array | None = None,
        labels: jax.Array | None = None,
    ) -> Simulation:
        """Run trials from their start.

        Parameters
        ----------
        weights : mapping
            Dense matrices [post, pre], shared weights and learned parameters, as `Session.weights`
            names them.
        x : array, shape (n_trials, n_steps, n_inputs)
            Input spikes or analog inputs.
        targets : array, shape (n_trials, n_steps or 1, n_outputs)
        periods : array of int, shape (n_trials, n_steps)
            As in `Trials`; means nothing without answers.
        exogenous : mapping of str to mapping of str to array
            See `exogenous`; nothing where no population reads such quantities.
        advantage : array, shape (n_trials, n_steps), optional
            As in `Trials`, if a loss reads it.
        lengths : array of int, shape (n_trials,), optional
            Steps of each trial; default: all. Spikes after its end are not counted, and the
            learning window is its last steps.
        labels : array of int, shape (n_trials, most_labels), optional
            As in `Trials`, if a loss is one of labels.
        """
        result = self.trajectory(weights, x, exogenous, lengths)
        return self.judged(result, targets, periods, advantage, lengths, labels)

    def judged(
        self,
        result: Trajectory,
        targets: jax.Array,
        periods: jax.Array,
        advantage: jax.Array | None = None,
        lengths: jax.Array | None = None,
        labels: jax.Array | None = None,
    ) -> Simulation:
        """The results of trials that were run; parameters are those of `simulate`."""
        network, dtype = self.network, self.dtype
        targets = jnp.swapaxes(targets, 0, 1).astype(dtype)
        advantage = jnp.zeros((targets.shape[1], 0)) if advantage is None else advantage
        by_step = jnp.swapaxes(periods, 0, 1), jnp.swapaxes(advantage.astype(dtype), 0, 1)
        scores = [
            self._labelled(readout, y, periods, labels)
            if readout.loss.of_labels
            else self._scores(readout, y, targets[..., own], *by_step, lengths)
            for readout, y, own in zip(
                self._readouts, result.outputs, network.output_slices.values(), strict=True
            )
        ]
        losses = jnp.concatenate([losses for losses, _ in scores], axis=1)
        outputs = jnp.concatenate([outputs for _, outputs in scores], axis=2)
        is_number = ~jnp.isnan(result.states).any(axis=1)
        return Simulation(losses, outputs, result.counts, result.kept, result.cost, is_number)

    def trajectory(
        self,
        weights: Values,
        x: jax.Array,
        exogenous: Exogenous = _NOTHING,
        lengths: jax.Array | None = None,
        keep: Callable[[jax.Array], Any] = _of_last_trial,
        links: Links | None = None,
    ) -> Trajectory:
        """Run trials without judging them; parameters are those of `simulate`.

        `keep` says what is kept of the spikes of a step, shape (n_trials, n_recurrent); default:
        those of the last trial. With `links`, derivatives are cut and read between steps.
        """
        network, dtype = self.network, self.dtype
        n_trials, n_steps = x.shape[:2]
        lengths = jnp.full(n_trials, n_steps) if lengths is None else lengths
        counted = (jnp.arange(n_steps)[:, np.newaxis] < lengths).astype(dtype)
        weights = {**weights, **{c.name: spread(c, weights[c.name]) for c in self._shared}}
        inputs = self._input_currents(weights, jnp.swapaxes(x, 0, 1).astype(dtype))
        # Readouts see neurons when these have gone through the trial.
        afterwards = bool(network.reversed) or network.frame_steps > 1
        places = mirrored_steps(n_steps, lengths)
        backwards: tuple[jax.Array, ...] = ()
        if network.reversed:
            x = jnp.take_along_axis(x, jnp.swapaxes(places, 0, 1), axis=1)
            backwards = self._input_currents(weights, jnp.swapaxes(x, 0, 1).astype(dtype))
        values = [kind.values(weights, dtype) for kind in self._kinds]
        recurrent = {wires.name: wires.by_delay(weights[wires.name]) for wires in self._recurrent}
        slices, late = list(network.slices.values()), network.readout_delay

        def step(carry, of_step):
            current, current_backwards, outside, counts_now, link = of_step
            kinds, earlier, amounts, before, ys, counts, cost = carry
            sent = jax.lax.stop_gradient(earlier) if self.local else earlier
            found = ys
            if link is not None:
                sent = (sent[0] + link.arriving, *sent[1:])
                ys = _behind(link.cut, ys, link.outputs)
            handed = jax.lax.stop_gradient(amounts) if self.local else amounts
            entering = list(zip(self._inputs, current, strict=True))
            currents = []
            for wires in self._recurrent:
                if wires.amounts:
                    _, own = handed[wires.name]
                else:
                    own = [wires.sources(z) for z in sent]
                arriving = jnp.concatenate([own[d - 1] for d in wires.delays], 1)
                currents.append((wires, arriving @ recurrent[wires.name].T))
            advanced, left = [], []

            def cross(states, link=link):
                left.extend(states)
                if link is None:
                    return states
                stop = sum(state.shape[1] for state in left)
                first = stop - sum(state.shape[1] for state in states)
                return _behind(link.cut, states, link.states[:, first:stop])

            for kind, own, where, value in zip(self._kinds, kinds, slices, values, strict=True):
                none = silent[:, where]
                first = entering
                if kind.name in network.reversed:
                    first = list(zip(self._inputs, current_backwards, strict=True))
                entered = [*first, *currents]
                driven = {r: total(kind.name, entered, none, r) for r in kind.receptors}
                read = outside.get(kind.name, {})
                z_before = earlier[0][:, where]
                advanced.append(kind.advance(own, driven, z_before, value, read, cross=cross))
            sent_now = {
                kind.name: own for kind, (_, own, _) in zip(self._kinds, advanced, strict=True)
            }
            z = jnp.concatenate([own[""] for own in sent_now.values()], axis=1)
            cost = cost + counts_now * sum(own for _, _, own in advanced)
            amounts = {
                wires.name: wires.after(amounts[wires.name], z)
                for wires in self._recurrent
                if wires.amounts
            }
            if not afterwards:
                seen = before if late else sent_now
                outwards = [(w, w.heard(seen) @ weights[w.name].T) for w in self._outputs]
                reaching = [*entering, *currents, *outwards]
                ys = tuple(
                    readout.advance(y, total(readout.name, reaching, jnp.zeros_like(y)))
                    for readout, y in zip(self._readouts, ys, strict=True)
                )
            kinds = tuple(own for own, _, _ in advanced)
            counts = counts + z * counts_now[:, np.newaxis]
            carry = (kinds, (z, *earlier[:-1]), amounts, sent_now, ys, counts, cost)
            crossing = None
            if link is not None:
                crossing = Crossing(jnp.concatenate(left, 1), jnp.concatenate(found, 1), z)
            return carry, (sent_now if afterwards else (ys, keep(z)), crossing)

        silent = jnp.zeros((n_trials, network.n_recurrent), dtype)
        start = (
            tuple(
                kind.start(n_trials, population.size, dtype)
                for kind, population in zip(self._kinds, network.populations, strict=True)
            ),
            (silent,) * self._longest,
            {
                wires.name: wires.start(silent, self._longest)
                for wires in self._recurrent
                if wires.amounts
            },
            {
                kind.name: dict.fromkeys(kind.sends, silent[:, where])
                for kind, where in zip(self._kinds, slices, strict=True)
            },
            tuple(jnp.zeros((n_trials, readout.size), dtype) for readout in self._readouts),
            silent,
            jnp.zeros(n_trials, dtype),
        )
        of_steps = inputs, backwards, dict(exogenous), counted, links
        last, (results, crossing) = jax.lax.scan(step, start, of_steps)
        kinds, _, _, _, ys, counts, cost = last
        if afterwards:
            results = self._meeting(
                results, places, list(zip(self._inputs, inputs, strict=True)), weights, keep
            )
        ys, kept = results
        states = jnp.concatenate([state for own, _ in kinds for state in own], axis=1)
        return Trajectory(ys, kept, counts, cost, states, crossing)

    def _meeting(
        self,
        sent: Mapping[str, Mapping[str, jax.Array]],
        places: jax.Array,
        entering: list[tuple[Wires, jax.Array]],
        weights: Values,
        keep: Callable[[jax.Array], Any],
    ) -> tuple[Any, Any]:
        """The readouts of neurons that have gone through trials, and what is kept of spikes.

        Readouts that take a step every so many of the network hold still in between.
        """
        sent = {
            name: jax.tree.map(lambda z: jnp.take_along_axis(z, places, axis=0), own)
            if name in self.network.reversed
            else own
            for name, own in sent.items()
        }
        z = jnp.concatenate([sent[kind.name][""] for kind in self._kinds], axis=2)
        currents = [*entering, *((w, w.heard(sent) @ weights[w.name].T) for w in self._outputs)]
        every, results = self.network.frame_steps, []
        for readout in self._readouts:
            silent = jnp.zeros((*z.shape[:2], readout.size), z.dtype)
            current = total(readout.name, currents, silent)
            frames = current.reshape(-1, every, *current.shape[1:]).sum(axis=1)

            def step(y, current, readout=readout):
                y = readout.advance(y, current)
                return y, y

            _, ys = jax.lax.scan(step, silent[0], frames)
            results.append(
                jnp.concatenate([silent[: every - 1], jnp.repeat(ys, every, axis=0)])[: len(z)]
            )
        return tuple(results), jax.vmap(keep)(z)

    def objective(
        self,
        weights: Values,
        x: jax.Array,
        targets: jax.Array,
        periods: jax.Array,
        exogenous: Exogenous = _NOTHING,
        advantage: jax.Array | None = None,
        lengths: jax.Array | None = None,
        labels: jax.Array | None = None,
    ) -> tuple[jax.Array, Simulation]:
        """The function to differentiate: mean loss of the trials, and regularisers.

        ``E = mean_trials sum_t,k loss + c_reg/2 sum_j (f_j - f_target)^2``, rates in spikes a step
        of a trial's own length, and ``c_v`` times the mean over the steps of the voltage
        regulariser's cost.
        """
        result = self.simulate(weights, x, targets, periods, exogenous, advantage, lengths, labels)
        return self._cost_of(result, x.shape[1], lengths), result

    def linked(
        self,
        weights: Values,
        links: Links,
        x: jax.Array,
        targets: jax.Array,
        periods: jax.Array,
        exogenous: Exogenous = _NOTHING,
    ) -> tuple[jax.Array, Crossing, Simulation]:
        """The objective, what crosses links between steps, and the simulation.

        Parameters
        ----------
        links : Links
        weights, x, targets, periods, exogenous
            As for `simulate`. A trial ends with the last step that counts.
        """
        lengths = counted_steps(periods)
        trajectory = self.trajectory(weights, x, exogenous, lengths, links=links)
        result = self.judged(trajectory, targets, periods)
        assert trajectory.crossing is not None
        return self._cost_of(result, x.shape[1], lengths), trajectory.crossing, result

    def _cost_of(self, result: Simulation, n_steps: int, lengths: jax.Array | None) -> jax.Array:
        """The objective of trials that have been run."""
        network = self.network
        total = result.losses.sum(axis=1).mean()
        steps = jnp.full(len(result.losses), n_steps) if lengths is None else lengths
        if network.c_reg:
            rates = result.counts / steps[:, np.newaxis]
            if network.rate_averaging == "batch":
                rates = rates.mean(axis=0, keepdims=True)
            excess = rates - float(network.f_target * network.dt)
            total += network.c_reg / 2 * jnp.sum(excess**2, axis=1).mean()
        if network.c_v:
            total += network.c_v * (result.cost / steps).mean()
        return total

    def _input_currents(self, weights: Values, x: jax.Array) -> tuple[jax.Array, ...]:
        """Weighted inputs of every step, (n_steps, n_trials, n_post), of each connection."""
        currents = []
        constant = jnp.ones((*x.shape[:-1], self._n_constant), x.dtype)
        x = jnp.concatenate([x, constant], axis=2) if self._n_constant else x
        for wires in self._inputs:
            currents.append(wires.arriving(x) @ wires.by_delay(weights[wires.name]).T)
        return tuple(currents)

    def _labelled(
        self, readout: Outputs, y: jax.Array, periods: jax.Array, labels: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Loss of labels, that of the first output, and sums of the probabilities in frames."""
        if labels is None:
            raise ValueError(f"readout '{readout.name}' has a loss of labels, and there are none")
        of_steps = jnp.swapaxes(periods, 0, 1)
        log_likelihood, outputs = label_scores(y, of_steps, labels, self.n_answers)
        losses = readout.of_labels(log_likelihood)
        others = jnp.zeros((len(losses), readout.size - 1), losses.dtype)
        return jnp.concatenate([losses[:, np.newaxis], others], axis=1), outputs

    def _scores(
        self,
        readout: Outputs,
        y: jax.Array,
        targets: jax.Array,
        periods: jax.Array,
        advantage: jax.Array,
        lengths: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Sums of loss and output over the steps that count; all arrays have these first."""
        advantage, n_answers = advantage[..., np.newaxis], self.n_answers
        steps, every = jnp.arange(len(y)), self.network.frame_steps
        if every > 1:
            # The last step of each frame, in which the readout takes one.
            y, steps, periods, advantage = (
                x[every - 1 :: every] for x in (y, steps, periods, advantage)
            )
            targets = targets if len(targets) == 1 else targets[every - 1 :: every]
        if not n_answers and lengths is not None:
            before_end = lengths - steps[:, np.newaxis]
            in_window = (before_end > 0) & (before_end <= readout.window(self.learning_window))
            periods, n_answers = in_window.astype(np.int32), 1
        if not n_answers:
            window = n_frames(readout.window(self.learning_window), every)
            y, targets = y[-window:], targets[-window:]
            losses, outputs = readout.scores(y, targets, advantage[-window:])
            return losses.sum(axis=0), outputs.sum(axis=0)[:, np.newaxis]
        # Steps that do not count may hold infinities, which a factor of 0 would turn into NaN.
        counts = periods[..., np.newaxis] > 0
        first = jnp.argmax(counts, axis=0)[np.newaxis]
        targets = jnp.broadcast_to(targets, y.shape)
        targets = jnp.where(counts, targets, jnp.take_along_axis(targets, first, axis=0))
        losses, outputs = readout.scores(y, targets, advantage)
        answers = (periods[..., np.newaxis] == np.arange(1, n_answers + 1)).astype(y.dtype)
        losses = jnp.where(counts, losses, 0)
        return losses.sum(axis=0), jnp.einsum("tna,tnk->nak", answers, outputs)


def mirrored_steps(n_steps: int, lengths: jax.Array) -> jax.Array:
    """The step that is as far from the end of each trial as another from its beginning.

    Parameters
    ----------
    n_steps : int
    lengths : array of int, shape (n_trials,)

    Returns
    -------
    array of int, shape (n_steps, n_trials, 1)
        Steps after the end of a trial stay where they are.
    """
    steps = jnp.arange(n_steps)[:, np.newaxis]
    return jnp.where(steps < lengths, lengths - 1 - steps, steps)[..., np.newaxis]


def _behind(
    cut: jax.Array, values: tuple[jax.Array, ...], added: jax.Array
) -> tuple[jax.Array, ...]:
    """Values behind a cut, if there is one, with columns of `added`, one value's after another."""
    ends = np.cumsum([value.shape[1] for value in values])
    columns = jnp.split(added, ends[:-1], axis=1)
    return tuple(
        jnp.where(cut, jax.lax.stop_gradient(value), value) + own
        for value, own in zip(values, columns, strict=True)
    )


def counted_steps(counted: jax.Array) -> jax.Array:
    """Steps of each trial, which ends with the last one that counts.

    Parameters
    ----------
    counted : array, shape (n_trials, n_steps)
        Greater than 0 in steps that count.
    """
    steps = jnp.arange(1, counted.shape[1] + 1)
    return jnp.max(jnp.where(counted > 0, steps, 0), axis=1)


def total(
    name: str,
    currents: Iterable[tuple[Wires, jax.Array]],
    none: jax.Array,
    receptor: str = "",
) -> jax.Array:
    """Sum of the currents onto a receptor of a group over all connections; `none` without any."""
    parts = [
        current[..., w.targets[name]]
        for w, current in currents
        if name in w.targets and w.receptor == receptor
    ]
    return sum(parts[1:], start=parts[0]) if parts else none
