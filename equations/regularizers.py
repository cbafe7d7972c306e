"""Regularisers: a term of the loss that acts on the unfiltered eligibility trace.

The firing-rate regulariser adds ``E_reg = c_reg/2 sum_j (f_j - f_target)^2`` with the neuron's mean
rate over the trial; its derivative multiplies every eligibility trace of the trial by one factor
per neuron. Without trials, the rate is a moving average, and so is the trace.
"""

from __future__ import annotations

__all__ = ["FIRING_RATE", "MOVING_RATE", "MOVING_RATE_FACTOR", "MOVING_TRACE"]

#: Factor of ``sum_t eligibility_trace``: ``spike_count`` of the neuron in this trial of ``n_steps``
#: steps (or its mean over a batch), target rate ``f_target`` in Hz, strength ``c_reg``.
FIRING_RATE = "c_reg*(spike_count/n_steps - f_target*dt)/n_steps"

#: The moving average of the rate in spikes a step, and the factor of ``rate_trace`` that follows
#: from it (NEST 3.10, e-prop+; arXiv 2511.21674).
MOVING_RATE = "moving_rate = kappa_reg*moving_rate + (1 - kappa_reg)*z"
MOVING_RATE_FACTOR = "rate_factor = c_reg*(moving_rate - f_target*dt)"
#: The eligibility trace averaged in the same way.
MOVING_TRACE = "rate_trace = kappa_reg*rate_trace + (1 - kappa_reg)*eligibility_trace"
