"""Trials of random spikes, and the options that let a network reach beyond a step."""

import numpy as np

from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.network.learned import Learned
from eprop_brian.tasks.trials import Trials

#: Delays of synapses, of readouts and of learning signals.
DELAYS = {
    "delays": {"w_rec": ("1 ms", "4 ms"), "w_in": "2 ms", "w_out": "1 ms"},
    "feedback": RANDOM.with_options(delay=("1 ms", "5 ms")),
}
#: All that reaches beyond a step, or a trial's end.
DELAYED = {**DELAYS, "rate_averaging": "moving", "learned": {"tau_m": Learned()}}


def trials_of(inputs, targets, periods=None, advantage=None) -> Trials:
    """Each pattern with its own target; where there are fewer targets they take turns."""
    each = np.arange(len(inputs))
    return Trials(
        inputs=inputs,
        targets=targets,
        pattern=each,
        target=each % len(targets),
        periods=periods,
        advantage=advantage,
    )


def random_trials(
    seed: int, shape: tuple[int, int, int], n_outputs: int, *, p: float = 0.3, n_targets: int = 1
) -> Trials:
    """Spikes of probability `p` in shape (n_trials, n_steps, n_inputs), and targets in 0 to 1."""
    rng = np.random.default_rng(seed)
    inputs = rng.random(shape) < p
    return trials_of(inputs, rng.random((n_targets, shape[1], n_outputs)))
