"""Fast recurrent weights that learn to balance.

Brendel, Bourdoukan, Vertechi, Machens and Denève (2020), "Learning to represent signals spike by
spike", PLoS Computational Biology 16:e1007692.

The network begins with neurons that inhibit themselves alone, so that many answer the same error at
once. A local rule, which names the spike of one end and the potential of the other, teaches each
what the others have said already. The paper learns the feedforward weights and the decoder as well;
here the decoder is given, and the fast weights alone learn.

What to see: the decoding error of each part of the training falls by orders of magnitude.

About half a minute.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: A tenth of a second of training without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

short = ["training.duration=0.1", "test.duration=0.1", "test.settle=0.02", "network.n=20"]
config = RunConfig.from_recipe("balanced-fast", run={"seed": 1}, settings=short if SHORT else [])
experiment = config.make_trainer("runtime" if SHORT else "cpp")
history = experiment.train()
outcome, _ = experiment.test()
print(f"NMSE {history.nmse[0]:.2g} in the first part, {outcome.nmse:.2g} in the test")

plot.save(plot.balanced_training(history), Path("Brendel_2020_fast_weights"), ["png"])
