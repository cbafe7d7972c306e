"""Films of runs; of an episode the environment, the spikes and the policy as they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.base.checks import check_count
from eprop_brian.equations.environment import Environment
from eprop_brian.figures.bounding_box import box_frames
from eprop_brian.figures.episode import draw_neurons, draw_policy, legible
from eprop_brian.figures.film import hide_from, write_film
from eprop_brian.figures.scenes import Moment, Picture, scene_for
from eprop_brian.figures.style import legend_above
from eprop_brian.figures.trial_film import TRIAL_QUANTITIES, trial_frames
from eprop_brian.network.resolved import Resolved
from eprop_brian.runs.balanced import BALANCED as BALANCED_MODEL
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.eprop import EPROP
from eprop_brian.runs.run import CHECKPOINT, Run, read_weights
from eprop_brian.runs.saved import SavedExperiment, read_recording
from eprop_brian.tasks import EpisodicTask
from eprop_brian.training.episodes import Episode
from eprop_brian.training.fresh_episodes import play_episode
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session

__all__ = ["film_name", "plot_animation"]

BALANCED = BALANCED_MODEL.name
#: Models whose networks are simulated in trials or episodes.
_OF_NETWORKS = (EPROP.name,)

#: Milliseconds of the episode that the panels beside the drawing show.
_SHOWN = 300.0
#: Milliseconds after an input spike in which its group counts as active.
_SENSED = 25.0
#: Steps between two actions from which on the time between them is shown too.
_LONG_ACTION = 50
_LEGEND_COLUMNS = 3


def plot_animation(
    source: Session | Run | str | Path, path: str | Path, *, most_frames: int = 200
) -> Path:
    """Draw an episode, a trial or the bounding box of a balanced network as a film.

    Of an episode, beside the environment, spikes of the neurons and the policy. Of a trial, spikes
    and outputs as they go on, and where two readouts follow targets the line that they draw. Of a
    balanced network, its error within the box that the thresholds make
    (`eprop_brian.figures.bounding_box.box_frames`).

    Environments of gymnasium draw themselves. CartPole, acrobot, mountain car, the reaching arm and
    the T-maze are drawn from their states, which follow from the actions and the random numbers of
    the episode; states of others are drawn as bars.

    Parameters
    ----------
    source : Session, Run or path
        A session, whose last episode is drawn; or a run or its folder, of which a fresh episode or
        trial is played with the weights of its checkpoint, that of `plot_run`; of a balanced
        network its test is drawn.
    path : path
        File to write, ``.gif``, or ``.mp4``, which takes ffmpeg.
    most_frames : int
        Of longer episodes and trials, frames are left out; of a balanced network, so many samples
        are shown.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the path has another ending, ffmpeg is missing for it, there are no episodes, or a
        balanced network has one dimension or has not been tested.
    EnvironmentFailed
        If an environment outside of the program fails, or does not draw itself.
    """
    path, most_frames = Path(path), check_count("most_frames", most_frames, minimum=2)
    return write_film(path, lambda figure: _frames_of(figure, source, most_frames))


def film_name(folder: Path) -> str:
    """What the film of a run is of, for the name of its file."""
    config = RunConfig.read(folder)
    if config.model.name == BALANCED:
        return "bounding_box"
    return "episode" if isinstance(config.make_task(), EpisodicTask) else "trial"


def _frames_of(figure: Figure, source: Session | Run | str | Path, most: int) -> Iterator[None]:
    """Draw what a source has, frame by frame."""
    if isinstance(source, Session):
        episode, environment = source.episode(), source.capacity.environment
        assert environment is not None  # or there is no episode
        return _frames(figure, episode, source.resolved, environment, most)
    folder = source.folder if isinstance(source, Run) else Path(source)
    config = RunConfig.read(folder)
    if config.model.name == BALANCED:
        network = SavedExperiment.read(folder).network
        return box_frames(figure, read_recording(folder)[0], network, most)
    if config.model.name not in _OF_NETWORKS:
        raise ValueError(
            f"{folder}: there are films of episodes, of trials and of balanced networks, not of "
            f"model '{config.model.name}'"
        )
    task = config.make_task()
    network = config.make_network(task)
    weights, n_updates = read_weights(folder / CHECKPOINT, network)
    seed = config.run["seed"]
    if isinstance(task, EpisodicTask):
        episode = play_episode(network, task, weights, seed=seed)
        return _frames(figure, episode, network.resolved, task.environment, most)
    recording = record(
        network, task, weights, quantities=TRIAL_QUANTITIES, synapses=(), seed=seed, learning=False
    )
    return trial_frames(figure, recording, f"{task.name} after {n_updates} iterations", most)


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
            hide_from(ax, now)
        title.set_text(f"{environment.name}, {now:.0f} ms: return {scores[acted]:.3g}")
        yield


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
