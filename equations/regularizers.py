"""Regularisers: a term of the loss that acts on the unfiltered eligibility trace.

The firing-rate regulariser adds ``E_reg = c_reg/2 sum_j (f_j - f_target)^2`` with the neuron's mean
rate over the trial; its derivative multiplies every eligibility trace of the trial by one factor
per neuron.
"""

from __future__ import annotations

__all__ = ["FIRING_RATE"]

#: Factor of ``sum_t eligibility_trace``: ``spike_count`` of the neuron in this trial of ``n_steps``
#: steps (or its mean over a batch), target rate ``f_target`` in Hz, strength ``c_reg``.
FIRING_RATE = "c_reg*(spike_count/n_steps - f_target*dt)/n_steps"
