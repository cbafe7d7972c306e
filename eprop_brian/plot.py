"""Figures by their short names: ``eprop_brian.plot.trial(recording)``.

Functions that draw something return a Matplotlib `Figure` and leave Matplotlib's settings as they
are. `run` draws the whole folder of a run and returns the files that it wrote.
"""

from eprop_brian.figures.animation import plot_animation as animation
from eprop_brian.figures.balanced import plot_activity as activity
from eprop_brian.figures.balanced import plot_balance as balance
from eprop_brian.figures.balanced import plot_decoding as decoding
from eprop_brian.figures.balanced import plot_phase_portrait as phase_portrait
from eprop_brian.figures.balanced import plot_training as balanced_training
from eprop_brian.figures.balanced import plot_tuning as tuning
from eprop_brian.figures.episode import plot_episode as episode
from eprop_brian.figures.labels import plot_labels as labels
from eprop_brian.figures.learning import plot_comparison as comparison
from eprop_brian.figures.learning import plot_gradient_check as gradient_check
from eprop_brian.figures.learning import plot_learning_curve as learning
from eprop_brian.figures.network import network_diagram
from eprop_brian.figures.run import plot_run as run
from eprop_brian.figures.speech import plot_confusion as confusion
from eprop_brian.figures.speech import plot_utterance as utterance
from eprop_brian.figures.style import save_figure as save
from eprop_brian.figures.sweep import plot_sweep as sweep
from eprop_brian.figures.synthetic import plot_copy_trial as copy_trial
from eprop_brian.figures.synthetic import plot_solved_length as solved_length
from eprop_brian.figures.task import plot_task as task
from eprop_brian.figures.trial import plot_trajectory as trajectory
from eprop_brian.figures.trial import plot_trial as trial
from eprop_brian.figures.weights import plot_parameters as parameters
from eprop_brian.figures.weights import plot_weights as weights

__all__ = [
    "activity",
    "animation",
    "balance",
    "balanced_training",
    "comparison",
    "confusion",
    "copy_trial",
    "decoding",
    "episode",
    "gradient_check",
    "labels",
    "learning",
    "network_diagram",
    "parameters",
    "phase_portrait",
    "run",
    "save",
    "solved_length",
    "sweep",
    "task",
    "trajectory",
    "trial",
    "tuning",
    "utterance",
    "weights",
]
