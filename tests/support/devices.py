"""Which cases of a test run where."""

from collections.abc import Collection, Iterable

import pytest


def on_devices(names: Iterable[str], compiled: Collection[str]) -> list:
    """Cases by name, all of them for ``runtime``, those to compile for ``cpp`` besides."""
    return [
        pytest.param(name, marks=pytest.mark.devices("runtime", *["cpp"] * (name in compiled)))
        for name in names
    ]
