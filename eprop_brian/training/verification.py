"""Replay a recorded run of another simulator and compare, update by update.

A run in continuous operation is compared at the end of every period of its target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eprop_brian.devices import make_program
from eprop_brian.network.sparse import Matrix
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Trials
from eprop_brian.training.reference import ReferenceCase
from eprop_brian.training.session import MATRICES, Session

__all__ = ["Verification", "verify"]

#: Allowed relative deviation of a loss, and of a weight relative to the largest change so far.
TOLERANCE = 1e-9
#: Allowed deviation of a weight where the recording lost a term of the gradient.
LOST_TERM_TOLERANCE = 3e-6


@dataclass(frozen=True)
class Verification:
    """Deviations of a replay from the recording.

    Attributes
    ----------
    differing_spikes : int
        Over all trials.
    loss_deviation : float
        Largest relative deviation of a loss.
    weight_deviations : dict of int to float
        After some number of updates: largest deviation of a weight relative to the largest change
        of its matrix since the start.
    failures : tuple of str
        What deviates more than it may; empty if the case holds.
    """

    differing_spikes: int
    loss_deviation: float
    weight_deviations: dict[int, float]
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the case holds."""
        return not self.failures

    def __str__(self) -> str:
        weights = "  ".join(f"{k}: {d:.1e}" for k, d in self.weight_deviations.items())
        return (
            f"differing spikes {self.differing_spikes}  loss deviation {self.loss_deviation:.1e}  "
            f"weight deviation after update {weights or '(none recorded)'}  "
            + ("ok" if self.ok else "FAILED: " + "; ".join(self.failures))
        )


#: A membrane that a step's decay leaves above any threshold, and away from a surrogate's slope.
_FAR_ABOVE_THRESHOLD = 1e3


def verify(case: ReferenceCase, device: str = "cpp", dtype: str = "float64") -> Verification:
    """Replay a reference case.

    Parameters
    ----------
    case : ReferenceCase
    device : {"cpp", "cuda", "runtime"}
    dtype : {"float64", "float32"}
    """
    found = replay(case, device, dtype)
    differing, loss_deviation = 0, 0.0
    deviations: dict[int, float] = {}
    failures: list[str] = []
    for k in range(case.n_iterations):
        n_different, loss = found.iteration(k)
        differing += n_different
        deviation = abs(loss - case.losses[k]) / abs(case.losses[k])
        if not deviation <= TOLERANCE:
            failures.append(f"loss of iteration {k + 1} by {deviation:.1e}")
        loss_deviation = max(loss_deviation, deviation)
        if k + 1 in case.weights:
            deviations[k + 1] = 0.0
            weights = found.weights()
            for name in MATRICES:
                recorded = case.weights[k + 1][name]
                change = np.max(np.abs(recorded - case.initial_weights[name]))
                difference = np.max(np.abs(weights[name] - recorded))
                scale = change if change > 0 else 1.0
                deviations[k + 1] = max(deviations[k + 1], difference / scale)
                allowed = TOLERANCE * scale
                if not difference <= allowed:
                    failures.append(f"{name} after update {k + 1} by {difference / scale:.1e}")
    if differing:
        failures.insert(0, f"{differing} spikes")
    return Verification(differing, float(loss_deviation), deviations, tuple(failures))


def replay(case: ReferenceCase, device: str, dtype: str = "float64") -> _InTrials | _Continuous:
    """A compiled replay of a case that has not begun; arguments as for `verify`."""
    kind = _Continuous if case.network.continuous else _InTrials
    return kind(case, make_program(device, dtype))


class _InTrials:
    """A replay of trials with a reset between them."""

    def __init__(self, case: ReferenceCase, program: Callable) -> None:
        self.case = case
        batch = self._batch(0)
        window = case.learning_window
        self.session = Session(case.network, program, batch, window, case.initial_weights)
        self.last_step: Session | None = None
        if np.any(self._early(np.arange(1, case.trials.n_trials))):
            # Only the error of the last step counts, and the regulariser does not.
            network = case.network.with_options(c_reg=0.0)
            self.last_step = Session(network, program, batch, 1, case.initial_weights)

    def iteration(self, k: int) -> tuple[int, float]:
        """Differing spikes and loss of an iteration."""
        case, trials, differing = self.case, self._batch(k), 0
        shares, losses = [], []
        for i in range(case.batch_size):
            trial = trials.part(slice(i, i + 1))
            (share,) = self.session.shares([self.session.data(trial)], case.batch_size)
            recorded = case.spikes[k * case.batch_size + i]
            differing += int(np.sum(self.session.spikes() != recorded))
            losses.append(share.outcome.loss[0])
            shares.append(self._without_lost_terms(trial, k * case.batch_size + i, share.sums))
        self.session.update(shares, case.batch_size)
        return differing, float(np.mean(losses))

    def weights(self) -> dict[str, Matrix]:
        """The weights after the iteration."""
        return self.session.weights

    def _batch(self, k: int) -> Trials:
        size = self.case.batch_size
        return self.case.trials.part(slice(k * size, (k + 1) * size))

    def _early(self, trial: int | np.ndarray) -> np.ndarray:
        """Inputs that spike in step 1 of trials."""
        trials = self.case.trials
        return trials.inputs[trials.pattern[trial], 1]

    def _without_lost_terms(
        self, trial: Trials, number: int, sums: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Sums for the update without what the recording simulator loses.

        It computes the gradient of a trial when a spike of the next one comes along the synapse. A
        spike in step 1 comes before the learning signal of the trial's last step.
        """
        if number + 1 == self.case.trials.n_trials or not np.any(self._early(number + 1)):
            return sums
        session, early = self.last_step, self._early(number + 1)
        session.weights = self.session.weights
        (share,) = session.shares([session.data(trial)], self.case.batch_size)
        affected = np.broadcast_to(early, self.case.network.shapes["w_in"])
        built = self.session.program.built
        for key, lost in built.synaptic_arrays("gradient_sum", {"w_in": affected}).items():
            sums[key] = sums[key] - lost*share.sums[key]
        return sums


class _Continuous:
    """A replay step by step, without resets.

    The recording simulator changes a weight when a spike comes along its synapse. So what is
    compared is the weights that the last spikes came along with.
    """

    def __init__(self, case: ReferenceCase, program: Callable) -> None:
        self.case = case
        self.silence = np.zeros(case.network.n_inputs, dtype=bool)
        step = _step(self.silence, case.trials.targets[0, 0])
        self.session = Session(case.network, program, step, 1, case.initial_weights)
        # The recording simulator counts two steps more when it corrects the moments of an optimizer
        # for their start: those that signals take from the input to the first update.
        self.session.carried["control.k"] = np.array([2.0])
        self.driving = Session(_driven(case.network), program, step, 1, case.initial_weights)
        self.fired = np.zeros(case.network.n_recurrent, dtype=bool)
        self.used = dict(self.session.weights)

    def iteration(self, k: int) -> tuple[int, float]:
        """Differing spikes and loss of a period."""
        case, differing, loss = self.case, 0, 0.0
        inputs, targets = case.trials.inputs[k], case.trials.targets[0]
        for t in range(case.n_steps):
            loss += self._advance(inputs[t], targets[t], case.window[t])
            differing += int(np.sum(self.fired != case.spikes[k, t]))
        return differing, loss

    def weights(self) -> dict[str, Matrix]:
        """The weights after the period with what its traces still have coming.

        To read the weights, the recording sent a spike along each synapse: in the step after the
        period every recurrent neuron was driven over its threshold, and in the next one, in which
        these spikes arrived, all inputs spiked. That step's spikes arrived too. The target was held
        meanwhile.
        """
        main, target = self.session, self.case.trials.targets[0, -1]
        before, fired, used = main.state(), self.fired, self.used
        (population,) = self.case.network.populations
        v = f"{population.name}.v"
        self.session = self.driving
        self.session.restore(before)
        self.session.carried[v] = np.full(population.size, _FAR_ABOVE_THRESHOLD)
        if "v_reset" in population.neuron.parameters:
            # These neurons spike above their threshold even if they are refractory.
            self.session.carried[f"{population.name}.refractory_counter"] = np.zeros(population.size)
        self._advance(self.silence, target, self.case.window[-1])
        self.session = main
        main.restore(self.driving.state())
        for inputs in (~self.silence, self.silence):
            self._advance(inputs, target, self.case.window[-1])
        weights = self.used
        main.restore(before)
        self.fired, self.used = fired, used
        return weights

    def _advance(self, inputs: np.ndarray, target: np.ndarray, learning: bool) -> float:
        """Run a step and return its loss."""
        session = self.session
        arriving = {"w_in": inputs, "w_rec": self.fired, "w_out": self.fired}
        weights = dict(session.weights)
        session.learning_window = int(learning)
        loss = session.run(_step(inputs, target), 1).loss[0]
        self.fired = session.spikes()[0]
        if self.case.network.updates == "spike":
            # The arriving spikes have changed them.
            weights = session.weights
        self.used = {
            name: np.where(spikes, weights[name], self.used[name])
            for name, spikes in arriving.items()
        }
        return loss


def _driven(network: Network) -> Network:
    """The network with neurons that are reset to far above their threshold, if to a voltage.

    The reset of a spike comes at the beginning of the next step, after the recording drove the
    neuron.
    """
    neurons = [
        (n.with_parameters(v_reset=_FAR_ABOVE_THRESHOLD) if "v_reset" in n.parameters else n, size)
        for n, size in network.neurons
    ]
    return network.with_options(neurons=neurons)


def _step(spikes: np.ndarray, target: np.ndarray) -> Trials:
    """One step of input and target."""
    return Trials(spikes[None, None], target[None, None], np.zeros(1, int), np.zeros(1, int))
