"""The stream's own process serves its metrics while it waits, and nothing about them keeps it or takes it down."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.hospital import wait_for
from tests.integration.stack.conftest import free_ports
from tests.integration.status.conftest import Books
from tests.unit.stream.test_metrics import Samples, answer
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment

Start = Callable[[Settings], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the stream's process; its log is a file."""
    started: list[subprocess.Popen[str]] = []

    def begin(settings: Settings) -> "subprocess.Popen[str]":
        with (tmp_path / "log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "spark_jobs.stream"],
                    cwd=PROJECT_ROOT,
                    env={**os.environ, **environment(settings)},
                    stderr=log,
                    text=True,
                )
            )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def stopped(books: Books) -> Settings:
    """Settings of a stream that should not run, on a port of its own."""
    books.want("stopped")
    return books.settings.model_copy(update={"metrics_port": free_ports(1)[0]})


def seen(settings: Settings, holds: Callable[[Samples], bool]) -> Samples:
    found: Samples = wait_for(
        "the metrics", lambda: (found := answer(settings.metrics_port)) and holds(found) and found, 60
    )
    return found


def test_a_waiting_stream_answers_without_a_jvm_and_ends_at_once(books: Books, stopped: Settings, start: Start):
    books.commit("labs", 120, 5)
    waiting = start(stopped)
    found = seen(stopped, lambda f: f.get(("wardstream_stream_state", "stopped")) == 1)
    assert found["wardstream_up", ""] == 1 and found["wardstream_stream_healthy", ""] == 1
    assert found["wardstream_last_commit_age_seconds", "labs"] > 0
    process = psutil.Process(waiting.pid)
    assert not process.children()
    assert process.memory_info().rss < 100 * 2**20, "scraped, and still small"
    listening = {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", stopped.metrics_port)):  # somebody asks, and never gets to the point
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(30) == 0


def test_the_stream_goes_on_where_its_port_is_taken(stopped: Settings, start: Start, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = stopped.model_copy(update={"metrics_port": taken.getsockname()[1]})
        waiting = start(busy)
        log = tmp_path / "log"
        wait_for("it to wait", lambda: "stopped as asked by" in log.read_text(), 60)
        wait_for("the line", lambda: "metrics are not served" in log.read_text(), 60)
        assert waiting.poll() is None
        lines = [line for line in log.read_text().splitlines() if "metrics" in line]
        assert len(lines) == 1 and "WARDSTREAM_METRICS_PORT" in lines[0] and "Traceback" not in log.read_text()
