"""Delayed match to sample.

The paradigm: Miller, Erickson and Desimone (1996), "Neural mechanisms of visual working memory in
prefrontal cortex of the macaque", Journal of Neuroscience 16:5154. The rule: Bellec et al. (2020),
Nature Communications 11:3625. Network and settings are our own.

A cue, a delay, another cue: were they the same? Neither alone determines the answer.

What to see: the fraction of wrong trials stays at chance for long, then falls within a hundred
updates or two, once the network compares.

One to two minutes: training stops when the task is solved.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: Two small batches without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

run = {"seed": 2, **({"batch_size": 2} if SHORT else {})}
config = RunConfig.from_recipe("delayed-match", run=run)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {len(history)} updates")

figure = plot.learning(history, error_threshold=trainer.task.error_threshold)
plot.save(figure, Path("Miller_1996_delayed_match"), ["png"])
