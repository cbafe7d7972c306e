"""Readouts that the library does not have."""

from eprop_brian.equations.readouts import ReadoutFilter

#: A readout that filters eligibility traces as the usual one, and spikes otherwise.
SMALL = ReadoutFilter(
    "small",
    "y = decay*y + share*I",
    parameters={"tau_out": "20 ms", "share": 0.25},
    constants={"decay": "exp(-2*dt/tau_out)"},
    trace_gain="1",
    trace_decay="exp(-dt/tau_out)",
)
