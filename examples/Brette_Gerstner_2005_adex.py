"""The adaptive exponential integrate-and-fire neuron learns.

Brette and Gerstner (2005), "Adaptive exponential integrate-and-fire model as an effective
description of neuronal activity", Journal of Neurophysiology 94:3637.

The rule for the exponential membrane with its adaptation current is derived from its equations, as
for any neuron. A hundred of them learn pattern generation with the settings made for LIF.

What to see: membrane and adaptation current of a neuron that fires at about the mean rate, in the
trial that was learned, above the output that all neurons make.

About half a minute.
"""

import os
from pathlib import Path

from matplotlib import pyplot as plt

from eprop_brian import RunConfig, derive, get_neuron, plot, record

#: Two updates without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

model = get_neuron("adex")
print(derive(model))
config = RunConfig.from_recipe("pattern-generation", neuron="adex", run={"seed": 1})
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else 1000)
print(f"loss {history.loss[0]:.1f} before, {history.loss[-1]:.2f} after {len(history)} updates")

quantities = ["v", "w_ad", "spikes", "output", "target"]
weights = trainer.session.weights
# The trial that it has learned: the seed says which.
recording = record(trainer.network, trainer.task, weights, quantities=quantities, seed=1)
rates = recording.spikes.sum(axis=0)
neuron = abs(rates - rates.mean()).argmin()
figure, axes = plt.subplots(3, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
for ax, name, scale, label in (
    (axes[0], "v", 1e3, "membrane v\n(mV)"),
    (axes[1], "w_ad", 1e12, "adaptation w\n(pA)"),
):
    ax.plot(recording.time, scale * recording[name].values[:, neuron], color="#0072B2")
    ax.set_ylabel(label)
axes[2].plot(recording.time, recording.output[:, 0], color="#009E73", label="output")
axes[2].plot(recording.time, recording.target[:, 0], "k--", label="target")
axes[2].set(xlabel="time (ms)", ylabel="readout\n(dimensionless)")
axes[2].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)
plot.save(figure, Path("Brette_Gerstner_2005_adex"), ["png"])
