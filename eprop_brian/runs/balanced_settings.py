"""Settings of balanced networks."""

from __future__ import annotations

from brian2.units import Hz, ms

from eprop_brian.devices.choices import DEVICES, DTYPES
from eprop_brian.runs.settings import Schema, Setting, Table, model_setting
from eprop_brian.tasks.dynamics import DYNAMICS

__all__ = ["PARAMETERS", "RULES", "SCHEMA"]

#: Where the slow weights come from.
RULES = ("closed", "learned")

SCHEMA: Schema = {
    "run": Table(
        "What is run, and where.",
        {
            "model": model_setting("balanced"),
            "task": Setting("value", "name of the task", choices=DYNAMICS),
            "seed": Setting(
                "count", "of weights, decoder and inputs", default=1, least=0, most=2**31 - 1
            ),
            "device": Setting("value", "where it runs", default="cpp", choices=DEVICES),
            "dtype": Setting("value", "type of all state", default="float64", choices=DTYPES),
        },
    ),
    "network": Table(
        "The network; what is not here follows from the teacher.",
        {
            "n": Setting("count", "neurons", default=100, least=1, most=20_000),
            "rule": Setting(
                "text", "where slow weights come from", default="closed", choices=RULES
            ),
            "norm": Setting("number", "length of the decoding vectors, times `n`", default=2.5),
            "mu": Setting("number", "quadratic cost of spikes", default=0.0),
            "nu": Setting("number", "linear cost of spikes", default=0.0),
            "sigma": Setting(
                "number",
                "voltage noise: the standard deviation that it alone would give a potential",
                default=0.0,
            ),
            "lambda_r": Setting("quantity", "decay of filtered spikes", default="20 Hz", unit=Hz),
            "lambda_v": Setting("quantity", "leak of the potentials", default="20 Hz", unit=Hz),
            "t_ref": Setting("quantity", "refractory period", default="0 ms", unit=ms),
            "delay": Setting("quantity", "delay of fast synapses", default="0 ms", unit=ms),
            "dt": Setting("quantity", "time step", default="0.1 ms", unit=ms),
            "one_spike": Setting("switch", "at most one spike a step", default=True),
            "basis": Setting("text", "what slow weights see: `linear` or `tanh`", default="linear"),
            "feedback": Setting(
                "text",
                "how the error enters: `corrected`, `published` or an expression",
                default="corrected",
            ),
            "n_basis": Setting(
                "count", "dendrites; 0: as many as neurons", default=0, least=0, most=20_000
            ),
            "basis_gain": Setting(
                "numbers",
                "least and largest slope of a dendrite, times half the size of the region",
                default=[3.0, 8.0],
            ),
            "fast_start": Setting(
                "number",
                "start of fast weights, as a share of the best ones' diagonal; 0: the best ones",
                default=0.0,
            ),
            "region": Setting("numbers", "half the size of the box to learn, by dimension"),
        },
    ),
    "input": Table(
        "The input of the test: noise, filtered twice.",
        {
            "std": Setting("number", "standard deviation in 1/s", shown="the task's"),
            "tau": Setting("number", "time constant in s", shown="the task's"),
        },
    ),
    "training": Table(
        "Training. The teacher is drawn along a path through the region, or driven by noise.",
        {
            "duration": Setting("number", "in s; 0: none", default=0.0, least=0.0),
            "k_0": Setting("number", "error gain in 1/s", default=0.0),
            "eta_0": Setting("number", "learning rate of slow weights, per s", default=0.0),
            "eta_fast": Setting("number", "learning rate of fast weights, per spike", default=0.0),
            "gain": Setting("text", "the gain by `k_0`, `t` and `duration`", default="k_0"),
            "rate": Setting("text", "the rate by `eta_0`, `t` and `duration`", default="eta_0"),
            "fast_rate": Setting(
                "text", "the rate by `eta_fast_0`, `t` and `duration`", default="eta_fast_0"
            ),
            "input_std": Setting("number", "noise in 1/s, where `pull` is 0", default=0.0),
            "input_tau": Setting("number", "its time constant in s", default=0.1),
            "pull": Setting("number", "pull to the path in 1/s; 0: noise", default=0.0),
            "reach": Setting("number", "size of the path, of the region", default=1.2),
            "explore_tau": Setting(
                "number", "time constant of the path in s", default=0.05, least=0.0
            ),
        },
    ),
    "test": Table(
        "The test, without error feedback.",
        {
            # Shares of time, by which a network is judged, mean nothing in less.
            "duration": Setting("number", "in s", default=10.0, least=0.1),
            "settle": Setting("number", "seconds before it", default=1.0, least=0.0),
            "kill": Setting(
                "number",
                "fraction of the neurons that falls silent",
                default=0.0,
                least=0.0,
                most=0.95,
            ),
            "noise": Setting(
                "value",
                "noise in place of `sigma`, or a multiple of the threshold such as "
                "`0.5 threshold`; negative: `sigma` stays",
                default=-1.0,
            ),
        },
    ),
}
PARAMETERS: Schema = {
    "teacher": Table(
        "Parameters of the teacher.",
        further=lambda tables: {key: Setting("value", "") for key in tables.get("teacher", {})},
        further_doc="by their names in the teacher",
    )
}
