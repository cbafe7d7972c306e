"""Evidence accumulation with adaptive neurons.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625.

Seven cues on the left or on the right, a delay, then the answer: which side had more? Half of the
100 neurons adapt with a time constant of 2 s, and feedback is random. NEST's tutorial on supervised
classification is the same task.

What to see: the eligibility traces of ALIF neurons (second panel from below) outlive the delay in
which hardly anything else remembers the cues. The probabilities part in the recall period alone.

About half a minute: training stops when the task is solved.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot, record

#: A few iterations of a small network without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

settings = ["task.n_cues=3", "task.delay='50 ms'"] if SHORT else []
run = {"batch_size": 2} if SHORT else {}
config = RunConfig.from_recipe("evidence-accumulation", run=run, settings=settings)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {len(history)} updates")

recording = record(trainer.network, trainer.task, trainer.session.weights, seed=1)
figure = plot.trial(recording, title=f"after {len(history)} updates")
plot.save(figure, Path("Bellec_2020_evidence_accumulation"), ["png"])
