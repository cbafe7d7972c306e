"""What happens in a step, in order, written once and printed in every device's language."""

from eprop_brian.steps.nodes import (
    Column,
    Count,
    Each,
    Fire,
    ForFired,
    If,
    Let,
    Node,
    Noise,
    Once,
    Put,
    Row,
    Sums,
    Sync,
)

__all__ = [
    "Column",
    "Count",
    "Each",
    "Fire",
    "ForFired",
    "If",
    "Let",
    "Node",
    "Noise",
    "Once",
    "Put",
    "Row",
    "Sums",
    "Sync",
]
