"""Regularisers: a term of the loss that acts on the unfiltered eligibility trace.

The firing-rate regulariser adds ``E_reg = c_reg/2 sum_j (f_j - f_target)^2`` with the neuron's mean
rate over the trial; its derivative multiplies every eligibility trace of the trial by one factor
per neuron. Without trials, the rate is a moving average, and so is the trace.

The voltage regulariser adds ``E_v = c_v/n_steps sum_t sum_j cost(h_j[t])`` with a cost of the
neuron's states; its derivative multiplies the eligibility vector, without the pseudo-derivative.
(Without trials it adds ``c_v cost`` in every step.) The L2 regulariser adds
``E_2 = c_l2/2 sum w^2`` over all weights, once an update.
"""

from __future__ import annotations

__all__ = [
    "FIRING_RATE",
    "L2",
    "MOVING_RATE",
    "MOVING_RATE_FACTOR",
    "MOVING_TRACE",
    "VOLTAGE_COST",
]

#: Factor of ``sum_t eligibility_trace``: ``spike_count`` of the neuron in this trial of ``n_steps``
#: steps (or its mean over a batch), target rate ``f_target`` in Hz, strength ``c_reg``.
FIRING_RATE = "c_reg*(spike_count/n_steps - f_target*dt)/n_steps"

#: The moving average of the rate in spikes a step, and the factor of ``rate_trace`` that follows
#: from it (NEST 3.10, e-prop+; arXiv 2511.21674).
MOVING_RATE = "moving_rate = kappa_reg*moving_rate + (1 - kappa_reg)*z"
MOVING_RATE_FACTOR = "rate_factor = c_reg*(moving_rate - f_target*dt)"
#: The eligibility trace averaged in the same way.
MOVING_TRACE = "rate_trace = kappa_reg*rate_trace + (1 - kappa_reg)*eligibility_trace"

#: Cost of a membrane beyond its threshold, half the square of the positive part; ``margin`` is the
#: left minus the right side of the neuron's spike condition.
VOLTAGE_COST = "(margin + abs(margin))**2/8"

#: What the L2 regulariser adds to the gradient of a weight.
L2 = "c_l2*w"
