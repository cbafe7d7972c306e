"""Drawings of environments from their states, moment by moment.

A `Scene` knows the states and parameters that it draws, and fits every environment that has them,
whatever its name. Others are drawn as bars of their states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from eprop_brian.equations.environment import Environment
from eprop_brian.figures.style import COLOURS, lighter
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.names import shown

__all__ = ["Moment", "Picture", "Scene", "scene_for"]

_GROUND, _BODY, _ACTION, _GOAL = "#666666", COLOURS[0], COLOURS[1], COLOURS[2]
_LINE: dict[str, Any] = {"linewidth": 4.0, "solid_capstyle": "round"}
_States = Mapping[str, float]


@dataclass(frozen=True)
class Moment:
    """A moment of an episode.

    Attributes
    ----------
    states : mapping of str to float
        Of the environment, by name, in SI units.
    action : array, shape (action_size,) or (1,)
        The last action, or the number of it; empty before the first.
    sensed : array of bool, shape (n_codes,)
        Which groups of inputs were active in the last milliseconds.
    progress : float
        How much of the episode is over, 0 to 1.
    """

    states: _States
    action: np.ndarray
    sensed: np.ndarray
    progress: float


class Scene(ABC):
    """A drawing in axes.

    Parameters
    ----------
    ax : Axes
        Empty.
    parameters : mapping of str to float
        Of the environment, in SI units.
    course : sequence of mapping
        The states of a whole episode.
    """

    #: States and parameters that an environment must have, and the number of its codes at least.
    needs: ClassVar[tuple[frozenset[str], frozenset[str], int]] = (frozenset(), frozenset(), 0)

    def __init__(
        self, ax: Axes, parameters: Mapping[str, float], course: Sequence[_States]
    ) -> None:
        self.ax, self.parameters, self.course = ax, parameters, course
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Draw what does not move, and make what does."""

    @abstractmethod
    def draw(self, moment: Moment) -> None:
        """Show a moment."""

    def _frame(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        """A plane without axes, with equal units."""
        self.ax.set_aspect("equal")
        self.ax.set_xlim(*x)
        self.ax.set_ylim(*y)
        self.ax.axis("off")


class CartPole(Scene):
    """A cart on a rail and its pole; an arrow is the push."""

    needs = (frozenset({"x", "angle"}), frozenset({"length", "x_limit"}), 0)

    def prepare(self) -> None:
        limit, length = self.parameters["x_limit"], 2 * self.parameters["length"]
        self._frame((-1.35 * limit, 1.35 * limit), (-0.9 * length, 2.2 * length))
        self.ax.plot([-limit, limit], [0, 0], color=_GROUND, linewidth=1.0, zorder=0)
        self.ax.plot([-limit, limit], [0, 0], "|", color=_GROUND, markersize=8, zorder=0)
        self.width, self.height = 0.5 * length, 0.25 * length
        self.cart = Rectangle((0, 0), self.width, self.height, color=_BODY, zorder=1)
        self.ax.add_patch(self.cart)
        (self.pole,) = self.ax.plot([], [], color=_ACTION, zorder=2, **_LINE)
        (self.push,) = self.ax.plot([], [], color=_GROUND, marker=">", markersize=7)

    def draw(self, moment: Moment) -> None:
        x, angle = moment.states["x"], moment.states["angle"]
        length, middle = 2 * self.parameters["length"], self.height / 2
        self.cart.set_xy((x - self.width / 2, -middle))
        top = x + length * np.sin(angle), middle + length * np.cos(angle)
        self.pole.set_data([x, top[0]], [middle, top[1]])
        self.push.set_visible(bool(len(moment.action)))
        if len(moment.action):
            side = 1.0 if moment.action[0] > 0 else -1.0
            self.push.set_data([x + side * self.width], [0.0])
            self.push.set_marker(">" if side > 0 else "<")


class Acrobot(Scene):
    """Two links that hang from a joint, and the height to reach."""

    needs = (frozenset({"angle_1", "angle_2"}), frozenset({"length"}), 0)

    def prepare(self) -> None:
        length = self.parameters["length"]
        self._frame((-2.3 * length, 2.3 * length), (-2.3 * length, 2.3 * length))
        self.ax.axhline(length, color=_GOAL, linestyle="--", linewidth=1.0)
        (self.links,) = self.ax.plot([], [], color=_BODY, marker="o", markersize=6, **_LINE)

    def draw(self, moment: Moment) -> None:
        length, states = self.parameters["length"], moment.states
        angles = np.array([states["angle_1"], states["angle_1"] + states["angle_2"]])
        x, y = np.cumsum(length * np.array([np.sin(angles), -np.cos(angles)]), axis=1)
        self.links.set_data([0.0, *x], [0.0, *y])


class MountainCar(Scene):
    """A car in a valley, and the flag on the hill."""

    needs = (frozenset({"position"}), frozenset({"left_end", "right_end", "goal"}), 0)

    def prepare(self) -> None:
        left, right, goal = (self.parameters[k] for k in ("left_end", "right_end", "goal"))
        self._frame((left - 0.1, right + 0.1), (-0.1, 1.4))
        x = np.linspace(left, right, 200)
        self.ax.fill_between(x, -0.1, self._height(x), color=lighter(_GROUND, 0.7), linewidth=0)
        foot = self._height(goal)
        self.ax.plot([goal, goal], [foot, foot + 0.25], color=_GOAL, linewidth=1.5)
        self.ax.plot([goal + 0.04], [foot + 0.22], ">", color=_GOAL, markersize=7)
        (self.car,) = self.ax.plot([], [], "o", color=_BODY, markersize=11)
        (self.push,) = self.ax.plot([], [], color=_ACTION, marker=">", markersize=6)

    @staticmethod
    def _height(x: np.ndarray | float) -> np.ndarray:
        return 0.45 * np.sin(3 * np.asarray(x)) + 0.55

    def draw(self, moment: Moment) -> None:
        x = moment.states["position"]
        y = float(self._height(x)) + 0.06
        self.car.set_data([x], [y])
        side = float(moment.action[0]) - 1.0 if len(moment.action) else 0.0
        self.push.set_visible(side != 0)
        self.push.set_data([x + 0.12 * side], [y])
        self.push.set_marker(">" if side > 0 else "<")


class Reaching(Scene):
    """An arm of two joints; the target is full while it is shown, and the path of the hand."""

    needs = (
        frozenset({"shoulder", "elbow", "target_x", "target_y"}),
        frozenset({"upper_arm", "forearm"}),
        1,
    )

    def prepare(self) -> None:
        reach = self.parameters["upper_arm"] + self.parameters["forearm"]
        joints = np.array([self._joints(states) for states in self.course])
        low, high = joints.min(axis=(0, 2)), joints.max(axis=(0, 2))
        sides = [
            (min(low[k], -0.5 * reach) - 0.1 * reach, max(high[k], reach) + 0.1 * reach)
            for k in range(2)
        ]
        self._frame(*sides)
        where = (self.course[0]["target_x"], self.course[0]["target_y"])
        self.target = self.ax.add_patch(Circle(where, 0.05 * reach, edgecolor=_GOAL, linewidth=1.5))
        self.path = joints[:, :, -1]
        self.ax.plot(*self.path[0], "x", color=_GROUND, markersize=5)
        (self.trail,) = self.ax.plot([], [], color=lighter(_ACTION, 0.4), linewidth=1.2)
        (self.arm,) = self.ax.plot([], [], color=_BODY, marker="o", markersize=6, **_LINE)

    def _joints(self, states: _States) -> np.ndarray:
        angles = np.array([states["shoulder"], states["shoulder"] + states["elbow"]])
        links = np.array([self.parameters["upper_arm"], self.parameters["forearm"]])
        ends = np.cumsum(links * np.array([np.cos(angles), np.sin(angles)]), axis=1)
        return np.concatenate([np.zeros((2, 1)), ends], axis=1)

    def draw(self, moment: Moment) -> None:
        self.arm.set_data(*self._joints(moment.states))
        self.trail.set_data(*self.path[: 1 + round(moment.progress * (len(self.path) - 1))].T)
        self.target.set_facecolor(_GOAL if moment.sensed[0] else "none")


class TMaze(Scene):
    """A corridor with cues on both sides, and the arm that is chosen at its end."""

    needs = (frozenset({"favoured", "cue_0"}), frozenset(), 2)

    def prepare(self) -> None:
        self._frame((-1.6, 1.6), (-0.1, 2.4))
        walls = [
            ([-0.3, -0.3, -1.5, -1.5, 1.5, 1.5, 0.3, 0.3], [0, 1.7, 1.7, 2.3, 2.3, 1.7, 1.7, 0])
        ]
        for x, y in walls:
            self.ax.plot(x, y, color=_GROUND, linewidth=1.5)
        cues = [value for name, value in self.course[0].items() if name.startswith("cue_")]
        right = sum(cues) > len(cues) / 2
        self.ax.plot([1.25 if right else -1.25], [2.0], "*", color=_GOAL, markersize=11)
        places = [(-0.75, 0.55), (0.42, 0.55)]
        self.cues = [
            self.ax.add_patch(Rectangle(place, 0.33, 0.7, edgecolor=_GROUND, linewidth=0.8))
            for place in places
        ]
        (self.animal,) = self.ax.plot([], [], "o", color=_BODY, markersize=10)

    def draw(self, moment: Moment) -> None:
        for cue, is_on in zip(self.cues, moment.sensed, strict=False):
            cue.set_facecolor(_ACTION if is_on else "none")
        chosen = len(moment.action) > 0
        side = (1.0 if moment.action[0] > 0 else -1.0) if chosen else 0.0
        self.animal.set_data([side], [2.0 if chosen else 0.15 + 1.7 * moment.progress])


class Bars(Scene):
    """Bars of the states between the smallest and the largest value of each in the episode."""

    def prepare(self) -> None:
        names = list(self.course[0])
        values = np.array([[states[name] for name in names] for states in self.course])
        self.low, self.high = values.min(axis=0), values.max(axis=0)
        self.names = names
        self.bars = self.ax.barh(names, np.zeros(len(names)), color=_BODY, height=0.6)
        self.ax.invert_yaxis()
        self.ax.set_xlim(0.0, 1.0)
        self.ax.set_xticks([0.0, 1.0], ["lowest", "highest"])
        self.ax.set_xlabel("state in the episode")

    def draw(self, moment: Moment) -> None:
        now = np.array([moment.states[name] for name in self.names])
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        for bar, width in zip(self.bars, (now - self.low) / span, strict=True):
            bar.set_width(width)


class Picture:
    """Pictures that an environment outside of the program drew itself.

    Parameters
    ----------
    ax : Axes
    first : array of uint8, shape (height, width, 3)
    """

    def __init__(self, ax: Axes, first: np.ndarray) -> None:
        self.image = ax.imshow(first)
        ax.axis("off")

    def draw(self, picture: np.ndarray) -> None:
        """Show a picture."""
        self.image.set_data(picture)


_SCENES: tuple[type[Scene], ...] = (CartPole, Acrobot, MountainCar, Reaching, TMaze)


def scene_for(ax: Axes, environment: Environment, course: Sequence[_States]) -> Scene:
    """The drawing of an environment.

    Parameters
    ----------
    ax : Axes
        Empty.
    environment : Environment
        Not an external one.
    course : sequence of mapping
        The states of the episode (`Episode.states`).
    """
    parameters = {shown(k): v for k, v in environment_map(environment).parameters.items()}
    for scene in _SCENES:
        states, read, n_codes = scene.needs
        has_names = states <= course[0].keys() and read <= parameters.keys()
        if has_names and len(environment.codes) >= n_codes:
            return scene(ax, parameters, course)
    return Bars(ax, parameters, course)
