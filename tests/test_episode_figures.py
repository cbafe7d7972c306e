"""Figures and films of episodes: what is drawn where, and that files are written whole."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from brian2 import ms
from matplotlib import animation as matplotlib_animation
from matplotlib import pyplot as plt
from PIL import Image

from eprop_brian import plot
from eprop_brian.base.random import rng_for
from eprop_brian.equations import ALIF, LIF, Code, Environment
from eprop_brian.figures import animation as films
from eprop_brian.figures.scenes import Bars, Moment, scene_for
from eprop_brian.network.parts import Agent
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.symbolic.environment_run import EnvironmentRun, drawn_by
from eprop_brian.tasks import EnvironmentFailed, Trials, get_task
from eprop_brian.tasks.gymnasium_task import GymnasiumTask
from eprop_brian.training.episodes import Episode
from eprop_brian.training.fresh_episodes import play_episode, record_traces
from eprop_brian.training.history import History
from eprop_brian.training.session import Session
from support.command import call

mpl.use("Agg")

DISCOUNT = 0.9
#: A walk of 5 actions.
WALK = Environment(
    name="walk",
    model="x : 1\ny : 1",
    codes=[Code(4, spike="rand() < 0.4"), Code(2, spike="rand() < 0.4 + 0*x")],
    most_actions=5,
    n_actions=3,
    initial={"x": "rand()"},
    step="x += action - 1 + 0.1*randn()",
    reward="x",
)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def network_of(environment, **options):
    agent = Agent(discount=DISCOUNT, **options)
    return Network.for_environment(environment, [(LIF, 3), (ALIF, 2)], agent=agent)


def make_episode(n=5, steps=5, size=0, n_policy=3, **changes):
    """An episode of n actions, without a program."""
    rng = np.random.default_rng(1)
    actions = rng.normal(size=(n, size)) if size else np.arange(n) % n_policy
    fields = {
        "inputs": rng.random((n * steps, 6)) < 0.3,
        "spikes": rng.random((n * steps, 5)) < 0.2,
        "steps": steps * np.arange(1, n + 1) - 1,
        "actions": actions,
        "outputs": rng.normal(size=(n, size or n_policy)),
        "rewards": rng.normal(size=n),
        "values": rng.normal(size=n),
        "advantages": rng.normal(size=n),
        "done": True,
        "states": tuple({"x": float(k), "y": 0.0} for k in range(n + 1)),
        "key": 2**63 + 7,
    }
    return Episode(**{**fields, **changes})


def panels(figure):
    """Lay the figure out; its panels by what their y axes say, all with units."""
    figure.canvas.draw()
    labels = {ax.get_ylabel().replace("\n", " "): ax for ax in figure.axes}
    labels = {label: ax for label, ax in labels.items() if label != "value"}
    assert all("(" in label for label in labels)
    return {label.partition(" (")[0]: ax for label, ax in labels.items()}


# --- an episode -----------------------------------------------------------------------------------


def test_an_episode_has_a_panel_for_everything():
    episode = make_episode()
    figure = plot.episode(episode, network_of(WALK), title="a walk")
    shown = panels(figure)
    assert [*shown] == [
        *("input neuron", "recurrent neuron", "policy", "reward"),
        *("value", "TD error δ", "advantage"),
    ]
    assert figure.get_suptitle() == "a walk"
    assert figure.axes[-1].get_xlabel() == "time in the episode (ms)"
    assert shown["reward"].get_xlim() == (0, 25)
    time = [5, 10, 15, 20, 25]
    values, targets = shown["value"].lines
    np.testing.assert_array_equal(values.get_xydata(), np.array([time, episode.values]).T)
    np.testing.assert_allclose(targets.get_ydata(), episode.values + episode.advantages)
    assert targets.get_label() == "return R"
    np.testing.assert_array_equal(shown["advantage"].lines[-1].get_ydata(), episode.advantages)
    # After the last action nothing is expected.
    after = np.append(episode.values[1:], 0)
    expected = episode.rewards + DISCOUNT * after - episode.values
    np.testing.assert_allclose(shown["TD error δ"].lines[-1].get_ydata(), expected)
    segments = shown["reward"].collections[0].get_segments()
    np.testing.assert_allclose([s[1] for s in segments], np.array([time, episode.rewards]).T)
    legend = shown["recurrent neuron"].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["lif", "alif"]


def test_probabilities_stand_one_above_the_other_and_choices_above_them():
    episode = make_episode()
    ax = panels(plot.episode(episode, network_of(WALK)))["policy"]
    p = np.exp(episode.outputs) / np.exp(episode.outputs).sum(axis=1, keepdims=True)
    top = ax.collections[-1].get_paths()[0].vertices[:, 1]
    assert top.max() == pytest.approx(1)
    # At 7 ms, what counts is the policy of the second action, at 10 ms.
    for k, area in enumerate(ax.collections):
        heights = [height for _, height in crossings(area.get_paths()[0], 7.0)]
        assert max(heights) - min(heights) == pytest.approx(p[1, k])
    ticks = [line.get_xdata() for line in ax.lines]
    np.testing.assert_array_equal(np.concatenate(ticks), [5, 20, 10, 25, 15])
    assert all(1 < line.get_ydata()[0] < ax.get_ylim()[1] for line in ax.lines)


def crossings(path, x):
    """Points of a path's horizontal edges at x."""
    vertices = path.vertices
    return [
        (x, a[1])
        for a, b in zip(vertices[:-1], vertices[1:], strict=True)
        if min(a[0], b[0]) < x < max(a[0], b[0])
    ]


def test_continuous_actions_are_drawn_around_the_policy():
    environment = replace(WALK, n_actions=0, action_size=2, step="x += action_0 + action_1")
    episode = make_episode(size=2)
    ax = panels(plot.episode(episode, network_of(environment, trace_decay=0.5)))["action"]
    dots, line = ax.lines[2:]
    np.testing.assert_array_equal(dots.get_ydata(), episode.actions[:, 1])
    np.testing.assert_array_equal(line.get_ydata(), episode.outputs[:, 1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["action 0", "action 1"]
    value = panels(plot.episode(episode, network_of(environment, trace_decay=0.5)))["value"]
    assert value.lines[1].get_label() == "λ-return"


def test_one_action_and_hundreds_are_shown():
    one = panels(plot.episode(make_episode(n=1), network_of(WALK)))
    assert all(line.get_marker() == "." for line in one["value"].lines)
    many = panels(plot.episode(make_episode(n=300), network_of(WALK)))
    assert all(line.get_marker() == "None" for line in many["value"].lines)
    widths = [shown["input neuron"].lines[0].get_markeredgewidth() for shown in (one, many)]
    assert widths[0] == 0.6 > widths[1]


def test_an_action_that_is_not_learned_from_is_not_shown_as_if():
    advantages = np.array([0.5, 0.2, 0.1, -0.3, np.nan])
    episode = make_episode(advantages=advantages, done=False)
    shown = panels(plot.episode(episode, network_of(WALK, bootstrap=True)))
    for name in ("TD error δ", "advantage"):
        finite = np.isfinite(shown[name].lines[-1].get_ydata())
        np.testing.assert_array_equal(finite, [True] * 4 + [False])


def test_analog_inputs_are_an_image():
    inputs = np.random.default_rng(2).normal(size=(25, 6))
    ax = panels(plot.episode(make_episode(inputs=inputs), network_of(WALK)))["analog input"]
    np.testing.assert_array_equal(ax.images[0].get_array(), inputs.T)
    assert ax.get_xlim() == (0, 25)


def test_returns_have_the_mean_that_decides():
    rng = np.random.default_rng(3)
    history = History()
    for value in rng.random(40):
        history.append(value, **{"rate_hz": 1.0, "return": value, "length": 3.0})
    (ax,) = [
        ax
        for ax in plot.learning(history, solved_return=0.9, batch_size=8).axes
        if ax.get_ylabel().startswith("return")
    ]
    returns, mean, threshold = ax.lines
    np.testing.assert_array_equal(returns.get_ydata(), history.returns)
    # 13 batches of 8, of whose first a half counts.
    for k, iteration in enumerate(mean.get_xdata()):
        expected, n = history.truncated(int(iteration)).recent_return(8)
        assert n == 100 and mean.get_ydata()[k] == pytest.approx(expected, rel=1e-12)
    assert mean.get_xdata()[0] == 13 and mean.get_xdata()[-1] == 40
    assert mean.get_label() == "mean of the last 100 episodes"
    assert threshold.get_ydata()[0] == 0.9


# --- drawings of environments ---------------------------------------------------------------------


def course_of(environment, actions):
    """The states of an episode of these actions."""
    run = EnvironmentRun(environment, drawn_by(rng_for(7, "scenes")))
    states = [run.states]
    for action in actions:
        run.act(action)
        states.append(run.states)
    return states


def scene(name, actions, sensed=None):
    """The drawing of an environment of the library at the end of some actions, and its states."""
    task = get_task(name)
    environment, actions = task.environment, np.asarray(actions)
    course = course_of(environment, actions)
    ax = plt.figure().add_subplot()
    drawn = scene_for(ax, environment, course)
    sensed = np.zeros(len(environment.codes), bool) if sensed is None else np.array(sensed)
    drawn.draw(Moment(course[-1], np.atleast_1d(actions[-1]), sensed, 1.0))
    ax.figure.canvas.draw()
    return drawn, course[-1]


def test_cart_and_pole_are_where_the_states_say():
    drawn, states = scene("cartpole", [1, 1, 1, 0])
    x, angle = states["x"], states["angle"]
    foot, top = np.array(drawn.pole.get_xydata())
    assert foot[0] == pytest.approx(x)
    np.testing.assert_allclose(top - foot, [np.sin(angle), np.cos(angle)], rtol=1e-12)
    assert drawn.cart.get_x() + drawn.cart.get_width() / 2 == pytest.approx(x)
    assert drawn.push.get_xdata()[0] < x and drawn.push.get_marker() == "<"


def test_links_of_an_acrobot_hang_from_its_joint():
    drawn, states = scene("acrobot", [2, 2, 2])
    points = np.array(drawn.links.get_xydata())
    first, second = states["angle_1"], states["angle_1"] + states["angle_2"]
    np.testing.assert_allclose(points[1], [np.sin(first), -np.cos(first)], rtol=1e-12)
    np.testing.assert_allclose(points[2] - points[1], [np.sin(second), -np.cos(second)])


def test_a_car_is_on_its_hill():
    drawn, states = scene("mountain-car", [2] * 5)
    assert drawn.car.get_xdata()[0] == states["position"]
    assert drawn.push.get_marker() == ">" and drawn.push.get_visible()
    still, _ = scene("mountain-car", [1])
    assert not still.push.get_visible()


@pytest.mark.parametrize("is_shown", [True, False])
def test_an_arm_reaches_and_its_target_is_shown(is_shown):
    actions = np.ones((25, 2))
    drawn, states = scene("reaching", actions, sensed=[is_shown] + 4 * [False])
    assert drawn.target.center == (states["target_x"], states["target_y"])
    assert (drawn.target.get_facecolor()[3] > 0) == is_shown
    hand = np.array(drawn.arm.get_xydata())[-1]
    np.testing.assert_allclose(drawn.trail.get_xydata()[-1], hand)
    shoulder, both = states["shoulder"], states["shoulder"] + states["elbow"]
    expected = 0.5 * np.array([np.cos([shoulder, both]), np.sin([shoulder, both])]).sum(axis=1)
    np.testing.assert_allclose(hand, expected, rtol=1e-12)


def test_a_maze_has_cues_and_an_arm_that_is_chosen():
    drawn, _ = scene("t-maze", [1], sensed=[True, False, False, True])
    left, right = (cue.get_facecolor()[3] > 0 for cue in drawn.cues)
    assert left and not right
    assert drawn.animal.get_xydata()[0].tolist() == [1.0, 2.0]


def test_states_of_other_environments_are_bars():
    course = course_of(WALK, [2, 2, 0])
    drawn = scene_for(plt.figure().add_subplot(), WALK, course)
    assert isinstance(drawn, Bars)
    drawn.draw(Moment(course[2], np.array([2]), np.array([True, False]), 0.5))
    x = [states["x"] for states in course]
    widths = [bar.get_width() for bar in drawn.bars]
    assert widths == pytest.approx([(x[2] - min(x)) / (max(x) - min(x)), 0])


# --- films ----------------------------------------------------------------------------------------


def played(environment, network=None):
    network = network or network_of(environment)
    trials = Trials.episodes(environment, network.dt, [5])
    weights = network.initial_weights(3)
    session = Session(network, make_program("runtime", "float64"), trials, 1, weights)
    session.run(trials, 1, learning=False)
    return session


@pytest.fixture(scope="module")
def session():
    session = played(WALK)
    yield session
    session.close()


def test_a_session_gives_a_film(session, tmp_path):
    path = plot.animation(session, tmp_path / "walk.gif")
    with Image.open(path) as film:
        # From before the first action to after the fifth.
        assert film.n_frames == 6
        durations = []
        for k in range(film.n_frames):
            film.seek(k)
            durations.append(film.info["duration"])
            assert np.asarray(film.convert("RGB"))[0, 0].tolist() == [255, 255, 255]
    assert durations == 5 * [50] + [1500]
    assert [*tmp_path.iterdir()] == [path] and path.stat().st_size < 100_000
    assert not plt.get_fignums()


def test_long_episodes_lose_frames_but_not_their_ends():
    episode = make_episode(n=500)
    steps = films._shown_steps(episode, 200)
    assert len(steps) == 200 and steps[0] == 0 and steps[-1] == 2500
    assert not np.any(steps % 5) and np.all(np.diff(steps) > 0)
    # Where an action takes long, the time before it is shown too.
    assert len(films._shown_steps(make_episode(n=1, steps=800), 200)) == 200


def test_a_film_shows_what_happened(session, tmp_path, monkeypatch):
    seen = []
    draw = Bars.draw
    monkeypatch.setattr(Bars, "draw", lambda self, m: seen.append(m) or draw(self, m))
    plot.animation(session, tmp_path / "walk.gif")
    episode = session.episode()
    assert [moment.states for moment in seen] == [*episode.states]
    assert [moment.action.tolist() for moment in seen] == [[], *([a] for a in episode.actions)]
    assert [moment.progress for moment in seen] == [k / 5 for k in range(6)]
    # The first four inputs are one group, the others another; in 25 ms both were active.
    fired = [episode.inputs[:, :4].any(axis=1), episode.inputs[:, 4:].any(axis=1)]
    for k, moment in enumerate(seen):
        assert moment.sensed.tolist() == [bool(code[: 5 * k].any()) for code in fired]


def test_nothing_is_left_of_a_film_that_fails(session, tmp_path, monkeypatch):
    path = tmp_path / "walk.gif"
    path.write_bytes(b"before")

    def fail(*_):
        raise RuntimeError("no more")

    monkeypatch.setattr(Bars, "draw", fail)
    with pytest.raises(RuntimeError, match="no more"):
        plot.animation(session, path)
    assert [*tmp_path.iterdir()] == [path] and path.read_bytes() == b"before"
    assert not plt.get_fignums()


def test_a_film_is_of_a_kind_that_can_be_written(session, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"a \.gif or an \.mp4, not walk\.avi"):
        plot.animation(session, tmp_path / "walk.avi")
    monkeypatch.setattr(matplotlib_animation.writers, "is_available", lambda _: False)
    with pytest.raises(ValueError, match="takes ffmpeg, which is not installed: write a .gif"):
        plot.animation(session, tmp_path / "walk.mp4")
    with pytest.raises(ValueError, match="most_frames"):
        plot.animation(session, tmp_path / "walk.gif", most_frames=1)


@pytest.mark.skipif(
    not matplotlib_animation.writers.is_available("ffmpeg"), reason="ffmpeg is not installed"
)
def test_ffmpeg_writes_an_mp4(session, tmp_path):
    path = plot.animation(session, tmp_path / "walk.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"


def test_a_session_that_has_played_nothing_gives_no_film(tmp_path):
    network = network_of(WALK)
    trials = Trials.episodes(WALK, network.dt, [5])
    weights = network.initial_weights(3)
    session = Session(network, make_program("runtime", "float64"), trials, 1, weights)
    with pytest.raises(ValueError, match="no episode has been played yet"):
        plot.animation(session, tmp_path / "walk.gif")
    session.close()


def lights_task(draws=True):
    """An environment of gymnasium that draws how many actions it has had, and two of whose last."""
    gymnasium = pytest.importorskip("gymnasium")

    class Lights(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 1, (2,))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.n, self.actions = 0, []
            return np.zeros(2, np.float32), {}

        def step(self, action):
            self.n += 1
            self.actions.append(int(action))
            return np.full(2, self.n / 4, np.float32), 1.0, self.n == 4, False, {}

        def render(self):
            if not draws:
                return None
            picture = np.zeros((2, 3, 3), np.uint8)
            picture[..., 0] = 10 * self.n + sum(self.actions)
            return picture

    return GymnasiumTask(env=Lights, most_actions=9)


def test_environments_of_gymnasium_draw_themselves(tmp_path):
    task = lights_task()
    network = Network.for_task(task, [(LIF, 3)])
    episode = play_episode(network, task, network.initial_weights(0), seed=4)
    assert len(episode.actions) == 4
    pictures = films._pictures(episode, task.environment, [0, 2, 4])
    reds = [int(picture[0, 0, 0]) for picture in pictures]
    assert reds == [0, 20 + episode.actions[:2].sum(), 40 + episode.actions.sum()]
    session = played(task.environment, network)
    with Image.open(plot.animation(session, tmp_path / "lights.gif")) as film:
        assert film.n_frames == 5
    session.close()


def test_an_environment_that_draws_nothing_says_so(tmp_path):
    task = lights_task(draws=False)
    session = played(task.environment, Network.for_task(task, [(LIF, 3)]))
    with pytest.raises(EnvironmentFailed, match="it drew None, expected a picture"):
        plot.animation(session, tmp_path / "lights.gif")
    session.close()
    assert not [*tmp_path.iterdir()]


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A tiny run in an environment."""
    config = RunConfig.from_recipe(
        "cartpole",
        run={"device": "runtime", "iterations": 2, "seed": 3},
        settings=["size.lif=5", "run.batch_size=1"],
    )
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    Run.start(config, folder).train(progress=False)
    return folder


def test_a_run_in_an_environment_is_drawn(run_folder, monkeypatch):
    drawn = []

    def draw(episode, network, traces, title):
        drawn.append((episode, traces, title))
        return plot.episode(episode, network, traces, title)

    monkeypatch.setattr("eprop_brian.figures.eprop.plot_episode", draw)
    monkeypatch.setattr("eprop_brian.figures.film._DPI", 40)
    output = call("plot", run_folder, "--animate")
    names = ["learning_curve", "episode_before", "episode_after", "weights"]
    expected = [run_folder / f"{name}.png" for name in names] + [run_folder / "episode.gif"]
    assert output.split("wrote ")[1:] == [f"{path}\n" for path in expected]
    assert all(path.stat().st_size > 1000 for path in expected)
    (before, traces_before, _), (after, traces, title) = drawn
    assert before.key == after.key and traces_before.synapses == traces.synapses
    n = len(after.actions)
    assert title == f"cartpole after 2 iterations: return {0.02 * n:.4g}, {n} actions"
    assert not plt.get_fignums() and not [*run_folder.glob(".*")]
    # Both begin with the same states and what they are sensed by, before the networks differ.
    np.testing.assert_array_equal(before.inputs[:5], after.inputs[:5])


def test_the_film_of_a_run_is_of_its_checkpoint(run_folder, tmp_path, monkeypatch):
    seen = []
    frames = films._frames
    monkeypatch.setattr(films, "_frames", lambda *a: seen.append(a[1]) or frames(*a))
    run = Run.open(run_folder)
    plot.animation(run, tmp_path / "run.gif", most_frames=3)
    task = run.trainer.task
    expected = play_episode(run.trainer.network, task, run.weights(), seed=3)
    np.testing.assert_array_equal(seen[0].spikes, expected.spikes)


AVERAGED = replace(WALK, action_window=2 * ms)


@pytest.mark.parametrize("environment", [WALK, AVERAGED], ids=["walk", "averaged"])
def test_traces_and_tags_of_an_episode_are_drawn(environment):
    network = network_of(environment).with_part("w_in", scale=3.0)
    session = played(environment, network)
    episode, weights = session.episode(), session.weights
    session.close()
    assert episode.spikes.sum() > 5
    traces = record_traces(episode, network, environment, weights, synapses=2)
    shown = panels(plot.episode(episode, network, traces))
    quantities = {"filtered trace ē": "filtered_trace", "tag": "tag"}
    drawn = {name: quantity for name, quantity in quantities.items() if name in shown}
    # Where readouts are averaged before an action there are no tags.
    assert [*drawn] == [*quantities][: 1 if environment is AVERAGED else 2]
    for name, quantity in drawn.items():
        values = traces[quantity].values
        assert np.abs(values).max() > 0
        for line, curve in zip(shown[name].lines, values.T, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.array([traces.time, curve]).T)


def test_traces_are_the_same_played_again_or_as_data():
    network = network_of(WALK).with_part("w_in", scale=3.0)
    session = played(WALK, network)
    episode, weights = session.episode(), session.weights
    session.close()
    again = record_traces(episode, network, WALK, weights, synapses=3)
    data = record_traces(episode, network, AVERAGED, weights, synapses=again.synapses)
    np.testing.assert_allclose(data.filtered_trace, again.filtered_trace, rtol=1e-12)
