"""The metrics when nothing is there to ask, and what is counted in this process."""

import logging
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.hospital import wait_for
from tests.integration.stack.conftest import free_ports
from wardstream.settings import Settings
from wardstream.stream.commit import Outcome
from wardstream.watch import metrics

# an error that nobody catches would be a traceback in the stream's log, once a scrape
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """Value by name and first label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(settings: Settings) -> Samples:
    return samples(generate_latest(metrics.registry(settings, lambda _: {"kafka": 5})).decode())


@pytest.fixture
def nothing_there(tmp_path) -> Settings:
    """Settings of servers that nobody started."""
    return Settings(state_dir=tmp_path / "state", postgres_port=free_ports(1)[0], database_url="")


@pytest.fixture
def silent(tmp_path) -> Iterator[Settings]:
    """Settings of a PostgreSQL that accepts connections and says nothing, as one that is frozen."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/x"
        yield Settings(state_dir=tmp_path / "state", database_url=url)


def test_without_postgresql_a_scrape_says_so(nothing_there):
    found = scraped(nothing_there)
    assert found["wardstream_up", ""] == 0
    assert found["wardstream_part_memory_bytes", "kafka"] == 5
    assert found["process_resident_memory_bytes", ""] > 2**20
    assert not [name for name, _ in found if name.startswith(("wardstream_stream", "wardstream_lag"))]


def test_a_silent_postgresql_does_not_hold_a_scrape(silent, monkeypatch):
    monkeypatch.setattr(metrics, "PATIENCE_SECONDS", 0.1)
    collector = metrics.FiguresCollector(silent, lambda _: {})
    [up, _] = collector.collect()
    assert up.samples[0].value == 0
    first = collector._reader
    assert first is not None and first.is_alive() and first.daemon, "the answer came before the server's"
    list(collector.collect())
    assert collector._reader is first, "no second one waits beside it"


def test_what_a_commit_did_is_counted_by_topic(nothing_there):
    ids = {"labs": "id-1", "patients": "id-2"}
    before = scraped(nothing_there)
    outcome = Outcome(
        received=Counter({("id-1", 0): 7, ("id-1", 1): 3, ("id-2", 0): 1}),
        stored=Counter({("id-1", 0): 5, ("id-2", 0): 1}),
        duplicate=Counter({("id-1", 0): 2}),
        quarantined=Counter({("id-1", 1): 3}),
    )
    metrics.committed(outcome, ids)
    after = scraped(nothing_there)

    def grown(kind: str, topic: str) -> float:
        key = (f"wardstream_events_{kind}_total", topic)
        return after.get(key, 0.0) - before.get(key, 0.0)

    kinds = ("received", "stored", "duplicate", "quarantined")
    assert [grown(kind, "labs") for kind in kinds] == [10, 5, 2, 3]
    assert [grown(kind, "patients") for kind in kinds] == [1, 1, 0, 0]


def test_a_busy_port_is_one_line_and_no_failure(nothing_there, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        metrics._serve(nothing_there.model_copy(update={"metrics_port": port}), lambda _: {})
    [said] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"port {port}: Address already in use" in said and "WARDSTREAM_METRICS_PORT moves it" in said


def test_it_is_served_on_loopback_and_no_port_is_no_server(nothing_there):
    before = set(threading.enumerate())
    metrics.serve(nothing_there.model_copy(update={"metrics_port": 0}), lambda _: {})
    assert set(threading.enumerate()) == before
    [port] = free_ports(1)
    metrics.serve(nothing_there.model_copy(update={"metrics_port": port}), lambda _: {})
    found = wait_for("an answer", lambda: answer(port))
    assert found["wardstream_up", ""] == 0
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
    listening = {c.laddr.ip for c in psutil.Process().net_connections("tcp") if c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def answer(port: int) -> Samples:
    """What is served on this port; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as found:
            return samples(found.read().decode())
    except OSError:
        return {}
