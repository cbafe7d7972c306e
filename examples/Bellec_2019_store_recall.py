"""Store and recall.

Bellec, Scherr, Hajek, Salaj, Legenstein and Maass (2019), "Biologically inspired alternatives to
backpropagation through time for learning in recurrent neural nets", arXiv:1901.09049.

Values come in one after the other; a command says which of them to store, another one, seconds
later, to say it. 60 LIF and 40 ALIF neurons. Timing, rate and sizes are those of the authors'
TensorFlow code.

What to see: the shaded periods are recalls, in which alone the error counts. The output there is
the value that was shown with the last command to store.

About half a minute: training stops when the task is solved.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot, record

#: Two trials without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

run = {"seed": 1, **({"batch_size": 1} if SHORT else {})}
config = RunConfig.from_recipe("store-recall", run=run)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(1 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {len(history)} updates")

recording = record(trainer.network, trainer.task, trainer.session.weights, seed=1)
plot.save(plot.trial(recording), Path("Bellec_2019_store_recall"), ["png"])
