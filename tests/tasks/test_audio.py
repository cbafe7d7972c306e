"""Recordings of every kind, and features that agree with an independent computation."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.tasks import get_task
from eprop_brian.tasks.datasets import DataError
from eprop_brian.tasks.phones import FOLDED, PHONES, fold
from support.data_sets import tone, write_spoken_digits, write_timit, write_wav

pytest.importorskip("soundfile")
pytest.importorskip("kaldi_native_fbank")

from eprop_brian.tasks import audio


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path / "cache"))


def write_sphere(path, samples, rate=16_000):
    """A file of NIST SPHERE with the fields of TIMIT's."""
    fields = (
        "NIST_1A\n   1024\ndatabase_id -s5 TIMIT\ndatabase_version -s3 1.0\n"
        f"utterance_id -s8 cjf0_sa1\nchannel_count -i 1\nsample_count -i {len(samples)}\n"
        f"sample_rate -i {rate}\nsample_min -i -2191\nsample_max -i 2790\nsample_n_bytes -i 2\n"
        "sample_byte_format -s2 01\nsample_sig_bits -i 16\nend_head\n"
    )
    data = np.round(samples * 32767).astype("<i2").tobytes()
    path.write_bytes(fields.encode().ljust(1024, b"\n") + data)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_bytes", "step"), [(1, 2**-7), (2, 2**-15), (3, 2**-23), (4, 2**-31)])
def test_samples_of_every_width(tmp_path, n_bytes, step):
    sound = tone(440, 0.02)
    write_wav(tmp_path / "a.wav", sound, n_bytes=n_bytes)
    samples, rate = audio.read_audio(tmp_path / "a.wav")
    assert rate == 8000
    np.testing.assert_allclose(samples, sound, atol=2 * step)


def test_floats_and_sphere(tmp_path):
    import soundfile

    sound = tone(440, 0.02, 16_000)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read_audio(tmp_path / "a.wav")[0], sound, atol=1e-7)
    write_sphere(tmp_path / "b.WAV", sound)
    samples, rate = audio.read_audio(tmp_path / "b.WAV")
    assert rate == 16_000
    np.testing.assert_allclose(samples, sound, atol=2**-14)


def test_stereo_is_the_mean(tmp_path):
    left, right = tone(440, 0.02), tone(300, 0.02)
    write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1), channels=2)
    samples, _ = audio.read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(samples, (left + right) / 2, atol=2**-14)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.wav is no recording that can be read"),
        (b"RIFF\x24\0\0\0WAVEfmt nonsense", "a.wav is no recording that can be read"),
        (b"NIST_1A\n   1024\nend_head\n", "a.wav is no recording that can be read"),
    ],
)
def test_broken_recordings_are_named(tmp_path, content, message):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=message):
        audio.read_audio(tmp_path / "a.wav")
    with pytest.raises(DataError, match=message):
        audio.features_of([[tmp_path / "a.wav"]], audio.FrontEnd())
    assert not [*(tmp_path / "cache").glob("[0-9a-f]*")]  # nothing is kept of it


def test_empty_and_missing_recordings(tmp_path):
    write_wav(tmp_path / "a.wav", [])
    with pytest.raises(DataError, match=r"a.wav is empty: it holds no samples"):
        audio.read_audio(tmp_path / "a.wav")
    write_wav(tmp_path / "a.wav", [0.5])
    with pytest.raises(DataError, match=r"a.wav is shorter than a frame of 10 ms"):
        audio.features_of([[tmp_path / "a.wav"]], audio.FrontEnd())
    with pytest.raises(DataError, match=r"b.wav cannot be read: No such file"):
        audio.features_of([[tmp_path / "b.wav"]], audio.FrontEnd())


def test_resampling_keeps_the_tone():
    sound = audio.resampled(tone(440, 0.5, 44_100), 44_100, 16_000)
    expected = tone(440, 0.5, 16_000)
    assert len(sound) == len(expected)
    np.testing.assert_allclose(sound[500:-500], expected[500:-500], atol=2e-3)
    with pytest.raises(ValueError, match=r"16000 Hz cannot be resampled to 44099 Hz"):
        audio.resampled(sound, 16_000, 44_099)


# --- features -------------------------------------------------------------------------------------


def log_mel(samples, front_end):
    """Log energies in mel bands, by the formulas: 2 n FFTs and triangles on the mel scale."""
    n = round(front_end.window * front_end.sample_rate)
    shift = round(front_end.period * front_end.sample_rate)
    n_frames = (len(samples) + shift // 2) // shift
    n_fft = 1 << (n - 1).bit_length()

    def mel(hz):
        return 1127 * np.log1p(np.asarray(hz) / 700)

    edges = np.linspace(mel(20), mel(front_end.sample_rate / 2), front_end.n_bands + 2)
    bins = mel(np.arange(n_fft // 2) * front_end.sample_rate / n_fft)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bands = np.clip(
        np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, 1
    )
    rows = []
    for k in range(n_frames):
        at = np.arange(n) + k * shift + shift // 2 - n // 2
        at = np.where(at < 0, -at - 1, at)  # mirrored at both ends
        at = np.where(at >= len(samples), 2 * len(samples) - 1 - at, at)
        frame = samples[at] - samples[at].mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        frame = frame * np.hamming(n)
        power = np.abs(np.fft.rfft(frame, n_fft)[:-1]) ** 2
        rows.append(np.log(np.maximum(bands @ power, np.finfo(np.float32).eps)))
    return np.array(rows)


def test_features_are_what_the_formulas_give():
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 4000) + tone(700, 0.25, 16_000)
    front_end = audio.FrontEnd(features="log-mel", n_bands=20, deltas=1)
    features = front_end(samples)
    expected = log_mel(samples, front_end)
    np.testing.assert_allclose(features[:, :20], expected, atol=2e-3)
    padded = np.pad(expected, ((2, 2), (0, 0)), mode="edge")
    slope = sum(j * padded[2 + j : len(expected) + 2 + j] for j in (-2, -1, 1, 2)) / 10
    np.testing.assert_allclose(features[:, 20:], slope, atol=2e-3)


def test_cepstra_are_the_cosine_transform_of_the_bands():
    from scipy.fft import dct

    samples = np.random.default_rng(0).normal(0, 0.1, 4000)
    front_end = audio.FrontEnd(n_bands=20, deltas=0)
    features = front_end(samples)
    cepstra = dct(log_mel(samples, front_end), norm="ortho")[:, 1:13]
    lifter = 1 + 11 * np.sin(np.pi * np.arange(1, 13) / 22)
    np.testing.assert_allclose(features[:, 1:], cepstra * lifter, atol=2e-2)
    assert features.shape == (25, front_end.n_features)


def test_features_are_kept_by_content_and_settings(tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", tone(440, 0.1))
    write_wav(tmp_path / "b.wav", tone(440, 0.1))
    made = []
    extract = audio._extracted

    def counted(*arguments):
        made.append(arguments)
        return extract(*arguments)

    monkeypatch.setattr(audio, "_extracted", counted)
    front_end = audio.FrontEnd(sample_rate=8000)
    (first,) = audio.features_of([[tmp_path / "a.wav"]], front_end)
    for again in ("a.wav", "b.wav"):  # the content counts, not the name
        (kept,) = audio.features_of([[tmp_path / again]], front_end)
        np.testing.assert_array_equal(kept.features, first.features)
    assert len(made) == 1
    audio.features_of([[tmp_path / "a.wav"]], audio.FrontEnd(sample_rate=8000, deltas=0))
    write_wav(tmp_path / "a.wav", tone(880, 0.1))
    (other,) = audio.features_of([[tmp_path / "a.wav"]], front_end)
    assert len(made) == 3
    assert not np.array_equal(other.features, first.features)


def test_files_of_different_rates_are_joined(tmp_path):
    write_wav(tmp_path / "a.wav", tone(440, 0.1), 8_000)
    write_wav(tmp_path / "b.wav", tone(440, 0.2, 11_025), 11_025)
    (joined,) = audio.features_of(
        [[tmp_path / "a.wav", tmp_path / "b.wav"]], audio.FrontEnd(sample_rate=8000), pause=0.05
    )
    np.testing.assert_allclose(joined.spans, [[0, 0.1], [0.15, 0.35]], atol=1e-3)
    assert joined.rates.tolist() == [8000, 11_025]
    assert len(joined.features) == 35


# --- tasks ----------------------------------------------------------------------------------------


def test_official_division_of_spoken_digits(tmp_path):
    write_spoken_digits(tmp_path)
    task = get_task("spoken-digits", path=str(tmp_path))
    sizes = {part: len(members) for part, members in task.utterances.items()}
    assert sizes == {"train": 36, "validation": 2, "confirmation": 2, "test": 100}
    assert {int(u.name[-5]) for u in task.utterances["test"]} == {0, 1, 2, 3, 4}
    assert task.classes == [*"0123456789"]
    trials = task.trials(1, "test", 0, 100)
    assert trials.n_answers == 1
    assert np.bincount(trials.classes(task.learning_window)[:, 0]).tolist() == [10] * 10


def test_strings_are_of_one_speaker_and_pauses_do_not_count(tmp_path):
    write_spoken_digits(tmp_path)
    task = get_task("spoken-digits", path=str(tmp_path / "recordings"), n_digits=4, answer="frames")
    lengths = set()
    for string in task._strings("train", task._recordings):
        assert len({recording.speaker for recording in string}) == 1
        lengths.add(len(string))
    assert lengths == {1, 2, 3, 4}
    pauses = [
        "".join(label or " " for label in utterance.labels).split()
        for utterance in task.utterances["train"]
    ]
    assert {len(digits) for digits in pauses} == {1, 2, 3, 4}
    assert all(len(set(digit)) == 1 for digits in pauses for digit in digits)
    of_labels = get_task(
        "spoken-digits", path=str(tmp_path), n_digits=4, answer="labels", n_frames=200
    )
    assert (of_labels.loss, of_labels.n_outputs) == ("ctc", 11)
    trials = of_labels.trials(1, "train", 0, 36)
    said = {"".join(map(str, row[row >= 0])) for row in trials.labels}
    assert said == {"".join(digit[0] for digit in digits) for digits in pauses}
    lengths = (trials.periods > 0).sum(axis=1)
    assert trials.lengths.tolist() == lengths.tolist()
    assert len(set(lengths)) > 3
    longest = max(len(u.features) for part in of_labels.utterances.values() for u in part)
    too_short = replace(of_labels, n_frames=longest - 1)
    with pytest.raises(ValueError, match=f"n_frames must be {longest} or greater"):
        too_short.trials(1, "train", 0, 1)
    assert replace(of_labels, n_frames=longest).trials(1, "train", 0, 1).n_trials == 1
    with pytest.raises(ValueError, match="pause must be two frames or longer"):
        replace(of_labels, pause=15 * ms)
    assert get_task("spoken-digits", path=str(tmp_path), pause=0 * ms).n_digits == 1
    with pytest.raises(
        ValueError, match="answer must be 'labels' or 'frames' where utterances have several"
    ):
        get_task("spoken-digits", path=str(tmp_path), n_digits=2)


def test_timit(tmp_path):
    write_timit(tmp_path)
    task = get_task("timit", path=str(tmp_path), n_frames=20)
    assert {part: len(u) for part, u in task.utterances.items()} == {
        "train": 4,
        "validation": 1,
        "confirmation": 1,
        "test": 3,
    }
    assert task.classes == ["ao", "h#", "iy"]
    assert get_task("timit", path=str(tmp_path), folded=True).classes == ["aa", "iy", "sil"]
    with_sa = get_task("timit", path=str(tmp_path), dialect_sentences=True)
    assert with_sa.n_examples("test") == 4
    trials = task.trials(1, "test", 0, 3)
    assert np.all(trials.targets[:, :50].argmax(axis=2) == 1)
    for recording in tmp_path.rglob("*.WAV"):
        shutil.copy(recording, recording.with_name(f"{recording.name}.wav"))
    assert get_task("timit", path=str(tmp_path)).n_examples("test") == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"SX1.phn cannot be read: No such file"),
        ("0 1600 h#\n1600 9000 iy\n", r"SX1.PHN ends \d+ frames after the recording does"),
        ("0 1600 h#\n1600 1700 iy\n", r"SX1.PHN ends \d+ frames before the recording does"),
        ("0 1600 h#\n1600 3200 foo\n", r"SX1.PHN: unknown phone of TIMIT 'foo'"),
        ("0 3200 q\n", r"SX1.WAV is empty: it has no frame that counts"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path, text, message):
    write_timit(tmp_path)
    path = tmp_path / "TRAIN" / "DR1" / "FAAA0" / "SX1.PHN"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        get_task("timit", path=str(tmp_path), folded=True)


def test_folding():
    assert len({*map(fold, PHONES)} - {""}) == 39
    assert len({*PHONES} - {"sil"}) == 61
    assert fold("zh") == "sh"
    assert FOLDED["q"] == ""
    with pytest.raises(DataError, match="unknown phone of TIMIT 'xx'"):
        fold("xx")


def test_missing_data_say_where_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"spoken-digits brings no data along"):
        get_task("spoken-digits")
    with pytest.raises(DataError, match=r"there are no recordings in"):
        get_task("spoken-digits", path=str(tmp_path))
    with pytest.raises(DataError, match=r"there are no .wav files in .*eprop-brian synthesize"):
        get_task("timit", path=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "plp"}, "features must be one of mfcc, log-mel, got 'plp'"),
        ({"n_coefficients": 30}, r"n_coefficients \(30\) must be at most n_bands \(26\)"),
        ({"n_bands": 2, "n_coefficients": 2}, "n_bands must be 3 or greater, got 2"),
        (
            {"n_bands": 200},
            r"no features with n_bands = 200, .*num_mel_bins too large",
        ),
        (
            {"frame_period": 0.1 * ms},
            "frame_period must be two samples or longer",
        ),
        ({"answer": "words"}, "answer must be one of frames, utterance, labels, got 'words'"),
    ],
)
def test_invalid_settings(tmp_path, settings, message):
    write_spoken_digits(tmp_path)
    with pytest.raises(ValueError, match=message):
        get_task("spoken-digits", path=str(tmp_path), **settings)
