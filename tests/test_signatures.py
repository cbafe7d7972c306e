"""Signatures of data classes on the pages have the defaults that are written."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from brian2.units import ms

from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.network.spec import Network
from eprop_brian.tasks import EvidenceAccumulation
from eprop_brian.training.history import History

pytest.importorskip("sphinx")
sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "_ext"))

from signatures import written_signature


@dataclass
class Base:
    size: int
    delay: object = field(default_factory=lambda: 2 * ms)


@dataclass
class Derived(Base):
    names: dict = field(default_factory=dict)
    delay: object = field(default_factory=lambda: 3 * ms)
    last: int = field(default=7, kw_only=True)


def test_defaults_are_those_of_the_source():
    assert written_signature(Base) == "(size, delay=2*ms)"
    assert written_signature(Derived) == "(size, delay=3*ms, names={}, *, last=7)"


def test_classes_of_the_package_say_what_they_have():
    assert written_signature(Network).startswith("(parts, optimizer=ADAM, gradient='factored'")
    assert "cue_duration=100*ms" in written_signature(EvidenceAccumulation)
    assert "(teacher, decoder, slow_weights," in written_signature(BalancedNetwork)
    assert written_signature(History).startswith("(loss=[], error=[]")
    for cls in (Network, EvidenceAccumulation, BalancedNetwork, History):
        assert "..." not in written_signature(cls)
