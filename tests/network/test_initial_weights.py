"""Initial weights of connections: signs, scales, given and balanced ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csc_array

from eprop_brian import LIF, Network
from eprop_brian.base.sparse import dense
from eprop_brian.network.connectivity import adjacency
from eprop_brian.network.draws import initial_draws
from eprop_brian.network.graph import connection

N_INPUTS, N_E, N_I = 30, 400, 100


def resolved(options):
    """Connections of an E/I network, with fields by name."""
    kinds = [(replace(LIF, name="e"), N_E), (replace(LIF, name="i"), N_I)]
    whole = Network.standard(N_INPUTS, 2, kinds).resolved
    groups = {"x": whole.inputs[0], "e": whole.populations[0], "i": whole.populations[1]}
    connections = []
    for name, fields in options.items():
        source, target = (groups[letter] for letter in name.split("_"))
        fields = dict(fields)
        fraction = fields.pop("connectivity", None)
        c = connection(name, [source], [target], plastic=False, **fields)
        connections.append(replace(c, adjacency=adjacency(c, fraction, 0)))
    return replace(whole, connections=(*connections, whole.connections[-1]))


def wide(**fields):
    """Excitation that is there already, beside the inhibition that is to be balanced."""
    fixed = {"x_e": {"sign": 1.0}, "e_e": {"sign": 1.0, "connectivity": 0.1, "scale": 2.0}}
    return resolved({**fixed, "i_e": {"sign": -1.0, "balanced": True, **fields}})


def test_signs_and_scales():
    plain = resolved({"e_i": {}, "i_i": {"glorot": True}}).initial_weights(4)
    signed = {"e_i": {"sign": 1.0, "scale": 3.0}, "i_i": {"sign": -1.0, "glorot": True}}
    weights = resolved(signed).initial_weights(4)
    np.testing.assert_array_equal(weights["e_i"], 3.0 * np.abs(plain["e_i"]))
    np.testing.assert_array_equal(weights["i_i"], -np.abs(plain["i_i"]))


@pytest.mark.parametrize("connectivity", [None, 0.2])
def test_inhibition_balances_the_excitation_that_there_is(connectivity):
    """Sums over the drawn weights of many neurons cancel, to their standard error."""
    network = wide(connectivity=connectivity)
    weights = network.initial_weights(1)
    sums = {name: dense(weights[name]).sum(axis=1) for name in ("x_e", "e_e", "i_e")}
    excitation, total = sums["x_e"] + sums["e_e"], sum(sums.values())
    assert abs(total.mean()) < 4 * total.std() / np.sqrt(N_E)
    assert total.std() < excitation.mean()
    stronger = wide(connectivity=connectivity, scale=1.2).initial_weights(1)
    np.testing.assert_allclose(dense(stronger["i_e"]), 1.2 * dense(weights["i_e"]), rtol=1e-14)


def test_the_balance_by_its_formula_whatever_the_order():
    network = wide()
    mean = np.sqrt(2 / np.pi)
    n_synapses = network.adjacency["e_e"].nnz
    excitation = N_INPUTS * mean / np.sqrt(N_INPUTS) + 2 * n_synapses / N_E * mean / np.sqrt(
        N_E
    ) * np.sqrt(N_E * (N_E - 1) / n_synapses)
    factor = excitation / (N_I * mean / np.sqrt(N_I))
    found = initial_draws(network.connections)["i_e"].factor
    np.testing.assert_allclose(found, factor, rtol=1e-14)
    assert initial_draws(network.connections[::-1])["i_e"].factor == found


def test_excitation_is_balanced_where_inhibition_is_given():
    weights = np.full((N_E, N_I), -0.25)
    network = resolved(
        {"e_e": {"sign": 1.0, "balanced": True}, "i_e": {"sign": -1.0, "weights": weights}}
    )
    drawn = network.initial_weights(2)
    np.testing.assert_array_equal(drawn["i_e"], weights)
    np.testing.assert_allclose(drawn["e_e"].sum(axis=1).mean(), N_I * 0.25, rtol=0.02)
    assert not np.any(np.diag(drawn["e_e"]))


def test_given_weights_are_scaled_and_draw_nothing():
    matrix = np.random.default_rng(0).random((N_I, N_E))
    plain = resolved({"i_e": {}}).initial_weights(4)
    given = resolved({"e_i": {"weights": matrix, "scale": -2.0}, "i_e": {}}).initial_weights(4)
    np.testing.assert_array_equal(given["e_i"], -2.0 * matrix)
    np.testing.assert_array_equal(given["i_e"], plain["i_e"])
    sparse = {"connectivity": matrix < 0.1, "weights": csc_array(matrix * (matrix < 0.1))}
    kept = resolved({"e_i": sparse}).initial_weights(4)["e_i"]
    np.testing.assert_array_equal(dense(kept), matrix * (matrix < 0.1))


ONES = np.ones((N_I, N_I))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": ONES[1:]}, r"must have shape \(100, 100\) \[post, pre\], not \(99, 100\)"),
        ({"weights": ONES}, "must have a zero diagonal"),
        ({"weights": ONES * np.nan}, "must be finite"),
        ({"weights": ONES - np.eye(N_I), "sign": -1.0}, "are inhibitory, but some have the other"),
        ({"weights": 0 * ONES, "glorot": True}, "are given: they are not drawn"),
        ({"scale": np.inf}, "scale of 'i_i' must be a finite number"),
        ({"sign": 1.0, "scale": -1.0}, "scale of 'i_i' must be at least 0"),
        ({"balanced": True}, "'i_i' can only be balanced with a sign"),
        ({"balanced": True, "sign": -1.0}, "cannot be balanced: nothing is left onto 'i'"),
    ],
)
def test_weights_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        resolved({"i_i": fields})
