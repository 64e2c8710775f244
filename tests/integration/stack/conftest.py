"""A real stack without the stream, on free ports, in a folder of its own; jars come from the user's cache."""

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import parts, paths

# Each worker of pytest-xdist takes ports of its own: what another one's test has stopped for a moment looks free.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
OURS = range(20_000 + WORKER, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))

PORTS = [name for part in parts.PARTS for name in part.ports]


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different because all are held while choosing.

    Below those that systems give to outgoing connections: such a one may take a server's port while the server is down.
    """
    with contextlib.ExitStack() as held:
        chosen: list[int] = []
        for port in random.sample(OURS, 1000):
            with contextlib.suppress(OSError):
                each = held.enter_context(socket.socket())
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
                each.bind(("127.0.0.1", port))
                chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise AssertionError("no free ports")


def own_settings(folder: Path, **changes: object) -> Settings:
    """Settings of a stack that shares nothing with another but the cache of jars; without Airflow unless asked for."""
    values: dict[str, object] = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    embedded = {"kafka_bootstrap_servers": "", "schema_registry_url": "", "database_url": "", "owner_database_url": ""}
    values |= {**embedded, "airflow": False, **changes}
    return Settings(state_dir=folder / "state", **values)  # type: ignore[arg-type]


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
