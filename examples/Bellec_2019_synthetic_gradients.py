"""Synthetic gradients for short windows of time: e-prop 3.

Bellec, Scherr, Hajek, Salaj, Legenstein and Maass (2019), "Biologically inspired alternatives to
backpropagation through time for learning in recurrent neural nets", arXiv:1901.09049. The task,
copy and repeat: Jaderberg et al. (2017), arXiv:1608.05343. Sizes and rates are our own.

An LSTM copies a pattern of bits as often as it is told. Gradients reach back four steps; what lies
beyond is guessed by a linear map, which learns from its own guesses.

What to see: the length of the trials that are solved grows with the updates. With ``windows`` of
the recipe's other kinds (`docs/synthetic_gradients.md`) it grows less.

About two minutes; needs ``pip install 'eprop_brian[bptt]'``.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: Two small batches, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

settings = ["task.n_bits=3", f"size.lstm={4 if SHORT else 32}", "optimizer.eta=0.005"]
run = {"seed": 1, "batch_size": 2 if SHORT else 32, "dtype": "float32"}
config = RunConfig.from_recipe("copy-repeat-lstm", run=run, settings=settings)
trainer = config.make_trainer()
trainer.train(2 if SHORT else 2000)
print(f"trials of up to {trainer.solved_length} steps are solved")

figure = plot.solved_length({"linear synthesiser": [trainer.history]})
plot.save(figure, Path("Bellec_2019_synthetic_gradients"), ["png"])
