"""Izhikevich's quadratic neuron learns.

Izhikevich (2003), "Simple model of spiking neurons", IEEE Transactions on Neural Networks 14:1569.

The rule for the quadratic membrane with its recovery variable is derived from its equations, as for
any neuron. A hundred of them learn pattern generation.

What to see: membrane and recovery variable of a neuron that fires at about the mean rate, in the
trial that was learned, above the output that all neurons make. As in the paper, spikes are cut at
their peak of 30 mV: an upstroke overshoots within its last step of 1 ms.

Two settings are not those made for LIF: weights begin at 0.3 of their usual size, as larger ones
drive some neurons to a spike in nearly every step, and the learning rate is 3e-4.

A few seconds.
"""

import os
from pathlib import Path

from matplotlib import pyplot as plt

from eprop_brian import RunConfig, derive, get_neuron, plot, record

#: Two updates without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

model = get_neuron("izhikevich")
print(derive(model))
config = RunConfig.from_recipe(
    "pattern-generation",
    neuron="izhikevich",
    run={"seed": 1},
    settings=["network.weight_scale={w_in = 0.3, w_rec = 0.3}", "optimizer.eta=3e-4"],
)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else 1000)
print(f"loss {history.loss[0]:.1f} before, {history.loss[-1]:.2f} after {len(history)} updates")

quantities = ["v", "u", "spikes", "output", "target"]
weights = trainer.session.weights
# The trial that it has learned: the seed says which.
recording = record(trainer.network, trainer.task, weights, quantities=quantities, seed=1)
rates = recording.spikes.sum(axis=0)
neuron = abs(rates - rates.mean()).argmin()
figure, axes = plt.subplots(3, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
axes[0].plot(recording.time, recording["v"].values[:, neuron].clip(max=30), color="#0072B2")
axes[0].set_ylabel("membrane v\n(mV)")
axes[1].plot(recording.time, recording["u"].values[:, neuron], color="#0072B2")
axes[1].set_ylabel("recovery u\n(dimensionless)")
axes[2].plot(recording.time, recording.output[:, 0], color="#009E73", label="output")
axes[2].plot(recording.time, recording.target[:, 0], "k--", label="target")
axes[2].set(xlabel="time (ms)", ylabel="readout\n(dimensionless)")
axes[2].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)
plot.save(figure, Path("Izhikevich_2003_quadratic"), ["png"])
