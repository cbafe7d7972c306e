"""Settings that all tests share."""

import os


def pytest_configure(config):
    """Keep compiled networks from one run of the tests to the next, for all workers together."""
    os.environ.setdefault(
        "EPROP_BRIAN_CACHE", str(config.rootpath / ".pytest_cache" / "eprop_brian")
    )
