"""Neurons in tiles do what loops one after the other do."""

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network
from eprop_brian.devices import cpp
from eprop_brian.network.program import make_program
from eprop_brian.steps import cpp_tiles
from eprop_brian.steps.cpp_tiles import CppTiles
from eprop_brian.steps.fusing import Tiling
from eprop_brian.training.session import Session
from support.trials import DELAYED, random_trials

pytestmark = pytest.mark.usefixtures("users_compiler")

N_IN, N_STEPS, N_TRIALS = 9, 40, 2
#: Sizes whose vectors fill one tile, or several with a shorter last one; outputs that fit in
#: registers, or do not.
CASES = {
    "a tile": ([(LIF, 37), (ALIF, 5)], 3, "float64", {}),
    "several tiles": ([(LIF, 150), (ALIF, 270)], 2, "float64", {"loss": "softmax_cross_entropy"}),
    "float32": ([(ALIF, 300)], 20, "float32", {}),
    "online": ([(LIF, 20), (ALIF, 9)], 2, "float64", {"gradient": "online"}),
    "delayed": ([(LIF, 37), (ALIF, 140)], 2, "float64", DELAYED),
}


def run(case):
    """What training changes, and the source of the program."""
    neurons, n_out, dtype, options = CASES[case]
    network = Network.standard(N_IN, n_out, neurons, **{"c_reg": 3.0, **options})
    weights = network.initial_weights(4)
    for name in ("w_in", "w_rec"):
        weights[name] *= 3
    data = random_trials(7, (N_TRIALS, N_STEPS, N_IN), n_out)
    if "loss" in options:
        data.targets[:] = np.eye(n_out)[0]
    session = Session(network, make_program("cpp", dtype), data, N_STEPS, weights)
    outcome = session.run(data, N_TRIALS)
    assert outcome.rate.min() > 20
    source = (session.program.folder / "program.cpp").read_text()
    results = {"loss": outcome.loss, "rate": outcome.rate, **session.gradient(), **session.weights}
    session.close()
    return results, source


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_tiles_change_no_result(case, monkeypatch):
    tiled, source = run(case)
    monkeypatch.setattr(CppTiles, "fits_in_tiles", lambda self, width: False)
    # And spikes are listed where they stand in the schedule.
    monkeypatch.setattr(Tiling, "_listed_late", lambda self, nodes: [*nodes])
    expected, plain = run(case)
    # What is delayed waits in arrays of its own, and is added there.
    for tile in ("eprop_brian::add_rows(", "int _begin = 0"):
        assert (tile in source) == (case != "delayed")
    if case == "a tile":
        # Spikes of one population are listed when the other one has been advanced, too.
        advanced = source.index("_ptr_array_lif_to_alif_w + _begin")
        assert advanced < source.rindex("_ptr_array_lif_z, 0, ")
    assert "int _begin = 0" not in plain
    # But for rounding: here sums are in the order of the spikes, there some of them four at a time.
    tolerance = 1e-4 if "float32" in case else 1e-11
    for name, value in expected.items():
        scale = np.abs(value).max()
        assert scale > 0
        np.testing.assert_allclose(tiled[name], value, 0, tolerance * scale, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_number_of_threads_gives_the_same_bits(dtype, monkeypatch):
    monkeypatch.setattr(cpp_tiles, "_SHARED_OUT", 0)
    monkeypatch.setattr(cpp, "_TILE_BYTES", 1)
    network = Network.standard(N_IN, 2, [(LIF, 300), (ALIF, 270)], c_reg=3.0)
    weights = network.initial_weights(4)
    weights["w_rec"] *= 3
    data = random_trials(7, (N_TRIALS, 20, N_IN), 2)
    results = []
    for threads in (1, 2, 3, 4):
        program = make_program("cpp", dtype, threads=threads)
        session = Session(network, program, data, 20, weights)
        outcome = session.run(data, N_TRIALS)
        results.append({"loss": outcome.loss, "spikes": session.spikes(), **session.weights})
        source = (session.program.folder / "program.cpp").read_text()
        assert source.count("eprop_brian::share_out(") == 4
        session.close()
    assert results[0]["spikes"].sum() > 100
    for name, value in results[0].items():
        for other in results[1:]:
            np.testing.assert_array_equal(np.asarray(other[name]), np.asarray(value), err_msg=name)
