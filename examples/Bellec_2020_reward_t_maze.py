"""Accumulating evidence for a reward: a T-maze.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625 (reward-based
e-prop).

The cues of evidence accumulation, and nobody who says which answer would have been right: the
network chooses a side at the end, and is rewarded or not. Neurons and cues are those of the
supervised task; the settings of the agent are our own.

What to see: an episode after training. The policy prefers the side of the cues when the choice is
due; the reward prediction error is what the critic did not expect.

About a minute.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: A few episodes, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

run = {"seed": 1, **({"batch_size": 2} if SHORT else {})}
config = RunConfig.from_recipe("t-maze", run=run)
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(1 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {config.run['batch_size'] * len(history)} episodes")

figure = plot.episode(trainer.session.episode(), trainer.network)
plot.save(figure, Path("Bellec_2020_reward_t_maze"), ["png"])
