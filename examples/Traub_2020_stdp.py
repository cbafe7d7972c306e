"""Spike-timing dependent plasticity from e-prop.

Traub, Butz, Baayen and Otte (2020), "Learning precise spike timings with eligibility traces", ICANN
2020, arXiv:2006.09988.

The gradient's traces of a plain LIF neuron do not know when the neuron itself has fired. In
STDP-LIF the membrane is zeroed at a spike, which the derivation sees, and the surrogate is negative
while the neuron is refractory. The trace of a synapse then depends on the order of both spikes.

What to see: the sum of the eligibility trace over time against the time from the presynaptic to the
postsynaptic spike, as STDP is drawn. For STDP-LIF it is positive where the input came first, and
negative where it came within the refractory time after the neuron's own spike.

A few seconds.
"""

import os
from pathlib import Path

import numpy as np
from brian2 import ms
from matplotlib import pyplot as plt

from eprop_brian import Network, TracedSynapse, Trials, get_neuron, plot, record

#: Fewer pairs of spikes, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

# A neuron for each lag, which an input of its own fires; the last input is the presynaptic neuron.
lags = np.arange(-30, 31, 15 if SHORT else 1)
n, n_steps, when = len(lags), 160, 80
inputs = np.zeros((1, n_steps, n + 1), dtype=bool)
inputs[0, when + lags, np.arange(n)] = inputs[0, when, n] = True
target = np.zeros((1, 1, 1))
trials = Trials(inputs, target, pattern=np.zeros(1, dtype=int), target=np.zeros(1, dtype=int))

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for name, colour in (("lif", "#888888"), ("stdp_lif", "#0072B2")):
    neuron = get_neuron(name).with_parameters(tau_m=10 * ms)
    network = Network.standard(n + 1, 1, [(neuron, n)], connectivity={"w_rec": 0.0})
    weights = network.initial_weights(seed=1)
    weights["w_in"] = np.hstack([np.eye(n), np.zeros((n, 1))])
    synapses = [TracedSynapse("inputs", n, name, k) for k in range(n)]
    recording = record(network, trials, weights, synapses=synapses)
    fired = recording.spikes.argmax(axis=0) - when
    change = recording.eligibility_trace[when - 40 :].sum(axis=0)
    ax.plot(fired, change, "o-", color=colour, markersize=3, label=name)
ax.axhline(0, color="black", linewidth=0.5)
ax.set(
    xlabel="postsynaptic minus presynaptic spike (ms)", ylabel="sum of the trace (dimensionless)"
)
ax.legend()
plot.save(figure, Path("Traub_2020_stdp"), ["png"])
