"""Published neurons, each with what brings it about its threshold."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import brian2
import numpy as np
from brian2 import NeuronGroup, ms

from eprop_brian.equations import GRADIENT_DESCENT, LEAKY
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.published import PUBLISHED, synapses
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.exogenous import exogenous_values
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.exogenous import Draw
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.tasks.trials import noise_keys
from eprop_brian.training.session import Session
from support.abstract_code import AbstractCode
from support.arrays import all_dense, deviation
from support.stock import Drive, group_of, network_of, random_drive, simulation, weights_of
from support.trials import trials_of

__all__ = ["ROWS", "Comparison", "Row", "compare"]

N_OUTPUTS = 2

#: Not in the library, as its drive is long.
STURZL_LEGS = Neuron(
    name="sturzl_2000_legs",
    model="""
    dv/dt = (1 + rates(t - d) - v)/tau_legs + sigma*(2./tau_legs)**.5*xi:1
    d : second
    """,
    method="euler",
    on_pre="v += w",
    threshold="v > 1",
    reset="v = 0",
    refractory="1 ms",
    surrogate="",
    parameters={
        "tau_legs": "1 ms",
        "sigma": 0.01,
        # R/vr*(1 - cos(phi - gamma)) of the script
        "d": "0.5*ms*(1 - cos((144 - 22.5 - 45*i)*2*pi/360))",
    },
    timed_arrays={
        "rates": {"values": np.cos(2 * np.pi * 0.03 * np.arange(400)).tolist(), "dt": "0.1 ms"}
    },
    source="examples/frompapers/Sturzl_et_al_2000.py, receptors of the legs with a wave of one "
    "frequency, on_pre added; Stürzl et al. 2000, Phys. Rev. Lett. 84:5668",
)


@dataclass(frozen=True)
class Row:
    """A neuron and its drive.

    Attributes
    ----------
    name : str
        Of the neuron, or of what it and its synapses are together.
    weights : mapping of str to (float, float)
        Mean and standard deviation of the weights of inputs, by receptor.
    dt : float
        Length of a step in ms.
    n_steps : int
    p : float
        Probability of a spike of each of ten inputs in a step.
    size : int
        Number of neurons.
    of : str
        The neuron, where that has another name.
    synapses : mapping of str to Synapse
        Dynamics of the synapses of a receptor.
    positive : bool
        Whether weights are conductances of a neuron that none may be negative in.
    slow : bool
        Whether its test takes seconds, and a quicker one has the same kinds of statements.
    """

    name: str
    weights: Mapping[str, tuple[float, float]]
    dt: float = 0.1
    n_steps: int = 400
    p: float = 0.03
    size: int = 4
    of: str = ""
    synapses: Mapping[str, Synapse] = field(default_factory=dict)
    positive: bool = False
    slow: bool = False

    @property
    def written(self) -> Neuron:
        """The neuron as it is written."""
        return {**PUBLISHED, STURZL_LEGS.name: STURZL_LEGS}[self.of or self.name]

    def group(self, size: int) -> NeuronGroup:
        """The neuron in Brian2, which evaluates what is given by expressions."""
        brian2.seed(1)
        return group_of(self.written, size, self.dt * ms)

    def read(self, group: NeuronGroup) -> Neuron:
        """The neuron of the package, read from that of Brian2 with the values that it has."""
        return Neuron.from_brian2(
            group,
            name=self.written.name,
            on_pre=self.written.on_pre,
            namespace=group.namespace,
        )

    @property
    def drive(self) -> Drive:
        """Spikes and weights, the same in every call."""
        drive = random_drive(
            5,
            self.size,
            self.weights,
            n_steps=self.n_steps,
            p=self.p,
            dt=self.dt * ms,
        )
        # Brian2 sums the synapses of one origin alone into a variable.
        summed = {name for name, synapse in self.synapses.items() if "(summed)" in synapse.model}
        among = {name: w for name, w in drive.w_rec.items() if name not in summed}
        w_in = drive.w_in
        if self.positive:
            w_in, among = ({k: np.abs(w) for k, w in x.items()} for x in (w_in, among))
        return replace(drive, synapses=self.synapses, w_in=w_in, w_rec=among)

    @property
    def source(self) -> str:
        """Where the equations come from."""
        return self.written.source


ROWS = (
    Row("brunel_2000", {"": (20, 40)}),
    Row("if_curve_lif", {"": (2, 4)}),
    Row("adaptive_threshold", {"": (0.7, 1)}),
    Row("refractory_adaptation", {"": (0.2, 0.4)}),
    Row("sturzl_2000", {"": (0.05, 0.06)}, slow=True),
    Row("nicola_clopath_2017", {"": (0.3, 0.5)}, dt=0.05, slow=True),
    Row("maass_2002", {"": (0.5, 1)}, slow=True),
    Row("tsodyks_2000", {"": (20, 20)}, dt=1, synapses={"": synapses.TSODYKS_DEPRESSING}),
    Row("cuba_2007", {"excitatory": (8, 8), "inhibitory": (0.5, 0.5)}, slow=True),
    Row("coba_2018", {"excitatory": (50, 50), "inhibitory": (1, 1)}, slow=True),
    Row(
        "stimberg_2018",
        {"excitatory": (150, 150), "inhibitory": (2, 2)},
        of="coba_2018",
        synapses={
            "excitatory": synapses.STIMBERG_EXCITATORY,
            "inhibitory": synapses.STIMBERG_INHIBITORY,
        },
        slow=True,
    ),
    Row("vogels_2011", {"ampa": (15, 15), "gaba": (1, 1)}, slow=True),
    Row("rossant_2011", {"excitatory": (4, 4), "inhibitory": (1, 1)}, slow=True),
    Row("kremer_2011", {"excitatory": (2, 2), "inhibitory": (0.5, 0.5)}, slow=True),
    Row("izhikevich_2007", {"direct": (0.02, 0.03), "ge": (0.02, 0.02)}, slow=True),
    Row("clopath_2010", {"": (0.1, 0.2)}, dt=0.5, slow=True),
    Row(
        "brunel_wang_2001",
        {"external": (5, 5), "ampa": (10, 10), "nmda": (10, 10), "gaba": (1, 1)},
        synapses={"nmda": synapses.BRUNEL_WANG_NMDA},
        slow=True,
    ),
    Row("diehl_cook_2015", {"ge": (1, 1), "gi": (0.01, 0.01)}, dt=0.5, n_steps=600, slow=True),
    Row("brette_gerstner_2005", {"": (3, 5)}),
    Row("naud_2008", {"": (4, 4)}, size=8),
    Row("touboul_brette_2008", {"": (5, 5)}, dt=0.1),
    Row("izhikevich_2003", {"": (4, 10)}, dt=1),
    Row("hindmarsh_rose_1984", {"": (0.3, 0.5)}, slow=True),
    Row("quadratic_if", {"": (5, 8)}),
    Row("exponential_if", {"": (3, 5)}),
    Row("theta_neuron", {"": (0.3, 0.5)}),
    Row("multi_timescale_threshold", {"": (0.5, 1)}, slow=True),
    Row("generalized_if", {"": (0.2, 0.3)}, slow=True),
    Row("coba_hh_2007", {"excitatory": (10, 10), "inhibitory": (0.3, 0.3)}, dt=0.05, slow=True),
    Row("if_curve_hh", {"": (5, 5)}, dt=0.05, slow=True),
    Row("hodgkin_huxley", {"": (4, 5)}, dt=0.05, slow=True),
    Row("morris_lecar_1981", {"": (15, 15)}, dt=0.2, slow=True),
    Row("wang_buzsaki_1996", {"": (5, 5)}, dt=0.05, slow=True),
    Row("fitzhugh_nagumo", {"": (0.3, 0.3)}, dt=0.2),
    Row("rothman_manis_2003", {"": (5, 5)}, dt=0.05, slow=True),
    Row(
        "pinsky_rinzel_1994",
        {"": (500, 500)},
        dt=0.05,
        n_steps=800,
        positive=True,
        slow=True,
    ),
    Row("phase_locking", {"": (0.2, 0.3)}),
    Row("brette_2004", {"": (0.2, 0.3)}),
    Row("non_reliability", {"": (0.2, 0.3)}, slow=True),
    Row("brunel_hakim_1999", {"": (-15, 30)}),
    Row("diesmann_1999", {"": (2, 3)}, slow=True),
    Row("platkiewicz_brette_2011", {"": (3, 5)}, slow=True),
    Row("spreizer_2019", {"": (0.02, 0.1)}, synapses={"": synapses.SPREIZER_ALPHA}),
    Row("sturzl_2000_legs", {"": (0.2, 0.3)}),
    Row("jeffress", {"": (0.5, 0.5)}),
    Row("licklider", {"": (0.2, 0.3)}, dt=0.05, slow=True),
)


@dataclass(frozen=True)
class Comparison:
    """A neuron in the package beside the same neuron elsewhere.

    Attributes
    ----------
    seconds : float
        Processor time of making a network of it, nearly all of which derives the learning rule.
    n_spikes : int
        Spikes of Brian2.
    differing : int
        Neurons and steps with a spike in one of Brian2 and the package, and not in the other.
    deviations : dict of str to float
        Largest deviation of the gradient from automatic differentiation, relative to the largest
        entry of a matrix, by gradient program.
    """

    seconds: float
    n_spikes: int
    differing: int
    deviations: dict[str, float]


def compare(row: Row, device: str = "runtime") -> Comparison:
    """Run a neuron in Brian2, in JAX and by both gradient programs of the package.

    Raises
    ------
    EquationError
        If the package refuses it.
    """
    drive, group = row.drive, row.group(row.size)
    neuron = row.read(group)
    before = time.process_time()
    (population,) = network_of(neuron, drive).resolved.populations
    seconds, step = time.process_time() - before, population.system.step
    rng = np.random.default_rng(6)
    targets = rng.normal(size=(row.n_steps, N_OUTPUTS))
    w_out = rng.normal(size=(N_OUTPUTS, row.size))
    stock = simulation(group, neuron.on_pre, drive)
    code = AbstractCode(stock)
    draws = _draws(population, row)
    spikes, _ = stock.run(draws=draws)
    kappa = np.exp(-float(drive.dt) / resolve_parameters(LEAKY.parameters, "readout")[0]["tau_out"])
    expected, same = code.gradient(step.surrogate, step.detached, w_out, kappa, targets, draws)
    np.testing.assert_array_equal(same, spikes)
    expected = {
        f"{name}_{receptor}" if receptor else name: gradient
        for name, matrices in expected.items()
        for receptor, gradient in matrices.items()
    }
    differing, deviations = 0, {}
    for program in ("factored", "online"):
        gradient, z = _in_package(neuron, drive, program, targets, w_out, device)
        differing += int((z != spikes).sum())
        found = {name: gradient[name] for name in expected}
        deviations[program] = deviation(found, expected)
    return Comparison(seconds, int(spikes.sum()), differing, deviations)


def _draws(population: PopulationGroup, row: Row) -> dict[str, np.ndarray]:
    """Random numbers of the package, by the function that draws them."""
    values = exogenous_values(population, noise_keys(0, "trials", 0, 1), row.n_steps, row.dt / 1e3)
    draws: dict[str, list[np.ndarray]] = {}
    for quantity in population.system.step.exogenous:
        if isinstance(quantity, Draw):
            name = {"normal": "randn", "uniform": "rand"}[quantity.kind]
            draws.setdefault(name, []).append(values[quantity.name][:, 0])
    return {name: np.stack(numbers, axis=1) for name, numbers in draws.items()}


def _in_package(neuron, drive, program, targets, w_out, device):
    """Gradient and spikes of a trial."""
    network = network_of(
        neuron,
        drive,
        N_OUTPUTS,
        gradient=program,
        optimizer=GRADIENT_DESCENT,
        c_reg=0.0,
        average_gradient=False,
    )
    weights = weights_of(network, drive) | {"w_out": w_out, "B": w_out.T}
    trials = trials_of(drive.inputs[None], targets[None])
    session = Session(network, make_program(device), trials, len(targets), weights)
    session.run(trials, 1)
    gradient, spikes = all_dense(session.gradient()), session.spikes()
    session.close()
    return gradient, spikes
