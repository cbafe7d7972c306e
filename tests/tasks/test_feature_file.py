"""Features in HTK's format with TIMIT's phones, on files that the tests write."""

import struct

import jax
import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz

from eprop_brian import RunConfig
from eprop_brian.network.program import make_program
from eprop_brian.tasks.datasets import DataError
from eprop_brian.tasks.feature_file import FeatureFile
from eprop_brian.tasks.frames import CODINGS, spike_code
from eprop_brian.tasks.htk import read_htk
from eprop_brian.tasks.phones import UNCOUNTED, fold, frame_labels
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from eprop_brian.training.unrolled import Unrolled
from support.data_sets import write_features, write_htk


@pytest.fixture
def folder(tmp_path):
    write_features(tmp_path)
    return tmp_path


# --- files ----------------------------------------------------------------------------------------


def test_features_are_read(tmp_path):
    values = np.arange(12.0).reshape(4, 3)
    write_htk(tmp_path / "a.mfc", values, period=50_000)
    features, period = read_htk(tmp_path / "a.mfc")
    assert np.array_equal(features, values)
    assert period == pytest.approx(0.005)


def test_checksum_is_no_feature(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    write_htk(tmp_path / "a.mfc", values, kind=6 | 0o10000)
    with (tmp_path / "a.mfc").open("ab") as file:
        file.write(b"\0\1")
    assert np.array_equal(read_htk(tmp_path / "a.mfc")[0], values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "a.mfc is no HTK file: it is shorter than the header"),
        (struct.pack(">iihH", 1, 100_000, 8, 6) + b"1234", "its header and size differ"),
        (struct.pack(">iihH", 0, 100_000, 8, 6), "its header and size differ"),
        (struct.pack(">iihH", 1, 0, 4, 6) + b"1234", "its header and size differ"),
        (struct.pack(">iihH", 1, 100_000, 2, 6) + b"12", "its header and size differ"),
        (struct.pack(">iihH", 1, 100_000, 4, 6 | 0o2000) + b"1234", "compressed, 16-bit or"),
        (struct.pack(">iihH", 2, 625, 2, 0) + b"1234", "compressed, 16-bit or discrete"),
        (struct.pack(">iihHf", 1, 100_000, 4, 9, np.nan), "a.mfc holds values that are not fin"),
    ],
)
def test_file_that_is_none_is_named(tmp_path, content, message):
    (tmp_path / "a.mfc").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_htk(tmp_path / "a.mfc")


def test_frame_has_the_phone_in_its_middle(tmp_path):
    path = tmp_path / "a.phn"
    path.write_text("0 239 h#\n239 400 sh\n\n400 480 iy\n")
    # Frames of 160 samples: their middles are at 80, 240, 400 and 560.
    assert frame_labels(path, 4, 0.01, 16_000) == ["h#", "sh", "iy", "iy"]
    path.write_text("0 241 h#\n241 480 sh\n")
    assert frame_labels(path, 2, 0.01, 16_000) == ["h#", "h#"]


def test_a_frame_between_two_phones_does_not_count(tmp_path):
    path = tmp_path / "a.phn"
    # Middles of frames: 80, 240, 400, 560, 720.
    path.write_text("200 320 h#\n500 800 iy\n")
    assert frame_labels(path, 5, 0.01, 16_000) == [UNCOUNTED, "h#", UNCOUNTED, "iy", "iy"]
    assert fold(UNCOUNTED) == UNCOUNTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 240\n", r"a.phn, line 1: expected first sample, .* got '0 240'"),
        ("0 240 h#\n0.5 300 iy\n", "a.phn, line 2: expected first sample"),
        ("240 0 h#\n", "a.phn, line 1: the phone ends before it begins, '240 0 h#'"),
        ("", "a.phn must hold at least one phone"),
        ("0 240 h#\n0 100 iy\n", "later ones further down"),
    ],
)
def test_damaged_labels_are_named(tmp_path, text, message):
    (tmp_path / "a.phn").write_text(text)
    with pytest.raises(DataError, match=message):
        frame_labels(tmp_path / "a.phn", 2, 0.01, 16_000)


# --- coding ---------------------------------------------------------------------------------------


def test_spikes_are_as_many_as_the_value_is_far_from_the_mean():
    z = np.array([[0.0, 1.0, -1.5, 3.0, -30.0]] * 20)
    counts = spike_code(z, 6).sum(axis=0)
    assert counts[:5].tolist() == [0, 40, 0, 120, 0]  # above the mean: |z|/3 of 120 steps
    assert counts[5:].tolist() == [0, 0, 60, 0, 120]  # below it


def test_spikes_of_a_constant_value_come_at_equal_distances():
    steps = np.flatnonzero(spike_code(np.full((10, 1), 0.75), 8)[:, 0])
    assert set(np.diff(steps)) == {4}


def test_sum_goes_on_from_frame_to_frame():
    # A twelfth a step: no frame of 3 steps has a spike of its own, but every fourth does.
    assert spike_code(np.full((8, 1), 0.25), 3)[:, 0].sum() == 2


# --- task -----------------------------------------------------------------------------------------


def test_defaults(folder):
    task = FeatureFile(path=str(folder))
    assert task.classes == ["aa", "h#", "iy"]
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (500, 6, 3)
    assert task.loss == "softmax_cross_entropy"
    parts = {part: len(files) for part, files in task.utterances.items()}
    assert parts == {"train": 4, "validation": 1, "confirmation": 1, "test": 3}
    for stream, n in (("train", 4), ("validation 10 again", 1), ("test", 3)):
        assert task.n_examples(stream) == n


def test_frames_are_answers(folder):
    task = FeatureFile(path=str(folder), n_frames=20)
    trials = task.trials(1, "test", 0, 3)
    assert trials.n_answers == 20
    for target, periods in zip(trials.targets, trials.periods, strict=True):
        assert periods.tolist() == np.repeat(np.arange(1, 21), 5).tolist()
        classes = target.argmax(axis=1)
        assert np.array_equal(target, np.eye(3)[classes])
        assert np.all(classes[:50] == 1)  # h#
        assert set(classes[50:]) in ({0}, {2})


def test_spikes_are_the_normalised_features(folder):
    task = FeatureFile(path=str(folder), n_frames=20)
    training = [read_htk(path)[0] for path in folder.glob("train/*/*.mfc")]
    frames = np.concatenate(training)
    spikes = task.trials(1, "test", 0, 3).inputs
    coded = [
        spike_code((read_htk(path)[0] - frames.mean(axis=0)) / frames.std(axis=0), 5)
        for path in folder.glob("TEST/*/*.mfc")
    ]
    assert sorted(trial.tobytes() for trial in spikes) == sorted(one.tobytes() for one in coded)


def test_analog_inputs_are_the_normalised_features_themselves(folder):
    task = FeatureFile(path=str(folder), coding="analog", n_frames=20)
    assert task.n_inputs == 3
    frames = np.concatenate([read_htk(path)[0] for path in folder.glob("train/*/*.mfc")])
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    trials = task.trials(1, "test", 0, 3)
    assert trials.analog
    shown = sorted(tuple(trial[::5, 0]) for trial in trials.inputs)
    wanted = sorted(
        tuple((read_htk(path)[0][:, 0] - mean[0]) / deviation[0])
        for path in folder.glob("TEST/*/*.mfc")
    )
    np.testing.assert_allclose(shown, wanted, rtol=1e-12)
    # For all steps of a frame.
    np.testing.assert_array_equal(trials.inputs, np.repeat(trials.inputs[:, ::5], 5, axis=1))


@pytest.mark.parametrize("coding", CODINGS)
def test_after_a_short_utterance_nothing_counts(folder, coding):
    task = FeatureFile(path=str(folder), coding=coding, n_frames=30, steps_per_frame=2)
    trials = task.trials(1, "test", 0, 3)
    np.testing.assert_array_equal(trials.lengths, [40] * 3)
    assert np.all(trials.periods[:, 40:] == 0)
    assert np.all(trials.periods[:, :40] > 0)
    assert not trials.inputs[:, 40:].any()


def test_both_directions_of_the_recipe_learn_by_the_derivative_of_the_loss(folder):
    """Against JAX: utterances of different lengths, a readout once a frame."""
    for short in folder.glob("train/speaker0/*.mfc"):
        write_htk(short, read_htk(short)[0][:16])
    config = RunConfig.from_recipe(
        "feature-file",
        settings=[f"task.path={folder}", "task.n_frames=20", "population.size=3"],
    )
    # JAX leaves out what the neurons say; symmetric feedback is the derivative.
    config = config.with_method("symmetric").with_setting("neuron.detach=['v']")
    task = config.make_task()
    network = config.make_network(task).resolved
    trials = task.trials(1, "train", 0, 4)
    assert sorted({*trials.lengths}) == [80, 100]
    assert len(network.reversed) == 2
    # Ten times as large: neurons spike.
    weights = {name: 10 * w for name, w in network.initial_weights(3).items()}
    session = Session(network, make_program("runtime"), trials, task.learning_window, weights)
    outcome = session.run(trials, trials.n_trials)
    gradient, spikes = session.gradient(), session.spikes()
    session.close()
    assert all(spikes[:, where].any() for where in network.slices.values())
    unrolled = Unrolled(network, task.learning_window, np.float64, trials.n_answers, local=True)
    with jax.enable_x64(True):
        given = {name: jax.numpy.asarray(weights[name]) for name in unrolled.masks}
        batch = trials.inputs, trials.targets, trials.periods
        found, _ = jax.grad(unrolled.objective, has_aux=True)(given, *batch, lengths=trials.lengths)
    for name, value in gradient.items():
        assert np.any(value)
        # The readout takes 20 steps of the learning window.
        expected = np.where(unrolled.masks[name], found[name], 0.0) / 20
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    witness = BpttSession(network, trials, task.learning_window, weights)
    same = witness.run(trials, trials.n_trials, learning=False)
    np.testing.assert_allclose(outcome.output, same.output, rtol=1e-12)


def test_part_of_a_long_utterance_is_drawn(folder):
    task = FeatureFile(path=str(folder), n_frames=4)
    first = [task.trials(1, "train", index, 6).targets[:, 0].argmax(axis=1) for index in range(5)]
    assert {0, 1, 2} == set(np.concatenate(first))


def test_trials_depend_on_their_arguments_alone(folder):
    first = FeatureFile(path=str(folder), n_frames=8).trials(1, "train", 3, 4)
    again = FeatureFile(path=str(folder), n_frames=8).trials(1, "train", 3, 4)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.targets, again.targets)
    for other in ((2, "train", 3), (1, "train", 4)):
        trials = FeatureFile(path=str(folder), n_frames=8).trials(*other, 4)
        assert not np.array_equal(first.inputs, trials.inputs)


def test_files_that_do_not_fit_together_are_named(folder):
    train, test = (next(folder.glob(f"{half}/*/*.mfc")) for half in ("train", "TEST"))
    label = test.with_suffix(".phn")
    label.write_text("0 3200 zh\n")
    with pytest.raises(DataError, match=f"{test.name}: 'zh' is the class of no frame"):
        FeatureFile(path=str(folder)).trials(1, "test", 0, 3)
    label.unlink()
    with pytest.raises(DataError, match=f"{label.name} cannot be read: No such file"):
        FeatureFile(path=str(folder)).trials(1, "test", 0, 3)
    write_htk(train, np.zeros((20, 5)))
    with pytest.raises(DataError, match=r"features a frame, others"):
        FeatureFile(path=str(folder))


def test_missing_files_are_named_with_where_to_get_them(folder, tmp_path):
    with pytest.raises(DataError, match=r"feature-file brings no data along: .*catalog.ldc"):
        FeatureFile()
    for path in folder.glob("TEST/*/*.mfc"):
        path.unlink()
    with pytest.raises(DataError, match=r"there are no .mfc files in .*test; .*catalog.ldc"):
        FeatureFile(path=str(folder))
    for path in list(folder.glob("train/*/*.mfc"))[1:]:
        path.unlink()
    (folder / "TEST" / "a.mfc").write_bytes(b"")
    with pytest.raises(DataError, match="needs at least three examples for training"):
        FeatureFile(path=str(folder))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"coding": "rate"}, ValueError, "coding must be one of spikes, analog, got 'rate'"),
        ({"n_frames": 0}, ValueError, "n_frames must be at least 1"),
        ({"steps_per_frame": 1.5}, TypeError, "steps_per_frame must be an integer"),
        ({"sample_rate": 16_000}, DimensionMismatchError, "sample_rate must be given in units"),
        ({"sample_rate": 0 * Hz}, ValueError, "sample_rate must be positive"),
    ],
)
def test_invalid_settings(folder, settings, error, message):
    with pytest.raises(error, match=message):
        FeatureFile(path=str(folder), **settings)
