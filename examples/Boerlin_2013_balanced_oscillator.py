"""A balanced network that represents a dynamical system, with weights in closed form.

Boerlin, Machens and Denève (2013), "Predictive coding of dynamical variables in balanced spiking
networks", PLoS Computational Biology 9:e1003258.

A hundred neurons follow a damped oscillator that is pushed at random. A neuron fires when its spike
makes the error of the network's estimate smaller. Then half of the neurons are killed, and it goes
on.

What to see: the estimate stays on the signal throughout. After the loss those that are left fire
twice as much.

A few seconds.
"""

import os
from pathlib import Path

import numpy as np

from eprop_brian import plot
from eprop_brian.balanced import Simulation, closed_form, nmse, random_decoder

#: Without compiling, and for a shorter time, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

n, seconds = 100, 0.05 if SHORT else 2.0
decoder = random_decoder(2, n, norm=3.0 / n)
network = closed_form([[-0.5, 6.0], [-6.0, -0.5]], decoder)
simulation = Simulation(network, "runtime" if SHORT else "cpp")
steps = round(seconds / float(network.dt))
# Each lasts for a tenth of a second. What changes in every step would be averaged out.
held = round(0.1 / float(network.dt))
pushes = np.repeat(np.random.default_rng(1).normal(size=(-(-steps // held), 2)) * 10, held, axis=0)
pushes = pushes[:steps]
for name, killed in (("all neurons", 0), ("half of them killed", n // 2)):
    simulation.reset()
    simulation.kill(range(killed))
    recording = simulation.run(pushes)
    rate = len(recording.spike_times) / (n - killed) / seconds
    print(f"{name}: NMSE {nmse(recording.x, recording.estimate):.2g}, {rate:.0f} Hz")
    figure = plot.decoding(recording)
plot.save(figure, Path("Boerlin_2013_balanced_oscillator"), ["png"])
