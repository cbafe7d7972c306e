"""A schedule's nodes as text, in every language."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from eprop_brian.steps.blocks import StepCode
from eprop_brian.steps.cpp_gradients import CppPrinter
from eprop_brian.steps.cuda_kernels import CudaPrinter
from eprop_brian.steps.gradients import AllSynapses
from eprop_brian.steps.nodes import Choose, Each, Fill, For, If, Int, Put, Record, Sync
from eprop_brian.steps.numpy_spiking import NumpyPrinter
from eprop_brian.steps.schedule import Schedule, blocks_of
from eprop_brian.steps.spiking import Deliver, ListSpikes, Spikes, Synapses

SPIKES = Spikes("lif", 3, 4, "z", "neuron", "first", "spikespace")
SYNAPSES = Synapses(3, 2, 4, 12)
SPARSE = Synapses(3, 2, 4, 5, post="post", first="rows")
BLOCKS = {"advance": ["v[_neuron] = 1;"], "deliver": ["I[_post] += w[_synapse];"]}
PYTHON = {"advance": ["v[_neuron] = 1"], "deliver": ["I[_post] += w[_synapse]"]}


@dataclass
class Memory:
    """What the CUDA printer asks for, where there is one thread."""

    threads: int = 64
    own_bytes: int = 0
    shared_pointers: object = field(default=lambda restrict=False: [])
    written: object = field(default=lambda block, index: [])
    local: object = field(default=lambda lines, names, ahead=(): list(lines))
    load: object = field(default=lambda names: [])
    store: object = field(default=lambda names: [])


def printer(kind, nodes=(), phase="step"):
    code = StepCode()
    code.blocks = {name: "" for name in BLOCKS}
    blocks = PYTHON if kind is NumpyPrinter else BLOCKS
    schedule = Schedule("step", None, {phase: list(nodes)})
    constants = {name: [] for name in blocks}
    return kind(code, schedule, constants, blocks, str, "double", Memory())


def lines(kind, *nodes):
    """The text of nodes, without indentation and braces."""
    text = [line.strip() for line in printer(kind, nodes).phase("step").split("\n")]
    return [line for line in text if line not in ("{", "}")]


def test_a_loop_is_of_vectors_of_threads_or_a_slice():
    node = Each("advance", 3, {"_history": "_step*4"}, padded=4)
    assert lines(CppPrinter, node) == [
        "INDEPENDENT",
        "for (int _neuron = 0; _neuron < 4; _neuron++)",
        "const int _history = _step*4 + _neuron;",
        "v[_neuron] = 1;",
    ]
    assert lines(CudaPrinter, node) == [
        "for (int _neuron = threadIdx.x; _neuron < 3; _neuron += blockDim.x)",
        "const int _history = _step*4 + _neuron;",
        "v[_neuron] = 1;",
    ]
    assert lines(NumpyPrinter, node) == [
        "_neuron = slice(None)",
        "_history = slice(_step*4, _step*4 + 3)",
        "v[_neuron] = 1",
    ]


def test_what_is_recorded_is_gathered():
    node = Record("kept", "_step*2", "{v}[{places}[_i]]", 2)
    assert lines(CppPrinter, node) == [
        "INDEPENDENT",
        "for (int _i = 0; _i < 2; _i++)",
        "kept[_step*2 + _i] = v[places[_i]];",
    ]
    assert lines(CudaPrinter, node)[-1] == "kept[_step*2 + _i] = v[places[_i]];"
    namespace = {"kept": np.zeros(4), "v": np.array([3, 4, 5]), "places": np.array([2, 0])}
    exec("\n".join(printer(NumpyPrinter).lines([node])), namespace | {"_step": 1, "_numpy": np})
    assert namespace["kept"].tolist() == [0, 0, 5, 3]


def test_values_and_conditions_are_written_once_for_all_languages():
    nodes = [
        Int("_row", "{first}[_trial]"),
        Choose("_end", "_row > 2", "2", "_row"),
        If("_row == 0", [Put("count", "0", "{count}[0] + 1")], [Fill("count", "_row", "1")]),
        For("_k", "0", "_end", [Put("count", "_k", "0")]),
    ]
    namespace = {"first": np.array([3, 0]), "count": np.arange(4), "_trial": 0}
    exec("\n".join(printer(NumpyPrinter).lines(nodes)), namespace)
    assert (namespace["_end"], namespace["count"].tolist()) == (2, [0, 0, 0, 0])
    assert lines(CppPrinter, *nodes)[:3] == [
        "const int _row = first[_trial];",
        "const int _end = _row > 2 ? 2 : _row;",
        "if (_row == 0)",
    ]
    assert "if (threadIdx.x == 0)" in lines(CudaPrinter, *nodes)
    assert lines(NumpyPrinter, If("_row", [Sync()])) == ["if _row:", "pass"]


def test_the_spikes_of_a_step_are_listed_and_counted_without_padding():
    node = ListSpikes(SPIKES, "count", by_neuron=False)
    arrays = {
        "z": np.array([1.0, 0.0, 1.0]),
        "neuron": np.zeros(9, int),
        "first": np.array([0, 0, 1, 0, 0]),
        "spikespace": np.zeros(4, int),
        "count": np.array([2, 0, 0]),
    }
    exec("\n".join(printer(NumpyPrinter).lines([node])), {"_step": 1, "_numpy": np, **arrays})
    assert arrays["neuron"][1:3].tolist() == [0, 2]
    assert arrays["first"][3] == 3
    assert arrays["count"].tolist() == [3, 0, 1]
    assert "z, 0, 4, 3, neuron, _end, count);" in lines(CppPrinter, node)
    assert any("eprop_brian::list_spikes(" in line for line in lines(CudaPrinter, node))


@pytest.mark.parametrize("kind", [CppPrinter, CudaPrinter, NumpyPrinter])
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_spikes_are_delivered_from_the_step_in_which_they_left(kind, delay):
    text = "\n".join(lines(kind, Deliver("deliver", None, SPARSE, SPIKES, delay, False, 0)))
    first = {0: "first[_step + 1]", 1: "first[_step]", 2: "first[_step - 1]"}[delay]
    last = {0: "first[_step + 2]", 1: "first[_step + 1]", 2: "first[_step]"}[delay]
    assert first in text
    assert last in text
    assert "rows[_pre + 1]" in text
    assert ("__syncthreads();" in text) == (kind is CudaPrinter)


def test_what_stands_between_two_barriers_is_a_kernel():
    nodes = [
        Put("k", "0", "{k}[0] + 1"),
        Sync(),
        If("_learning", [AllSynapses("deliver", SYNAPSES), AllSynapses("deliver", SPARSE)]),
        Sync(),
        Each("advance", 300),
    ]
    cuda = printer(CudaPrinter, nodes, "update")
    assert cuda.launches("update").split("\n") == [
        "launch(update_0, dim3(blocks(1), 1, 1), 256, memory);",
        "if (_learning)",
        "{",
        "    launch(update_1, dim3(blocks(6), 1, 2), 256, memory);",
        "}",
        "launch(update_2, dim3(blocks(300), 1, 1), 256, memory);",
    ]
    kernels = cuda.kernels("update")
    assert "if (blockIdx.z == 0 && _at < 6)" in kernels
    assert "if (blockIdx.z == 1 && _at < rows[3])" in kernels
    assert "if (blockIdx.z == 0 && _at < 300)" in kernels


def test_a_schedule_knows_its_nodes_and_what_they_write():
    inner = Put("count", "0", "1")
    schedule = Schedule("step", None, {"step": [If("_learning", [inner], [Each("advance", 3)])]})
    condition, put, each = schedule.nodes("step", "not there")
    assert put is inner
    assert put.sets() == ("count",)
    assert Put("count", "_trial", "1").sets() == ()
    assert blocks_of(each, BLOCKS) == ["advance"]
    assert blocks_of(condition, BLOCKS) == []
