"""Learning signals that have learned to teach: e-prop 2.

Bellec, Scherr, Hajek, Salaj, Legenstein and Maass (2019), "Biologically inspired alternatives to
backpropagation through time for learning in recurrent neural nets", arXiv:1901.09049. The task, its
settings and the network of this script are our own.

A second population of spiking neurons emits the learning signals of the first one. Over many tasks
it learns to emit such signals that a single update by e-prop solves a new task: here, telling apart
turned digits after one example of each.

What to see: the error after that one update falls with the number of tasks that have been seen. 60
iterations only begin; `docs/learned_signals.md` has what comes of longer ones.

Two to three minutes; needs ``pip install 'eprop_brian[bptt,datasets]'``.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot
from eprop_brian.figures.meta import plot_training

#: One small batch of tasks, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

settings = ["population.learner.size=5", "population.teacher.size=5"] if SHORT else []
run = {"seed": 1, **({"batch_size": 1} if SHORT else {})}
config = RunConfig.from_recipe("few-shot-digits", run=run, settings=settings)
trainer = config.make_trainer()
trainer.train(1 if SHORT else 60)
print(f"error after one update: {trainer.history.error[-1]:.2f}")

figure = plot_training(trainer.history, trainer.family.measure)
plot.save(figure, Path("Bellec_2019_learned_signals"), ["png"])
