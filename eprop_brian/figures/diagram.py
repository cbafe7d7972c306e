"""Diagrams of boxes in columns and arrows between them.

One unit of the axes is one inch, so that boxes, arrows and text keep their sizes however large a
diagram is. What is drawn, `Frame` and `Arrow`, knows nothing of networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox

from eprop_brian.figures.style import COLOURS, lighter

__all__ = [
    "EXCITATORY",
    "INHIBITORY",
    "SIGNAL",
    "SYNAPSES",
    "Arrow",
    "Box",
    "Frame",
    "draw_diagram",
]

#: Kinds of arrows and their colours; those of excitation and inhibition as in other figures.
SYNAPSES, EXCITATORY, INHIBITORY, SIGNAL = "synapses", "excitatory", "inhibitory", "learning signal"
_COLOURS = {
    SYNAPSES: "#333333",
    EXCITATORY: COLOURS[1],
    INHIBITORY: COLOURS[0],
    SIGNAL: "#A3487E",
}
#: Sizes in inches.
_BOX_WIDTH, _BOX_HEIGHT, _IN_FRAME, _BETWEEN_ROWS, _LOOP = 1.35, 0.52, 0.1, 0.75, 0.42
_LETTER, _MARGIN = 0.062, 0.08


@dataclass(frozen=True)
class Box:
    """A box: its name, what stands below it, and the colour of its edge."""

    name: str
    text: str
    colour: str


@dataclass(frozen=True)
class Frame:
    """Boxes one above the other to which the same arrows lead, in a column counted from 0."""

    boxes: tuple[Box, ...]
    column: int


@dataclass(frozen=True)
class Arrow:
    """An arrow from one frame to another, by their numbers, with lines of text."""

    source: int
    target: int
    kind: str
    lines: tuple[str, ...]


def draw_diagram(frames: Sequence[Frame], arrows: Sequence[Arrow], title: str = "") -> Figure:
    """Draw frames in their columns, the first of each at the same height, and arrows between them.

    Arrows to the next column are straight, those within a frame are loops above it, and all others
    are arcs, those of learning signals below where there is room.

    Parameters
    ----------
    frames : sequence of Frame
    arrows : sequence of Arrow
    title : str

    Returns
    -------
    Figure
        As large as what it shows.
    """
    figure = plt.figure(figsize=(20.0, 20.0))
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(-10.0, 10.0), ylim=(-10.0, 10.0))
    ax.axis("off")
    areas = _areas(frames, arrows)
    patches = [_draw_frame(ax, f, area) for f, area in zip(frames, areas, strict=True)]
    for arrow in arrows:
        if arrow.source == arrow.target:
            _draw_loop(ax, areas[arrow.source], arrow)
        else:
            _draw_arrow(ax, frames, areas, patches, arrow)
    _fit(figure, ax, _legend(arrows), title)
    return figure


def _areas(frames: Sequence[Frame], arrows: Sequence[Arrow]) -> list[Bbox]:
    """Where each frame is; columns are as far apart as the text between them needs."""
    # Letters between a column and the next: of straight arrows, and of those down the next column,
    # which begin within its width.
    straight: Counter[int] = Counter()
    beside: Counter[int] = Counter()
    for arrow in arrows:
        first, last = frames[arrow.source].column, frames[arrow.target].column
        letters = max(map(len, arrow.lines))
        if last == first + 1:
            straight[first] = max(straight[first], letters)
        elif _is_vertical(frames, arrow):
            beside[first - 1] = max(beside[first - 1], letters - 9)
    left = [0.0]
    for column in range(max(frame.column for frame in frames)):
        letters = max(4, straight[column]) + beside[column]
        left.append(left[-1] + _BOX_WIDTH + 0.55 + _LETTER * letters)
    looped = {a.source for a in arrows if a.source == a.target}
    bottoms: dict[int, float] = {}
    areas: list[Bbox] = []
    for number, frame in enumerate(frames):
        height = len(frame.boxes) * (_BOX_HEIGHT + _IN_FRAME) + _IN_FRAME
        top = bottoms.get(frame.column, height / 2)
        below = top - height
        if frame.column in bottoms and number in looped:
            below -= _LOOP + 0.3
        bottoms[frame.column] = below - _BETWEEN_ROWS
        areas.append(
            Bbox.from_bounds(left[frame.column], top - height, _BOX_WIDTH + 2 * _IN_FRAME, height)
        )
    return areas


def _is_vertical(frames: Sequence[Frame], arrow: Arrow) -> bool:
    """Whether an arrow leads from one frame of a column to another."""
    same_column = frames[arrow.source].column == frames[arrow.target].column
    return same_column and arrow.source != arrow.target


def _draw_frame(ax: Axes, frame: Frame, area: Bbox) -> FancyBboxPatch:
    """Draw a frame, which can be seen if it holds several boxes; returns its outline."""
    several = len(frame.boxes) > 1
    outline = FancyBboxPatch(
        (area.x0, area.y0),
        area.width,
        area.height,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor="#F7F7F7" if several else "none",
        edgecolor="#AAAAAA" if several else "none",
        linewidth=0.7,
    )
    ax.add_patch(outline)
    x = area.x0 + _IN_FRAME
    for row, box in enumerate(frame.boxes):
        y = area.y1 - (row + 1) * (_BOX_HEIGHT + _IN_FRAME)
        patch = FancyBboxPatch(
            (x, y),
            _BOX_WIDTH,
            _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=lighter(box.colour, 0.85),
            edgecolor=box.colour,
            linewidth=1.1,
        )
        ax.add_patch(patch)
        centre, middle = x + _BOX_WIDTH / 2, y + _BOX_HEIGHT / 2
        lift = 0.09 if box.text else 0.0
        text: dict[str, Any] = {"ha": "center", "va": "center"}
        ax.text(centre, middle + lift, box.name, fontsize=8.5, fontweight="bold", **text)
        ax.text(centre, middle - 0.11, box.text, fontsize=7.5, **text)
    return outline


def _sag(frames: Sequence[Frame], areas: Sequence[Bbox], arrow: Arrow) -> float:
    """How far the middle of an arrow is above the straight line; negative below it."""
    first, last = frames[arrow.source].column, frames[arrow.target].column
    if last == first + 1 and arrow.kind != SIGNAL:
        return 0.0
    if first == last:
        # Two arrows between the same frames keep to their own sides.
        return 0.2
    if last == first - 1 and areas[arrow.source].y1 < 0 < areas[arrow.target].y1:
        # Back from a lower row, beside the straight arrow that leads there.
        return -0.6
    columns = range(min(first, last), max(first, last) + 1)
    passed = [area for f, area in zip(frames, areas, strict=True) if f.column in columns]
    source, target = areas[arrow.source], areas[arrow.target]
    middle = (source.y0 + source.y1 + target.y0 + target.y1) / 4
    room = 0.3 + 0.16 * len(columns)
    below = min(area.y0 for area in passed) - room - middle
    above = max(area.y1 for area in passed) + _LOOP + room - middle
    in_one_row = all(area.y0 <= 0 <= area.y1 for area in passed)
    if arrow.kind == SIGNAL and (in_one_row or target.y1 < 0):
        return below
    return above


def _draw_arrow(
    ax: Axes,
    frames: Sequence[Frame],
    areas: Sequence[Bbox],
    patches: Sequence[FancyBboxPatch],
    arrow: Arrow,
) -> None:
    source, target = areas[arrow.source], areas[arrow.target]
    start, end = (
        (area.x0 + area.width / 2, area.y0 + area.height / 2) for area in (source, target)
    )
    dx, dy = end[0] - start[0], end[1] - start[1]
    sag = _sag(frames, areas, arrow)
    # A quadratic curve passes its control point at half the distance.
    bend = (2 if dx <= 0 else -2) * sag / (dx**2 + dy**2) ** 0.5
    patch = FancyArrowPatch(
        start,
        end,
        patchA=patches[arrow.source],
        patchB=patches[arrow.target],
        connectionstyle=f"arc3,rad={bend:.4f}",
        shrinkA=1.0,
        shrinkB=2.0,
        **_look(arrow.kind),
    )
    ax.add_patch(patch)
    x, y = (start[0] + end[0]) / 2 + bend * dy / 2, (start[1] + end[1]) / 2 - bend * dx / 2
    if _is_vertical(frames, arrow):
        _label(ax, x, y, arrow, ha="left" if bend * dy > 0 else "right")
    elif sag == 0 and dy != 0:
        x = source.x1 + 0.25 + _LETTER * max(map(len, arrow.lines)) / 2
        _label(ax, x, start[1] + dy * (x - start[0]) / dx, arrow)
    else:
        _label(ax, x, y, arrow)


def _draw_loop(ax: Axes, area: Bbox, arrow: Arrow) -> None:
    """Draw an arrow from a frame to itself: above it in the first row, below it in others."""
    up = 1 if area.y0 < 0 < area.y1 else -1
    x, y, half = area.x0 + area.width / 2, area.y1 if up > 0 else area.y0, 0.22
    patch = FancyArrowPatch(
        (x + half, y),
        (x - half, y),
        connectionstyle=f"arc3,rad={up * _LOOP / half:.3f}",
        shrinkA=1.0,
        shrinkB=1.0,
        **_look(arrow.kind),
    )
    ax.add_patch(patch)
    _label(ax, x, y + up * (_LOOP + 0.04), arrow, va="bottom" if up > 0 else "top")


def _look(kind: str) -> dict[str, Any]:
    return {
        "arrowstyle": "|-|,widthA=0,widthB=2.5" if kind == INHIBITORY else "-|>",
        "mutation_scale": 1.5 if kind == INHIBITORY else 9.0,
        "linestyle": (0, (4, 2)) if kind == SIGNAL else "solid",
        "color": _COLOURS[kind],
        "linewidth": 1.1,
        "zorder": 0.5,
    }


def _label(
    ax: Axes, x: float, y: float, arrow: Arrow, ha: str = "center", va: str = "center"
) -> None:
    ax.text(
        x,
        y,
        "\n".join(arrow.lines),
        ha=ha,
        va=va,
        fontsize=7.0,
        linespacing=1.15,
        color=_COLOURS[arrow.kind],
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        zorder=3,
    )


def _legend(arrows: Sequence[Arrow]) -> list[Line2D]:
    """A line for each kind of arrow, if there are several."""
    kinds = [kind for kind in _COLOURS if any(arrow.kind == kind for arrow in arrows)]
    return [
        Line2D(
            [],
            [],
            color=_COLOURS[kind],
            linestyle=(0, (4, 2)) if kind == SIGNAL else "solid",
            label=kind,
        )
        for kind in kinds
        if len(kinds) > 1
    ]


def _fit(figure: Figure, ax: Axes, legend: list[Line2D], title: str) -> None:
    """Make the figure as large as what it shows, with a legend below and a title above."""
    figure.draw_without_rendering()
    area = Bbox.union([artist.get_window_extent() for artist in (*ax.patches, *ax.texts)])
    area = area.transformed(ax.transData.inverted())
    below = 0.28 if legend else 0.0
    above = 0.28 if title else 0.0
    x0, x1 = area.x0 - _MARGIN, area.x1 + _MARGIN
    y0, y1 = area.y0 - _MARGIN - below, area.y1 + _MARGIN + above
    # The legend needs about this much.
    lacking = max(0.0, 1.25 * len(legend) - (x1 - x0)) / 2
    x0, x1 = x0 - lacking, x1 + lacking
    ax.set(xlim=(x0, x1), ylim=(y0, y1))
    figure.set_size_inches(x1 - x0, y1 - y0)
    if legend:
        ax.legend(handles=legend, loc="lower center", ncols=len(legend), borderaxespad=0.2)
    if title:
        ax.text((x0 + x1) / 2, y1 - 0.06, title, ha="center", va="top", fontsize=9.0)
