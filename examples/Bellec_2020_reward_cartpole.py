"""Learning to act from reward alone: CartPole.

Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), "A solution to the learning
dilemma for recurrent networks of spiking neurons", Nature Communications 11:3625 (reward-based
e-prop). The task, CartPole, is not from the paper.

An actor chooses pushes, a critic predicts the reward, and both are readouts of 64 LIF neurons. The
reward prediction error meets the eligibility traces of the same neuron as in supervised learning.

What to see: the return climbs to 500 steps (10 as rewards are scaled here), and the value's error
falls behind it.

About a minute: training stops when the task is solved.
"""

import os
from pathlib import Path

from eprop_brian import RunConfig, plot

#: A few episodes, to see that the script runs.
SHORT = "EPROP_EXAMPLES_SHORT" in os.environ

config = RunConfig.from_recipe("cartpole", run={"seed": 1})
trainer = config.make_trainer("runtime" if SHORT else "cpp")
history = trainer.train(2 if SHORT else config.run["iterations"])
print(f"solved: {trainer.solved}, after {2 * len(history)} episodes")

solved_return = trainer.task.solved_return
figure = plot.learning(history, solved_return=solved_return, batch_size=config.run["batch_size"])
plot.save(figure, Path("Bellec_2020_reward_cartpole"), ["png"])
