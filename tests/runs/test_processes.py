"""Jobs in processes of their own: what an interrupt does to those that have only begun."""

import subprocess
import sys

import pytest

#: Two jobs, interrupted when their processes are still importing.
INTERRUPTED = """
import time
from eprop_brian.runs import processes

def interrupted(futures):
    time.sleep({delay})
    raise KeyboardInterrupt

processes.as_completed = interrupted
try:
    processes.in_processes(time.sleep, [(60,), (60,)], {{}}, 2, print)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, 0.4])
def test_processes_that_are_importing_are_interrupted_without_a_word(delay, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(delay=delay)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
