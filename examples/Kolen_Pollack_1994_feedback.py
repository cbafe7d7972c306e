"""Feedback that aligns itself with the readout, without seeing it.

Kolen and Pollack (1994), "Backpropagation without weight transport", IEEE International Conference
on Neural Networks. With e-prop: Bellec et al. (2020), Nature Communications 11:3625, adaptive
e-prop.

Feedback weights and readout weights start apart, get the same increments and decay: what set them
apart is forgotten.

What to see: the cosine of the angle between both goes from 0 to 1. The loss of adaptive feedback
comes close to that of symmetric feedback, where both are the same by definition.

About half a minute.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: A few updates without compiling, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

settings = ["task.n_steps=100"] if SHORT else []
histories = {}
for feedback in ("symmetric", "random", "adaptive"):
    config = RunConfig.from_recipe(
        "pattern-generation", feedback=feedback, run={"seed": 1}, settings=settings
    )
    trainer = config.make_trainer("runtime" if SHORT else "cpp")
    histories[feedback] = trainer.train(2 if SHORT else 2000)
    print(f"{feedback}: loss {histories[feedback].loss[-1]:.2f}, {trainer.alignment():.2f} aligned")

figure = plot.learning(histories["adaptive"])
plot.save(figure, Path("Kolen_Pollack_1994_feedback"), ["png"])
