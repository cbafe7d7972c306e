"""mlGeNN: a network of the same size and inputs, trained by its e-prop compiler on one CPU core.

mlGeNN and GeNN are not on PyPI and build from source in some minutes (g++, make, pkg-config and
libffi are needed)::

    pip install https://github.com/genn-team/genn/archive/refs/heads/master.zip
    pip install "https://github.com/genn-team/ml_genn/archive/refs/heads/master.zip#subdirectory=ml_genn"

What is compared is the cost, not the result. Sizes, weights, trials and neurons are those of the
`Case`; but mlGeNN computes in float32, feeds errors back through the readout weights, counts the
error in all steps of a trial, regularises a running mean of the rate, always uses Adam and, on a
CPU, updates after every trial. Hence there are no losses to compare.

Time is that of training: building the network, generating and compiling its code do not count.
"""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
import time

import numpy as np

from benchmarks.cases import Case, Measurement, in_own_process, peak_memory_mb

__all__ = ["available", "measure"]


def available() -> str | None:
    """None if mlGeNN is installed, else the reason."""
    if importlib.util.find_spec("ml_genn") is None or importlib.util.find_spec("pygenn") is None:
        return "mlGeNN and GeNN are not installed (not on PyPI; see benchmarks/mlgenn_peer.py)"
    return None


def measure(case: Case, *, trials: int, repeats: int = 3) -> Measurement:
    """Train on the first trials of a case, over and over, in a process of its own.

    Parameters
    ----------
    case : Case
    trials, repeats : int
    """
    seconds, peak = in_own_process(_train, case.first(trials), repeats)
    return Measurement(
        contender="mlGeNN",
        case=case.name,
        n_neurons=case.n_neurons,
        n_steps=case.n_steps,
        repeats=tuple(s / trials for s in seconds),
        stages={},
        peak_memory_mb=peak,
        losses=(),
    )


def _train(case: Case, repeats: int) -> tuple[list[float], float]:
    """Seconds of every repeat and peak memory."""
    from ml_genn.compilers import EPropCompiler
    from ml_genn.optimisers import Adam
    from ml_genn.utils.data import preprocess_spikes

    classification = case.loss == "softmax_cross_entropy"
    network, inputs, readouts = _build(case, "sum_var" if classification else "var")
    compiler = EPropCompiler(
        example_timesteps=case.n_steps,
        losses="sparse_categorical_crossentropy" if classification else "mean_square_error",
        optimiser=Adam(case.optimizer_parameters["eta"]),
        c_reg=case.c_reg / case.n_steps**2,
        f_target=case.f_target,
        train_output_bias=False,
        dt=case.dt,
        batch_size=1,
        backend="single_threaded_cpu",
        optimize_code=True,  # by default its C++ is compiled without optimisation
    )
    trains = []
    for spikes in case.spikes:
        step, neuron = np.nonzero(spikes)
        trains.append(preprocess_spikes(step * case.dt, neuron, case.n_in))
    targets = case.targets[case.target]
    labels = targets[:, 0].argmax(axis=1) if classification else targets
    seconds = []
    # Its code is written and compiled in the working directory.
    with tempfile.TemporaryDirectory(prefix="mlgenn_") as folder, contextlib.chdir(folder):
        compiled = compiler.compile(network)
        with compiled:
            for _ in range(repeats):
                start = time.perf_counter()
                compiled.train(
                    {inputs: trains},
                    {readouts: labels},
                    num_epochs=1,
                    shuffle=False,
                    callbacks=[],
                )
                seconds.append(time.perf_counter() - start)
    return seconds, peak_memory_mb()


def _build(case: Case, readout: str):
    from ml_genn import Connection, Network, Population
    from ml_genn.compilers.eprop_compiler import default_params
    from ml_genn.connectivity import Dense
    from ml_genn.neurons import (
        AdaptiveLeakyIntegrateFire,
        LeakyIntegrate,
        LeakyIntegrateFire,
        SpikeInput,
    )

    common = {"v_thresh": case.v_th, "tau_mem": case.tau_m, "tau_refrac": case.t_ref}
    network = Network(default_params)
    with network:
        inputs = Population(
            SpikeInput(max_spikes=int(case.patterns.sum(axis=(1, 2)).max())), case.n_in
        )
        lif = LeakyIntegrateFire(**common, scale_i=case.zeta != 1)
        hidden = [(slice(0, case.n_lif), Population(lif, case.n_lif))]
        if case.n_alif:
            alif = AdaptiveLeakyIntegrateFire(**common, beta=case.beta, tau_adapt=case.tau_a)
            hidden.append((slice(case.n_lif, None), Population(alif, case.n_alif)))
        readouts = Population(
            LeakyIntegrate(tau_mem=case.tau_out, readout=readout, scale_i=case.zeta_out != 1),
            case.n_out,
        )
        for post, target in hidden:
            Connection(inputs, target, Dense(case.w_in[post].T))
            for pre, source in hidden:
                Connection(source, target, Dense(case.w_rec[post, pre].T))
            Connection(target, readouts, Dense(case.w_out[:, post].T))
    return network, inputs, readouts
