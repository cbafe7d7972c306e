r"""E-prop 3: gradients within windows, with eligibility traces and synthetic gradients across them.

A trial is divided into windows of D steps. Within a window the loss is differentiated through the
whole network; at its end a synthesiser says what the derivative of all later losses by the
network's state will be. The derivative of a neuron's spike, which results, is its learning signal.
Eligibility traces, which are not reset between windows, carry it back to all earlier input
(Bellec et al. 2019, arXiv:1901.09049, e-prop 3).

Of neuron j, with states :math:`h_j` and spikes :math:`z_j`, the gradient is

.. math::

    \frac{dE}{dW_{ji}} = \sum_t L_j[t]\, e_{ji}[t], \qquad
    L_j[t] = \frac{\partial E}{\partial z_j[t]}
        + \sum_{l \ne j} \frac{\partial h_l[t+1]}{\partial z_j[t]} \lambda_l[t+1],

where :math:`\lambda[t]` is the derivative of the losses by the states after step t. It follows from
:math:`\lambda[t + 1]` within a window, and is the synthesiser's at the first step of the next one.
The first term is e-prop's learning signal: the direct effect of a spike on all readouts, as their
filter carries it on. The second one is the effect by way of other neurons. What a spike does to its
own neuron is in the trace already, and is left out.

So windows of one step without a synthesiser are e-prop (1), and one window of the whole trial is
backpropagation through time, as are windows of any length with a synthesiser that is right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.training.jax_functions import Values
from eprop_brian.training.unrolled import Crossing, Links

__all__ = [
    "Boundary",
    "Differentiable",
    "boundary_states",
    "local_gradient",
    "no_links",
    "true_boundary",
    "windowed_gradient",
]


#: Inputs, targets, where the error counts, and what else acts: arguments of `linked`.
Batch: TypeAlias = tuple[Any, Any, Any, Any]


class Boundary(NamedTuple):
    """Derivatives of the losses of a trial by what enters its windows, but for the first window.

    Attributes
    ----------
    states : array, shape (n_windows - 1, n_trials, n_states)
        By the states of all neurons after the first step of each window.
    outputs : array, shape (n_windows - 1, n_trials, n_outputs)
        By the readouts before that step.
    """

    states: jax.Array
    outputs: jax.Array


class Differentiable(Protocol):
    """A recurrent network in JAX whose derivatives can be cut between steps.

    Attributes
    ----------
    n_states, n_recurrent, n_outputs : int
    """

    @property
    def n_states(self) -> int: ...
    @property
    def n_recurrent(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...

    def linked(
        self,
        weights: Values,
        links: Links,
        x: jax.Array,
        targets: jax.Array,
        counted: jax.Array,
        exogenous: Any,
        *,
        local: bool,
    ) -> tuple[jax.Array, Crossing, Any]:
        """The mean loss of trials, what crosses links between steps, and what else is of interest.

        Parameters
        ----------
        weights : mapping
        links : Links
        x : array, shape (n_trials, n_steps, n_inputs)
        targets : array, shape (n_trials, n_steps, n_outputs)
        counted : array of bool, shape (n_trials, n_steps)
            Where the error counts.
        exogenous
            What else acts on the network.
        local : bool
            Whether spikes reach other neurons without their derivatives.
        """
        ...


def windowed_gradient(
    network: Differentiable,
    weights: Values,
    batch: Batch,
    firsts: np.ndarray,
    synthesise: Callable[[Crossing], Boundary] | None,
) -> tuple[Boundary, Values, Crossing, Any]:
    """The gradient of windows.

    Parameters
    ----------
    network : Differentiable
    weights : mapping
    batch : Batch
    firsts : array of int
        First steps of the windows, but for step 0.
    synthesise : callable, optional
        Gives derivatives of the losses of a trial, not of their mean over trials, from what
        crosses between steps. Default: they are 0.

    Returns
    -------
    found : Boundary
        Derivatives of the losses of a trial by what enters each window, as far as the window's own
        losses and the synthesiser at its end say: what a synthesiser learns.
    gradient : mapping
        Of the mean loss over trials, keyed as the weights.
    crossing : Crossing
    result
        As `Differentiable.linked` gives it.
    """
    signals, found = _through_windows(network, weights, batch, firsts, synthesise)
    return found, *local_gradient(network, weights, batch, signals)


def local_gradient(
    network: Differentiable,
    weights: Values,
    batch: Batch,
    signals: jax.Array | float = 0.0,
) -> tuple[Values, Crossing, Any]:
    """The gradient of e-prop, with what each spike does by way of other neurons, if it is known.

    Parameters
    ----------
    network, weights, batch
        As for `windowed_gradient`.
    signals : array, shape (n_steps, n_trials, n_recurrent)
        Derivatives of the mean loss by the spikes of each step by way of other neurons.

    Returns
    -------
    gradient, crossing, result
        As `windowed_gradient` gives them.
    """
    uncut = no_links(network, batch[0])

    def local(weights):
        total, crossing, result = network.linked(weights, uncut, *batch, local=True)
        return total + jnp.sum(signals * crossing.spikes), (crossing, result)

    gradient, (crossing, result) = jax.grad(local, has_aux=True)(weights)
    return gradient, crossing, result


def true_boundary(
    network: Differentiable, weights: Values, batch: Batch, firsts: np.ndarray
) -> Boundary:
    """What a synthesiser that is right says: by backpropagation through the whole trial.

    Parameters
    ----------
    network, weights, batch, firsts
        As for `windowed_gradient`.
    """
    links = no_links(network, batch[0])

    def run(states, outputs):
        own = links._replace(states=states, outputs=outputs)
        return network.linked(weights, own, *batch, local=False)[0]

    states, outputs = jax.grad(run, argnums=(0, 1))(links.states, links.outputs)
    n_trials = batch[0].shape[0]
    return Boundary(n_trials * states[firsts], n_trials * outputs[firsts])


def boundary_states(crossing: Crossing, firsts: np.ndarray) -> jax.Array:
    """What a synthesiser sees at the end of each window but the last.

    Returns
    -------
    array, shape (n_windows - 1, n_trials, n_states + n_recurrent + n_outputs)
        States, spikes and readouts.
    """
    seen = crossing.states[firsts - 1], crossing.spikes[firsts - 1], crossing.outputs[firsts]
    return jax.lax.stop_gradient(jnp.concatenate(seen, axis=2))


def _through_windows(
    network: Differentiable,
    weights: Values,
    batch: Batch,
    firsts: np.ndarray,
    synthesise: Callable[[Crossing], Boundary] | None,
) -> tuple[jax.Array, Boundary]:
    """Effects of spikes by way of other neurons, and derivatives by what enters the windows."""
    n_trials = batch[0].shape[0]
    links = _links(network, batch[0], firsts)

    def run(states, outputs, arriving):
        own = Links(links.cut, states, outputs, arriving)
        total, crossing, _ = network.linked(weights, own, *batch, local=False)
        return (total, crossing.states, crossing.outputs), crossing

    leaving, pull, crossing = jax.vjp(
        run, links.states, links.outputs, links.arriving, has_aux=True
    )
    later = [jnp.zeros_like(value) for value in leaving[1:]]
    if synthesise is not None:
        said = synthesise(crossing)
        later = [zero.at[firsts].set(own / n_trials) for zero, own in zip(later, said, strict=True)]
    states, outputs, arriving = pull((jnp.ones_like(leaving[0]), *later))
    # What arrives in a step left in the step before.
    signals = jnp.concatenate([arriving[1:], jnp.zeros_like(arriving[:1])])
    return signals, Boundary(n_trials * states[firsts], n_trials * outputs[firsts])


def no_links(network: Differentiable, x: jax.Array) -> Links:
    """Links of trials with inputs `x` that cut nothing."""
    return _links(network, x, np.zeros(0, int))


def _links(network: Differentiable, x: jax.Array, firsts: np.ndarray) -> Links:
    """Links that are cut before the first steps of windows, and add nothing."""
    n_trials, n_steps = x.shape[:2]
    dtype = x.dtype
    cut = jnp.zeros(n_steps, bool).at[firsts].set(True)
    sizes = network.n_states, network.n_outputs, network.n_recurrent
    return Links(cut, *(jnp.zeros((n_steps, n_trials, n), dtype) for n in sizes))
