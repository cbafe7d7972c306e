"""Small networks whose populations emit learning signals, and small families of tasks."""

from dataclasses import replace

import numpy as np
from brian2 import ms

from eprop_brian import (
    ALIF,
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
)
from eprop_brian.equations import GRADIENT_DESCENT, LEAKY
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.equations.readouts import EMITTED
from eprop_brian.tasks.one_shot_arm import OneShotArm
from support.trials import random_trials

ETA = 1e-2
N_STEPS, N_INPUTS = 60, 6
#: Filters of the traces: none, and that of a leaky readout.
FILTERS = {"traces": EMITTED, "filtered traces": LEAKY.with_parameters(tau_out=15 * ms)}


def emitting(gradient="factored", own_filter=None, *, delayed=False, **options):
    """Two populations that emit to two others, which they hear; readouts may see spikes late."""
    late = {"delay": 1 * ms} if delayed else {}
    spread = {"delay": ("1 ms", "4 ms"), "connectivity": 0.7} if delayed else {}
    teachers, learners = ["teacher", "slow_teacher"], ["learner", "slow_learner"]
    parts = [
        Inputs(N_INPUTS),
        Population(LIF, 5, "teacher"),
        Population(ALIF, 4, "slow_teacher"),
        Population(LIF, 7, "learner"),
        Population(ALIF, 3, "slow_learner"),
        Readout(2),
        Projection("inputs", teachers, learn=False, scale=3.0),
        Projection(teachers, teachers, learn=False),
        Projection(learners, "teacher", learn=False),
        Projection("inputs", learners, name="w_in", scale=3.0),
        Projection(learners, learners, name="w_rec", **spread),
        Projection(learners, "readout", name="w_out", learn=False, **late),
        LearningSignal(teachers, learners, RANDOM, name="B", filter=own_filter),
    ]
    optimizer = GRADIENT_DESCENT.with_parameters(eta=ETA)
    return Network(parts, **{"gradient": gradient, "optimizer": optimizer, "c_reg": 0.0, **options})


def emitting_trials():
    return random_trials(1, (2, N_STEPS, N_INPUTS), 2, n_targets=2)


def small_arm(**settings):
    """Movements of a few steps."""
    small = {"duration": 24 * ms, "clock_groups": 3, "clock_interval": 2 * ms, "n_code": 2}
    return OneShotArm(**{**small, "smoothing": 4, "speed": 0.1, **settings})


def arm_network(family, *, neuron=LIF, n=5, scale=1.0, eta=ETA, **options):
    """As many neurons that learn a movement as neurons that emit."""
    parts = [
        Inputs(family.n_clock, "clock"),
        Inputs(family.n_teaching, "shown"),
        Population(neuron, n, "learner"),
        Population(neuron, n, "teacher"),
        Readout(2, loss_weight=0.5),
        Projection("clock", "learner", name="w_in", scale=scale),
        Projection("learner", "learner", name="w_rec"),
        Projection("learner", "readout", name="w_out", learn=False, scale=0.2),
        Projection(["clock", "shown"], "teacher", name="w_teacher", learn=False, scale=scale),
        Projection("learner", "teacher", name="w_learner_teacher", learn=False),
        Projection("teacher", "teacher", name="w_teacher_rec", learn=False),
        LearningSignal("teacher", "learner", RANDOM.with_options(scale=0.3), name="B"),
    ]
    optimizer = GRADIENT_DESCENT.with_parameters(eta=eta)
    return Network(parts, optimizer=optimizer, **options)


def without_refractoriness(neuron):
    return replace(neuron.with_parameters(t_ref=0 * ms), name=neuron.name)


def as_arrays(weights):
    return {name: np.asarray(w) for name, w in weights.items()}
