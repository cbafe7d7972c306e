"""Packages that offer tasks, neurons and devices, as if they were installed."""

import sys
from importlib.metadata import PathDistribution

#: What the module of such a package holds.
MODULE = '''
import numpy as np
from dataclasses import dataclass

from eprop_brian import LIF, Task, Trials
from eprop_brian.devices import RuntimeProgram
from eprop_brian.tasks import rng_for


@dataclass(frozen=True, kw_only=True, eq=False)
class Faster(Task):
    name = "faster"
    description = "the class is the half of the inputs that fires faster"
    n_steps = 20
    n_inputs = 4
    n_outputs = 2
    learning_window = 10
    loss = "softmax_cross_entropy"

    peak: float = 0.5

    def trials(self, seed, stream, index, n_trials):
        rng = rng_for(seed, stream, index)
        faster = rng.integers(2, size=n_trials)
        p = np.where(np.arange(4) // 2 == faster[:, np.newaxis], self.peak, 0.05)
        spikes = rng.random((n_trials, self.n_steps, 4)) < p[:, np.newaxis]
        return Trials(spikes, np.eye(2)[:, np.newaxis], np.arange(n_trials), faster)


NEURON = LIF.with_parameters(tau_m="30 ms")


class Loud(RuntimeProgram):
    """Counts its programs."""

    made = 0

    def __init__(self, *args, **kwargs):
        type(self).made += 1
        super().__init__(*args, **kwargs)
'''


def install(folder, monkeypatch, name, points, module=MODULE):
    """Put a package with entry points on the path; `points` are the lines of its file of them."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return PathDistribution(info)
