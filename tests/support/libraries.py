"""Libraries that some tasks need and tests can do without."""

from importlib.util import find_spec

import pytest

_LIBRARIES = {
    "gymnasium": ["gymnasium"],
    "atari": ["gymnasium", "ale_py", "cv2"],
    "japanese-vowels": ["aeon"],
    "spoken-digits": ["soundfile", "kaldi_native_fbank"],
    "timit": ["soundfile", "kaldi_native_fbank"],
}


def skip_without_libraries(task):
    """Skip a test of the named task where a library that it needs is not installed."""
    for library in _LIBRARIES.get(task, ()):
        if find_spec(library) is None:
            pytest.skip(f"needs {library}")
