"""The order of a balanced network's step.

All but the spikes is computed from the values at its beginning:

1. input of the step, gain and learning rate, error of the estimate;
2. what reaches every neuron: D^T c, D^T error, Ws psi. Slow weights learn;
3. membranes; what spikes sent earlier arrives;
4. the teacher moves; filtered spikes, dendrites and the estimate decay;
5. the neuron furthest above threshold fires, or all above it. Fast weights learn; potentials are
   reset, the spike enters r, D r and M r.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.nodes import (
    Column,
    Count,
    Each,
    Fire,
    ForFired,
    If,
    Let,
    Node,
    Noise,
    Once,
    Put,
    Row,
    Sums,
    Sync,
)
from eprop_brian.steps.schedule import Schedule

__all__ = ["BalancedFrame", "balanced_schedule"]


@dataclass(frozen=True)
class BalancedFrame:
    """What the frame of a call reads.

    Attributes
    ----------
    n : int
        Neurons.
    n_spikes : int
        Most spikes of a call.
    control : mapping of str to str
        Arrays of the numbers that steer a call.
    """

    n: int
    n_spikes: int
    control: Mapping[str, str]


def balanced_schedule(
    network: BalancedNetwork,
    code: StepCode,
    array: Callable[[str, str], str],
    rows: int,
    frame: BalancedFrame,
) -> Schedule:
    """The schedule of a network, whose only phase is a step.

    The frame defines ``_step``, ``_clock``, ``_record_every``, ``_learning``, ``_one_spike``,
    ``_noisy`` and ``_seed``, and the counters ``_n_spikes`` and ``_n_records``.

    Parameters
    ----------
    network : BalancedNetwork
    code : StepCode
        Has a block for each node; those of options that are not in use are left out.
    array : callable
        ``array(group, variable)`` names an array as the blocks do.
    rows : int
        Steps of which spikes on their way are kept; 0 without a delay.
    frame : BalancedFrame
    """
    step = _step(network, code, array, rows)
    return Schedule("balanced", frame, {"step": step}, most_elements=network.n)


def _step(
    network: BalancedNetwork, code: StepCode, array: Callable[[str, str], str], rows: int
) -> list[Node]:
    n, k, m = network.n, network.n_dimensions, network.n_basis

    def each(block: str, size: int) -> list[Node]:
        return [Each(block, size)] if block in code.blocks else []

    slow: list[Node] = [Sums("slow", m, n)]
    if "learn_slow" in code.blocks:
        slow = [If("_learning", [Sums("learn_slow", m, n)], slow)]
    learn_fast: list[Node] = []
    if "learn_fast" in code.blocks:
        learn_fast = [If("_learning", [ForFired([Row("learn_fast", n)])]), Sync()]
    arrive: list[Node] = []
    if rows:
        arrive = [Each("arrive", n, {"_arriving": f"_clock % {rows}*{n}"})]
    excite: list[Node] = [Row("excite", m)] if "excite" in code.blocks else []
    return [
        Each("receive", k, {"_sample": f"_step*{k}"}),
        Once("schedule"),
        Each("error", k),
        Sync(),
        If(
            "_step % _record_every == 0",
            [
                Each("record", k, {"_record": f"_n_records*{k}"}),
                Each("record_v", n, {"_record": f"_n_records*{n}"}),
                Count("_n_records"),
            ],
        ),
        Each("zero", n),
        Sums("project", k, n),
        *each("psi", m),
        Sync(),
        *slow,
        Sync(),
        If("_noisy", [Noise(array("neurons", "noise"), n, "_seed", "_clock")]),
        Each("membrane", n),
        *arrive,
        Once("teacher", {f"_output_{i}": str(i) for i in range(k)}),
        Each("decay", n),
        Each("decay_estimate", k),
        *each("decay_basis", m),
        Each("candidate", n),
        Sync(),
        Fire(
            array("neurons", "candidate"), n, "_one_spike", array("spikes", "neuron"), "_n_spikes"
        ),
        Sync(),
        *learn_fast,
        ForFired(
            [
                Put(array("spikes", "step"), "_n_spikes", "_step"),
                Count("_n_spikes"),
                *_reset(array, n, rows),
                Once("fire", {"_neuron": "_pre"}),
                Column("jump", k, n),
                *excite,
                Sync(),
            ]
        ),
        Sync(),
    ]


def _reset(array: Callable[[str, str], str], n: int, rows: int) -> list[Node]:
    """What a spike does to the potentials: its own reset at once, the others after the delay."""
    if not rows:
        return [Row("spike", n)]
    arriving, last = array("arriving", "arriving"), f"(_clock + {rows - 1}) % {rows}*{n}"
    return [
        Let("_own", arriving, f"{last} + _pre"),
        Sync(),
        Row("send", n, {"_arriving": last}),
        Sync(),
        Put(arriving, f"{last} + _pre", "_own"),
        Once("spike", {"_post": "_pre", "_synapse": f"_pre*{n} + _pre"}),
    ]
