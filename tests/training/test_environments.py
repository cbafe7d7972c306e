"""The library's environments in a program, against NumPy with the same random numbers."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import LIF, Network
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.environment_run import EnvironmentRun, ProgramDraws
from eprop_brian.symbolic.names import shown
from eprop_brian.tasks import Trials, get_task
from eprop_brian.training.session import Session

# Where small differences grow, as in a double pendulum, an episode is short.
MOST_ACTIONS = {"acrobot": 20}


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("name", ["cartpole", "acrobot", "mountain-car", "t-maze", "reaching"])
def test_episode_is_that_of_numpy(name, device):
    task = get_task(name)
    most = MOST_ACTIONS.get(name, task.environment.most_actions)
    environment = replace(task.environment, most_actions=most)
    trials = Trials.episodes(environment, task.dt, [2**63 + 12345])
    network = Network.for_environment(environment, [(LIF, 10)], dt=task.dt)
    n_steps = trials.inputs.shape[1]
    session = Session(network, make_program(device), trials, n_steps, network.initial_weights(1))
    outcome = session.run(trials, 1, learning=False)
    (length,), (over,) = outcome.episodes.lengths, outcome.episodes.done
    kept = session.program.get("policy_actions.y_target").reshape(most, -1)[:length]
    rewards = session.program.get("environment_actions.reward")[:length]
    spikes = session.program.get("inputs.z")
    states = {s: session.program.get(f"environment.{s}") for s in states_of(environment)}
    episode = session.episode()
    session.close()

    draw = ProgramDraws(trials.noise_keys[0])
    draw.of(0, *(("initial", number) for number in range(10)))
    run = EnvironmentRun(environment, draw)
    course = [run.states]
    for action, reward in zip(kept, rewards, strict=True):
        if run.n_actions == length - 1:
            step = length * task.steps_per_action - 1
            draw.of(step, *((f"environment_code_{k}", 0) for k in range(len(environment.codes))))
            since = (task.steps_per_action - 1) * 1e-3
            np.testing.assert_array_equal(spikes, run.sense(step * 1e-3, since, 1e-3))
        chosen = int(action.argmax()) if environment.n_actions else action
        given, done = run.act(chosen)
        course.append(run.states)
        assert given == pytest.approx(reward, rel=1e-10, abs=1e-12)
    assert done == over
    for state, value in run.states.items():
        assert states[state] == pytest.approx(value, rel=1e-9, abs=1e-12)
    # What a film shows.
    assert episode.key == trials.noise_keys[0]
    assert len(episode.states) == len(course) == length + 1
    for kept, expected in zip(episode.states, course, strict=True):
        assert kept == pytest.approx(expected, rel=1e-9, abs=1e-12)


def states_of(environment):
    return [shown(state) for state in environment_map(environment).states]
