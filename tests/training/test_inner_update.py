"""One update in JAX: equal to the compiled one; its derivative equal to finite differences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eprop_brian.equations import ADAM, LIF
from eprop_brian.network.program import make_program
from eprop_brian.training import jax_parts
from eprop_brian.training.inner_update import InnerUpdate
from eprop_brian.training.meta import MetaObjective, MetaRules
from eprop_brian.training.session import Session
from support.learned_signals import (
    FILTERS,
    N_STEPS,
    arm_network,
    as_arrays,
    emitting,
    emitting_trials,
    small_arm,
    without_refractoriness,
)

#: Largest deviation of the compiled update from that in JAX.
TOLERANCE = 1e-10


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_the_compiled_update_is_that_in_jax(name, delayed, device):
    network, trials = emitting(own_filter=FILTERS[name], delayed=delayed), emitting_trials()
    if delayed and device != "runtime":
        pytest.skip("a program more to compile")
    weights = network.initial_weights(3)
    session = Session(network, make_program(device), trials, N_STEPS, weights)
    session.run(trials, trials.n_trials)
    with jax.enable_x64(True):
        dense = {
            n: jnp.asarray(w.toarray() if hasattr(w, "toarray") else w) for n, w in weights.items()
        }
        inner = InnerUpdate(network.resolved, np.float64)
        changed, spikes = jax.jit(inner)(dense, jnp.asarray(trials.inputs))
    np.testing.assert_array_equal(np.asarray(spikes)[:, -1] > 0, session.spikes())
    for key, before in weights.items():
        after, in_jax = session.weights[key], np.asarray(changed[key])
        after = after.toarray() if hasattr(after, "toarray") else after
        np.testing.assert_allclose(in_jax, after, rtol=0, atol=TOLERANCE)
        moved = np.abs(in_jax - np.asarray(dense[key])).max()
        assert (moved > 1e-3) == (key in inner.trained), (key, np.shape(before))
    session.close()


@pytest.fixture
def smooth_spikes(monkeypatch):
    """A spike is no step but a sigmoid of the margin, whose slope is the neuron's surrogate."""

    @jax.custom_jvp
    def smooth(margin, psi, fires):
        return jax.nn.sigmoid(STEEPNESS * margin)

    @smooth.defjvp
    def slope(primals, tangents):
        margin, psi, fires = primals
        return smooth(*primals), psi * tangents[0]

    monkeypatch.setattr(jax_parts, "spike", smooth)


STEEPNESS = 4.0
SMOOTH = replace(
    without_refractoriness(LIF),
    surrogate=f"{STEEPNESS}*exp({-STEEPNESS}*(v - v_th))/(1 + exp({-STEEPNESS}*(v - v_th)))**2",
)


def objective_of(network, family):
    rules = MetaRules(ADAM, rate_cost=3.0)
    return MetaObjective(network.resolved, family, rules, np.float64)


@pytest.mark.slow
def test_the_outer_gradient_is_that_of_finite_differences(smooth_spikes):
    """5 neurons that learn and 5 that emit; through queries, update and support, by all weights."""
    family = small_arm()
    network = arm_network(family, neuron=SMOOTH)
    weights = as_arrays(network.initial_weights(2))
    with jax.enable_x64(True):
        objective = objective_of(network, family)
        arrays = objective.arrays(family.draw(1, "train", 0, 2))
        compute = jax.jit(jax.value_and_grad(lambda w: objective(w, *arrays)[0]))
        computed = {name: np.asarray(g) for name, g in compute(weights)[1].items()}
        step, differences = 1e-6, {}
        for name, w in weights.items():
            differences[name] = np.zeros_like(w)
            for place in np.ndindex(w.shape):
                ends = []
                for sign in (1, -1):
                    moved = w.copy()
                    moved[place] += sign * step
                    ends.append(float(compute({**weights, name: moved})[0]))
                differences[name][place] = (ends[0] - ends[1]) / (2 * step)
    assert {*computed} == {*weights} and len(weights) == 7
    for name, expected in differences.items():
        largest = np.abs(expected).max()
        assert largest > 1e-4, name
        np.testing.assert_allclose(computed[name], expected, rtol=0, atol=1e-6 * max(largest, 0.01))
