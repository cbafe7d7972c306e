"""Recipes: the network and training settings with which a task was published.

Tasks know nothing about learning; what a task's authors trained on it stands here, with its source.
Any setting can be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RECIPES", "Recipe", "get_recipe"]


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes
    ----------
    size : mapping of str to int
        Library neurons and how many of each.
    neuron : mapping
        Parameters of the library neurons, applied to those that have them.
    readout, network : mapping
        Settings of the readout and options of `eprop_brian.network.spec.Network`.
    optimizer : str
    optimizer_settings : mapping
    iterations, batch_size : int
    source : str
    """

    size: Mapping[str, int]
    neuron: Mapping[str, Any] = field(default_factory=dict)
    readout: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "adam"
    optimizer_settings: Mapping[str, float] = field(default_factory=dict)
    iterations: int = 1000
    batch_size: int = 1
    source: str = ""


#: Options of the network that all classifications share.
_CLASSIFIER = {
    "feedback": "random",
    "feedback_scale": 1.0,
    "readout_weights": "glorot",
    "average_gradient": True,
}
#: Lemniscate and handwriting differ in their targets only.
_DRAWING = Recipe(
    size={"alif": 200},
    neuron={
        **{"tau_m": "30 ms", "v_th": 0.03, "t_ref": "0 ms", "zeta": "1 - alpha"},
        # beta = 1.7 (1 - exp(-1/2000))/(1 - exp(-1/30))
        **{"tau_a": "2000 ms", "beta": 0.02592},
    },
    readout={"tau_out": "50 ms", "zeta_out": "1 - kappa"},
    network={
        "feedback": "random",
        # B ~ N(0, 1)/sqrt(200)
        "feedback_scale": 0.0707,
        "c_reg": 150.0,
        "f_target": "20 Hz",
    },
    optimizer="adam",
    optimizer_settings={"eta": 5e-3},
    iterations=5000,
    source="NEST 3.10, examples eprop_supervised_regression_lemniscate_bsshslm_2020 and "
    "eprop_supervised_regression_handwriting_bsshslm_2020; all tau_m alike",
)

RECIPES: dict[str, Recipe] = {
    "pattern-generation": Recipe(
        size={"lif": 100},
        neuron={
            **{"tau_m": "30 ms", "v_th": 0.03, "t_ref": "0 ms", "zeta": "1 - alpha"},
            # As large beside v_th as in the library's neurons.
            "beta": 0.00087,
        },
        readout={"tau_out": "30 ms", "zeta_out": "1 - kappa"},
        network={
            "feedback": "symmetric",
            "feedback_scale": 0.1,
            "c_reg": 300.0,
            "f_target": "10 Hz",
        },
        optimizer="gradient_descent",
        optimizer_settings={"eta": 1e-4},
        iterations=2000,
        source="TensorFlow tutorials of Bellec et al. 2020; NEST's example takes random feedback",
    ),
    "lemniscate": _DRAWING,
    "handwriting": _DRAWING,
    "evidence-accumulation": Recipe(
        size={"lif": 50, "alif": 50},
        neuron={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "5 ms", "tau_a": "2000 ms"},
        readout={"tau_out": "20 ms", "zeta_out": "1 - kappa"},
        network={**_CLASSIFIER, "c_reg": 300.0, "f_target": "10 Hz"},
        optimizer="adam",
        optimizer_settings={"eta": 5e-3},
        iterations=2000,
        batch_size=64,
        source="TensorFlow tutorials of Bellec et al. 2020; the regulariser in NEST's form",
    ),
    "delayed-match": Recipe(
        size={"lif": 50, "alif": 50},
        neuron={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "5 ms", "tau_a": "2000 ms"},
        readout={"tau_out": "20 ms", "zeta_out": "1 - kappa"},
        network={
            **_CLASSIFIER,
            "feedback": "symmetric",
            "c_reg": 30.0,
            "f_target": "20 Hz",
        },
        optimizer_settings={"eta": 2e-3},
        iterations=2000,
        batch_size=64,
        source="our own, from that of evidence accumulation",
    ),
    "digits": Recipe(
        size={"lif": 400},
        neuron={"tau_m": "100 ms", "v_th": 0.6, "t_ref": "5 ms"},
        readout={"tau_out": "50 ms", "zeta_out": "1 - kappa"},
        network={
            **_CLASSIFIER,
            "c_reg": 3.0,
            "f_target": "20 Hz",
            # Dense recurrent synapses make the network irregular: it then learns images by heart.
            "connectivity": {"w_rec": 0.01},
        },
        optimizer_settings={"eta": 5e-3},
        iterations=2000,
        batch_size=32,
        source="our own",
    ),
    "n-mnist": Recipe(
        size={"lif": 150},
        neuron={"tau_m": "30 ms", "v_th": 0.6, "t_ref": "0 ms"},
        readout={"tau_out": "100 ms", "zeta_out": "1 - kappa"},
        network={
            **_CLASSIFIER,
            "c_reg": 300.0,
            "f_target": "10 Hz",
            "connectivity": {"w_in": 0.25, "w_rec": 0.01},
        },
        optimizer_settings={"eta": 5e-3},
        iterations=5000,
        batch_size=16,
        source="sizes, connectivity and time constants of NEST's example "
        "eprop_supervised_classification_neuromorphic_mnist, which updates without batches; not "
        "tried on the data",
    ),
    "shd": Recipe(
        size={"lif": 150, "alif": 150},
        neuron={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "5 ms", "tau_a": "500 ms"},
        readout={"tau_out": "20 ms", "zeta_out": "1 - kappa"},
        network={**_CLASSIFIER, "c_reg": 300.0, "f_target": "10 Hz"},
        optimizer_settings={"eta": 2e-3},
        iterations=5000,
        batch_size=16,
        source="our own, not tried on the data",
    ),
    "feature-file": Recipe(
        size={"lif": 300, "alif": 100},
        neuron={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "2 ms", "tau_a": "200 ms"},
        readout={"tau_out": "3 ms", "zeta_out": "1 - kappa"},
        network={**_CLASSIFIER, "c_reg": 300.0, "f_target": "10 Hz"},
        optimizer_settings={"eta": 2e-3},
        iterations=5000,
        batch_size=32,
        source="size of the frame-wise TIMIT network of Bellec et al. 2020 in one direction, the "
        "rest our own; not tried on the data",
    ),
    "store-recall": Recipe(
        size={"lif": 60, "alif": 40},
        neuron={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "5 ms", "tau_a": "1200 ms"},
        readout={"tau_out": "20 ms", "zeta_out": "1 - kappa"},
        network={**_CLASSIFIER, "c_reg": 30.0, "f_target": "20 Hz"},
        optimizer_settings={"eta": 5e-3},
        iterations=2000,
        batch_size=32,
        source="sizes and time constants of the code of Bellec et al. 2019, the rest our own",
    ),
}


def get_recipe(task: str) -> Recipe:
    """The recipe of a task (ValueError if there is none)."""
    if task not in RECIPES:
        raise ValueError(f"there is no recipe for '{task}'; there is one for {', '.join(RECIPES)}")
    return RECIPES[task]
