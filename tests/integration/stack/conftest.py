"""A real stack without the stream, on free ports, in a folder of its own; jars come from the user's cache."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import own_stack
from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import paths

# Each worker of pytest-xdist takes ports of its own: what another one's test has stopped for a moment looks free.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
OURS = own_stack.OPEN[WORKER :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))]


def free_ports(count: int) -> list[int]:
    """Ports of this worker that nobody listens on."""
    return own_stack.free_ports(count, OURS)


def own_settings(folder: Path, **changes: object) -> Settings:
    """Settings of a stack that shares nothing with another but the cache of jars; without Airflow unless asked for."""
    return own_stack.own_settings(folder, OURS, **changes)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running stack, stopped and deleted at the end."""
    chosen = own_settings(tmp_path_factory.mktemp("stack"))
    try:
        stack.start(chosen, stream=False)
        yield chosen
    finally:
        stack.stop(chosen)
        paths.remove(chosen)
