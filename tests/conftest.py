"""Settings that all tests share."""

import os

# First, before a test imports Brian2: no file of the working folder is evaluated.
import eprop_brian  # noqa: F401


def pytest_configure(config):
    """Keep compiled networks from one run of the tests to the next, for all workers together."""
    os.environ.setdefault(
        "EPROP_BRIAN_CACHE", str(config.rootpath / ".pytest_cache" / "eprop_brian")
    )
