"""Replays of a recorded run, in trials or step by step.

They follow NEST where it differs from networks of this package: NEST drops a learning signal, its
Adam makes up for skipped steps, and it changes weights when spikes arrive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations import Optimizer
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.reference import ReferenceCase
from eprop_brian.training.session import Session

__all__ = ["Replay", "replay"]

#: A membrane that a step's decay leaves above any threshold, and away from a surrogate's slope.
_FAR_ABOVE_THRESHOLD = 1e3
#: Leaves the weights alone and sums gradients up.
_SUM = Optimizer(name="sum", update="total = total + g\nw = w", states=("total",))


class Replay:
    """A compiled replay of a case.

    Attributes
    ----------
    rules : tuple of str
        Rules of the recording simulator that it follows and networks here do not.
    """

    rules: tuple[str, ...] = ()

    def iteration(self, k: int) -> tuple[int, float]:
        """Differing spikes and loss of an iteration, which are run in order."""
        raise NotImplementedError

    def weights(self) -> Mapping[str, Matrix]:
        """The weights after the last iteration, as the recording has them."""
        raise NotImplementedError

    def close(self) -> None:
        """End the processes that run it."""
        raise NotImplementedError


def replay(case: ReferenceCase, device: str, dtype: str = "float64") -> Replay:
    """A compiled replay of a case that has not begun; arguments as for `verify`."""
    kind = _Continuous if case.network.continuous else _InTrials
    return kind(case, make_program(device, dtype))


class _InTrials(Replay):
    """A replay of trials with a reset between them.

    The recording simulator computes the gradient of a trial when the next one's first spike comes
    along a synapse. A spike in step 1 comes before the learning signal of the trial's last step.
    """

    def __init__(self, case: ReferenceCase, program: Callable) -> None:
        self.case = case
        batch, weights = self._batch(0), case.initial_weights
        self.session = Session(case.network, program, batch, case.learning_window, weights)
        self.last_step: Session | None = None
        if any(np.any(self._early(trial)) for trial in range(1, case.trials.n_trials)):
            self.rules = ("no learning signal of a last step where an input spikes in step 1",)
            # Of the whole gradient, what the error of the last step makes.
            network = case.network.with_options(c_reg=0.0)
            self.last_step = Session(network, program, batch, 1, weights)

    def iteration(self, k: int) -> tuple[int, float]:
        case, trials, differing = self.case, self._batch(k), 0
        for i in range(case.batch_size):
            self.session.run(trials.part(slice(i, i + 1)), 1, learning=False)
            recorded = case.spikes[k * case.batch_size + i]
            differing += int(np.sum(self.session.spikes() != recorded))
        if self.last_step is None:
            return differing, self.session.run(trials, case.batch_size).loss.mean()
        losses, sums = [], []
        for i in range(case.batch_size):
            trial = trials.part(slice(i, i + 1))
            (share,) = self.session.shares([self.session.data(trial)], case.batch_size)
            losses.append(share.outcome.loss[0])
            lost = self._lost(trial, k * case.batch_size + i + 1)
            sums.append({key: value - lost.get(key, 0.0) for key, value in share.sums.items()})
        self.session.update(sums, case.batch_size)
        return differing, float(np.mean(losses))

    def weights(self) -> Mapping[str, Matrix]:
        return self.session.weights

    def close(self) -> None:
        self.session.close()
        if self.last_step is not None:
            self.last_step.close()

    def _batch(self, k: int) -> Trials:
        size = self.case.batch_size
        return self.case.trials.part(slice(k * size, (k + 1) * size))

    def _early(self, trial: int) -> np.ndarray:
        """Which inputs spike in step 1 of a trial; none after the last trial."""
        trials = self.case.trials
        if trial == trials.n_trials:
            return np.zeros(self.case.network.n_inputs, dtype=bool)
        return trials.inputs[trials.pattern[trial], 1]

    def _lost(self, trial: Trials, following: int) -> dict[str, np.ndarray]:
        """The part that the gradient of a trial lacks, by array; `following` is the next trial."""
        early, session = self._early(following), self.last_step
        if session is None or not np.any(early):
            return {}
        session.weights = dict(self.session.weights)
        (share,) = session.shares([session.data(trial)], self.case.batch_size)
        affected = {
            c.name: np.broadcast_to(early, c.shape)
            for c in session.keys.plastic
            if c.kind == "input"
        }
        arrays = session.program.built.synaptic_arrays("gradient_sum", affected)
        return {key: affects * share.sums[key] for key, affects in arrays.items()}


class _Continuous(Replay):
    """A replay step by step, without resets.

    The recording simulator changes a weight when a spike comes along its synapse. So what is
    compared is the weights that the last spikes came along with.
    """

    def __init__(self, case: ReferenceCase, program: Callable) -> None:
        if case.window is None:
            raise ValueError(f"{case.path}: a case of continuous operation needs a window")
        self.case, self.window, network = case, case.window, case.network
        self.adam: _Adam | None = None
        counts = network.updates == "spike" or network.trace_cutoff is not None
        if network.optimizer.name == "adam" and counts:
            self.rules = ("Adam makes up for the steps between its updates",)
            self.adam = _Adam(network)
            network = network.with_options(optimizer=_SUM)
        self.silence = np.zeros(network.n_inputs, dtype=bool)
        step, weights = _step(self.silence, case.trials.targets[0, 0]), case.initial_weights
        self.session = Session(network, program, step, 1, weights)
        self.driving = Session(_reset_high(network), program, step, 1, weights)
        # The recording simulator counts two steps more when it corrects the moments of an optimizer
        # for their start: those that signals take from the input to the first update.
        self.session.carried["control.k"] = np.array([2.0])
        self.fired = np.zeros(network.n_recurrent, dtype=bool)
        self.used = dict(self.session.weights)

    def iteration(self, k: int) -> tuple[int, float]:
        case, differing, loss = self.case, 0, 0.0
        inputs, targets = case.trials.inputs[k], case.trials.targets[0]
        for t in range(case.n_steps):
            loss += self._advance(inputs[t], targets[t], self.window[t])
            differing += int(np.sum(self.fired != case.spikes[k, t]))
        return differing, loss

    def weights(self) -> Mapping[str, Matrix]:
        """The weights after the period, with the changes that its traces still cause.

        To read the weights, the recording sent a spike along each synapse: in the step after the
        period every recurrent neuron was driven over its threshold, and in the next one, in which
        these spikes arrived, all inputs spiked. That step's spikes arrived too. The target was held
        meanwhile.
        """
        main, target, window = self.session, self.case.trials.targets[0, -1], self.window[-1]
        before, own = main.state(), copy.deepcopy((self.fired, self.used, self.adam))
        (population,) = self.case.network.populations
        self.session = self.driving
        self.session.restore(before)
        driven = {"v": _FAR_ABOVE_THRESHOLD}
        if "v_reset" in population.neuron.parameters:
            # Above its threshold, such a neuron spikes even if it is refractory.
            driven["refractory_counter"] = 0.0
        for name, value in driven.items():
            self.session.carried[f"{population.name}.{name}"] = np.full(population.size, value)
        self._advance(self.silence, target, window)
        self.session = main
        main.restore(self.driving.state())
        for inputs in (~self.silence, self.silence):
            self._advance(inputs, target, window)
        weights = self.used
        main.restore(before)
        self.fired, self.used, self.adam = own
        return weights

    def close(self) -> None:
        self.session.close()
        self.driving.close()

    def _advance(self, inputs: np.ndarray, target: np.ndarray, learning: bool) -> float:
        """Run a step and return its loss."""
        session, by_spikes = self.session, self.case.network.updates == "spike"
        arriving = {
            c.name: inputs if c.kind == "input" else self.fired for c in session.keys.plastic
        }
        g = int(session.carried["control.clock"][0])
        before = {name: w.copy() for name, w in session.weights.items()}
        if self.adam is not None and by_spikes:
            self.adam.update(session, arriving, self._waiting(), g + 1)
        session.learning_window = int(learning)
        loss = session.run(_step(inputs, target), 1).loss[0]
        self.fired = session.spikes()[0]
        if self.adam is not None and not by_spikes:
            self.adam.update(session, self.adam.active(arriving, g), _taken(session), g + 2)
        # Spikes that arrive use the weights they change, or otherwise those before the step.
        weights = session.weights if by_spikes else before
        self.used = {
            name: np.where(spikes, weights[name], self.used[name])
            for name, spikes in arriving.items()
        }
        return loss

    def _waiting(self) -> dict[str, np.ndarray]:
        """Gradients that wait for a presynaptic spike."""
        _taken(self.session)
        before = self.session.state()
        self.session.apply_pending()
        gradients = _taken(self.session)
        self.session.restore(before)
        return gradients


class _Adam:
    """Adam as the recording simulator has it in continuous operation.

    Its number of an update is that of the step. For steps without an update it makes up when the
    next one comes: the gradient enters the first of these steps, in the others there is none.
    """

    def __init__(self, network: Network) -> None:
        self.parameters, self.cutoff = network.optimizer.parameters, network.trace_cutoff_steps
        shapes = {c.name: c.shape for c in network.resolved.connections}
        self.moments = {name: np.zeros((2, *shape)) for name, shape in shapes.items()}
        self.updates = {name: np.zeros(shape[1], dtype=int) for name, shape in shapes.items()}
        self.arrived = {name: np.full(shape[1], -np.inf) for name, shape in shapes.items()}

    def active(self, arriving: Mapping[str, np.ndarray], g: int) -> dict[str, np.ndarray]:
        """Presynaptic neurons whose synapses are not cut off in step `g`."""
        for name, spikes in arriving.items():
            self.arrived[name][spikes] = g
        return {name: g - steps < self.cutoff for name, steps in self.arrived.items()}

    def update(
        self,
        session: Session,
        which: Mapping[str, np.ndarray],
        gradients: Mapping[str, np.ndarray],
        number: int,
    ) -> None:
        """Change the weights of presynaptic neurons' synapses, up to update `number`."""
        for name, spikes in which.items():
            weights = session.weights[name].copy()
            for pre in np.flatnonzero(spikes):
                if self.arrived[name][pre] < 0:
                    # There is no gradient before the first spike.
                    self.arrived[name][pre] = number
                    continue
                self._make_up(name, pre, weights, gradients[name][:, pre], number)
            session.weights[name] = weights

    def _make_up(
        self, name: str, pre: int, weights: np.ndarray, gradient: np.ndarray, number: int
    ) -> None:
        p, (m, s) = self.parameters, self.moments[name][..., pre]
        for k in range(self.updates[name][pre] + 1, number + 1):
            m[:] = p["beta_1"] * m + (1 - p["beta_1"]) * gradient
            s[:] = p["beta_2"] * s + (1 - p["beta_2"]) * gradient**2
            rate = p["eta"] * np.sqrt(1 - p["beta_2"] ** k) / (1 - p["beta_1"] ** k)
            changed = weights[:, pre] - rate * m / (np.sqrt(s) + p["epsilon"])
            weights[:, pre] = np.clip(changed, p["w_min"], p["w_max"])
            gradient = np.zeros_like(gradient)
        self.updates[name][pre] = number


def _taken(session: Session) -> dict[str, np.ndarray]:
    """The sums of `_SUM` since they were last taken."""
    sums = {}
    for key, kept in session.keys.optimizer.items():
        total = session.optimizer_states[key]
        session.optimizer_states[key] = np.zeros_like(total)
        if not session.keys.connections[kept.owner].autapses:
            np.fill_diagonal(total, 0.0)
        sums[kept.owner] = total
    return sums


def _reset_high(network: Network) -> Network:
    """The network with neurons that are reset to far above their threshold, if to a voltage.

    The reset of a spike comes with the next step here, when the recording has driven the neuron.
    """
    for population in network.populations:
        neuron = population.neuron
        if "v_reset" in neuron.parameters:
            high = neuron.with_parameters(v_reset=_FAR_ABOVE_THRESHOLD)
            network = network.with_part(population.name, neuron=high)
    return network


def _step(spikes: np.ndarray, target: np.ndarray) -> Trials:
    """One step of input and target."""
    return Trials(spikes[None, None], target[None, None], np.zeros(1, int), np.zeros(1, int))
