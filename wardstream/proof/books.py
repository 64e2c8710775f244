"""The books by themselves: ranges that tile each partition, and counts that add up, as the ledger has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wardstream.database.connection import Connection, beside
from wardstream.kafka.broker import Extent
from wardstream.proof.report import Report, Tally
from wardstream.stream.lag import Ledger, read_ledger

Partition = tuple[str, int]
"""Topic id and number."""


@dataclass(frozen=True)
class Counts:
    """What the commits counted of one partition."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Books:
    """The ledger at one moment, and what its commits counted."""

    ledger: Ledger
    counts: Mapping[Partition, Counts]

    def tally(self, extent: Extent, former: bool) -> Tally:
        """The account of one partition."""
        at = (extent.topic_id, extent.partition)
        return Tally(
            extent.topic, extent.partition, self.ledger.get(at, 0), **vars(self.counts.get(at, Counts())), former=former
        )


def read_books(conn: Connection) -> Books:
    """The books as one snapshot has them: within a transaction of REPEATABLE READ."""
    query = (
        "SELECT topic_id, partition, sum(received)::bigint, sum(stored)::bigint, sum(duplicate)::bigint,"
        " sum(quarantined)::bigint FROM ops.ledger_ranges GROUP BY topic_id, partition"
    )
    return Books(read_ledger(conn), {(i, p): Counts(*counts) for i, p, *counts in conn.execute(query)})


def closed_logs(conn: Connection) -> list[Extent]:
    """Logs that are gone, as somebody accepted: nothing of them can be read, so that only the books are checked."""
    query = (
        "SELECT l.topic, l.topic_id, l.partition, l.next_offset, l.next_offset FROM ops.ledger AS l"
        " JOIN ops.gaps AS g USING (topic_id, partition) WHERE g.end_offset IS NULL ORDER BY l.topic, g.accepted_at"
    )
    return [Extent(*row) for row in conn.execute(query)]


def check_tiles(conn: Connection, report: Report, extent: Extent, done: int | None, which: str = "") -> None:
    """Ranges and accepted gaps tile [first readable offset, ledger); accepted gaps are noted."""
    where = f"topic {extent.topic} partition {extent.partition}{which}"
    at = {"topic_id": extent.topic_id, "partition": extent.partition}
    breaks = conn.execute(beside(__file__, "breaks"), at).fetchall()
    for start, stop, gap, end_before, _ in breaks:
        before = extent.start if end_before is None else end_before
        if start > before:
            report.findings.append(f"{where} offsets {before} to {start}: no commit accounts for them")
        elif start < before and start >= extent.start:
            report.findings.append(f"{where} offsets {start} to {min(before, stop)}: two commits account for them")
        if gap is not None:
            lost = f"offsets {start} to {stop}" if stop is not None else f"from offset {start} on"
            report.notes.append(f"{where} {lost}: accepted as lost ({gap})")
    last = extent.start if not breaks or breaks[0][-1] is None else breaks[0][-1]
    if done is not None and last != done:
        report.findings.append(f"{where}: ranges end at offset {last}, the ledger at {done}")
