"""The literature's eligibility traces, to hold the derived ones against.

Written as printed, with their source. Tests compare them symbolically with what
`eprop_brian.symbolic` derives; nothing else uses them. ``pre`` is the presynaptic spike that enters
in this step; every right-hand side uses values of the step before, except where it names a quantity
updated on a line above.
"""

from __future__ import annotations

__all__ = ["ALIF_BELLEC_2020", "ALIF_NEST", "LIF_BELLEC_2020"]

#: Bellec et al. 2020, eqs. 21-23: LIF.
LIF_BELLEC_2020 = """
eps_v = alpha*eps_v + zeta*pre
eligibility_trace = psi*eps_v
"""

#: Bellec et al. 2020, eqs. 24-25: ALIF. ``psi_previous`` and ``eps_v_previous`` are of step t-1.
ALIF_BELLEC_2020 = """
eps_v = alpha*eps_v + zeta*pre
eps_a = psi_previous*eps_v_previous + (rho - beta*psi_previous)*eps_a
eligibility_trace = psi*(eps_v - beta*eps_a)
"""

#: The equivalent order of NEST's eprop_synapse_bsshslm_2020: eps_a is advanced with the new trace.
ALIF_NEST = """
eps_v = alpha*eps_v + zeta*pre
eligibility_trace = psi*(eps_v - beta*eps_a)
eps_a = rho*eps_a + eligibility_trace
"""
