"""A rule for Hodgkin-Huxley neurons.

Brette et al. (2007), "Simulation of networks of spiking neurons: a review of tools and strategies",
Journal of Computational Neuroscience 23:349, benchmark 3 (COBAHH): Traub and Miles' kinetics of the
currents that Hodgkin and Huxley (1952), Journal of Physiology 117:500, found.

The neuron is that of Brian2's example ``COBAHH.py``, word for word. Its spikes come from the sodium
and potassium currents, and there is no reset: the threshold only says when a spike counts. The
eligibility system has a component for the membrane, each gate and each conductance.

What to see: the membrane, its gates, and the eligibility trace of an excitatory synapse. The trace
differs from 0 only in the upstroke of a spike, where the membrane is near the threshold and a
little more input would have changed something.

About ten seconds.
"""

from pathlib import Path

import numpy as np
from brian2 import ms
from matplotlib import pyplot as plt

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    TracedSynapse,
    Trials,
    derive,
    get_neuron,
    plot,
    record,
)

neuron = get_neuron("coba_hh_2007")
print(derive(neuron))
weights = np.full((1, 20), 2.0)
network = Network(
    [
        Inputs(20),
        Population(neuron, 1),
        Readout(1),
        Projection(
            "inputs", neuron.name, "w_in", receptor="excitatory", weights=np.full((1, 20), 2)
        ),
        Projection(neuron.name, "readout"),
        LearningSignal("readout", neuron.name),
    ],
    dt=0.1 * ms,
)
spikes = np.random.default_rng(1).random((1, 600, 20)) < 0.004
one = np.zeros(1, dtype=int)
trials = Trials(spikes, np.zeros((1, 1, 1)), pattern=one, target=one)
recording = record(
    network,
    trials,
    network.initial_weights(seed=1),
    quantities=["v", "m", "h", "n", "eligibility_trace"],
    synapses=[TracedSynapse("inputs", 0, neuron.name, 0, "excitatory")],
)

figure, (membrane, gates, trace) = plt.subplots(
    3, 1, figsize=(7, 4.5), sharex=True, layout="constrained"
)
membrane.plot(recording.time, 1e3 * recording["v"].values[:, 0], color="#0072B2")
membrane.set_ylabel("membrane v\n(mV)")
for name, colour in (("m", "#D55E00"), ("h", "#009E73"), ("n", "#CC79A7")):
    gates.plot(recording.time, recording[name].values[:, 0], color=colour, label=name)
gates.set_ylabel("gate\n(open fraction)")
gates.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)
trace.plot(recording.time, recording.eligibility_trace[:, 0], color="#333333")
trace.set(xlabel="time (ms)", ylabel="eligibility trace\n(dimensionless)")
plot.save(figure, Path("Brette_2007_hodgkin_huxley"), ["png"])
