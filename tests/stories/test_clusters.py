"""The scripts for SLURM on the page on clusters, run as a batch system would run them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
ARRAY, ALLOCATION = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
#: Programs that write down their arguments; `srun` starts what it is given on every node.
SAYS = '#!/bin/bash\nprintf "%s %s\\n" "${0##*/}" "$*" >> calls\n'
STARTS = '#!/bin/bash\nprintf "srun %s\\n" "$*" >> calls\n"$@"\n'


@pytest.fixture
def submit(tmp_path):
    """Run a script with an environment of SLURM; returns what it called, a line each."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("eprop-brian", SAYS), ("dask", SAYS), ("srun", STARTS)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run(script, **environment):
        # At the end a batch system would end what goes on; the stand-ins are to write first.
        (tmp_path / "job.sh").write_text(f"{script}\nwait\n")
        (tmp_path / "calls").unlink(missing_ok=True)
        path = f"{tools}:/usr/bin:/bin"
        command = ["bash", "-eu", "job.sh"]
        subprocess.run(command, cwd=tmp_path, env={"PATH": path, **environment}, check=True)
        return (tmp_path / "calls").read_text().splitlines()

    return run


def test_a_task_of_the_array_has_settings_of_its_own_and_resumes(submit, tmp_path):
    runs = {}
    for task in range(1, 31):
        (call,) = submit(ARRAY, SLURM_ARRAY_TASK_ID=str(task))
        assert call.startswith("eprop-brian train pattern-generation --seed ")
        words = shlex.split(call)
        folder = words[words.index("--out") + 1]
        eta = words[words.index("--set") + 1].removeprefix("optimizer.eta=")
        runs[folder] = (eta, words[words.index("--seed") + 1])
    assert {*runs.values()} == {
        (eta, str(seed)) for eta in ("1e-4", "3e-4", "1e-3") for seed in range(1, 11)
    }
    assert len(runs) == 30
    # The last one was stopped, and is queued again.
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "config.toml").touch()
    (call,) = submit(ARRAY, SLURM_ARRAY_TASK_ID="30")
    assert call.startswith(f"eprop-brian train --resume {folder} ")


def test_an_allocation_starts_a_scheduler_workers_and_the_training(submit):
    calls = submit(ALLOCATION)
    (address,) = {word for call in calls for word in call.split() if word.startswith("tcp://")}
    port = address.rpartition(":")[2]
    assert any(c.startswith("dask scheduler ") and c.endswith(f"--port {port}") for c in calls)
    assert any(c.startswith(f"srun dask worker {address} ") for c in calls)
    assert any(c.endswith(f"--scheduler {address}") for c in calls if "eprop-brian" in c)
