"""The stream's figures as Prometheus text on a loopback port of its process, also while it waits without a JVM.

What is asked of PostgreSQL and Kafka is asked when somebody scrapes, by the function that `wardstream status` uses.
Counters of events begin at 0 with the process: summing up the ledger would cost more the longer it is, and Prometheus'
rate() knows restarts. Nothing here may stop the stream or keep its process from ending: every thread is a daemon, a
busy port is a line in the log, and a server that does not answer is `wardstream_up 0`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import psycopg
from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wardstream.settings import Settings
from wardstream.watch.figures import Figures, figures
from wardstream.watch.status import shown

if TYPE_CHECKING:
    from wardstream.stream.commit import Outcome

log = logging.getLogger(__name__)

Memory = Callable[[Settings], Mapping[str, int]]
"""Bytes by part, of those that run on this machine."""

PATIENCE_SECONDS = 4.0
"""A scrape waits no longer; Prometheus gives up after 10 s unless told otherwise."""
STATES = ("starting", "running", "waiting", "blocked", "draining", "drained", "stopping", "stopped", "failed")

# It would be a second series beside each counter, and the process's own start time is there.
disable_created_metrics()  # type: ignore[no-untyped-call]
_SINCE = "since this process began, by topic"
COUNTERS = {
    "received": Counter(
        "wardstream_events_received", f"Messages received in commits {_SINCE}.", ["topic"], registry=None
    ),
    "stored": Counter("wardstream_events_stored", f"Messages that became facts {_SINCE}.", ["topic"], registry=None),
    "duplicate": Counter(
        "wardstream_events_duplicate", f"Messages that repeat a fact {_SINCE}.", ["topic"], registry=None
    ),
    "quarantined": Counter("wardstream_events_quarantined", f"Messages refused {_SINCE}.", ["topic"], registry=None),
}


def committed(outcome: Outcome, topic_ids: Mapping[str, str]) -> None:
    """Count what a commit did with its messages; `topic_ids` are Kafka's ids by topic."""
    names = {topic_id: topic for topic, topic_id in topic_ids.items()}
    for kind, counter in COUNTERS.items():
        for (topic_id, _), messages in getattr(outcome, kind).items():
            counter.labels(names.get(topic_id, topic_id)).inc(messages)


def serve(settings: Settings, memory: Memory) -> None:
    """Serve the metrics from now on, in threads of their own; returns at once."""
    if settings.metrics_port:
        threading.Thread(target=_serve, args=(settings, memory), name="metrics", daemon=True).start()


def _serve(settings: Settings, memory: Memory) -> None:
    try:
        start_http_server(settings.metrics_port, addr="127.0.0.1", registry=registry(settings, memory))
    except OSError as error:
        log.error(
            "metrics are not served, the stream goes on: port %s: %s;"
            " WARDSTREAM_METRICS_PORT moves it, 0 turns them off",
            settings.metrics_port,
            error.strerror,
        )


def registry(settings: Settings, memory: Memory) -> CollectorRegistry:
    """All that is served: what a scrape asks for, the counters, and what Linux says of this process."""
    chosen = CollectorRegistry()
    chosen.register(FiguresCollector(settings, memory))
    for counter in COUNTERS.values():
        chosen.register(counter)
    ProcessCollector(registry=chosen)
    return chosen


class FiguresCollector(Collector):
    """Reads the figures when it is asked, at most once at a time and never for longer than PATIENCE_SECONDS."""

    def __init__(self, settings: Settings, memory: Memory) -> None:
        self.settings = settings
        self.memory = memory
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._found: list[Figures] = []

    def collect(self) -> Iterator[Metric]:
        """Every gauge; without those of PostgreSQL where it does not answer in time."""
        found = self._read()
        yield GaugeMetricFamily(
            "wardstream_up",
            "1: PostgreSQL answered this scrape; 0: the figures it would give are left out.",
            found is not None,
        )
        sizes = GaugeMetricFamily(
            "wardstream_part_memory_bytes", "Memory of a part with all that it started (PSS).", labels=["part"]
        )
        for part, size in self.memory(self.settings).items():
            sizes.add_metric([part], size)
        yield sizes
        if found is not None:
            yield from _stream(found)
            yield from _topics(found)

    def _read(self) -> Figures | None:
        with self._lock:
            if self._reader is None or not self._reader.is_alive():
                found: list[Figures] = []
                self._found = found
                self._reader = threading.Thread(target=self._ask, args=(found,), name="figures", daemon=True)
                self._reader.start()
            reader, found = self._reader, self._found
        reader.join(PATIENCE_SECONDS)
        return found[0] if found else None

    def _ask(self, found: list[Figures]) -> None:
        try:
            found.append(figures(self.settings))
        except (psycopg.Error, OSError) as error:
            # `wardstream_up 0` says it: a line for each scrape would fill the log
            log.debug("figures: %s", type(error).__name__)


def _stream(found: Figures) -> Iterator[Metric]:
    state, healthy = shown(found.status, found.purpose, os.getpid())
    states = GaugeMetricFamily("wardstream_stream_state", "1 for what this process does now, else 0.", labels=["state"])
    for name in dict.fromkeys((*STATES, state)):
        states.add_metric([name], name == state)
    yield states
    yield GaugeMetricFamily(
        "wardstream_stream_healthy", "1: it does what was asked of it; 0: not, or not yet.", healthy
    )
    if found.status is not None:
        yield GaugeMetricFamily(
            "wardstream_stream_generation", "How many drivers the stream has had.", found.status.generation
        )
        yield GaugeMetricFamily(
            "wardstream_stream_heartbeat_age_seconds",
            "Since a driver's last sign of life.",
            found.status.heartbeat_age_s,
        )


def _topics(found: Figures) -> Iterator[Metric]:
    lag = GaugeMetricFamily("wardstream_lag_events", "Events that Kafka has and no commit has.", labels=["topic"])
    rate = GaugeMetricFamily(
        "wardstream_events_per_second",
        "Messages received in commits of the last 60 s, divided by 60.",
        labels=["topic"],
    )
    age = GaugeMetricFamily("wardstream_last_commit_age_seconds", "Since a topic's last commit.", labels=["topic"])
    refused = GaugeMetricFamily(
        "wardstream_quarantined_24h", "Messages refused in the last 24 hours.", labels=["topic", "reason"]
    )
    for topic in found.topics:
        for counter in COUNTERS.values():
            counter.labels(topic.topic)  # 0 before the first event, so that rate() sees the first one
        rate.add_metric([topic.topic], topic.events_per_second)
        if topic.lag is not None:
            lag.add_metric([topic.topic], topic.lag)
        if topic.last_commit_age_s is not None:
            age.add_metric([topic.topic], topic.last_commit_age_s)
    for name in {topic.topic for topic in found.topics} - {of_one.topic for of_one in found.quarantine}:
        refused.add_metric([name, ""], 0)  # so that nobody has to guess whether nothing was refused
    for of_one in found.quarantine:
        refused.add_metric([of_one.topic, of_one.reason], of_one.messages)
    yield from (lag, rate, age, refused)
