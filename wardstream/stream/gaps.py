"""What Kafka lost before it was read: found by comparing the ledger with Kafka's logs, accepted by a person alone.

A *log* is one partition of one topic id. Its row of ops.ledger is *closed* once ops.gaps has a row for it without an
end: that log is gone, nothing more comes from it, and what was committed from it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import Connection, connect, scalar
from wardstream.database.locks import lock_commits
from wardstream.kafka.broker import Broker, Extent, Partition
from wardstream.settings import Settings

OPEN_LOGS = """
SELECT l.topic, l.topic_id, l.partition, l.next_offset, l.newest FROM ops.ledger AS l
WHERE l.topic = ANY(%s) AND NOT EXISTS (
    SELECT FROM ops.gaps AS g WHERE g.topic_id = l.topic_id AND g.partition = l.partition AND g.end_offset IS NULL
)
ORDER BY l.topic, l.topic_id, l.partition"""
BOOKS = ("ops.ledger", "ops.ledger_ranges", "ops.duplicates", "ops.quarantine", "ops.gaps", "ops.verified")


class Changed(Exception):
    """What is lost is no longer what was shown; look again before accepting it."""


@dataclass(frozen=True)
class Loss:
    """Offsets [start, end) of a log that cannot be read any more; `end` None: all from `start` on, the log is gone."""

    kind: Literal["expired", "recreated", "restored"]
    topic: str
    topic_id: str
    partition: int
    start: int
    end: int | None
    log_end: int | None = None
    """Where a log that was restored ends now."""

    def __str__(self) -> str:
        where = f"topic {self.topic} partition {self.partition}: committed up to offset {self.start}"
        if self.kind == "expired":
            return f"{where}, but the broker's log begins at {self.end}: offsets {self.start} to {self.end} are lost"
        if self.kind == "restored":
            ends = f"ends at {self.log_end}" if (self.log_end or 0) < self.start else "has younger messages before it"
            return f"{where}, but the broker's log {ends}: its data was restored to an older state"
        return (
            f"{where} of topic id {self.topic_id}, which the broker no longer has: the topic was recreated, and what"
            " came after that offset is lost"
        )


def written_over(conn: Connection, broker: Broker, extents: Iterable[Extent]) -> frozenset[Partition]:
    """Partitions that were restored to an older state and have grown beyond the ledger's offset since.

    Such a log has a message before that offset that was appended later than all that was committed. The broker is
    asked, and read at one offset where its answer leaves a doubt: markers of transactions have times, too.
    """
    now = {(e.topic, e.topic_id, e.partition) for e in extents}
    ledger = {
        (topic, partition): (offset, round(newest.timestamp() * 1000))
        for topic, topic_id, partition, offset, newest in conn.execute(OPEN_LOGS, [sorted({t for t, *_ in now})])
        if newest is not None and (topic, topic_id, partition) in now
    }
    found = set()
    for at, first in broker.offsets_at(extents, {at: newest + 1 for at, (_, newest) in ledger.items()}).items():
        offset, newest = ledger[at]
        younger = broker.first_message(at, first) if first < offset else None
        if younger is not None and younger[0] < offset and younger[1] > newest:
            found.add(at)
    return frozenset(found)


def losses(conn: Connection, extents: Iterable[Extent], over: Set[Partition]) -> list[Loss]:
    """What is lost of the logs that the ledger has open, by topic and partition; nothing as a rule.

    `over`: partitions that are `written_over`.
    """
    now = {(e.topic, e.topic_id, e.partition): e for e in extents}
    found = []
    for topic, topic_id, partition, offset, _ in conn.execute(OPEN_LOGS, [sorted({topic for topic, *_ in now})]):
        extent = now.get((topic, topic_id, partition))
        if extent is None:
            found.append(Loss("recreated", topic, topic_id, partition, offset, None))
        elif offset < extent.start:
            found.append(Loss("expired", topic, topic_id, partition, offset, extent.start))
        elif offset > extent.end or (topic, partition) in over:
            found.append(Loss("restored", topic, topic_id, partition, offset, None, extent.end))
    return found


def find(settings: Settings) -> list[Loss]:
    """What is lost now; KafkaException, TopicMissing or psycopg.OperationalError where a server cannot be asked."""
    with connect(settings.owner_url, "wardstream accept-gap") as conn:
        return _losses_now(conn, Broker(settings, load_contracts(settings.schemas_dir)))


def _losses_now(conn: Connection, broker: Broker) -> list[Loss]:
    extents = broker.extents()
    return losses(conn, extents, written_over(conn, broker, extents))


def accept(settings: Settings, shown: list[Loss], reason: str, by: str) -> None:
    """Write down in ops.gaps that these losses are accepted, and move the ledger so that the stream can go on.

    All in one transaction that holds the commit lock. Raises Changed, and changes nothing, where something else is
    lost than what was shown. A log that grew meanwhile is no other loss.
    """
    broker = Broker(settings, load_contracts(settings.schemas_dir))
    with connect(settings.owner_url, "wardstream accept-gap") as conn, conn.transaction():
        lock_commits(conn)
        lost = _losses_now(conn, broker)
        if [replace(loss, log_end=None) for loss in lost] != [replace(loss, log_end=None) for loss in shown]:
            raise Changed("something else is lost now than a moment ago; nothing was accepted, look again")
        for loss in lost:
            topic_id = _retire(conn, loss) if loss.kind == "restored" else loss.topic_id
            conn.execute(
                "INSERT INTO ops.gaps (topic_id, partition, start_offset, end_offset, topic, reason, accepted_by)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [topic_id, loss.partition, loss.start, loss.end, loss.topic, reason, by],
            )
            if loss.end is not None:
                conn.execute(
                    "UPDATE ops.ledger SET next_offset = %s WHERE topic_id = %s AND partition = %s",
                    [loss.end, topic_id, loss.partition],
                )


def _retire(conn: Connection, loss: Loss) -> str:
    """File what was committed of a log under a name of its own, so that its offsets can be used a second time.

    The log is then read again from its beginning: what history has counts as duplicates.
    """
    number = scalar(conn, "SELECT nextval('ops.commit_seq')")
    retired = f"{loss.topic_id}~{number}"
    history = sql.Identifier("history", loss.topic)
    for table in [*(sql.Identifier(*name.split(".")) for name in BOOKS), history]:
        conn.execute(
            sql.SQL("UPDATE {} SET topic_id = %s WHERE topic_id = %s AND partition = %s").format(table),
            [retired, loss.topic_id, loss.partition],
        )
    return retired
