"""Evidence accumulation with adaptive neurons.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625.

Seven cues on the left or on the right, a delay, then the answer: which side had more? Half of the
100 neurons adapt with a time constant of 2 s, and feedback is random. NEST's tutorial on supervised
classification is the same task.

What to see: the slow component of the eligibility vector of ALIF neurons outlives the delay. In the
recall period, where the learning signal is not 0, the eligibility trace reads it out as soon as the
membrane comes near its threshold. The probabilities reach the target soon after the recall begins.

About half a minute: training stops when the task is solved.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot, record
from eprop_brian.training.quantities import default_quantities, slow_components

#: A few iterations of a small network without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

settings = ["task.n_cues=3", "task.delay='50 ms'"] if SHORT else []
run = {"batch_size": 2} if SHORT else {}
config = RunConfig.from_recipe("evidence-accumulation", run=run, settings=settings)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {len(history)} updates")

network = trainer.network
quantities = [*default_quantities(network.resolved), *slow_components(network.resolved)]
recording = record(network, trainer.task, trainer.session.weights, quantities=quantities, seed=1)
figure = plot.trial(recording, title=f"after {len(history)} updates")
plot.save(figure, Path("Bellec_2020_evidence_accumulation"), ["png"])
