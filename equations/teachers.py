"""Dynamical systems that a network is to learn: dx/dt = f(x) + c.

Written as Brian2 equations of dimensionless states, without the input: the network adds ``c``, one
input per state, to every equation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from eprop_brian.equations.parametrised import Parametrised

__all__ = [
    "BISTABLE",
    "LORENZ",
    "PENDULUM",
    "TEACHERS",
    "TWO_JOINT_ARM",
    "VAN_DER_POL",
    "Teacher",
    "linear_teacher",
]


@dataclass(frozen=True)
class Teacher(Parametrised):
    """A dynamical system.

    Parameters
    ----------
    name : str
    model : str
        Brian2 equations: ``dx/dt = ... : 1`` for every state, and subexpressions.
    parameters : mapping
        Numbers, Brian2 quantities or strings with a unit.
    initial : mapping of str to float
        States at the start; those that are not named are 0.
    source : str
    """

    kind: ClassVar[str] = "teacher"

    name: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, float] = field(default_factory=dict)
    source: str = ""


def linear_teacher(
    matrix: Sequence[Sequence[float]],
    initial: Sequence[float] | None = None,
    name: str = "linear",
    source: str = "",
) -> Teacher:
    """The linear system dx/dt = A x, as equations of states x1, x2 and so on.

    Parameters
    ----------
    matrix : sequence of sequence of float
        A, shape (K, K), in 1/s.
    initial : sequence of float, optional
        States at the start, shape (K,); default 0.
    name, source : str

    Raises
    ------
    ValueError
        If A is not square, or a value is not finite.
    """
    rows = [list(map(float, row)) for row in matrix]
    size = len(rows)
    if not size or any(len(row) != size for row in rows):
        shape = f"{size} x {', '.join(sorted({str(len(row)) for row in rows}))}"
        raise ValueError(f"the matrix of a linear system must be square, not {shape}")
    if any(value - value != 0 for row in rows for value in row):
        raise ValueError("the matrix of a linear system must be finite")
    start = [0.0] * size if initial is None else list(map(float, initial))
    if len(start) != size:
        raise ValueError(f"{len(start)} initial values for {size} states")
    states = [f"x{k + 1}" for k in range(size)]
    lines, parameters = [], {}
    for row, (state, values) in enumerate(zip(states, rows, strict=True)):
        terms = []
        for column, value in enumerate(values):
            if value:
                parameter = f"A{row + 1}{column + 1}" if size < 10 else f"A{row + 1}_{column + 1}"
                parameters[parameter] = f"{value!r} Hz"
                terms.append(f"{parameter}*{states[column]}")
        lines.append(f"d{state}/dt = {' + '.join(terms) or '0*Hz'} : 1")
    return Teacher(
        name=name,
        model="\n".join(lines),
        parameters=parameters,
        initial=dict(zip(states, start, strict=True)),
        source=source,
    )


_ALEMI = "Alemi, Machens, Deneve, Slotine 2018, arXiv 1705.08026"

BISTABLE = Teacher(
    name="bistable",
    model="""
    dx/dt = rate*x*(1 - (x/x_fixed)**2) : 1
    dy/dt = -rate*y : 1
    """,
    parameters={"rate": "10 Hz", "x_fixed": 1.0},
    initial={"x": 0.1},
    source=f"{_ALEMI}: fixed points at x = +-x_fixed, y = 0",
)

VAN_DER_POL = Teacher(
    name="van-der-pol",
    model="""
    dx/dt = speed*y : 1
    dy/dt = speed*(damping*(1 - (x/x_scale)**2)*y - x) : 1
    """,
    parameters={"speed": "6 Hz", "damping": 1.0, "x_scale": 0.5},
    initial={"x": 0.5, "y": 0.0},
    source="van der Pol 1926, Phil. Mag. 2:978",
)

LORENZ = Teacher(
    name="lorenz",
    model="""
    dx/dt = speed*prandtl*(y - x) : 1
    dy/dt = speed*(x*(rayleigh - scale*z - centre) - y) : 1
    dz/dt = speed*(scale*x*y - ratio*(z + centre/scale)) : 1
    """,
    parameters={
        "speed": "1 Hz",
        "prandtl": 10.0,
        "rayleigh": 28.0,
        "ratio": 2.6666666666666665,
        "scale": 20.0,
        "centre": 25.0,
    },
    initial={"x": 0.3, "y": 0.3, "z": 0.0},
    source="Lorenz 1963, J. Atmos. Sci. 20:130, in units of `scale`, z from `centre`",
)

PENDULUM = Teacher(
    name="pendulum",
    model="""
    dx/dt = speed*y : 1
    dy/dt = -speed*(sin(angle*x)/angle + damping*y) : 1
    """,
    parameters={"speed": "6 Hz", "angle": 2.0, "damping": 0.3},
    initial={"x": 0.8, "y": 0.0},
    source="a damped pendulum of angle `angle` x",
)

TWO_JOINT_ARM = Teacher(
    name="two-joint-arm",
    model="""
    elbow = angle*q2 : 1
    coupling = inertia_12*cos(elbow) : 1
    centrifugal = inertia_12*sin(elbow)*angle : 1
    m11 = inertia_1 + 2*coupling : 1
    m12 = inertia_2 + coupling : 1
    force_1 = centrifugal*w2*(2*w1 + w2) - friction*w1 - stiffness*q1 : 1
    force_2 = -centrifugal*w1**2 - friction*w2 - stiffness*q2 : 1
    determinant = m11*inertia_2 - m12**2 : 1
    dq1/dt = speed*w1 : 1
    dq2/dt = speed*w2 : 1
    dw1/dt = speed*(inertia_2*force_1 - m12*force_2)/determinant : 1
    dw2/dt = speed*(m11*force_2 - m12*force_1)/determinant : 1
    """,
    parameters={
        "speed": "4 Hz",
        "angle": 1.0,
        "inertia_1": 1.0,
        "inertia_2": 0.33,
        "inertia_12": 0.3,
        "friction": 0.3,
        "stiffness": 1.0,
    },
    initial={"q1": 0.5, "q2": -0.4},
    source="Slotine and Li 1991, Applied Nonlinear Control: two links in a plane, held by springs",
)

#: Teachers of the library by name; linear ones come from `linear_teacher`.
TEACHERS: Mapping[str, Teacher] = {
    teacher.name: teacher for teacher in (BISTABLE, VAN_DER_POL, LORENZ, PENDULUM, TWO_JOINT_ARM)
}
