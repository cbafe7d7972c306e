"""Recordings of speech, and the features of their frames.

Files are read by soundfile (libsndfile: WAV of 8 to 32 bits or floats, the NIST SPHERE files that
TIMIT consists of, FLAC), resampled by SciPy, and turned into features by kaldi-native-fbank, which
computes what Kaldi does, is compiled and kept up, and needs no other library (librosa needs numba;
python_speech_features has had no release since 2017). Both are installed by
``pip install "eprop_brian[speech]"``.

Frames are centred at (k + 1/2) periods: a frame has the phone that sounds in its middle, and a
recording has as many frames as periods, rounded. Nothing is random: no dither is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eprop_brian.base.cache import cached_arrays
from eprop_brian.base.random import normals, rng_for
from eprop_brian.tasks.datasets import DataError, import_library, read_bytes

__all__ = ["FEATURES", "Extracted", "FrontEnd", "features_of", "read_audio", "resampled"]

FEATURES = ("mfcc", "log-mel")
#: Changes with what is computed from the same samples and settings.
_VERSION = 1
#: Resampling takes a filter as long as the larger number of this ratio.
_LARGEST_RATIO = 1000
#: Amplitude of the noise in pauses between files; full scale is 1.
_PAUSE = 1e-3


@dataclass(frozen=True)
class FrontEnd:
    """What becomes of a recording.

    Attributes
    ----------
    features : {"mfcc", "log-mel"}
        Mel-frequency cepstral coefficients (with the log energy in the place of the first), or
        logarithms of the energies in mel bands.
    n_coefficients : int
        Cepstral coefficients; log-mel has `n_bands` values.
    n_bands : int
        Mel bands.
    deltas : int
        How often the slope over 5 frames is appended: 2 for slopes and slopes of slopes.
    window, period : float
        Length of a frame, and time from one to the next, in seconds.
    sample_rate : float
        Rate in Hz to which recordings are resampled.
    """

    features: str = "mfcc"
    n_coefficients: int = 13
    n_bands: int = 26
    deltas: int = 2
    window: float = 0.025
    period: float = 0.01
    sample_rate: float = 16_000.0

    @property
    def n_features(self) -> int:
        """Numbers of a frame."""
        n = self.n_coefficients if self.features == "mfcc" else self.n_bands
        return n * (1 + self.deltas)

    def __call__(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the features of samples at `sample_rate`, shape (n_frames, n_features).

        Raises
        ------
        DataError
            If kaldi-native-fbank is not installed, or cannot do what the settings say.
        """
        knf = import_library("kaldi_native_fbank", "kaldi-native-fbank", "speech")
        frames = knf.FrameExtractionOptions(
            samp_freq=self.sample_rate,
            frame_shift_ms=1e3 * self.period,
            frame_length_ms=1e3 * self.window,
            dither=0.0,
            window_type="hamming",
            snip_edges=False,
        )
        bands = knf.MelBanksOptions(num_bins=self.n_bands)
        try:
            if self.features == "mfcc":
                options = knf.MfccOptions(frames, bands, num_ceps=self.n_coefficients)
                extractor = knf.OnlineMfcc(options)
            else:
                extractor = knf.OnlineFbank(knf.FbankOptions(frames, bands))
        except ValueError as error:
            raise DataError(
                f"no features with n_bands = {self.n_bands}, window = {1e3 * self.window:g} ms and "
                f"sample_rate = {self.sample_rate:g} Hz: {error}"
            ) from None
        extractor.accept_waveform(self.sample_rate, samples.astype(np.float32))
        extractor.input_finished()
        n = extractor.num_frames_ready
        if not n:
            return np.zeros((0, self.n_features), dtype=np.float32)
        features = np.array([extractor.get_frame(k) for k in range(n)], dtype=np.float32)
        if self.deltas:
            options = knf.DeltaOptions(order=self.deltas, window=2)
            features = np.asarray(knf.compute_deltas(options, features), dtype=np.float32)
        return features


@dataclass(frozen=True)
class Extracted:
    """Features of a recording.

    Attributes
    ----------
    features : float array, shape (n_frames, n_features)
    spans : float array, shape (n_files, 2)
        When each of its files begins and ends, in seconds.
    rates : float array, shape (n_files,)
        Sample rate of each file as it is stored, in Hz.
    """

    features: NDArray[np.float32]
    spans: NDArray[np.float64]
    rates: NDArray[np.float64]


def read_audio(path: Path, data: bytes | None = None) -> tuple[NDArray[np.float64], float]:
    """Read a recording; of several channels the mean.

    Parameters
    ----------
    path : Path
    data : bytes, optional
        What is in the file, if it has been read.

    Returns
    -------
    samples : float array, shape (n_samples,)
        Of full scale 1.
    sample_rate : float
        In Hz.

    Raises
    ------
    DataError
        If soundfile is not installed, or the file cannot be read, is no recording or holds no
        samples, or some that are not finite.
    """
    soundfile = import_library("soundfile", "soundfile", "speech")
    data = read_bytes(path) if data is None else data
    try:
        samples, rate = soundfile.read(BytesIO(data), dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        reason = getattr(error, "error_string", error)
        raise DataError(f"{path} is no recording that can be read: {reason}") from None
    if not len(samples):
        raise DataError(f"{path} is empty: it holds no samples")
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are not finite")
    return samples.mean(axis=1), float(rate)


def resampled(
    samples: NDArray[np.float64], sample_rate: float, target: float
) -> NDArray[np.float64]:
    """Resample by a polyphase filter of linear phase; at the same rate nothing changes.

    Parameters
    ----------
    samples : float array, shape (n_samples,)
    sample_rate, target : float
        In Hz.

    Raises
    ------
    ValueError
        If the rates have no ratio of whole numbers up to 1000.
    """
    ratio = Fraction(target).limit_denominator(10**6) / Fraction(sample_rate).limit_denominator(
        10**6
    )
    if max(ratio.numerator, ratio.denominator) > _LARGEST_RATIO:
        raise ValueError(
            f"samples at {sample_rate:g} Hz cannot be resampled to {target:g} Hz: their ratio is "
            f"no fraction of numbers up to {_LARGEST_RATIO}"
        )
    if ratio == 1:
        return samples
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator))


def features_of(
    recordings: Sequence[Sequence[Path]], front_end: FrontEnd, pause: float = 0.0
) -> list[Extracted]:
    """Features of recordings, which are kept in the cache of this package.

    Parameters
    ----------
    recordings : sequence of sequence of Path
        The files of each; several are joined.
    front_end : FrontEnd
    pause : float
        Seconds of faint noise between files that are joined.

    Raises
    ------
    DataError
        If a file cannot be read or resampled, or a recording is too short for a frame.
    """
    key = hashlib.sha256(repr((_VERSION, astuple(front_end), pause)).encode())
    different = {path for paths in recordings for path in paths}
    contents = {path: hashlib.sha256(read_bytes(path)).digest() for path in different}
    for paths in recordings:
        key.update(len(paths).to_bytes(8) + b"".join(contents[path] for path in paths))
    arrays = cached_arrays(
        key.hexdigest()[:32],
        lambda: _extracted(recordings, front_end, pause),
        "reading recordings ...",
    )
    features = np.split(arrays["features"], np.cumsum(arrays["n_frames"])[:-1])
    n_files = np.cumsum([len(paths) for paths in recordings])[:-1]
    spans, rates = np.split(arrays["spans"], n_files), np.split(arrays["rates"], n_files)
    return [Extracted(*parts) for parts in zip(features, spans, rates, strict=True)]


def _extracted(
    recordings: Sequence[Sequence[Path]], front_end: FrontEnd, pause: float
) -> dict[str, NDArray]:
    features, spans, rates = [], [], []
    n_pause = round(pause * front_end.sample_rate)
    noise = _PAUSE * normals(rng_for(0, "pause"), n_pause)
    for paths in recordings:
        joined: list[NDArray[np.float64]] = []
        end = 0.0
        for path in paths:
            samples, rate = read_audio(path)
            try:
                samples = resampled(samples, rate, front_end.sample_rate)
            except ValueError as error:
                raise DataError(f"{path}: {error}") from None
            joined += [noise] * bool(joined) + [samples]
            start = end + pause * (len(joined) > 1)
            end = start + len(samples) / front_end.sample_rate
            spans.append((start, end))
            rates.append(rate)
        features.append(front_end(np.concatenate(joined)))
        if not len(features[-1]):
            raise DataError(f"{paths[0]} is shorter than a frame of {1e3 * front_end.period:g} ms")
    return {
        "features": np.concatenate(features),
        "n_frames": np.array([len(one) for one in features]),
        "spans": np.array(spans),
        "rates": np.array(rates),
    }
