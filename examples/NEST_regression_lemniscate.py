"""NEST's tutorial on supervised regression: lemniscate.

NEST 3.10, example ``eprop_supervised_regression_lemniscate_bsshslm_2020``, after Bellec et al.
(2020), Nature Communications 11:3625, and Korcsak-Gorzo et al. (2025), arXiv:2511.21674.

Two readouts of 200 ALIF neurons, the coordinates of a pen, draw a figure of eight. The settings are
NEST's, but that the membrane time constants are all the same here.

What to see: the path of the pen before and after training, over the target.

About half a minute.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot, record

#: Two updates without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

config = RunConfig.from_recipe("lemniscate", run={"seed": 1})
trainer = config.make_trainer("runtime" if SHORT else "cpp")
task, network = trainer.task, trainer.network
before = record(network, task, trainer.session.weights, seed=1)
history = trainer.train(1 if SHORT else 2000)
after = record(network, task, trainer.session.weights, seed=1)
print(f"loss {history.loss[0]:.1f} before, {history.loss[-1]:.2f} after {len(history)} updates")

plot.save(plot.trajectory(after, before), Path("NEST_regression_lemniscate"), ["png"])
