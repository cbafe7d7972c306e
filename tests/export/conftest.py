"""The exported program that most tests run."""

import pytest

from support.command import call
from support.programs import SMALL_CUES, build


@pytest.fixture(scope="session")
def cues(tmp_path_factory):
    """The program of a small evidence accumulation."""
    folder = tmp_path_factory.mktemp("cues") / "project"
    settings = [part for text in SMALL_CUES for part in ("--set", text)]
    output = call(
        *("export", "evidence-accumulation", "--batch-size", 4, "--out", folder), *settings
    )
    assert "make" in output
    return build(folder)
