"""The yardstick: e-prop's `factored` program written by hand in vectorised C++.

What one core can do on a `Case` when the network is known in advance: LIF and ALIF neurons, the
piecewise linear surrogate, dense connectivity. It needs g++ and nothing else, compiles in a few
seconds and is kept in the user's cache under the hash of its source. Its gradients, losses and
spikes are those of the package; the generated code is held against its time, stage by stage.

``python -m benchmarks.yardstick`` prints what this machine can do at most (read bandwidth of the
caches, multiply-adds per second) and the stages of evidence accumulation.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, Measurement, evidence_accumulation

__all__ = ["STAGES", "Result", "available", "deviation", "machine_limits", "measure", "run"]

#: Parts of a trial, in the order of the C++ program.
STAGES = ("forward", "backward", "accumulate", "update")

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-mprefer-vector-width=512", "-fno-math-errno")


@dataclass(frozen=True, eq=False)
class Result:
    """What the yardstick computed.

    Attributes
    ----------
    stages : array, shape (repeats, 4)
        Seconds of the processor per trial of `STAGES`.
    losses, spikes : array, shape (n_trials,)
        Loss and number of recurrent spikes of every trial.
    gradient, weights : dict of str to array
        ``w_in``, ``w_rec``, ``w_out`` [post, pre]: mean gradient of the first batch, and the
        weights after the last.
    peak_memory_mb : float
    """

    stages: np.ndarray
    losses: np.ndarray
    spikes: np.ndarray
    gradient: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    peak_memory_mb: float


def available() -> str | None:
    """None if there is a compiler, else the reason."""
    return None if shutil.which(_compiler()) else f"there is no C++ compiler '{_compiler()}'"


def measure(case: Case, *, trials: int, repeats: int = 3, dtype: str = "float64") -> Measurement:
    """Train on the first trials of a case, `repeats` times from its initial weights.

    Parameters
    ----------
    case : Case
    trials : int
        A whole number of batches.
    repeats : int
    dtype : {"float64", "float32"}
    """
    result = run(case.first(trials), repeats, dtype)
    return Measurement(
        contender="yardstick" if dtype == "float64" else f"yardstick {dtype}",
        case=case.name,
        n_neurons=case.n_neurons,
        n_steps=case.n_steps,
        repeats=tuple(result.stages.sum(axis=1).tolist()),
        stages=dict(zip(STAGES, np.median(result.stages, axis=0).tolist(), strict=True)),
        peak_memory_mb=result.peak_memory_mb,
        losses=tuple(result.losses.tolist()),
    )


def run(case: Case, repeats: int = 1, dtype: str = "float64") -> Result:
    """Train on all trials of a case, `repeats` times from its initial weights."""
    with tempfile.TemporaryDirectory(prefix="yardstick_") as folder:
        problem, result = Path(folder) / "problem", Path(folder) / "result"
        with problem.open("wb") as file:
            for values in _problem(case, repeats, dtype):
                file.write(np.ascontiguousarray(values).tobytes())
        _call(str(problem), str(result))
        numbers = np.fromfile(result)
    n, n_in, n_out = case.n_neurons, case.n_in, case.n_out
    shapes = {"w_in": (n, n_in), "w_rec": (n, n), "w_out": (n_out, n)}
    sizes = [post * pre for post, pre in shapes.values()]
    lengths = [repeats * len(STAGES), case.n_trials, case.n_trials, *sizes, *sizes, 1]
    parts = np.split(numbers, np.cumsum(lengths)[:-1])
    both = zip(parts[3:9], [*shapes.values(), *shapes.values()], strict=True)
    matrices = [part.reshape(shape) for part, shape in both]
    return Result(
        stages=parts[0].reshape(repeats, len(STAGES)) / case.n_trials,
        losses=parts[1],
        spikes=parts[2].astype(int),
        gradient=dict(zip(shapes, matrices[:3], strict=True)),
        weights=dict(zip(shapes, matrices[3:], strict=True)),
        peak_memory_mb=float(parts[9][0]),
    )


def deviation(case: Case) -> float:
    """Largest relative deviation from this package's ``cpp`` device over all trials of a case.

    Of losses, of the first batch's gradient and of the final weights' change, the matrices relative
    to their largest entry; infinite if the number of spikes of a trial differs.
    """
    from eprop_brian.network.program import make_program
    from eprop_brian.network.standard import MATRICES
    from eprop_brian.training.session import Session

    ours, trials, size = run(case), case.task_trials(), case.batch_size
    batches = [trials.part(slice(k, k + size)) for k in range(0, case.n_trials, size)]
    session = Session(
        case.network(), make_program("cpp"), batches[0], case.learning_window, case.weights()
    )
    outcomes = [session.run(batches[0], size)]
    gradient = session.gradient()
    outcomes += [session.run(batch, size) for batch in batches[1:]]
    rates = np.concatenate([outcome.rate for outcome in outcomes])
    spikes = rates * case.n_neurons * case.n_steps * case.dt * 1e-3
    if np.any(np.round(spikes) != ours.spikes):
        return float("inf")
    losses = np.concatenate([outcome.loss for outcome in outcomes])
    deviations = [np.max(np.abs(ours.losses / losses - 1))]
    for name in MATRICES:
        start = getattr(case, name)
        for mine, theirs in (
            (ours.gradient[name], gradient[name]),
            (ours.weights[name] - start, session.weights[name] - start),
        ):
            deviations.append(np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs)))
    return float(max(deviations))


def machine_limits() -> dict[str, float]:
    """What one core of this machine can do at most.

    Returns
    -------
    dict
        ``l2_bytes_per_second``, ``l3_...``, ``dram_...``: reading one after the other;
        ``multiply_adds_per_second_float64``, ``..._float32``: in registers.
    """
    l2, l3 = _cache_bytes(2, 2**20), _cache_bytes(3, 2**25)
    sizes = {"l2": l2 // 2, "l3": l3 // 4, "dram": max(8 * l3, 2**28)}
    names = [f"{where}_bytes_per_second" for where in sizes]
    names += [f"multiply_adds_per_second_{dtype}" for dtype in ("float64", "float32")]
    values = _call("probe", *map(str, sizes.values())).split()
    return dict(zip(names, map(float, values), strict=True))


def _cache_bytes(level: int, default: int) -> int:
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        # Level 1 has one for instructions, the others hold both.
        if (index / "level").read_text().strip() == str(level):
            return int((index / "size").read_text().strip().removesuffix("K")) * 1024
    return default


def _problem(case: Case, repeats: int, dtype: str) -> list[np.ndarray]:
    """Counts, numbers and arrays in the order of the C++ program's ``Problem``."""
    step = np.nonzero(case.patterns)[1]
    per_step = case.patterns.sum(axis=2)
    firsts = np.zeros((len(case.patterns), case.n_steps + 1), dtype=np.int64)
    np.cumsum(per_step, axis=1, out=firsts[:, 1:])
    firsts += np.concatenate([[0], np.cumsum(per_step.sum(axis=1))[:-1]])[:, np.newaxis]
    counts = [
        *(dtype == "float32", case.n_neurons, case.n_lif, case.n_in, case.n_out, case.n_steps),
        *(case.learning_window, case.batch_size, case.n_trials, len(case.patterns)),
        *(len(case.targets), case.targets.shape[1], len(step), case.refractory_steps),
        *(case.loss == "softmax_cross_entropy", case.feedback == "symmetric"),
        *(case.optimizer == "adam", repeats),
    ]
    adam = {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.0}
    settings = {**adam, **case.optimizer_parameters}
    numbers = [
        *(case.alpha, case.rho, case.kappa, case.v_th, case.beta, case.gamma),
        *(case.zeta, case.zeta_out, case.c_reg, case.f_target * case.dt * 1e-3),
        *(case.gradient_scale, case.loss_scale),
        *(settings[k] for k in ("eta", "w_min", "w_max", "beta_1", "beta_2", "epsilon")),
    ]
    floats = [case.w_in, case.w_rec, case.w_out, case.B, case.targets]
    integers = [case.pattern, case.target, firsts, np.nonzero(case.patterns)[2]]
    return [
        np.array(counts, dtype=np.int64),
        np.array(numbers, dtype=float),
        *(array.astype(float) for array in floats),
        *(array.astype(np.int32) for array in integers),
    ]


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def _call(*arguments: str) -> str:
    process = subprocess.run([_binary(), *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"the yardstick failed: {process.stderr.strip()}")
    return process.stdout


def _binary() -> Path:
    version = subprocess.run([_compiler(), "--version"], capture_output=True, check=True).stdout
    # -march=native: what one processor compiles, another may not run.
    processor = Path("/proc/cpuinfo").read_bytes().partition(b"flags")[2].partition(b"\n")[0]
    parts = (_SOURCE.read_bytes(), version, processor, " ".join(_FLAGS).encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eprop_brian"
    binary = folder / f"yardstick-{digest}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as building:
            target = Path(building) / "yardstick"
            subprocess.run([_compiler(), *_FLAGS, str(_SOURCE), "-o", str(target)], check=True)
            target.rename(binary)
    return binary


def _main() -> None:
    for name, value in machine_limits().items():
        print(f"{name:36} {value:.3g}")
    for n_neurons in (100, 400, 1000):
        case = evidence_accumulation(n_neurons)
        for dtype in ("float64", "float32"):
            m = measure(case, trials=case.n_trials, dtype=dtype)
            stages = "  ".join(f"{k} {v * 1e3:.3f}" for k, v in m.stages.items())
            print(f"{n_neurons:5} {dtype}  {m.seconds_per_trial * 1e3:.3f} ms a trial: {stages}")


if __name__ == "__main__":
    _main()
