"""Work of one's own: arrays, a task that no package offers, a small network for either."""

import numpy as np

from eprop_brian import LIF, Network, Task, Trainer, Trials
from eprop_brian.tasks import ArrayTask, rng_for


def own_arrays(n=24, n_steps=12, **settings):
    """Trials in which the third of the inputs that fires most is the class."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    probability = np.where(np.arange(6) // 2 == classes[:, np.newaxis], 0.5, 0.05)
    spikes = rng.random((n, n_steps, 6)) < probability[:, np.newaxis]
    return ArrayTask(inputs=spikes, targets=classes, **settings)


class Unknown(Task):
    """A task that only Python has."""

    name = "unknown-to-others"
    n_steps = 12
    n_inputs = 4
    n_outputs = 2
    learning_window = 6
    loss = "softmax_cross_entropy"

    def trials(self, seed, stream, index, n_trials):
        rng = rng_for(seed, stream, index)
        classes = rng.integers(2, size=n_trials)
        spikes = rng.random((n_trials, self.n_steps, 4)) < 0.2 + 0.3 * classes[:, None, None]
        return Trials(spikes, np.eye(2)[:, np.newaxis], np.arange(n_trials), classes)


def own_network(task, **options):
    return Network.for_task(task, [(LIF, 4)], average_gradient=True, **options)


def own_trainer(task, network=None, **options):
    """A trainer in this process."""
    options = {"batch_size": 4, "seed": 2, "device": "runtime", **options}
    return Trainer(network or own_network(task), task, **options)
