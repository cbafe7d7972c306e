"""Small data sets in the format of public ones, written for the tests."""

import struct

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


def write_arrays(folder, n=24, n_steps=20):
    """A file of trials in which the third of the inputs that fires most is the class."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 3
    probability = np.where(np.arange(6) // 2 == classes[:, np.newaxis], 0.5, 0.05)
    spikes = rng.random((n, n_steps, 6)) < probability[:, np.newaxis]
    np.savez(folder / "my_data.npz", inputs=spikes, targets=classes)
    return folder / "my_data.npz"


#: By task, what writes its data into a folder.
WRITERS = {"n-mnist": write_n_mnist, "shd": write_shd, "feature-file": write_features}
