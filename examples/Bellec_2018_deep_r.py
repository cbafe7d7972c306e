"""Sparse networks whose synapses move: DEEP R.

Bellec, Kappel, Maass and Legenstein (2018), "Deep rewiring: training very sparse deep networks",
ICLR 2018, arXiv:1711.05136. Together with e-prop: Bellec et al. (2020), Nature Communications
11:3625.

Pattern generation with a tenth of the recurrent synapses. A synapse whose weight would change its
sign is taken away, and another one begins elsewhere with weight 0: their number stays.

What to see: the recurrent matrix before and after training; pairs without a synapse are grey. A
quarter of the synapses stand elsewhere, and the loss has fallen although nine of ten pairs are
never connected at the same time. `l1`, which pulls weights towards 0, is a hundred times its
default, with which one synapse in a hundred moves in so short a training.

A few seconds.
"""

import os
from pathlib import Path

import numpy as np

from eprop_brian import RunConfig, plot

#: A few updates without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

config = RunConfig.from_recipe("pattern-generation", run={"seed": 1})
config = config.with_setting("network.rewiring={connectivity = {w_rec = 0.1}, l1 = 1.0}")
trainer = config.make_trainer("runtime" if SHORT else "cpp")
before = {name: values.copy() for name, values in trainer.session.weights.items()}
connected = trainer.session.connected["w_rec"].copy()
history = trainer.train(2 if SHORT else 1000)
moved = np.mean(trainer.session.connected["w_rec"][connected] == 0)
print(
    f"loss {history.loss[0]:.0f} -> {history.loss[-1]:.1f}, {100 * moved:.0f} % of synapses moved"
)

figure = plot.weights(before, trainer.network, trainer.session.weights)
plot.save(figure, Path("Bellec_2018_deep_r"), ["png"])
