"""An episode as a film: the environment, the spikes and the policy as they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

from eprop_brian.base.checks import check_count
from eprop_brian.base.files import beside
from eprop_brian.equations.environment import Environment
from eprop_brian.figures.episode import draw_neurons, draw_policy, legible
from eprop_brian.figures.scenes import Moment, Picture, scene_for
from eprop_brian.figures.style import legend_above, styled
from eprop_brian.network.resolved import Resolved
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, Run, read_weights
from eprop_brian.tasks import EpisodicTask
from eprop_brian.training.episodes import Episode
from eprop_brian.training.fresh_episodes import play_episode
from eprop_brian.training.session import Session

__all__ = ["plot_animation"]

_SIZE, _DPI = (6.4, 3.2), 100
_FRAMES_PER_SECOND = 20
#: Seconds for which the last frame stays.
_LAST = 1.5
#: Milliseconds of the episode that the panels beside the drawing show.
_SHOWN = 300.0
#: Milliseconds after an input spike in which its group counts as active.
_SENSED = 25.0
#: Steps between two actions from which on the time between them is shown too.
_LONG_ACTION = 50
_LEGEND_COLUMNS = 3
#: Colours of a GIF, of which few make it small.
_COLOURS_IN_FILE = 64


def plot_animation(
    source: Session | Run | str | Path, path: str | Path, *, most_frames: int = 200
) -> Path:
    """Draw an episode as a film: beside the environment, spikes of the neurons and the policy.

    Environments of gymnasium draw themselves. CartPole, acrobot, mountain car, the reaching arm and
    the T-maze are drawn from their states, which follow from the actions and the random numbers of
    the episode; states of others are drawn as bars.

    Parameters
    ----------
    source : Session, Run or path
        A session, whose last episode is drawn; or a run in an environment, or its folder, of which
        a fresh episode is played with the weights of its checkpoint, that of `plot_run`.
    path : path
        File to write, ``.gif``, or ``.mp4``, which takes ffmpeg.
    most_frames : int
        Of longer episodes, frames are left out.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the path has another ending, ffmpeg is missing for it, or there are no episodes.
    EnvironmentFailed
        If an environment outside of the program fails, or does not draw itself.
    """
    path, most_frames = Path(path), check_count("most_frames", most_frames, minimum=2)
    # Where the user has ffmpeg is no matter of style.
    ffmpeg = mpl.rcParams["animation.ffmpeg_path"]
    write = _writer(path)
    episode, network, environment = _played(source)
    with styled(), mpl.rc_context({"animation.ffmpeg_path": ffmpeg}):
        figure = plt.figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        try:
            FigureCanvasAgg(figure)
            frames = _frames(figure, episode, network, environment, most_frames)
            with beside(path) as temporary:
                write(temporary, figure, frames)
        finally:
            plt.close(figure)
    return path


def _played(source: Session | Run | str | Path) -> tuple[Episode, Resolved, Environment]:
    """An episode, and who played it where."""
    if isinstance(source, Session):
        episode, environment = source.episode(), source.capacity.environment
        assert environment is not None  # or there is no episode
        return episode, source.resolved, environment
    folder = source.folder if isinstance(source, Run) else Path(source)
    config = RunConfig.read(folder)
    task = config.make_task()
    if not isinstance(task, EpisodicTask):
        raise ValueError(
            f"{folder}: task '{config.run['task']}' has no environment; only episodes in one can "
            "be animated"
        )
    network = config.make_network(task)
    weights, _ = read_weights(folder / CHECKPOINT, network)
    episode = play_episode(network, task, weights, seed=config.run["seed"])
    return episode, network.resolved, task.environment


def _frames(
    figure: Figure, episode: Episode, network: Resolved, environment: Environment, most: int
) -> Iterator[None]:
    """Draw one frame after the other into a figure."""
    dt = 1e3 * float(network.dt)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.25, 1.0], height_ratios=[1.2, 1.0])
    drawing, raster = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    policy = figure.add_subplot(grid[1, 1], sharex=raster)
    raster.tick_params(labelbottom=False)
    length = len(episode.inputs) * dt
    width = min(_SHOWN, length)
    draw_neurons(raster, episode, network, dt, width / length)
    if len(network.populations) > 1:
        legible(legend_above(raster, columns=len(network.populations)))
    draw_policy(policy, episode, (episode.steps + 1) * dt, width / length)
    policy.set_xlabel("time in the episode (ms)")
    if n_named := len(policy.get_legend_handles_labels()[0]):
        legend_above(policy, columns=min(n_named, _LEGEND_COLUMNS))
    title = drawing.set_title(" ")
    scores = np.concatenate([[0.0], np.cumsum(episode.rewards)])
    steps = _shown_steps(episode, most)
    shown = _show(drawing, episode, environment, steps, dt)
    for step, _ in zip(steps, shown, strict=True):
        acted = step // episode.steps_per_action
        now = step * dt
        raster.set_xlim(max(0.0, now - width), max(width, now))
        for ax in (raster, policy):
            _hide_from(ax, now)
        title.set_text(f"{environment.name}, {now:.0f} ms: return {scores[acted]:.3g}")
        figure.canvas.draw()
        # Panels stay where they are from the first frame on.
        figure.set_layout_engine("none")
        yield


def _hide_from(ax: Axes, now: float) -> None:
    """Hide what has not happened yet."""
    (left, _), (low, high) = ax.get_xlim(), ax.get_ylim()
    past = Rectangle((left, low), now - left, high - low, transform=ax.transData)
    for artist in (*ax.lines, *ax.collections):
        artist.set_clip_path(past)


def _shown_steps(episode: Episode, most: int) -> np.ndarray:
    """The steps that are shown, from the beginning to the end of the episode."""
    n_steps = len(episode.inputs)
    between = 1 if episode.steps_per_action >= _LONG_ACTION else episode.steps_per_action
    n = min(most, n_steps // between + 1)
    steps: np.ndarray = between * np.round(np.linspace(0, n_steps // between, n)).astype(int)
    return steps


def _show(
    ax: Axes, episode: Episode, environment: Environment, steps: np.ndarray, dt: float
) -> Iterator[None]:
    """Draw the environment at each of these steps."""
    per_action = episode.steps_per_action
    if environment.external:
        pictures = _pictures(episode, environment, steps // per_action)
        picture = Picture(ax, next(pictures))
        yield
        for drawn in pictures:
            picture.draw(drawn)
            yield
        return
    scene = scene_for(ax, environment, episode.states)
    sensed = _sensed(episode, environment, max(1, round(_SENSED / dt)))
    actions = episode.actions.reshape(len(episode.actions), -1)
    for step in steps:
        acted = int(step) // per_action
        last = actions[acted - 1] if acted else np.zeros(0)
        progress = step / len(episode.inputs)
        scene.draw(Moment(episode.states[acted], last, sensed[step], progress))
        yield


def _sensed(episode: Episode, environment: Environment, window: int) -> np.ndarray:
    """Whether the inputs of a code were active lately, shape (n_steps + 1, n_codes)."""
    ends = np.cumsum([code.size for code in environment.codes])[:-1]
    groups = np.split(episode.inputs != 0, ends, axis=1)
    active = np.array([group.any(axis=1) for group in groups])
    lately = [np.convolve(code, np.ones(window))[: len(code)] > 0 for code in active]
    sensed: np.ndarray = np.concatenate([np.zeros((1, len(groups)), bool), np.array(lately).T])
    return sensed


def _pictures(
    episode: Episode, environment: Environment, acted: Sequence[int] | np.ndarray
) -> Iterator[np.ndarray]:
    """Pictures by the environment itself, after so many actions each."""
    assert environment.external is not None
    with environment.external(render=True) as player:
        player.reset(episode.key)
        done, over = 0, False
        for n in acted:
            while done < n and not over:
                step = player.step(episode.actions[done])
                done, over = done + 1, step.terminated or step.truncated
            yield player.render()


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
