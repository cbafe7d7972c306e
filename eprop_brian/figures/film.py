"""Writing films: frames that are drawn into one figure, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import animation
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from eprop_brian.base.files import beside
from eprop_brian.figures.style import styled

__all__ = ["hide_from", "write_film"]

_SIZE, _DPI = (6.4, 3.2), 100
_FRAMES_PER_SECOND = 20
#: Seconds for which the last frame stays.
_LAST = 1.5
#: Colours of a GIF, of which few make it small.
_COLOURS_IN_FILE = 64


def write_film(path: Path, frames: Callable[[Figure], Iterator[None]]) -> Path:
    """Write a film, whole or not at all.

    Parameters
    ----------
    path : Path
        ``.gif``, or ``.mp4``, which takes ffmpeg.
    frames : callable
        Draws into a figure, and yields once for each frame, after it has drawn it.

    Raises
    ------
    ValueError
        If the path has another ending, or ffmpeg is missing for it.
    """
    # Where the user has ffmpeg is no matter of style.
    ffmpeg = mpl.rcParams["animation.ffmpeg_path"]
    write = _writer(path)
    with styled(), mpl.rc_context({"animation.ffmpeg_path": ffmpeg}):
        figure = plt.figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        try:
            FigureCanvasAgg(figure)
            with beside(path) as temporary:
                write(temporary, figure, _drawn(figure, frames))
        finally:
            plt.close(figure)
    return path


def hide_from(ax: Axes, now: float) -> None:
    """Hide what has not happened yet."""
    (left, _), (low, high) = ax.get_xlim(), ax.get_ylim()
    past = Rectangle((left, low), now - left, high - low, transform=ax.transData)
    for artist in (*ax.lines, *ax.collections):
        artist.set_clip_path(past)


def _drawn(figure: Figure, frames: Callable[[Figure], Iterator[None]]) -> Iterator[None]:
    for _ in frames(figure):
        figure.canvas.draw()
        # Panels stay where they are from the first frame on.
        figure.set_layout_engine("none")
        yield


def _writer(path: Path) -> Callable[[Path, Figure, Iterator[None]], None]:
    """What writes a file of this kind."""
    kind = path.suffix.lower()
    if kind == ".gif":
        return _write_gif
    if kind != ".mp4":
        raise ValueError(f"an animation is a .gif or an .mp4, not {path.name}")
    if not animation.writers.is_available("ffmpeg"):
        raise ValueError(f"{path.name} takes ffmpeg, which is not installed: write a .gif")
    return _write_mp4


def _write_gif(path: Path, figure: Figure, frames: Iterator[None]) -> None:
    pictures = []
    for _ in frames:
        assert isinstance(figure.canvas, FigureCanvasAgg)
        pictures.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB"))
    # One palette and no dithering: what does not move costs next to nothing.
    some = [np.asarray(pictures[k]) for k in {0, len(pictures) // 2, len(pictures) - 1}]
    palette = Image.fromarray(np.concatenate(some)).quantize(
        _COLOURS_IN_FILE, method=Image.Quantize.MAXCOVERAGE
    )
    images = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    durations = [1000 / _FRAMES_PER_SECOND] * len(images)
    durations[-1] = 1000 * _LAST
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )


def _write_mp4(path: Path, figure: Figure, frames: Iterator[None]) -> None:
    writer = animation.FFMpegWriter(fps=_FRAMES_PER_SECOND)
    with writer.saving(figure, str(path), _DPI):
        for _ in frames:
            writer.grab_frame()
        for _ in range(round(_LAST * _FRAMES_PER_SECOND)):
            writer.grab_frame()
