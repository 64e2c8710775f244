"""Pieces of a partition read from Kafka again, judged anew and looked for in the database, in processes of their own.

Each message must be found once: as a row of history, as a duplicate or in quarantine. A process has a consumer, a judge
and a session of its own, and at most one chunk of messages in memory. Each chunk is compared in a transaction of its
own: rows that the ledger had at the start do not change, so no snapshot need last for longer.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
from psycopg import sql

from wardstream.database.connection import beside, columns_of, connect, names, trusted
from wardstream.database.copy import copy
from wardstream.database.plan_error import PlanError
from wardstream.database.scratch import Scratch
from wardstream.proof.ranges import Piece
from wardstream.proof.reading import CHUNK, read_partition
from wardstream.proof.report import SHOWN
from wardstream.proof.sums import PLACES, Account, account_of, hash_of_row, table_of
from wardstream.settings import Settings
from wardstream.stream.commit import create_staged
from wardstream.stream.decode import Judge, judge_batches, judged_schema, sort_out
from wardstream.stream.plan import BESIDE, Plan
from wardstream.stream.refused import QUARANTINE

LONGEST = 5 * CHUNK
"""Offsets of a piece: enough that starting a consumer does not count, few enough that all processes have work."""


@dataclass
class Found:
    """What became of the messages of one piece."""

    piece: Piece
    messages: int = 0
    account: Account = field(default_factory=Account)
    """The rows in which they were found."""
    faults: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    """How many messages have it, and the first offsets."""
    unread: Counter[int] = field(default_factory=Counter)
    """Messages that no deployed version reads, by schema id."""
    unclaimed: dict[str, list[int]] = field(default_factory=dict)
    """Offsets of rows that no message accounts for, by place; only where that was asked."""

    @property
    def clean(self) -> bool:
        """Whether every message was read and found as it should be."""
        return not self.faults and not self.unread


@dataclass(frozen=True)
class Job:
    """What a process must know."""

    settings: Settings
    judge: Judge
    plan: Plan


def longest_piece(offsets: int) -> int:
    """How long a piece may be where so many offsets are to be read."""
    return max(CHUNK, min(LONGEST, -(-offsets // cores())))


def cores() -> int:
    """How many processes can work at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def place_all(job: Job, pieces: list[Piece], unclaimed: bool = False) -> Iterator[Found]:
    """Read the pieces, as many at a time as there are cores; a little is read here, without another process."""
    if not pieces:
        return
    processes = min(cores(), len(pieces))
    if processes < 2 or sum(piece.end - piece.start for piece in pieces) <= CHUNK:
        with closing(Placing(job)) as placing:
            for piece in pieces:
                yield placing.place(piece, unclaimed)
        return
    # Spawned: what librdkafka and libpq have in this process does not survive a fork.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawning, _end_with_parent) as pool:
        try:
            # The job goes with each piece: what a process is begun with is written to a pipe that nobody reads any more
            # where it dies at its start, and verify would wait for ever.
            yield from pool.map(partial(_place, job), pieces, [unclaimed] * len(pieces))
        except BrokenProcessPool:
            raise PlanError(
                "a process that read for verify was ended, for want of memory perhaps; verify again"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_placing: Placing | None = None
"""Of a process of a pool, which sees one job only."""


def _end_with_parent() -> None:
    """A parent that is killed ends no process of its pool."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _place(job: Job, piece: Piece, unclaimed: bool) -> Found:
    global _placing
    _placing = _placing or Placing(job)
    return _placing.place(piece, unclaimed)


class Placing:
    """One session, and the temporary tables in which messages and rows meet."""

    def __init__(self, job: Job) -> None:
        self._settings = job.settings
        self._plan = job.plan
        self._contracts = job.judge.contracts
        self._judge = judge_batches(job.judge)
        self._schema = judged_schema(self._contracts)
        self._conn = connect(job.settings.owner_url, "wardstream verify")
        scratch = Scratch(self._conn)
        scratch.create("placed", sql.SQL('("offset" bigint, place text, fault text, hash bigint)'))
        scratch.create("refused", sql.SQL("(LIKE ops.quarantine)"))
        self._conn.execute("ALTER TABLE refused ALTER commit_seq DROP NOT NULL, ALTER quarantined_at DROP NOT NULL")
        for topic, contract in self._contracts.items():
            create_staged(scratch, contract)
            like_history = sql.SQL("(LIKE {})").format(table_of("history", topic))
            expected = scratch.create(f"expected_{topic}", like_history)
            self._conn.execute(sql.SQL("ALTER TABLE {} DROP COLUMN received_at").format(expected))
        self._hashes = {topic: self._hashes_of(topic) for topic in self._contracts}

    def _hashes_of(self, topic: str) -> dict[str, sql.Composed]:
        """The hashes of rows as sql/place_*.sql call them."""
        rows = {"history": "h", "duplicate": "d", "quarantine": "q"}
        return {f"{place}_hash": hash_of_row(self._conn, table_of(place, topic), row) for place, row in rows.items()}

    def close(self) -> None:
        """End the session."""
        self._conn.close()

    def place(self, piece: Piece, unclaimed: bool) -> Found:
        """Read one piece and find its messages in the database; `unclaimed`: and the rows that are left over."""
        found = Found(piece)
        self._conn.execute("TRUNCATE placed")
        for messages in read_partition(self._settings, piece.topic, piece.partition, piece.start, piece.end):
            found.messages += messages.num_rows
            judged = pa.Table.from_batches(self._judge(messages.to_batches()), self._schema)
            with self._conn.transaction():
                self._place(piece, judged, found)
        sums = "SELECT place, count(*), sum(hash) FROM placed GROUP BY place"
        found.account = account_of(self._conn.execute(sums).fetchall())
        faults = (
            f'SELECT fault, count(*), (array_agg("offset" ORDER BY "offset"))[:{SHOWN}] FROM placed'
            " WHERE fault IS NOT NULL GROUP BY fault"
        )
        found.faults = {fault: (number, first) for fault, number, first in self._conn.execute(faults)}
        if unclaimed:
            found.unclaimed = {place: self._unclaimed(piece, place) for place in PLACES}
        return found

    def _place(self, piece: Piece, judged: pa.Table, found: Found) -> None:
        """Find one chunk of messages in the database, and write down where, with its fault if it has one."""
        sorted_out = sort_out(judged, self._contracts, {piece.topic: piece.topic_id})
        if sorted_out.waiting.num_rows:
            self._place_unread(piece, sorted_out.waiting, found)
        rejects = [sorted_out.rejects]
        for rows in sorted_out.events.values():
            accepted, refused = self._split_off_quarantined(piece, rows)
            rejects.append(refused)
            self._place_events(piece.topic, accepted)
        self._conn.execute("TRUNCATE refused")
        for rows in rejects:
            copy(self._conn, sql.Identifier("refused"), rows.select(list(QUARANTINE)))
        self._conn.execute(beside(__file__, "place_rejects").format(**self._hashes[piece.topic]))

    def _place_unread(self, piece: Piece, rows: pa.Table, found: Found) -> None:
        """Messages that were committed, and of which no deployed version is left: found by their place alone."""
        found.unread.update(rows["schema_id"].to_pylist())
        query = beside(__file__, "place_unread").format(
            history=table_of("history", piece.topic), **self._hashes[piece.topic]
        )
        at = {"topic_id": piece.topic_id, "partition": piece.partition, "offsets": rows["offset"].to_pylist()}
        self._conn.execute(query, at)

    def _split_off_quarantined(self, piece: Piece, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """What PostgreSQL refused at the time, or a registry or contract of that day, is looked for in quarantine."""
        offsets = rows["offset"].to_pylist()
        quarantined = {
            offset
            for (offset,) in self._conn.execute(
                'SELECT "offset" FROM ops.quarantine'
                ' WHERE topic_id = %s AND partition = %s AND "offset" BETWEEN %s AND %s',
                [piece.topic_id, piece.partition, offsets[0], offsets[-1]],
            )
        }
        here = pa.array([offset in quarantined for offset in offsets], pa.bool_())
        refused = rows.filter(here)
        refused = refused.append_column("topic", pa.array([piece.topic] * refused.num_rows, pa.string()))
        refused = refused.append_column("reason", pa.array(["refused then"] * refused.num_rows, pa.string()))
        return rows.filter(pa.compute.invert(here)), refused

    def _place_events(self, topic: str, rows: pa.Table) -> None:
        staged, expected = sql.Identifier(f"staged_{topic}"), sql.Identifier(f"expected_{topic}")
        columns = [c for c in columns_of(self._conn, "history", topic) if c != "received_at"]
        self._conn.execute(sql.SQL("TRUNCATE {}, {}").format(staged, expected))
        copy(self._conn, staged, rows.select([*(f.name for f in self._contracts[topic].fields), *BESIDE]))
        fill = sql.SQL("INSERT INTO {} ({c}) SELECT {c} FROM ({}) AS q")
        self._conn.execute(fill.format(expected, trusted(self._plan.history[topic]), c=names(columns)))
        self._conn.execute(sql.SQL("ANALYZE {}").format(expected))
        self._conn.execute(
            beside(__file__, "place_events").format(
                expected=expected,
                history=table_of("history", topic),
                expected_columns=names(columns, "e"),
                history_columns=names(columns, "h"),
                **self._hashes[topic],
            )
        )

    def _unclaimed(self, piece: Piece, place: str) -> list[int]:
        rows = table_of(place, piece.topic)
        query = beside(__file__, "unclaimed").format(
            rows=rows, place=sql.Literal(place), hash=hash_of_row(self._conn, rows, "s")
        )
        at = {"topic_id": piece.topic_id, "partition": piece.partition, "start": piece.start, "end": piece.end}
        return [offset for (offset,) in self._conn.execute(query, at)]
