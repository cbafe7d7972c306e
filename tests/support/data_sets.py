"""Small data sets in the format of public ones, written for the tests."""

import struct
import wave

import h5py
import numpy as np

#: Events (x, y, polarity, microseconds) of a recording of N-MNIST.
EVENTS = [
    (0, 0, 0, 0),
    (33, 0, 1, 1_500),
    (5, 33, 1, 8_191),
    (7, 2, 0, 299_999),
    (7, 2, 0, 300_000),
]


def event_bytes(x, y, polarity, time):
    """An event of N-MNIST: 40 bits, most significant first."""
    return (x << 32 | y << 24 | polarity << 23 | time).to_bytes(5, "big")


def write_recording(path, events):
    """A recording of N-MNIST."""
    path.write_bytes(b"".join(event_bytes(*event) for event in events))


def write_n_mnist(folder):
    """Two recordings a digit and half, whose first event's x is the digit."""
    for half in ("Train", "Test"):
        for digit in range(10):
            recordings = folder / half / str(digit)
            recordings.mkdir(parents=True)
            for number in range(2):
                write_recording(
                    recordings / f"{number:05}.bin", [(digit, 0, 0, 2_000), *EVENTS[1:]]
                )


def write_shd_file(path, labels, times, units):
    """A file of SHD: its rows of times and units have lengths of their own."""
    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            data = file.create_dataset(
                f"spikes/{name}", (len(rows),), dtype=h5py.vlen_dtype(np.dtype(kind))
            )
            for k, row in enumerate(rows):
                data[k] = np.array(row, dtype=kind)
        file["labels"] = np.array(labels, dtype=np.uint16)


def write_shd(folder):
    """Recordings whose first spike is in the channel of their class."""
    for name, n in (("shd_train.h5", 30), ("shd_test.h5", 20)):
        labels = np.arange(n) % 20
        times = [[0.0, 0.25, 0.5, 1.25]] * n
        write_shd_file(folder / name, labels, times, [[label, 699, 3, 4] for label in labels])


def write_htk(path, features, kind=6, period=100_000):
    """Features in the format of HTK; kind 6 are MFCC, the period counts 100 ns."""
    header = struct.pack(">iihH", len(features), period, 4 * features.shape[1], kind)
    path.write_bytes(header + features.astype(">f4").tobytes())


def write_features(folder):
    """Utterances of 20 frames of 10 ms, 3 features: h# in the first half, another in the second."""
    rng = np.random.default_rng(0)
    for half, n in (("train", 6), ("TEST", 3)):
        for k in range(n):
            speaker = folder / half / f"speaker{k % 2}"
            speaker.mkdir(parents=True, exist_ok=True)
            write_htk(speaker / f"si{k}.mfc", rng.normal(2.0, 3.0, (20, 3)))
            phones = f"0 1600 h#\n1600 3200 {('iy', 'aa')[k % 2]}\n"
            (speaker / f"si{k}.phn").write_text(phones)


def write_wav(path, samples, rate=8_000, n_bytes=2, channels=1):
    """A WAV of whole numbers; samples (n,) or (n, channels) of full scale 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.round(np.asarray(samples) * (2 ** (8 * n_bytes - 1) - 1)).astype("<i4")
    if n_bytes == 1:  # 8 bits have no sign
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = whole.reshape(-1, 1).view(np.uint8)[:, :n_bytes].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, n_bytes, rate, 0, "NONE", ""))
        file.writeframes(data)


def tone(frequency, seconds, rate=8_000):
    """A sine of half the full scale."""
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write_spoken_digits(folder):
    """Recordings of two speakers, 7 a digit: tones that rise with the digit."""
    for digit in range(10):
        for speaker, base in (("ada", 200), ("ben", 260)):
            for index in range(7):
                name = f"{digit}_{speaker}_{index}.wav"
                write_wav(folder / "recordings" / name, tone(base + 150 * digit, 0.1 + index / 100))


def write_timit(folder):
    """Recordings of 16 kHz as RIFF files: silence, then a tone, whose phones are h# and another."""
    for half, speakers in (("TRAIN", ("FAAA0", "MBBB0")), ("TEST", ("FCCC0",))):
        for speaker in speakers:
            for k, name in enumerate(("SA1", "SX1", "SX2", "SI1")):
                path = folder / half / "DR1" / speaker / f"{name}.WAV"
                sound = tone((400, 900)[k % 2], 0.1, 16_000)
                write_wav(path, np.concatenate([np.zeros(1600), sound]), 16_000)
                phones = f"0 1600 h#\n1600 3200 {('iy', 'ao')[k % 2]}\n"
                path.with_suffix(".PHN").write_text(phones)


def write_arrays(folder, n=24, n_steps=20):
    """A file of trials in which the third of the inputs that fires most is the class."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    probability = np.where(np.arange(6) // 2 == classes[:, np.newaxis], 0.5, 0.05)
    spikes = rng.random((n, n_steps, 6)) < probability[:, np.newaxis]
    np.savez(folder / "my_data.npz", inputs=spikes, targets=classes)
    return folder / "my_data.npz"


#: By task, what writes its data into a folder.
WRITERS = {
    "n-mnist": write_n_mnist,
    "shd": write_shd,
    "spoken-digits": write_spoken_digits,
    "timit": write_timit,
    "feature-file": write_features,
}
