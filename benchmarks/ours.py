"""This project: the same network, trained by the program that it generates.

Time is that of `Session.run`, as training calls it: copying weights and states, in case that the
program is killed, writing trials to its memory, running it, reading losses. Building the program
does not count, making the trials neither (training does that meanwhile).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import Case, Measurement, in_own_process, peak_memory_mb

__all__ = ["Solved", "available", "measure", "solve", "start_seconds"]


@dataclass(frozen=True)
class Solved:
    """A run to the task's criterion.

    Attributes
    ----------
    start_seconds : float
        From the configuration to the first iteration: code generation, and compiling if need be.
    seconds : float
        Of training, validations included.
    iterations : int
    error : float
        Of the test that confirmed it, or the last that did not; NaN without any.
    solved : bool
    """

    start_seconds: float
    seconds: float
    iterations: int
    error: float
    solved: bool


def available() -> str | None:
    """None if there is a compiler, else the reason."""
    from eprop_brian.devices import CompilerMissingError
    from eprop_brian.devices.cpp import find_compiler

    try:
        find_compiler()
    except CompilerMissingError as error:
        return str(error).splitlines()[0]
    return None


def measure(
    case: Case,
    *,
    trials: int,
    repeats: int = 3,
    gradient: str = "factored",
    dtype: str = "float64",
    workers: int = 1,
    flags: Sequence[str] | None = None,
) -> Measurement:
    """Train on the first trials of a case, `repeats` times from its initial weights.

    Parameters
    ----------
    case : Case
    trials : int
        A whole number of batches.
    repeats : int
    gradient : {"factored", "online"}
    dtype : {"float64", "float32"}
    workers : int
    flags : sequence of str, optional
        Flags of the compiler instead of Brian2's.
    """
    return in_own_process(_measure, case.first(trials), repeats, gradient, dtype, workers, flags)


def _measure(
    case: Case,
    repeats: int,
    gradient: str,
    dtype: str,
    workers: int,
    flags: Sequence[str] | None,
) -> Measurement:
    from brian2 import prefs

    from eprop_brian.devices import ProcessProgram
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session
    from eprop_brian.training.workers import ParallelSession

    if flags is not None:
        prefs.codegen.cpp.extra_compile_args_gcc = list(flags)
    network, trials = case.network(gradient=gradient), case.task_trials()
    window, weights = case.learning_window, case.weights()
    stages: dict[str, float] = {}
    peak = float("nan")
    if workers == 1:
        session = Session(network, make_program("cpp", dtype), trials, window, weights)
    else:
        session = ParallelSession(
            network, trials, window, weights, device="cpp", dtype=dtype, workers=workers
        )
    start = session.state()
    seconds = []
    for repeat in range(repeats + 1):  # the first is to warm up
        session.restore(start)
        before = time.perf_counter()
        outcome = session.run(trials, case.batch_size)
        if repeat:
            seconds.append((time.perf_counter() - before) / case.n_trials)
    if workers == 1:
        assert isinstance(session.program, ProcessProgram)
        peak = peak_memory_mb(session.program.process_id)
        session.close()
        program = make_program("cpp", dtype, profile=True)
        session = Session(network, program, trials, window, weights)
        session.run(trials, case.batch_size)
        session.restore(start)
        session.run(trials, case.batch_size)
        assert isinstance(session.program, ProcessProgram)
        profile = session.program.stage_seconds()
        stages = {name: value / case.n_trials for name, value in profile.items()}
    session.close()
    parts = ["eprop_brian", gradient]
    parts += [dtype] if dtype != "float64" else []
    parts += [f"{workers} workers"] if workers > 1 else []
    parts += [f"({' '.join(flags)})"] if flags is not None else []
    return Measurement(
        contender=" ".join(parts),
        case=case.name,
        n_neurons=case.n_neurons,
        n_steps=case.n_steps,
        repeats=tuple(seconds),
        stages=stages,
        peak_memory_mb=peak,
        losses=tuple(outcome.loss.tolist()),
        driver_memory_mb=peak_memory_mb(),
    )


def solve(seed: int, workers: int | None = None, feedback: str | None = None) -> Solved:
    """Train evidence accumulation with its recipe until it is solved, in a process of its own."""
    return in_own_process(_solve, seed, workers, feedback)


def _solve(seed: int, workers: int | None, feedback: str | None) -> Solved:
    from eprop_brian.runs.config import RunConfig

    before = time.perf_counter()
    config = RunConfig.from_recipe(
        "evidence-accumulation", run={"seed": seed}, network={"feedback": feedback}
    )
    trainer = config.make_trainer(workers=workers)
    started = time.perf_counter()
    trainer.train(1000, progress=False)
    seconds = time.perf_counter() - started
    error = trainer.confirmation.error if trainer.confirmation else float("nan")
    trainer.close()
    return Solved(started - before, seconds, trainer.iteration, error, trainer.solved)


def start_seconds(case: Case) -> float:
    """Seconds from a network to a program that an earlier process has compiled."""
    in_own_process(_start, case)
    return in_own_process(_start, case)


def _start(case: Case) -> float:
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session

    trials = case.task_trials()
    before = time.perf_counter()
    program = make_program("cpp")
    session = Session(case.network(), program, trials, case.learning_window, case.weights())
    session.program.set({})
    seconds = time.perf_counter() - before
    session.close()
    return seconds
