"""The benchmarks compare like with like, and their report can be written."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The benchmarks are no part of the package: they are run from the repository.
pytestmark = pytest.mark.slow


def run(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "case",
    [
        "evidence_accumulation(20, n_trials=16, batch_size=8, n_steps=1300)",
        "evidence_accumulation(11, n_trials=4, batch_size=4, n_steps=1200, feedback='symmetric')",
        "pattern_generation(20, n_steps=300, n_trials=5)",
    ],
)
def test_the_yardstick_computes_what_the_program_computes(case):
    deviation = run(
        "from benchmarks.cases import *\nfrom benchmarks.yardstick import deviation\n"
        f"print(deviation({case}))"
    )
    assert float(deviation) < 1e-9


def test_the_start_of_a_command_is_measured():
    code = """
from benchmarks.start import *
with sources("HEAD") as path:
    seconds = measure(path, CASES[0], path)
assert 0 < seconds.processor < 1
print(markdown({CASES[0]: [[Seconds(2, 3), Seconds(4, 2)], [seconds]]}))
"""
    assert run(code).splitlines()[2].startswith("| `eprop-brian --help` | 2.00 | 0.")


def test_a_report_is_written(tmp_path):
    code = f"""
from pathlib import Path
from benchmarks.__main__ import Report
from benchmarks.cases import Measurement
report = Report(Path({str(tmp_path)!r}))
for contender, factor in (("eprop_brian factored", 1), ("NEST", 100)):
    for n, t in ((100, 2250), (400, 2250), (100, 4500)):
        report.measurements.append(Measurement(
            contender, "evidence-accumulation", n, t, (1e-5*factor*n, 2e-5*factor*n), {{"a": 1.0}},
            100.0, (0.7,)))
report.costs("Cost", report.measurements)
report.write()
"""
    run(code)
    table = (tmp_path / "tables.md").read_text()
    assert "| NEST                 | 100 | 2250 | 150" in table
    assert "| 100   |" in table  # the ratio
    assert (tmp_path / "measurements.csv").read_text().count("\n") == 7
    assert (tmp_path / "cost.png").stat().st_size > 10_000


def test_the_report_of_a_gpu_has_a_roofline():
    code = """
from benchmarks.cuda import markdown
row = {
    "neurons": 100,
    "trials per second on the GPU": 5.0,
    "least bytes per trial": 100,
    "with weights and lists": 150,
}
print(markdown({"bandwidth, bytes per second": 1000.0, "trials per second": [row]}))
"""
    assert "| 100 | 5 | 100 | 150 | 0.5 | 0.75 |" in run(code)
