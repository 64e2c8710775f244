"""How many rows belong to a range of offsets, and the sum of their hashes: equal sums, equal rows, in any order.

One pass over a table gives the sums of all ranges; PostgreSQL does it on several cores. Summed is what never changes of
a row once it is committed. `form` says what that is: sums of another form cannot be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from psycopg import sql

from wardstream.database.connection import Connection, beside, scalar, types_of

CELL = 1_000_000
"""Offsets that have the same number when a row's piece is looked for: no more than ranges are merged to."""
PLACES = ("history", "duplicate", "quarantine")
"""Where the row of a message is, as sql/place_*.sql call it."""
CHANGES = {"topic_id", "discarded_at", "discarded_by", "discard_note"}
"""Left out: a log that is gone is filed under another topic id (`stream.gaps`), a message may be discarded."""
HASHED_BY_BYTES = {
    *("text", "bytea", "boolean", "smallint", "integer", "bigint", "date"),
    *("timestamp with time zone", "timestamp without time zone"),
}
AS_BYTES = {"double precision": "float8send({})", "jsonb": "jsonb_send({})"}
ANY_AS_BYTES = "record_send(ROW({}))"
"""Of other types two values can be equal, and so hash alike, and not be the same: 0.0 and -0.0, 1.0 and 1.00."""


@dataclass(frozen=True)
class Rows:
    """How many rows, and the sum of their hashes."""

    number: int = 0
    hashes: int = 0

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.number + other.number, self.hashes + other.hashes)


@dataclass(frozen=True)
class Account:
    """The rows of some offsets of one partition."""

    history: Rows = Rows()
    duplicate: Rows = Rows()
    quarantine: Rows = Rows()

    def __add__(self, other: Account) -> Account:
        return Account(
            self.history + other.history, self.duplicate + other.duplicate, self.quarantine + other.quarantine
        )

    @property
    def messages(self) -> int:
        """How many messages these are the rows of."""
        return self.history.number + self.duplicate.number + self.quarantine.number


def account_of(rows: Iterable[tuple[str, int, Any]]) -> Account:
    """(place, number of rows, sum of their hashes) rows as an account; other places do not count."""
    found = {place: Rows(number, int(hashes or 0)) for place, number, hashes in rows if place in PLACES}
    return Account(**found)


def table_of(place: str, topic: str) -> sql.Identifier:
    """The table in which the rows of a place are."""
    tables = {"history": ("history", topic), "duplicate": ("ops", "duplicates"), "quarantine": ("ops", "quarantine")}
    return sql.Identifier(*tables[place])


def hash_of_row(conn: Connection, table: sql.Identifier, row: str) -> sql.Composed:
    """The hash of what never changes of a row that the statement calls `row`."""
    columns = [
        sql.SQL("{}" if kind in HASHED_BY_BYTES else AS_BYTES.get(kind, ANY_AS_BYTES)).format(sql.Identifier(row, name))
        for name, kind in types_of(conn, table.as_string(conn)).items()
        if name not in CHANGES
    ]
    # A record's hash is a linear sum of those of its columns: without a hash of it, two rows could exchange values.
    of_row = "hashbyteaextended(int8send(hash_record_extended(ROW({}), 0)), 0)"
    return sql.SQL(of_row).format(sql.SQL(", ").join(columns))


def form_of(conn: Connection, topic: str) -> str:
    """What is summed of a topic's rows, how, and by which major version of PostgreSQL, as a hash."""
    said = [str(int(scalar(conn, "SHOW server_version_num")) // 10_000)]
    for table in (table_of(place, topic) for place in PLACES):
        types = types_of(conn, table.as_string(conn)).items()
        said += [hash_of_row(conn, table, "r").as_string(conn), *(f"{name} {kind}" for name, kind in types)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


@dataclass(frozen=True)
class Group:
    """Rows of one partition that lie in one piece of it."""

    topic_id: str
    partition: int
    filed: bool
    """Whether the ledger knows the partition under the topic that they are filed under."""
    piece: int | None
    """Which of the pieces, from 0; None where they lie in none."""
    rows: Rows
    first: int
    beyond: int
    """How many of them lie where no commit has been yet."""


def sum_table(conn: Connection, place: str, topic: str, bounds: Mapping[tuple[str, int], Sequence[int]]) -> list[Group]:
    """One pass over the table of a place, by partition and piece.

    `bounds`: where the pieces of each partition begin, and where the last one ends.
    """
    table = table_of(place, topic)
    pieces: list[sql.Composable] = [
        sql.SQL("({}, {}::int, {}::bigint, {}::int, {}::bigint, {}::bigint)").format(*map(sql.Literal, row))
        for (topic_id, partition), offsets in bounds.items()
        for piece, (start, end) in enumerate(pairwise(offsets))
        for row in (
            (topic_id, partition, cell, piece, start, end) for cell in range(start // CELL, (end - 1) // CELL + 1)
        )
    ]
    none = sql.SQL("(NULL, NULL::int, NULL::bigint, NULL::int, NULL::bigint, NULL::bigint)")
    query = beside(__file__, "sums").format(
        rows=table,
        hash=hash_of_row(conn, table, "s"),
        pieces=sql.SQL(", ").join(pieces or [none]),
        cell=sql.Literal(CELL),
        topic=sql.Literal(topic) if place == "history" else sql.SQL("s.topic"),
    )
    return [
        Group(topic_id, partition, filed, piece, Rows(number, int(hashes)), first, beyond)
        for topic_id, partition, filed, piece, number, hashes, first, beyond in conn.execute(query)
    ]
