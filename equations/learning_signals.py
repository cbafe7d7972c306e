"""Learning signals: how the readouts' errors reach the recurrent neurons.

``L_j[t] = sum_k B_jk error_k[t]`` with feedback weights B (Bellec et al. 2020, eq. 4). The kinds
differ in where B comes from.
"""

from __future__ import annotations

__all__ = ["FEEDBACKS", "LEARNING_SIGNAL"]

#: What one readout adds to a neuron's learning signal.
LEARNING_SIGNAL = "L = L + B*error"

#: Feedback kinds and where their B comes from.
FEEDBACKS: dict[str, str] = {
    "symmetric": "B is the transpose of the readout weights and follows them",
    "random": "B is drawn once from N(0, 1)*feedback_scale and stays",
}
