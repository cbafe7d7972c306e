"""A recurrent network of NEST's e-prop models, of either family.

The network is described as the ``meta`` entry of a reference case does (``tests/reference``): with
a ``model``, it is one of the newer family (``eprop_iaf`` and so on, continuous operation), without
one of the family ``bsshslm_2020`` (trials with a reset between them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

__all__ = ["NestNetwork", "build"]

#: Steps by which NEST's clock is late. A generator's spike of a step is sent in the next one. A
#: target arrives in time if sent in the fourth, and recorders see neurons in the third and readouts
#: in the fifth; in the newer family readouts see the spikes of the step before, two steps earlier.
SPIKE, NEURON = 1, 3
_FAMILY = "_bsshslm_2020"
_TARGET = {_FAMILY: 4, "": 2}
_READOUT = {_FAMILY: 5, "": 3}
#: Voltages are distances from rest, and weights voltages.
_AT_REST = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "I_e": 0.0}


@dataclass(frozen=True, eq=False)
class NestNetwork:
    """Nodes of a network in NEST, and when they act.

    Attributes
    ----------
    nest : module
    dt : float
        In ms.
    inputs, neurons, readouts : nest.NodeCollection
        Input neurons are parrots: plastic synapses take no spikes from a device.
    generators, targets : nest.NodeCollection
        Devices that drive the inputs and hold the readouts' targets.
    window : nest.NodeCollection or None
        Device that switches the error on and off, in the newer family.
    family : str
        What names of models end with.
    """

    nest: Any
    dt: float
    inputs: Any
    neurons: Any
    readouts: Any
    generators: Any
    targets: Any
    window: Any
    family: str

    @property
    def readout_delay(self) -> int:
        """Steps after which a recorder sees what a readout is in a step."""
        return _READOUT[self.family]

    def feed(self, spikes: np.ndarray, targets: np.ndarray, window: np.ndarray | None = None):
        """Set the inputs of every step, the targets and, where there is one, the window.

        Parameters
        ----------
        spikes : array, shape (n_steps, n_in)
        targets : array, shape (n_steps, n_out)
            The last one is held.
        window : array, shape (n_steps,), optional
        """
        for generator, train in zip(self.generators, spikes.T, strict=True):
            generator.spike_times = (np.flatnonzero(train) + SPIKE) * self.dt
        for generator, values in zip(self.targets, targets.T, strict=True):
            self._hold(generator, values)
        if window is not None:
            self._hold(self.window, window)

    def _hold(self, generator: Any, values: np.ndarray) -> None:
        times = (np.arange(len(values)) + _TARGET[self.family]) * self.dt
        generator.set(amplitude_times=times, amplitude_values=np.array(values, dtype=float))

    def connect(self, pre: Any, post: Any, rule: Any = "all_to_all", **synapse: Any) -> None:
        """Connect without plasticity, with a delay of one step."""
        self.nest.Connect(
            *(pre, post, rule),
            {"synapse_model": "static_synapse", "delay": self.dt, **synapse},
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The plastic weights as NEST holds them now, [post, pre]."""
        pairs = {
            "w_in": (self.inputs, self.neurons),
            "w_rec": (self.neurons, self.neurons),
            "w_out": (self.neurons, self.readouts),
        }
        return {name: self._weights(*pair) for name, pair in pairs.items()}

    def _weights(self, pre: Any, post: Any) -> np.ndarray:
        weights = np.zeros((len(post), len(pre)))
        synapse = f"eprop_synapse{self.family}"
        synapses = self.nest.GetConnections(pre, post, synapse_model=synapse)
        if synapses:
            found = synapses.get(["source", "target", "weight"])
            source, target = (np.atleast_1d(found[end]) for end in ("source", "target"))
            weights[target - post[0].global_id, source - pre[0].global_id] = found["weight"]
        return weights


def build(nest: Any, meta: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> NestNetwork:
    """Make a network in a kernel that has been reset.

    Parameters
    ----------
    nest : module
    meta : mapping
        As in a reference case.
    weights : mapping
        ``w_in``, ``w_rec``, ``w_out`` [post, pre] and ``B`` (n_neurons, n_out).
    """
    dt = meta["dt"]
    nest.set(resolution=dt)
    family = "" if "model" in meta else _FAMILY
    if family:
        nest.set(
            eprop_update_interval=meta["T"] * dt,
            eprop_learning_window=meta["learning_window"] * dt,
            eprop_reset_neurons_on_update=True,
        )
    inputs = nest.Create("parrot_neuron", meta["n_in"])
    readouts = nest.Create(f"eprop_readout{family}", meta["n_out"], _readout(meta))
    network = NestNetwork(
        nest=nest,
        dt=dt,
        inputs=inputs,
        neurons=_neurons(nest, meta),
        readouts=readouts,
        generators=nest.Create("spike_generator", meta["n_in"]),
        targets=nest.Create("step_rate_generator", meta["n_out"]),
        window=None if family else nest.Create("step_rate_generator"),
        family=family,
    )
    optimizer = {**meta["optimizer"], "batch_size": meta.get("batch_size", 1)}
    # The default weight of 1 may be out of bounds.
    synapse = {"optimizer": optimizer, "weight": 0.0}
    if family:
        synapse |= {
            "average_gradient": meta["average_gradient"],
            "tau_m_readout": meta["tau_m_out"],
        }
    plastic = f"eprop_synapse{family}"
    nest.SetDefaults(plastic, synapse)
    neurons = network.neurons
    recurrent = weights["w_rec"]
    no_autapses = None if issparse(recurrent) else ~np.eye(len(neurons), dtype=bool)
    _connect_pairs(nest, inputs, neurons, weights["w_in"], plastic, dt)
    _connect_pairs(nest, neurons, neurons, recurrent, plastic, dt, no_autapses)
    _connect_pairs(nest, neurons, readouts, weights["w_out"], plastic, dt)
    signal = f"eprop_learning_signal_connection{family}"
    _connect_pairs(nest, readouts, neurons, weights["B"], signal, dt)
    network.connect(network.generators, inputs, "one_to_one")
    ports = nest.GetDefaults(f"eprop_readout{family}", "receptor_types")
    rate = {"synapse_model": "rate_connection_delayed"}
    of = {**rate, "receptor_type": ports["target_signal"]}
    network.connect(network.targets, readouts, "one_to_one", **of)
    if not family:
        of = {**rate, "receptor_type": ports["eprop_learning_window"]}
        network.connect(network.window, readouts, **of)
    elif meta["n_out"] > 1:
        # For the softmax every readout receives the others; it has its own value.
        of = {**rate, "receptor_type": ports["readout_signal"]}
        rule = {"rule": "all_to_all", "allow_autapses": False}
        network.connect(readouts, readouts, rule, **of)
    return network


def _neurons(nest: Any, meta: Mapping[str, Any]) -> Any:
    parameters = {
        **_AT_REST,
        **{name: meta[name] for name in ("tau_m", "V_th", "t_ref", "c_reg", "f_target")},
        "surrogate_gradient_function": meta["sg_fun"],
        "surrogate_gradient_height": meta["sg_height"],
        "surrogate_gradient_width": meta["sg_width"],
    }
    adaptation = {name: meta[name] for name in ("adapt_tau", "adapt_beta")}
    adaptation["adaptation"] = 0.0
    if "model" in meta:
        model = meta["model"]
        parameters |= {name: meta[name] for name in ("kappa", "kappa_reg")}
        parameters |= _cutoff(meta)
        if "V_reset" in meta and "psc_delta" in model:
            parameters["V_reset"] = meta["V_reset"]
        if model.endswith("_adapt"):
            parameters |= adaptation
        return nest.Create(model, meta["n_rec"], parameters)
    parameters["regular_spike_arrival"] = meta["rec_regular_spike_arrival"]
    kinds = [
        ("eprop_iaf_bsshslm_2020", meta["n_reg"], parameters),
        ("eprop_iaf_adapt_bsshslm_2020", meta["n_ad"], {**parameters, **adaptation}),
    ]
    groups = [nest.Create(*kind) for kind in kinds if kind[1]]
    return groups[0] if len(groups) == 1 else groups[0] + groups[1]


def _readout(meta: Mapping[str, Any]) -> dict[str, Any]:
    readout = {**_AT_REST, "tau_m": meta["tau_m_out"]}
    if "model" in meta:
        return {**readout, **_cutoff(meta)}
    return {
        **readout,
        "loss": meta["loss"],
        "regular_spike_arrival": meta["out_regular_spike_arrival"],
    }


def _cutoff(meta: Mapping[str, Any]) -> dict[str, float]:
    cutoff = meta.get("cutoff")
    return {} if cutoff is None else {"eprop_isi_trace_cutoff": cutoff}


def _connect_pairs(
    nest: Any,
    pre: Any,
    post: Any,
    weights: Any,
    model: str,
    delay: float,
    which: np.ndarray | None = None,
) -> None:
    """Connect all pairs, or those that `which` [post, pre] marks, with their own weights.

    Of sparse weights, those that are stored.
    """
    if issparse(weights):
        stored = weights.tocoo()
        (to, of), values = stored.coords, stored.data
    else:
        to, of = np.nonzero(np.ones(weights.shape, dtype=bool) if which is None else which)
        values = weights[to, of]
    if not to.size:
        return
    nest.Connect(
        np.array(pre.tolist())[of],
        np.array(post.tolist())[to],
        "one_to_one",
        {"synapse_model": model, "weight": values, "delay": np.full(len(of), delay)},
    )
