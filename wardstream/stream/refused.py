"""Finding the rows that PostgreSQL refuses: inside a commit's transaction, at savepoints, so that the others go on.

One refused row fails a whole COPY or INSERT. A failed COPY says in which line it stopped, which finds a thousand bad
rows in seconds; where only a constraint refuses them, pieces are halved until each stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pyarrow as pa

from wardstream.database.connection import Connection

REFUSED = (psycopg.DataError, psycopg.IntegrityError)
PIECE_ROWS = 1000  # of a batch in which rows are refused: a piece that fails is sent again, so that it must be small
QUARANTINE = ("topic_id", "partition", "offset", "topic", "reason", "schema_id", "broker_time", "key", "value")


def isolate(
    conn: Connection, topic: str, rows: pa.Table, keep: Callable[[pa.Table], None]
) -> tuple[pa.Table, list[pa.Table]]:
    """Keep the rows in pieces, at a savepoint each, until each refused row stands alone: those kept, and those.

    What is refused comes in the shape of `Batch.rejects`, its SQLSTATE (class 22 or 23) as reason; every other error is
    passed on.
    """
    kept, refused = [rows.slice(0, 0)], []
    pieces = [rows.slice(at, PIECE_ROWS) for at in range(0, rows.num_rows, PIECE_ROWS)][::-1]
    while pieces:
        piece = pieces.pop()
        try:
            with conn.transaction():
                keep(piece)
        except REFUSED as refusal:
            if piece.num_rows > 1:
                pieces += reversed(cut(piece, refusal))
            else:
                refused.append(as_rejects(topic, piece, f"sqlstate:{refusal.sqlstate}"))
        else:
            kept.append(piece)
    return pa.concat_tables(kept), refused


def cut(rows: pa.Table, refusal: psycopg.Error) -> list[pa.Table]:
    """Rows in smaller pieces: where COPY says in which line it stopped, that row apart, and else in two halves."""
    said = re.search(r"^COPY \w+, \D*(\d+)", refusal.diag.context or "")
    at = int(said[1]) - 1 if said else rows.num_rows
    ends = [at, at + 1, rows.num_rows] if at < rows.num_rows else [rows.num_rows // 2, rows.num_rows]
    starts = [0, *ends[:-1]]
    return [rows.slice(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]


def as_rejects(topic: str, rows: pa.Table, reason: str) -> pa.Table:
    """Rows of an events table in the shape of `Batch.rejects`, original bytes included."""
    named = rows.append_column("topic", pa.array([topic] * rows.num_rows, pa.string()))
    named = named.append_column("reason", pa.array([reason] * rows.num_rows, pa.string()))
    return named.select(list(QUARANTINE))
