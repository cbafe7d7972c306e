"""Synapses that depress and facilitate, in front of a neuron that learns.

Tsodyks and Markram (1997), "The neural code between neocortical pyramidal neurons depends on
neurotransmitter release probability", PNAS 94:719.

A presynaptic neuron fires regularly, pauses, and fires once more. What a spike brings depends on
the spikes before it; it is written as Brian2's `Synapses` are. The eligibility trace of such a
synapse is exact: it has the released amount where a trace usually has the spike.

What to see: the filtered amounts in the trace of the depressing synapse shrink from spike to spike,
and those of the facilitating one grow. In the pause both have gone most of the way back.

A few seconds.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from eprop_brian import (
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    Synapse,
    TracedSynapse,
    Trials,
    plot,
    record,
)

MODEL = """
w : 1
dx/dt = (1 - x)/tau_d : 1 (event-driven)
du/dt = (U - u)/tau_f : 1 (event-driven)
"""
ON_PRE = "u += U*(1 - u); I_post += w*u*x; x -= u*x"
KINDS = {
    "depressing": {"tau_d": "300 ms", "tau_f": "20 ms", "U": 0.5},
    "facilitating": {"tau_d": "50 ms", "tau_f": "400 ms", "U": 0.08},
}

inputs = np.zeros((1, 800, 1), dtype=bool)
inputs[0, [*range(20, 320, 30), 750], 0] = True
one = np.zeros(1, dtype=int)
trials = Trials(inputs, np.zeros((1, 1, 1)), pattern=one, target=one)

figure, axes = plt.subplots(2, 1, figsize=(7, 3.6), sharex=True, layout="constrained")
for ax, (kind, parameters) in zip(axes, KINDS.items(), strict=True):
    initial = {"x": "1", "u": "U"}
    synapse = Synapse(model=MODEL, on_pre=ON_PRE, parameters=parameters, initial=initial)
    network = Network(
        [
            Inputs(1),
            Population(LIF, 1),
            Readout(1),
            Projection("inputs", "lif", weights=np.full((1, 1), 0.3), synapse=synapse),
            Projection("lif", "readout"),
            LearningSignal("readout", "lif"),
        ]
    )
    traced = [TracedSynapse("inputs", 0, "lif", 0)]
    recording = record(
        network,
        trials,
        network.initial_weights(seed=1),
        quantities=["v", "eps_v"],
        synapses=traced,
    )
    ax.plot(recording.time, recording["v"].values[:, 0], color="#0072B2", label="membrane v")
    trace = recording["eps_v"].values[:, 0]
    ax.plot(recording.time, trace, "--", color="#D55E00", label="eligibility vector, eps_v")
    ax.set(ylabel="value\n(dimensionless)", title=f"{kind} synapse")
    ax.legend(loc="upper center", fontsize=8)
axes[-1].set_xlabel("time (ms)")
plot.save(figure, Path("Tsodyks_Markram_1997_depression"), ["png"])
