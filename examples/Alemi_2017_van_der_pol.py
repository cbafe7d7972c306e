"""A balanced network learns a limit cycle by a local rule.

Alemi, Machens, Denève and Slotine (2017), "Learning arbitrary dynamics in efficient, balanced
spiking networks using local plasticity rules", arXiv:1705.08026. Sizes, rates and the exploration
of the plane are our own.

Slow synapses on dendrites with a nonlinearity learn the dynamics of van der Pol's oscillator from
the error that is fed back while they learn. In the test there is no feedback.

What to see: the vector field of the network beside the teacher's, and both on the same limit cycle.
The phase of a free run drifts, so its pointwise error says little.

About a minute.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: A tenth of a second of training without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

short = ["training.duration=0.1", "test.duration=0.1", "test.settle=0.02", "network.n=20"]
settings = [*short, "network.n_basis=20"] if SHORT else []
config = RunConfig.from_recipe("balanced-van-der-pol", run={"seed": 1}, settings=settings)
experiment = config.make_trainer("runtime" if SHORT else "cpp")
experiment.train()
outcome, recording = experiment.test()
print(f"vector field NMSE {outcome.field_nmse:.3f}, {outcome.rate:.0f} Hz")

network, slow = experiment.network, experiment.slow_weights
figure = plot.phase_portrait(network, slow, recording, experiment.points)
plot.save(figure, Path("Alemi_2017_van_der_pol"), ["png"])
