"""Which offsets verify has seen before (ops.verified), which it must read from Kafka, and what is kept of both.

A partition is cut into pieces that follow one another without a hole, from offset 0 to where the ledger was at the
start: a range that was verified before is one piece, what lies between is read, or can no longer be read.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wardstream.database.connection import Connection
from wardstream.kafka.broker import Extent
from wardstream.proof.sums import Account, Rows, form_of

MERGED = 1_000_000
"""Offsets up to which ranges that follow one another become one: few rows, and a difference that is found soon."""
LOAD = """
SELECT topic_id, partition, start_offset, end_offset, verified_at,
    stored, stored_sum, duplicate, duplicate_sum, quarantined, quarantined_sum
FROM ops.verified WHERE form = ANY(%s) ORDER BY topic_id, partition, start_offset
"""
FORGET = "DELETE FROM ops.verified WHERE topic_id = %s AND partition = %s AND start_offset < %s AND end_offset > %s"
KEEP = """
INSERT INTO ops.verified (topic_id, partition, start_offset, end_offset, verified_at,
    stored, stored_sum, duplicate, duplicate_sum, quarantined, quarantined_sum, form)
SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s
WHERE EXISTS (SELECT FROM ops.ledger WHERE topic_id = %s AND partition = %s)
"""


@dataclass(frozen=True)
class Piece:
    """Offsets [start, end) of one partition."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int

    @property
    def at(self) -> tuple[str, int]:
        """The partition."""
        return self.topic_id, self.partition

    def __str__(self) -> str:
        return f"topic {self.topic} partition {self.partition} offsets {self.start} to {self.end}"


@dataclass(frozen=True)
class Range:
    """Offsets [start, end) that were verified, when the first of them were, and what their rows were."""

    start: int
    end: int
    account: Account
    verified_at: datetime

    def holds(self, piece: Piece) -> bool:
        """Whether the piece, of the same partition, lies in it."""
        return self.start <= piece.start and piece.end <= self.end

    def follows(self, before: Range) -> bool:
        """Whether both can be one."""
        return self.start == before.end and self.end - before.start <= MERGED

    def after(self, before: Range) -> Range:
        """Both as one."""
        return Range(before.start, self.end, before.account + self.account, min(before.verified_at, self.verified_at))


Ranges = Mapping[tuple[str, int], list[Range]]


def forms_of(conn: Connection, topics: Iterable[str]) -> dict[str, str]:
    """What is summed of each topic now."""
    return {topic: form_of(conn, topic) for topic in topics}


def load(conn: Connection, forms: Mapping[str, str], ledger: Mapping[tuple[str, int], int]) -> Ranges:
    """The ranges whose sums can be compared now, by partition, up to the ledger."""
    found: dict[tuple[str, int], list[Range]] = {at: [] for at in ledger}
    for topic_id, partition, start, end, verified_at, *figures in conn.execute(LOAD, [list(forms.values())]):
        at = (topic_id, partition)
        if end <= ledger.get(at, -1):
            found[at].append(Range(start, end, _account(figures), verified_at))
    return found


def _account(figures: list[Any]) -> Account:
    stored, stored_sum, duplicate, duplicate_sum, quarantined, quarantined_sum = figures
    return Account(
        Rows(stored, int(stored_sum)), Rows(duplicate, int(duplicate_sum)), Rows(quarantined, int(quarantined_sum))
    )


@dataclass(frozen=True)
class Cut:
    """One partition up to `end` in pieces: those to read, those verified before, and those that can be neither."""

    extent: Extent
    end: int
    read: list[Piece] = field(default_factory=list)
    known: list[Piece] = field(default_factory=list)
    lost: list[Piece] = field(default_factory=list)

    @property
    def at(self) -> tuple[str, int]:
        """The partition."""
        return self.extent.topic_id, self.extent.partition

    @property
    def pieces(self) -> list[Piece]:
        """All of them, in order."""
        return sorted([*self.read, *self.known, *self.lost], key=lambda piece: piece.start)


def cut(extent: Extent, end: int, known: Iterable[Range], again: Container[Range], longest: int) -> Cut:
    """The offsets from 0 to `end` in pieces. Known ranges that are in `again` are read, in pieces no longer than
    `longest`, as is what was never verified; what lies before the extent is lost."""
    found = Cut(extent, end)
    at = 0
    for one in known:
        _cut_unknown(found, at, one.start, longest)
        if one in again:
            _cut_unknown(found, one.start, one.end, longest)
        else:
            found.known.append(_piece(extent, one.start, one.end))
        at = one.end
    _cut_unknown(found, at, end, longest)
    return found


def _cut_unknown(found: Cut, start: int, end: int, longest: int) -> None:
    extent = found.extent
    readable = min(max(start, extent.start), end)
    if start < readable:
        found.lost.append(_piece(extent, start, readable))
    found.read.extend(_piece(extent, at, min(at + longest, end)) for at in range(readable, end, longest))


def _piece(extent: Extent, start: int, end: int) -> Piece:
    return Piece(extent.topic, extent.topic_id, extent.partition, start, end)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Ranges that follow one another as one, as far as that goes."""
    found: list[Range] = []
    for one in sorted(ranges, key=lambda each: each.start):
        if found and one.follows(found[-1]):
            found[-1] = one.after(found[-1])
        else:
            found.append(one)
    return found


def keep(conn: Connection, at: tuple[str, int], form: str, before: list[Range], ranges: list[Range]) -> None:
    """Put these ranges of one partition in the place of those before, and of what overlaps with either.

    A log that was filed under another topic id meanwhile has none.
    """
    if ranges == before:
        return
    both = [*before, *ranges]
    conn.execute(FORGET, [*at, max(one.end for one in both), min(one.start for one in both)])
    with conn.cursor() as cursor:
        rows = [[*at, one.start, one.end, one.verified_at, *_figures(one.account), form, *at] for one in ranges]
        cursor.executemany(KEEP, rows)


def _figures(account: Account) -> list[int]:
    of_places = (account.history, account.duplicate, account.quarantine)
    return [figure for rows in of_places for figure in (rows.number, rows.hashes)]
