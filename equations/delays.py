"""Bumps that stand for a spike where its delay learns.

A spike acts in one step. For the derivative by the delay it arrives spread over a few steps, as
``w g(lag)``, where ``lag = t - t_spike - d`` is the time since its arrival in steps; the sum of g
over the steps is 1. Vassallo and Taherinejad 2026 ("Three-factor delay learning rules for spiking
neural networks", arXiv 2601.00668) take a Gaussian, in the eligibility trace alone.
"""

from __future__ import annotations

__all__ = ["GAUSSIAN_BUMP"]

#: Of ``lag`` and the standard deviation ``width``, both in steps.
GAUSSIAN_BUMP = "exp(-(lag/width)**2/2)/(sqrt(2*pi)*width)"
