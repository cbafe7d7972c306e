"""Names of users' quantities and of the toolkit's.

In derivations both stand side by side as they are written: whatever a user's name could be mistaken
for there moves out of its way (`Signals`). In the statements of a program every user's name has a
form that no other name can have (`own`): ``n5_tau_m`` is ``tau_m`` of a neuron. As the form says
how long the name is, names made of several (``eps_n1_v``, ``A_n1_a_n1_v``) cannot coincide either.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from brian2.core.functions import DEFAULT_FUNCTIONS

from eprop_brian.base.checks import is_identifier
from eprop_brian.symbolic.errors import EquationError

__all__ = [
    "BEFORE",
    "CODE",
    "ENVIRONMENT",
    "NEURON",
    "OPTIMIZER",
    "READOUT",
    "RECEPTOR",
    "RESERVED",
    "SYNAPSE",
    "Signals",
    "free_name",
    "input_name",
    "is_own",
    "own",
    "owned",
    "refuse_reserved",
    "shown",
    "substituted",
]

#: Whose names they are: the first letter of their form.
NEURON, READOUT, OPTIMIZER, RECEPTOR, SYNAPSE = "n", "r", "o", "i", "s"
ENVIRONMENT, CODE = "e", "c"
#: Whether the neuron was neither spiking nor refractory in the step before: what its synapses saw.
BEFORE = "not_refractory_before"
#: Names that Brian2's equations give a meaning.
RESERVED = frozenset(
    {
        *("e", "pi", "inf", "i", "j", "t", "dt", "N", "xi", "t_in_timesteps", "lastspike"),
        *("not_refractory", "refractory", "refractory_until", "detached", BEFORE),
    }
)
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_KINDS = "".join((NEURON, READOUT, OPTIMIZER, RECEPTOR, SYNAPSE, ENVIRONMENT, CODE))
_OWN = re.compile(rf"(?:(?<=_)|^)[{_KINDS}](\d+)_")


def own(name: str, kind: str = NEURON) -> str:
    """The form of a user's name in the statements of a program."""
    return f"{kind}{len(name)}_{name}"


def owned(names: Iterable[str], kind: str = NEURON) -> dict[str, str]:
    """Users' names with their forms."""
    return {name: own(name, kind) for name in names}


def is_own(name: str, kind: str = NEURON) -> bool:
    """Whether a name in a statement is a user's, and not one that is made of it."""
    match = _OWN.match(name) if name.startswith(kind) else None
    return match is not None and len(name) - match.end() == int(match.group(1))


def shown(name: str) -> str:
    """A name in a statement as people read it: users' names in it are as they were written."""
    text, position = [], 0
    while (match := _OWN.search(name, position)) is not None:
        end = match.end() + int(match.group(1))
        text += [name[position : match.start()], name[match.end() : end]]
        position = end
    return "".join(text) + name[position:]


def substituted(code: str, names: Mapping[str, str]) -> str:
    """Code with some names replaced, all at once: what one becomes is not replaced again."""
    return _WORD.sub(lambda match: names.get(match.group(), match.group()), code)


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it if it is taken."""
    taken = {*taken}
    numbered = (f"{wanted}_{number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)


def input_name(receptor: str) -> str:
    """What the summed weighted input of a receptor is called; that without a name is ``I``."""
    return f"I_{receptor}" if receptor else "I"


@dataclass(frozen=True)
class Signals:
    """What the toolkit's own quantities are called in the equations of a neuron.

    Attributes
    ----------
    inputs : mapping of str to str
        The step's summed weighted input of every receptor.
    spike : str
        The neuron's own spike of the step before.
    detached : str
        The same, where its path is not differentiated.
    psi : str
        The surrogate.
    """

    inputs: Mapping[str, str] = field(default_factory=lambda: {"": "I"})
    spike: str = "z"
    detached: str = "z_detached"
    psi: str = "psi"

    @staticmethod
    def beside(names: Iterable[str], receptors: Iterable[str] = ("",)) -> Signals:
        """Names that differ from a neuron's own."""
        taken = {*names}
        inputs: dict[str, str] = {}
        for receptor in receptors:
            inputs[receptor] = free_name(input_name(receptor), taken | {*inputs.values()})
        spike, detached, psi = (free_name(name, taken) for name in ("z", "z_detached", "psi"))
        return Signals(inputs, spike, detached, psi)


def refuse_reserved(names: Iterable[str], where: str, also: Iterable[str] = ()) -> None:
    """Raise an `EquationError` for a name that a user's quantity cannot have.

    Parameters
    ----------
    names : iterable of str
    where : str
        Named in the error.
    also : iterable of str
        Names that have a meaning in these equations, besides Brian2's.
    """
    reserved = {*RESERVED, *also}
    for name in names:
        if not isinstance(name, str) or not is_identifier(name):
            raise EquationError(
                where, str(name), "names are made of letters, digits and _, and start with a letter"
            )
        if keyword.iskeyword(name):
            raise EquationError(where, name, "is a keyword of Python; rename it")
        if name in reserved or name in DEFAULT_FUNCTIONS or name.startswith("xi_"):
            raise EquationError(
                where,
                name,
                "is a reserved name; rename it (reserved: "
                f"{', '.join(sorted(reserved))} and Brian2's functions)",
            )
        if name.endswith(("_pre", "_post")):
            raise EquationError(where, name, "names must not end with _pre or _post")
