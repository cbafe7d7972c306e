"""Synthetic speech in TIMIT's layout: right times, and all of it or nothing."""

import shutil
import wave

import numpy as np
import pytest
from click.testing import CliRunner

from eprop_brian.cli import main
from eprop_brian.tasks import synthetic_speech
from eprop_brian.tasks.datasets import DataError
from eprop_brian.tasks.phones import PHONES
from eprop_brian.tasks.synthetic_speech import sentences, synthesize, write_corpus
from support.data_sets import tone, write_wav

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")


def test_sentences_differ_and_stay_the_same():
    said = sentences(300)
    assert len({*said}) == 300
    assert said[:20] == sentences(20)
    assert not {*sentences(50, seed=1)} & {*said}


@needs_flite
def test_command_writes_the_layout_of_timit(tmp_path):
    command = ["synthesize", str(tmp_path / "new"), "--train", "slt", "--test", "awb"]
    result = CliRunner().invoke(main, [*command, "--sentences", "3", "--test-sentences", "1"])
    assert result.output == f"wrote 4 recordings of synthetic speech to {tmp_path / 'new'}\n"
    files = sorted(str(f.relative_to(tmp_path / "new")) for f in tmp_path.glob("new/*/*/*/*"))
    assert files == [
        *(f"TEST/DR1/AWB/SX1.{kind}" for kind in ("PHN", "TXT", "WAV")),
        *(f"TRAIN/DR1/SLT/SX{k}.{kind}" for k in (1, 2, 3) for kind in ("PHN", "TXT", "WAV")),
    ]
    with wave.open(str(tmp_path / "new" / files[2])) as recording:
        n_samples = recording.getnframes()
    lines = [line.split() for line in (tmp_path / "new" / files[0]).read_text().splitlines()]
    times = [[int(start), int(end)] for start, end, _ in lines]
    assert np.array_equal(np.ravel(times)[1:-1:2], np.ravel(times)[2::2])  # without gaps
    assert (times[0][0], times[-1][1]) == (0, n_samples)
    assert {phone for _, _, phone in lines} <= {*PHONES}
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "exists already: name a new folder" in again.output


@needs_flite
def test_silence_is_where_the_times_say(tmp_path):
    phones = synthesize("rms", "She had your dark suit.", tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2")
    power = [np.mean(samples[start:end].astype(float) ** 2) for start, end, _ in phones]
    silent = [phone == "pau" for _, _, phone in phones]
    assert silent[0] and silent[-1]
    assert max(np.array(power)[silent]) < 0.05 * np.median(power)


@needs_flite
def test_a_voice_whose_phones_overrun_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"voice kal16 do not end with its recording: take one of"):
        synthesize("kal16", "She had your dark suit.", tmp_path / "a.wav")


def test_nothing_is_left_of_a_corpus_that_failed(tmp_path, monkeypatch):
    def fail_at_the_second(voice, text, path):
        if text == "second":
            raise DataError("no such voice")
        write_wav(path, tone(440, 0.1), 16_000)
        return [(0, 1600, "pau")]

    monkeypatch.setattr(synthetic_speech, "synthesize", fail_at_the_second)
    with pytest.raises(DataError, match="no such voice"):
        write_corpus(tmp_path / "new", {"TRAIN": {"slt": ["first", "second"]}})
    assert not [*tmp_path.iterdir()]
    assert write_corpus(tmp_path / "new", {"TRAIN": {"slt": ["first"]}}) == 1
    assert (tmp_path / "new" / "TRAIN/DR1/SLT/SX1.PHN").read_text() == "0 1600 pau\n"


def test_without_flite_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs flite, .*apt-get install flite"):
        synthesize("slt", "She.", tmp_path / "a.wav")
