"""An environment that a network acts in, as equation strings.

An `Environment` is data, as a `Neuron` is: its states with their units, what they are when an
episode begins, what an action does to them, the reward, and when the episode is over. A `Code` says
how inputs of the network sense it, step by step. Nothing here computes:
`eprop_brian.symbolic.environment` checks an environment and brings it to the statements that run
inside a compiled program, so that an episode needs no Python.

Time runs in two units. The network takes a step every ``dt``; the environment takes one every
`action_every`, when the network has chosen an action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from brian2.units import ms
from brian2.units.fundamentalunits import Quantity
from numpy.typing import ArrayLike

from eprop_brian.base.description import Described, Description, assignments
from eprop_brian.equations.brian_arguments import expression_of, text_of, time_of
from eprop_brian.equations.neuron import Parameter, Text
from eprop_brian.equations.parametrised import Parametrised

__all__ = ["Code", "Environment"]


@dataclass(frozen=True)
class Code(Parametrised):
    """How a group of inputs senses an environment.

    Its condition or expression reads the states and parameters of the environment, its own
    parameters, ``i`` (the number of the input in the group), ``N`` (their number), ``t`` (the time
    since the episode began), ``t_action`` (the time since the last action), ``dt``, ``rand()`` and
    ``randn()``.

    Parameters
    ----------
    size : int
        Number of inputs.
    spike : str
        Condition for an input spike in a step: ``"rand() < p*exp(-((x - centre)/width)**2/2)"``.
    value : str
        In its place, the value of an analog input in a step, dimensionless: ``"x/x_limit"``.
    parameters : mapping
        Numbers, quantities, strings with a unit; an array has a value for each input, and so has an
        expression of ``i`` and ``N``: ``"low + i*width"``.
    senses : array of int, shape (size,), optional
        Of an environment outside of the program: which component of its observation each input
        senses, from 0 on. The condition or expression reads it as ``observation``.
    """

    kind: ClassVar[str] = "code"

    size: int
    spike: Text = ""
    value: Text = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    senses: ArrayLike | None = None


@dataclass(frozen=True)
class Environment(Described, Parametrised):
    """What a network senses and acts upon, as equation strings.

    Parameters
    ----------
    name : str
        Short lower-case name.
    model : str
        Declares its states with their units, one a line: ``"x : meter"``.
    codes : sequence of Code
        How the network's inputs sense it, in the order of the inputs. All give spikes, or all give
        values.
    most_actions : int
        An episode that lasts for so many actions is cut off.
    n_actions : int
        Number of discrete actions: ``action`` is 0 ... ``n_actions - 1``.
    action_size : int
        In its place, number of continuous actions of a step: ``action`` if it is 1, else
        ``action_0``, ``action_1``, ...
    initial : mapping
        Value of a state when an episode begins: a number, a quantity, or an expression of
        parameters, ``rand()``, ``randn()``, and states above it in the order of `model`; 0 if
        absent.
    step : str
        Statements of an action, in order: ``"x = x + tau*v"`` or ``"v += tau*a"``. They read
        states, parameters, the action, ``n`` (the number of the action, from 0), ``rand()``,
        ``randn()``, and what statements above them set besides states.
    reward : str
        Reward of an action, dimensionless, of what `step` reads and sets; evaluated after it.
    done : str
        Condition for the end of the episode, likewise; ``""`` for none.
    parameters : mapping
        Numbers, quantities, strings with a unit, or expressions of other parameters.
    action_every : Quantity or str
        Time from one action to the next.
    action_window : Quantity or str, optional
        The network's outputs are averaged over so long before an action; None for the last step
        alone.
    external : callable, optional
        Of an environment outside of the program, as those of gymnasium: a function that gives what
        plays it (`eprop_brian.tasks.player.Player`); with ``render=True``, one that draws. Codes
        sense the components of its observations then (`Code.senses`), and it has no `model`,
        `initial`, `step`, `reward` and `done`.
    source : str
        Where the equations come from.

    Raises
    ------
    ValueError
        If `action_every` or `action_window` is not a time. Anything else is checked where the
        environment is read (`eprop_brian.symbolic.environment.environment_map`).
    """

    kind: ClassVar[str] = "environment"

    name: str
    model: Text
    codes: Sequence[Code]
    most_actions: int
    n_actions: int = 0
    action_size: int = 0
    initial: Mapping[str, Any] = field(default_factory=dict)
    step: Text = ""
    reward: Text = "0"
    done: Text = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    action_every: Quantity | str = field(default_factory=lambda: 5 * ms)
    action_window: Quantity | str | None = None
    external: Callable[..., Any] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        # The way in which a frozen dataclass sets its own fields.
        for name in ("model", "step", "done"):
            object.__setattr__(self, name, text_of(getattr(self, name)))
        object.__setattr__(self, "reward", expression_of(self.reward))
        if isinstance(self.codes, list):
            object.__setattr__(self, "codes", tuple(self.codes))
        if isinstance(self.initial, Mapping):
            initial = {state: expression_of(value) for state, value in self.initial.items()}
            object.__setattr__(self, "initial", initial)
        for name in ("action_every", "action_window"):
            if getattr(self, name) is not None:
                time = time_of(f"environment '{self.name}': {name}", getattr(self, name))
                object.__setattr__(self, name, time)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of all codes together."""
        return sum(code.size for code in self.codes)

    @property
    def action_outputs(self) -> int:
        """Number of outputs that choose an action: one for each discrete or continuous action."""
        return self.n_actions or self.action_size

    @property
    def analog(self) -> bool:
        """Whether inputs are values rather than spikes."""
        return any(code.value for code in self.codes)

    def description(self) -> Description:
        """Its equations and parameters, for `print` and notebooks."""
        chosen = (
            f"0 ... {self.n_actions - 1}" if self.n_actions else f"{self.action_size} continuous"
        )
        window = f", by outputs averaged over {self.action_window}" if self.action_window else ""
        rows = [
            ("states", _lines(self.model)),
            ("initial", assignments(self.initial)),
            ("action", f"{chosen}, every {self.action_every}{window}, at most {self.most_actions}"),
            ("step", _lines(self.step)),
            ("reward", str(self.reward)),
            ("done", _lines(self.done)),
            ("parameters", assignments(self.parameters)),
            *(row for code in self.codes for row in _code_rows(code)),
            ("source", self.source),
        ]
        return Description(f"Environment {self.name}", rows)

    def __repr__(self) -> str:
        return f"<environment '{self.name}': {_lines(self.step).replace(chr(10), '; ')}>"


def _code_rows(code: Code) -> list[tuple[str, str]]:
    """A code in a description."""
    kind, text = ("spike", code.spike) if code.spike else ("value", code.value)
    parameters = assignments(code.parameters)
    return [(f"{code.size} inputs", f"{kind}: {text}"), ("", parameters)]


def _lines(code: str) -> str:
    """Code without indentation and empty lines."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
