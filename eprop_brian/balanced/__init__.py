"""Efficient balanced networks: spikes that lower the error of what a network represents."""

from eprop_brian.balanced.experiment import Experiment, Outcome
from eprop_brian.balanced.field import NetworkField, field_nmse
from eprop_brian.balanced.metrics import nmse
from eprop_brian.balanced.simulation import Recording, Simulation
from eprop_brian.balanced.spec import (
    BalancedNetwork,
    closed_form,
    learned,
    random_basis,
    random_decoder,
)
from eprop_brian.balanced.watchdog import UnstableNetworkError

__all__ = [
    "BalancedNetwork",
    "Experiment",
    "NetworkField",
    "Outcome",
    "Recording",
    "Simulation",
    "UnstableNetworkError",
    "closed_form",
    "field_nmse",
    "learned",
    "nmse",
    "random_basis",
    "random_decoder",
]
