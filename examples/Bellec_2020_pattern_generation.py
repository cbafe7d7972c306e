"""Pattern generation with e-prop.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625.

A frozen spike pattern comes in; the readout of 100 LIF neurons learns to follow a sum of four
sines. The settings are those of the authors' TensorFlow tutorial.

What to see: the output before training is noise, after 2000 updates it lies on the target. The
weights have only heard of the error through the learning signal, and met it with a trace of their
own.

About half a minute.
"""

import os
from pathlib import Path

from matplotlib import pyplot as plt

from eprop_brian import RunConfig, plot, record

#: A few iterations without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

config = RunConfig.from_recipe("pattern-generation", run={"seed": 1})
trainer = config.make_trainer("runtime" if SHORT else "cpp")
task, network = trainer.task, trainer.network
before = record(network, task, trainer.session.weights, seed=1)
history = trainer.train(2 if SHORT else 2000)
after = record(network, task, trainer.session.weights, seed=1)
print(f"loss {history.loss[0]:.1f} before, {history.loss[-1]:.2f} after {len(history)} updates")

figure, (drive, spikes, output) = plt.subplots(
    3, 1, figsize=(7, 4.5), sharex=True, layout="constrained", height_ratios=[1, 1, 2.4]
)
for ax, values, name in ((drive, after.inputs, "input"), (spikes, after.spikes, "neuron")):
    steps, rows = values.nonzero()
    ax.plot(after.time[steps], rows, "|", color="#333333", markersize=1.5)
    ax.set_ylabel(f"{name}\n(index)")
output.plot(before.time, before.output[:, 0], color="#56B4E9", label="output before training")
output.plot(after.time, after.output[:, 0], color="#0072B2", label="output after training")
output.plot(after.time, after.target[:, 0], "k--", label="target")
output.set(xlabel="time (ms)", ylabel="readout\n(dimensionless)")
output.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8)
plot.save(figure, Path("Bellec_2020_pattern_generation"), ["png"])
