"""Options of a network that are one of a few names. Nothing is imported for them."""

__all__ = ["GRADIENTS", "PROGRAMS", "RATE_AVERAGING", "UPDATES"]

#: Gradient programs of e-prop, and with them what else can train a network.
PROGRAMS = ("factored", "online")
GRADIENTS = (*PROGRAMS, "bptt")
#: When weights change.
UPDATES = ("batch", "action", "step", "spike")
#: Over what the rates of a regulariser are averaged.
RATE_AVERAGING = ("trial", "batch", "moving")
