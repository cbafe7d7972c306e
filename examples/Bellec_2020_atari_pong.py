"""A spiking network that plays Pong, from the pixels.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625 (Atari games).

Two layers of spiking convolutions and 400 recurrent neurons on top, each layer with an actor and a
critic of its own. The published agents saw 1e9 frames, about 16 days on one core here. This script
plays and learns for a few pieces of a game and goes no further: it shows how such a network is
written and that it runs, not that it plays well. `Run.open` goes on where a run has stopped.

What to see: the schematic of the network. No learning signal leads from one layer to another.

About two minutes; needs ``pip install 'eprop_brian[atari]'``.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from eprop_brian import Run, RunConfig, plot

#: The network and its schematic, without playing.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

config = RunConfig.from_recipe("atari", run={"batch_size": 1, "dtype": "float32"})
network = config.make_network()
if not SHORT:
    with TemporaryDirectory() as folder:
        run = Run.start(config, Path(folder) / "pong")
        run.train(3)
        run = Run.open(Path(folder) / "pong")
        print(f"{run.trainer.iteration} pieces of a game, from the checkpoint")
figure = plot.network_diagram(network, title="The network that plays Atari games")
plot.save(figure, Path("Bellec_2020_atari_pong"), ["png"])
