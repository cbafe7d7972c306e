"""The library's environments.

Those of gymnasium have their operations in the order in which gymnasium computes them, so that
rounding is the same too.
"""

from __future__ import annotations

import math

from brian2.units import meter, ms, second
from brian2.units.fundamentalunits import Quantity

from eprop_brian.equations.codes import poisson_code, population_code
from eprop_brian.equations.environment import Environment

__all__ = [
    "ACROBOT",
    "CARTPOLE",
    "MOUNTAIN_CAR",
    "REACHING_SOURCE",
    "T_MAZE_SOURCE",
    "reaching",
    "t_maze",
]

T_MAZE_SOURCE = (
    "Bellec et al. 2020, Nat. Commun. 11:3625, doi:10.1038/s41467-020-17236-y, evidence "
    "accumulation, here with the reward alone"
)
REACHING_SOURCE = (
    "Georgopoulos, Kalaska, Caminiti & Massey 1982, J. Neurosci. 2:1527-1537, the centre-out "
    "reach, here with a delay and an arm of two joints"
)

CARTPOLE = Environment(
    name="cartpole",
    model="""
        x : meter
        v : meter/second
        angle : 1
        angular_velocity : 1/second
    """,
    initial={
        "x": "(0.1*rand() - 0.05)*meter",
        "v": "(0.1*rand() - 0.05)*meter/second",
        "angle": "0.1*rand() - 0.05",
        "angular_velocity": "(0.1*rand() - 0.05)/second",
    },
    step="""
        force = (2*action - 1)*push
        pull = (force + pole_mass*length*(angular_velocity*angular_velocity)*sin(angle))/total_mass
        inertia = length*(4.0/3.0 - pole_mass*(cos(angle)*cos(angle))/total_mass)
        angular_acceleration = (g*sin(angle) - cos(angle)*pull)/inertia
        acceleration = pull - pole_mass*length*angular_acceleration*cos(angle)/total_mass
        x += tau*v
        v += tau*acceleration
        angle += tau*angular_velocity
        angular_velocity += tau*angular_acceleration
    """,
    reward="reward_per_step",
    done="abs(x) > x_limit or abs(angle) > angle_limit",
    parameters={
        "g": "9.8 meter/second**2",
        "cart_mass": "1 kilogram",
        "pole_mass": "0.1 kilogram",
        "total_mass": "cart_mass + pole_mass",
        "length": "0.5 meter",  # from the pivot to the middle of the pole
        "push": "10 newton",
        "tau": "20 ms",
        "x_limit": "2.4 meter",
        "angle_limit": 12 * 2 * math.pi / 360,
        "reward_per_step": 1.0,
    },
    codes=(
        population_code("x", "-2.4 meter", "2.4 meter"),
        population_code("v", "-2.5 meter/second", "2.5 meter/second"),
        population_code("angle", -0.21, 0.21),
        population_code("angular_velocity", "-2.5 hertz", "2.5 hertz"),
    ),
    n_actions=2,
    most_actions=500,
    action_every=5 * ms,
    source=(
        "Barto, Sutton & Anderson 1983, IEEE Trans. Syst. Man Cybern. 13:834-846, with the limits "
        "of gymnasium's CartPole-v1"
    ),
)


def _acrobot_slopes(stage: int, advance: str) -> str:
    """Accelerations of both joints of an acrobot at one of the four stages of a Runge-Kutta step.

    `advance` is the time since the beginning of the step, with the slopes of the stage before.
    """
    names = ("angle_1", "angle_2", "velocity_1", "velocity_2")
    slopes = ("w_1", "w_2", "a_1", "a_2")
    here = {name: f"{name}_{stage}" for name in names}
    lines = [
        f"{here[name]} = {name}" + (f" + {advance}*{slope}_{stage - 1}" if advance else "")
        for name, slope in zip(names, slopes, strict=True)
    ]
    w_1, w_2, q_1, q_2 = (f"{name}_{stage}" for name in ("w_1", "w_2", "angle_1", "angle_2"))
    lines += [
        f"{w_1} = velocity_1_{stage}",
        f"{w_2} = velocity_2_{stage}",
        f"d_1 = mass*middle**2 + mass*(length**2 + middle**2 + 2*length*middle*cos({q_2}))"
        " + inertia + inertia",
        f"d_2 = mass*(middle**2 + length*middle*cos({q_2})) + inertia",
        f"phi_2 = mass*middle*g*cos({q_1} + {q_2} - pi/2)",
        f"phi_1 = -mass*length*middle*{w_2}**2*sin({q_2})"
        f" - 2*mass*length*middle*{w_2}*{w_1}*sin({q_2})"
        f" + (mass*middle + mass*length)*g*cos({q_1} - pi/2) + phi_2",
        f"a_2_{stage} = (torque + d_2/d_1*phi_1 - mass*length*middle*{w_1}**2*sin({q_2}) - phi_2)"
        "/(mass*middle**2 + inertia - d_2**2/d_1)",
        f"a_1_{stage} = -(d_2*a_2_{stage} + phi_1)/d_1",
    ]
    return "\n".join(lines)


def _runge_kutta(state: str, slope: str) -> str:
    stages = f"{slope}_1 + 2*{slope}_2 + 2*{slope}_3 + {slope}_4"
    return f"{state} += tau/6*({stages})"


def _within_a_turn(angle: str) -> str:
    return f"{angle} = {angle} - 2*pi*int({angle} > pi) + 2*pi*int({angle} < -pi)"


ACROBOT = Environment(
    name="acrobot",
    model="""
        angle_1 : 1
        angle_2 : 1
        velocity_1 : 1/second
        velocity_2 : 1/second
    """,
    initial={
        "angle_1": "0.2*rand() - 0.1",
        "angle_2": "0.2*rand() - 0.1",
        "velocity_1": "(0.2*rand() - 0.1)/second",
        "velocity_2": "(0.2*rand() - 0.1)/second",
    },
    step="\n".join(
        (
            "torque = (action - 1)*largest_torque",
            _acrobot_slopes(1, ""),
            _acrobot_slopes(2, "tau/2"),
            _acrobot_slopes(3, "tau/2"),
            _acrobot_slopes(4, "tau"),
            _runge_kutta("angle_1", "w_1"),
            _runge_kutta("angle_2", "w_2"),
            _runge_kutta("velocity_1", "a_1"),
            _runge_kutta("velocity_2", "a_2"),
            _within_a_turn("angle_1"),
            _within_a_turn("angle_2"),
            "velocity_1 = clip(velocity_1, -fastest_1, fastest_1)",
            "velocity_2 = clip(velocity_2, -fastest_2, fastest_2)",
            "swung_up = int(-cos(angle_1) - cos(angle_2 + angle_1) > 1)",
        )
    ),
    reward="cost_per_step*(swung_up - 1)",
    done="swung_up == 1",
    parameters={
        "cost_per_step": 1.0,
        "g": "9.8 meter/second**2",
        "mass": "1 kilogram",
        "length": "1 meter",
        "middle": "length/2",  # from the joint to the centre of mass
        "inertia": "1 kilogram*meter**2",
        "largest_torque": "1 newton*meter",
        "tau": "200 ms",
        "fastest_1": 4 * math.pi / second,
        "fastest_2": 9 * math.pi / second,
    },
    codes=(
        *(
            population_code(f"{function}({angle})", -1, 1)
            for angle in ("angle_1", "angle_2")
            for function in ("cos", "sin")
        ),
        population_code("velocity_1", -4 * math.pi / second, 4 * math.pi / second),
        population_code("velocity_2", -9 * math.pi / second, 9 * math.pi / second),
    ),
    n_actions=3,
    most_actions=500,
    action_every=5 * ms,
    source="Sutton 1996, Adv. Neural Inf. Process. Syst. 8:1038-1044, as gymnasium's Acrobot-v1",
)

MOUNTAIN_CAR = Environment(
    name="mountain-car",
    model="""
        position : 1
        velocity : 1
    """,
    initial={"position": "0.2*rand() - 0.6"},
    step="""
        velocity += (action - 1)*force + cos(3*position)*(-gravity)
        velocity = clip(velocity, -fastest, fastest)
        position = clip(position + velocity, left_end, right_end)
        velocity = where(int(position == left_end and velocity < 0), 0, velocity)
    """,
    reward="-cost_per_step",
    done="position >= goal and velocity >= 0",
    parameters={
        "cost_per_step": 1.0,
        "force": 0.001,
        "gravity": 0.0025,
        "fastest": 0.07,
        "left_end": -1.2,
        "right_end": 0.6,
        "goal": 0.5,
    },
    codes=(population_code("position", -1.2, 0.6), population_code("velocity", -0.07, 0.07)),
    n_actions=3,
    most_actions=200,
    action_every=5 * ms,
    source="Moore 1990, PhD thesis, University of Cambridge, as gymnasium's MountainCar-v0",
)


def t_maze(
    *,
    n_cues: int,
    cue: Quantity,
    pause: Quantity,
    delay: Quantity,
    recall: Quantity,
    cue_rate: Quantity,
    recall_rate: Quantity,
    background_rate: Quantity,
    p_favoured: float,
    group_size: int,
    dt: Quantity,
) -> Environment:
    """Cues on two sides, a delay, then one choice: the side with most cues is rewarded.

    The layout is that of evidence accumulation: inputs are four groups (cues on the left, on the
    right, recall, background), every cue comes after a pause.

    Parameters
    ----------
    n_cues : int
        An odd number.
    cue, pause, delay, recall : Quantity
        Length of a cue, of the pause before it, of the time from the last cue to the recall period,
        and of that, over which the network's outputs are averaged.
    cue_rate, recall_rate, background_rate : Quantity
        Firing rate of an input while its group is active.
    p_favoured : float
        Probability that a cue is on the side that the trial favours.
    group_size : int
        Number of inputs in each of the four groups.
    dt : Quantity
        Length of a step of the network. Times are compared in the middle between two steps.
    """
    names = [f"cue_{k}" for k in range(n_cues)]
    shown = ["" for _ in range(2)]
    for side in range(2):
        periods = [
            f"(t > {_before(pause + k * (pause + cue), dt)} and t < "
            f"{_before((k + 1) * (pause + cue), dt)} and {name} == {side})"
            for k, name in enumerate(names)
        ]
        shown[side] = " or ".join(periods)
    before_recall = n_cues * (pause + cue) + delay
    favoured = "where(int(rand() < p_favoured), favoured, 1 - favoured)"
    return Environment(
        name="t-maze",
        model="\n".join(f"{name} : 1" for name in ("favoured", *names)),
        initial={"favoured": "int(rand() < 0.5)", **dict.fromkeys(names, favoured)},
        step=f"most = int({' + '.join(names)} > {n_cues / 2!r})",
        reward="int(action == most)",
        done="n == 0",
        parameters={"p_favoured": p_favoured},
        codes=(
            poisson_code(cue_rate, group_size, when=shown[0]),
            poisson_code(cue_rate, group_size, when=shown[1]),
            poisson_code(recall_rate, group_size, when=f"t > {_before(before_recall, dt)}"),
            poisson_code(background_rate, group_size),
        ),
        n_actions=2,
        most_actions=1,
        action_every=before_recall + recall,
        action_window=recall,
        source=T_MAZE_SOURCE,
    )


def _before(time: Quantity, dt: Quantity) -> str:
    """The middle between a time's step and the one before, as equations write it."""
    return f"{float(time / second - dt / second / 2)!r}*second"


def reaching(
    *,
    cue: Quantity,
    delay: Quantity,
    movement: Quantity,
    action_every: Quantity,
    distance: Quantity,
    dt: Quantity,
) -> Environment:
    """A delayed reach of a planar arm with two joints.

    A target on a circle around the hand is shown and hidden; after a delay a go signal comes, and
    two continuous actions move the joints. The reward is minus the distance of hand and target, per
    length of the arm.

    Parameters
    ----------
    cue, delay, movement : Quantity
        How long the target is shown, the time from then to the go signal, and the time for the
        movement.
    action_every : Quantity
        Time from one action to the next; the others are multiples of it.
    distance : Quantity
        From the hand's first place to the target.
    dt : Quantity
        Length of a step of the network. Times are compared in the middle between two steps.
    """
    waiting = round(float((cue + delay) / action_every))
    go = f"t > {_before(cue + delay, dt)}"
    is_shown = f"t < {_before(cue, dt)}"
    # Where the arm starts: the hand in front, the elbow bent.
    start = {"shoulder_0": math.pi / 6, "elbow_0": math.pi / 2}
    hand_x = "(upper_arm*cos({s}) + forearm*cos({s} + {e}))"
    hand_y = "(upper_arm*sin({s}) + forearm*sin({s} + {e}))"
    first = {"s": "shoulder_0", "e": "elbow_0"}
    return Environment(
        name="reaching",
        model="""
            shoulder : 1
            elbow : 1
            direction : 1
            target_x : meter
            target_y : meter
        """,
        initial={
            "shoulder": "shoulder_0",
            "elbow": "elbow_0",
            "direction": "2*pi*rand()",
            "target_x": f"{hand_x.format(**first)} + distance*cos(direction)",
            "target_y": f"{hand_y.format(**first)} + distance*sin(direction)",
        },
        step=f"""
            moves = int(n >= waiting)
            shoulder += moves*tau*fastest*clip(action_0, -1, 1)
            elbow += moves*tau*fastest*clip(action_1, -1, 1)
            off_x = {hand_x.format(s="shoulder", e="elbow")} - target_x
            off_y = {hand_y.format(s="shoulder", e="elbow")} - target_y
        """,
        reward="-moves*sqrt(off_x**2 + off_y**2)/(upper_arm + forearm)",
        done="n >= last",
        parameters={
            "upper_arm": "0.5 meter",
            "forearm": "0.5 meter",
            **start,
            "distance": distance,
            "fastest": "5 hertz",
            "tau": action_every,
            "waiting": waiting,
            "last": waiting + round(float(movement / action_every)) - 1,
        },
        codes=(
            population_code("target_x", -0.5 * meter, 1 * meter, 20, when=is_shown),
            population_code("target_y", -0.5 * meter, 1.5 * meter, 20, when=is_shown),
            population_code("shoulder", -math.pi / 2, math.pi),
            population_code("elbow", -math.pi / 2, math.pi),
            poisson_code("100 Hz", when=go),
        ),
        action_size=2,
        most_actions=waiting + round(float(movement / action_every)),
        action_every=action_every,
        source=REACHING_SOURCE,
    )
