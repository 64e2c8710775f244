"""The stream in figures, by topic and by reason: the same for `wardstream status` and for Prometheus.

What is asked costs the same however long the ledger is, so that it may be asked every second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from wardstream.database.connection import beside, connect
from wardstream.settings import Settings
from wardstream.stream.lag import Lag
from wardstream.stream.turn import STREAM
from wardstream.watch.status import Purpose, StreamStatus, read_purpose, read_status

# A migration's lock must not make anyone wait for a look, nor missing statistics turn a walk along an index into a
# sort of the whole ledger (seen: 7 s with 5 million ranges, 12 ms with this).
SESSION = "SET statement_timeout = '5s'; SET enable_bitmapscan = off"
WINDOW_SECONDS = 60
MOST_QUARANTINED = 100_000
"""So many of the last 24 hours' quarantined messages are counted, the newest ones."""


@dataclass(frozen=True)
class Topic:
    """One topic now."""

    topic: str
    lag: int | None
    """Events that Kafka has and no commit has; None where that is not known."""
    events_per_second: float
    """Messages received in commits of the last 60 s, divided by 60."""
    last_commit_age_s: float | None
    quarantined_24h: int


@dataclass(frozen=True)
class Quarantined:
    """The messages of a topic that were refused for one reason in the last 24 hours; `latest` is aware, UTC."""

    topic: str
    reason: str
    messages: int
    latest: datetime


@dataclass(frozen=True)
class Figures:
    """What PostgreSQL, and for the lag Kafka, knew at one moment."""

    status: StreamStatus | None
    purpose: Purpose | None
    topics: list[Topic]
    quarantine: list[Quarantined]

    @property
    def lag(self) -> int | None:
        """Over all topics; None where none of them is known."""
        known = [topic.lag for topic in self.topics if topic.lag is not None]
        return sum(known) if known else None

    @property
    def quarantine_is_cut(self) -> bool:
        """Whether more than the newest MOST_QUARANTINED were refused."""
        return sum(of_one.messages for of_one in self.quarantine) >= MOST_QUARANTINED


def figures(settings: Settings, stream: str = STREAM) -> Figures:
    """Read all of it; psycopg.Error without PostgreSQL, FileNotFoundError before the first `wardstream up`.

    While a driver runs, the lag is what it measured, at most a few seconds ago; else Kafka is asked, where it answers.
    """
    with connect(settings.writer_url, "wardstream status") as conn:
        conn.execute(SESSION)
        status, purpose = read_status(conn, stream), read_purpose(conn, stream)
        window, most = {"window": WINDOW_SECONDS}, {"most": MOST_QUARANTINED}
        try:
            seen = conn.execute(beside(__file__, "topics"), window).fetchall()
            refused = conn.execute(beside(__file__, "quarantine"), most).fetchall()
        except psycopg.errors.UndefinedTable:
            seen, refused = [], []
    lag = status.lag_by_partition if status is not None and status.ready else _ask_kafka(settings)
    quarantine = [Quarantined(*row) for row in refused]
    commits = {topic: (received, age) for topic, received, age in seen}
    topics = [
        _topic(topic, lag, *commits.get(topic, (0, None)), quarantine) for topic in sorted(commits.keys() | lag.keys())
    ]
    return Figures(status, purpose, topics, quarantine)


def _topic(topic: str, lag: Lag, received: int, age: float | None, quarantine: list[Quarantined]) -> Topic:
    return Topic(
        topic,
        sum(lag[topic].values()) if topic in lag else None,
        round(received / WINDOW_SECONDS, 1),
        None if age is None else round(age, 1),
        sum(of_one.messages for of_one in quarantine if of_one.topic == topic),
    )


def _ask_kafka(settings: Settings) -> Lag:
    """The lag as Kafka and the ledger have it now; nothing where Kafka is away."""
    from confluent_kafka import KafkaException

    from wardstream.contracts.model import ContractError
    from wardstream.kafka.health import listens
    from wardstream.stream.lag import lag_now

    if not listens(settings.kafka):
        return {}  # its client would wait, and report each refused connection on stderr
    try:
        return lag_now(settings)
    except (psycopg.Error, KafkaException, ContractError):
        return {}
