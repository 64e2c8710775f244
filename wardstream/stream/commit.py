"""Everything between BEGIN and COMMIT: one batch of events into PostgreSQL, exactly once.

`Committer.commit` is the protocol, top to bottom; its statements are those of sql/protocol beside this module, and the
user's sql/commit and sql/folds:

    ask          beside staging, by a thread: what id each topic has now, and whether schema ids mean what they meant
    stage        COPY into temporary tables; no lock is held
    history      what is new is stored, what is not is a duplicate; the batch before may still be computing core
    turn         the batch before is committed
    lock         one commit lock for the database, in a statement of its own (READ COMMITTED: what follows sees all
                 that was committed before)
    fence        the topics are those of the plan, and the ledger moves by compare-and-set from the planned start to
                 the planned end of every partition while the generation is ours, or nothing is committed
    sources      those that are new are noted: core's days depend on them
    core         where one fact says all, by comparing versions; else entities with a new fact are computed from history
                 again, and changed rows replaced
    quarantine   what could not be decoded or was refused: reason and original bytes
    days         every day of a facility whose core rows changed takes this commit's number
    ranges       what became of every offset; the counts must add up

Where PostgreSQL refuses a row (SQLSTATE class 22 or 23) all is rolled back, and the batch is committed once more with
history stored after the fence, by savepoints, so that the rows refused are found piece by piece.

Which rows are refused is found by `refused.isolate`; core is computed by `upsert.Upsert` and `refold.Refold`. No other
module writes history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from wardstream.contracts.model import Contract
from wardstream.database.connection import Connection, columns_of, names, scalar, trusted
from wardstream.database.copy import copy
from wardstream.database.facility import NOW
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.stream.commit_threads import Turn
from wardstream.stream.plan import BESIDE, Plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.refused import REFUSED, isolate
from wardstream.stream.stored_sources import as_lists, uses_now
from wardstream.stream.upsert import Upsert

FIRST_OFFSET_STAYS = sql.SQL('ORDER BY partition, "offset"')
Counts = Counter[tuple[str, int]]  # by (topic id, partition)
WORK_MEM = "64MB"  # a batch of 50,000 is sorted; with PostgreSQL's 4 MB each sort would go to disk
TEMP_BUFFERS = "64MB"  # what is staged is read three times; with PostgreSQL's 8 MB it would go to disk between
IDLE_IN_TRANSACTION = "60s"  # a batch waits ten seconds at most for the one before (commit_threads)


class NotOurs(Exception):
    """The ledger is not where this driver's plan begins; it must start again from the ledger. Nothing was stored."""


class Fenced(NotOurs):
    """The generation is no longer this driver's: another one writes, and this one must leave. Nothing was stored."""


class BrokerChanged(Exception):
    """A topic or schema id is not what it was; the stream must stop and say so. Nothing was stored."""


class CountsDoNotAddUp(Exception):
    """received is not stored + duplicates + quarantined: a defect in a commit file or in this module."""


@dataclass(frozen=True)
class Slice:
    """The offsets [start, end) of one partition that Spark planned for a batch."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Batch:
    """One batch: planned slices, decoded events by topic, refused messages, and the schema ids met.

    An events table has the contract's fields, BESIDE, broker_time, key and value, ordered by partition and
    offset. `rejects` has the QUARANTINE columns. `schema_ids` holds (schema id, topic, fingerprint).
    """

    slices: tuple[Slice, ...]
    events: Mapping[str, pa.Table]
    rejects: pa.Table
    schema_ids: frozenset[tuple[int, str, int]] = frozenset()

    def parameters(self) -> dict[str, list[Any]]:
        """The slices as parallel lists, for unnest."""
        return {
            "topic_ids": [s.topic_id for s in self.slices],
            "partitions": [s.partition for s in self.slices],
            "starts": [s.start for s in self.slices],
            "ends": [s.end for s in self.slices],
        }

    def newest(self) -> list[datetime | None]:
        """When the newest message of each slice was appended, broker's clock, UTC; None where it has none."""
        found: dict[tuple[str, int], datetime] = {}
        for rows in (*self.events.values(), self.rejects):
            where = rows.select(["topic_id", "partition", "broker_time"]).group_by(["topic_id", "partition"])
            for row in where.aggregate([("broker_time", "max")]).to_pylist():
                at, time = (row["topic_id"], row["partition"]), row["broker_time_max"]
                found[at] = max(time, found.get(at, time))
        return [found.get((s.topic_id, s.partition)) for s in self.slices]


@dataclass
class Outcome:
    """What became of a batch, by (topic id, partition)."""

    received: Counts = field(default_factory=Counter)
    stored: Counts = field(default_factory=Counter)
    duplicate: Counts = field(default_factory=Counter)
    quarantined: Counts = field(default_factory=Counter)


@dataclass(frozen=True)
class StoreStatements:
    """What brings the staged messages of one topic into history."""

    history: sql.Composed
    in_order: sql.Composed
    """The same for a batch that repeats a fact: to sort every batch would cost a tenth of the commit."""
    duplicates: sql.Composed


class Committer:
    """Commits batches on one connection, one at a time. Not thread-safe."""

    def __init__(
        self,
        conn: Connection,
        contracts: Mapping[str, Contract],
        plan: Plan,
        stream: str,
        generation: int,
        ask: Callable[[Batch], Mapping[str, str]],
    ) -> None:
        """`ask` puts a batch's questions to broker and registry: Kafka's id of each topic now, or BrokerChanged."""
        self.conn = conn
        self.contracts = contracts
        self.plan = plan
        self.mine = {"stream": stream, "generation": generation}
        self._ask = ask
        self._asking = ThreadPoolExecutor(1, "asking")
        self._scratch = Scratch(conn)
        with conn.transaction():
            conn.execute(sql.SQL("SET work_mem = {}").format(WORK_MEM))
            # of entities that are different each time it would keep every one, and never find one again
            conn.execute("SET enable_memoize = off")
            # a driver that is frozen must not keep what it has stored of history from the next one
            conn.execute(sql.SQL("SET idle_in_transaction_session_timeout = {}").format(IDLE_IN_TRANSACTION))
            conn.execute(sql.SQL("SET temp_buffers = {}").format(TEMP_BUFFERS))
            create_touched(self._scratch)
            self.store_statements = {topic: self._prepare(contract) for topic, contract in contracts.items()}
            self.upserts = {fold.table: Upsert(self._scratch, fold, plan) for fold in plan.folds if fold.of_greatest}
            self.refolds = {
                fold.table: Refold(self._scratch, fold, plan.protocol) for fold in plan.folds if not fold.of_greatest
            }

    def _prepare(self, contract: Contract) -> StoreStatements:
        """Make staged_<topic>; the statements that fill history and ops.duplicates from it."""
        topic = contract.topic
        history = sql.Identifier("history", topic)
        staged = create_staged(self._scratch, contract)
        columns = names(c for c in columns_of(self.conn, "history", topic) if c != "received_at")
        protocol, query = self.plan.protocol, trusted(self.plan.history[topic])
        insert = trusted(protocol["insert_history"])
        return StoreStatements(
            insert.format(history=history, columns=columns, query=query, order=sql.SQL("")),
            insert.format(history=history, columns=columns, query=query, order=FIRST_OFFSET_STAYS),
            trusted(protocol["insert_duplicates"]).format(topic=sql.Literal(topic), staged=staged, history=history),
        )

    def commit(self, batch: Batch, turn: Turn | None = None) -> Outcome:
        """Store one batch in one transaction.

        Raises NotOurs or BrokerChanged (nothing stored; the driver must leave), NotYet or LeftOut (nothing stored)
        or psycopg.OperationalError (the end is unknown: ask `was_committed` on a new connection before trying again).
        """
        turn = turn or Turn()
        try:
            return self._commit(batch, turn, in_pieces=False)
        except REFUSED:
            return self._commit(batch, turn, in_pieces=True)

    def _commit(self, batch: Batch, turn: Turn, in_pieces: bool) -> Outcome:
        outcome = Outcome()
        asked = self._asking.submit(self._ask, batch)  # beside staging: a slow broker holds up nobody else's commit
        turn.begin()
        with self.conn.transaction():
            self._scratch.empty("touched_days")
            staged = {topic: self._stage(topic, rows) for topic, rows in batch.events.items()}
            topic_ids = asked.result()
            turn.wait_for_history()
            stored = {} if in_pieces else {topic: self._insert(topic, rows) for topic, (rows, _) in staged.items()}
            if not in_pieces:
                turn.history_is_stored()
            turn.wait()
            lock_commits(self.conn)
            self._fence(batch, topic_ids)
            now = scalar(self.conn, NOW)  # after the lock: an open stay has its days up to now
            self._note_sources(batch)
            seq = scalar(self.conn, "SELECT nextval('ops.commit_seq')")
            rejects = [batch.rejects]
            for topic, (rows, refused) in staged.items():
                count(outcome.received, batch.events[topic])
                rejects += refused
                if in_pieces:
                    rejects += self._store_refusing(topic, rows, now, outcome)
                else:
                    self._store_core(topic, rows, now, stored[topic], outcome)
            count(outcome.received, batch.rejects)
            for rows in rejects:
                count(outcome.quarantined, rows)
                self._quarantine(rows, seq)
            self.conn.execute(trusted(self.plan.protocol["raise_day_versions"]), {"seq": seq})
            self._record_ranges(batch, outcome, seq)
            self._note_senders(batch)
        return outcome

    def _note_sources(self, batch: Batch) -> None:
        """Whose ids each source uses and where it is, before core is computed: the days of a row are found by it, and
        a change of the file of sources is noticed."""
        found = {source for rows in batch.events.values() for source in pc.unique(rows["source"]).to_pylist()}
        uses = uses_now(self.contracts, sorted(found))
        self.conn.execute(trusted(self.plan.protocol["note_sources"]), as_lists(uses))

    def _note_senders(self, batch: Batch) -> None:
        """When each sender's events came, for whoever looks whether one has fallen silent."""
        statement = trusted(self.plan.protocol["note_sender"])
        figures = [("broker_time", "count"), ("broker_time", "min"), ("broker_time", "max")]
        for topic, rows in batch.events.items():
            for sender in rows.group_by("source").aggregate(figures).to_pylist():
                self.conn.execute(statement, {"topic": topic, **sender})

    def close(self) -> None:
        """End the session, and with it whatever an attempt that failed has left: locks, and rows nobody sees."""
        self._asking.shutdown(wait=False, cancel_futures=True)
        self.conn.close()

    def was_committed(self, batch: Batch) -> bool:
        """Whether an earlier attempt of this driver at the same batch reached its COMMIT."""
        with self.conn.transaction():
            lock_commits(self.conn)  # waits for that attempt to end
            statement = trusted(self.plan.protocol["was_committed"])
            done = scalar(self.conn, statement, {**batch.parameters(), **self.mine})
        return bool(done == len(batch.slices))

    def _stage(self, topic: str, rows: pa.Table) -> tuple[pa.Table, list[pa.Table]]:
        """COPY into staged_<topic>; the rows that are there now, and those of which PostgreSQL refuses a value."""
        self._scratch.empty(staged_of(topic))
        try:
            with self.conn.transaction():
                self._copy_staged(topic, rows)
        except REFUSED:
            return isolate(self.conn, topic, rows, lambda piece: self._copy_staged(topic, piece))
        return rows, []

    def _copy_staged(self, topic: str, rows: pa.Table) -> None:
        columns = [*(f.name for f in self.contracts[topic].fields), *BESIDE]
        self._scratch.filled(staged_of(topic), rows.num_rows)
        copy(self.conn, sql.Identifier(staged_of(topic)), rows.select(columns))

    def _fence(self, batch: Batch, topic_ids: Mapping[str, str]) -> None:
        """Move the ledger from start to end of every slice, or leave: ledger, fence and order of batches in one."""
        for part in batch.slices:
            if topic_ids.get(part.topic) != part.topic_id:
                raise BrokerChanged(f"topic {part.topic} is not the one this batch was planned from: its id changed")
        statement = trusted(self.plan.protocol["advance_ledger"])
        moved = self.conn.execute(statement, {**batch.parameters(), "newest": batch.newest(), **self.mine}).rowcount
        if moved != len(batch.slices):
            generation = scalar(self.conn, "SELECT generation FROM ops.streams WHERE stream = %(stream)s", self.mine)
            # Only a greater one: after a restore of the database it can be smaller or missing, and nobody else writes.
            if generation is not None and generation > self.mine["generation"]:
                raise Fenced(f"generation {self.mine['generation']} of the stream was replaced by {generation}")
            raise NotOurs(f"{moved} of {len(batch.slices)} partitions of the ledger are where the batch begins")
        for schema_id, topic, fingerprint in sorted(batch.schema_ids):
            self.conn.execute(
                "INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [schema_id, topic, fingerprint],
            )
            known = "SELECT fingerprint FROM ops.schema_ids WHERE schema_id = %s AND topic = %s"
            if scalar(self.conn, known, [schema_id, topic]) != fingerprint:
                raise BrokerChanged(f"schema id {schema_id} of topic {topic} no longer means what it first meant")

    def _store_core(self, topic: str, rows: pa.Table, now: datetime, stored: Counts, outcome: Outcome) -> None:
        """Duplicates and core for the rows, which are staged, and in history where they are new."""
        duplicate = self._note_duplicates(topic, rows, stored)
        self._compute_core(topic, now, stored, duplicate)
        outcome.stored += stored
        outcome.duplicate += duplicate

    def _store_refusing(self, topic: str, rows: pa.Table, now: datetime, outcome: Outcome) -> list[pa.Table]:
        """History, duplicates and core for the rows, of which PostgreSQL may refuse some; returns those.

        Pieces are inserted one by one and core is computed once; only where that is what it refuses, which is rare and
        takes long, core is computed for each piece.
        """
        try:
            with self.conn.transaction():
                stored, duplicate, refused = self._store_pieces(topic, rows, now, core_of_each=False)
        except REFUSED:
            stored, duplicate, refused = self._store_pieces(topic, rows, now, core_of_each=True)
        outcome.stored += stored
        outcome.duplicate += duplicate
        return refused

    def _store_pieces(
        self, topic: str, rows: pa.Table, now: datetime, core_of_each: bool
    ) -> tuple[Counts, Counts, list[pa.Table]]:
        stored: list[Counts] = []
        duplicate: list[Counts] = []

        def keep(piece: pa.Table) -> None:
            self._scratch.empty(staged_of(topic))
            self._copy_staged(topic, piece)
            new = self._insert(topic, piece)
            repeated = self._note_duplicates(topic, piece, new)
            if core_of_each:
                self._compute_core(topic, now, new, repeated)
            stored.append(new)
            duplicate.append(repeated)

        kept, refused = isolate(self.conn, topic, rows, keep)
        of_all = sum(stored, Counter()), sum(duplicate, Counter())
        if not core_of_each:
            self._scratch.empty(staged_of(topic))
            self._copy_staged(topic, kept)
            self._compute_core(topic, now, *of_all)
        return *of_all, refused

    def _insert(self, topic: str, rows: pa.Table) -> Counts:
        """History for these rows, which are staged; how many facts are new."""
        statements = self.store_statements[topic]
        repeats = pc.count_distinct(rows["content_hash"]).as_py() < rows.num_rows
        return tallied(self.conn.execute(statements.in_order if repeats else statements.history))

    def _note_duplicates(self, topic: str, rows: pa.Table, stored: Counts) -> Counts:
        """How many of these rows, which are staged, repeat a fact."""
        if stored.total() == rows.num_rows:
            return Counter()
        return tallied(self.conn.execute(self.store_statements[topic].duplicates))

    def _compute_core(self, topic: str, now: datetime, stored: Counts, duplicate: Counts) -> None:
        """Core for the entities of what is staged, where any of it is new."""
        touched_by = ""
        for fold in self.plan.folds_of(topic) if stored else ():
            if fold.of_greatest:
                self.upserts[fold.table].apply(now)
                continue
            refold = self.refolds[fold.table]
            if fold.key != touched_by:
                refold.touch(self._new_keys(topic, fold.key, some_are_known=bool(duplicate)))
                touched_by = fold.key
            refold.compute_fast()
            refold.apply(now)

    def _new_keys(self, topic: str, key: str, some_are_known: bool) -> sql.Composed:
        """A SELECT of the entities of what is staged and new."""
        return trusted(self.plan.protocol["keys_of_stored" if some_are_known else "keys_of_staged"]).format(
            key=sql.Identifier(key),
            query=trusted(self.plan.history[topic]),
            history=sql.Identifier("history", topic),
        )

    def _quarantine(self, rows: pa.Table, seq: int) -> None:
        if rows.num_rows:
            numbered = rows.append_column("commit_seq", pa.array([seq] * rows.num_rows, pa.int64()))
            copy(self.conn, sql.Identifier("ops", "quarantine"), numbered)

    def _record_ranges(self, batch: Batch, outcome: Outcome, seq: int) -> None:
        for part in batch.slices:
            at = (part.topic_id, part.partition)
            counts = {name: getattr(outcome, name)[at] for name in ("received", "stored", "duplicate", "quarantined")}
            if counts["received"] != counts["stored"] + counts["duplicate"] + counts["quarantined"]:
                where = f"topic {part.topic} partition {part.partition} offsets {part.start} to {part.end}"
                raise CountsDoNotAddUp(f"{where}: {counts}; does sql/commit/{part.topic}.sql drop or repeat rows?")
            where_and_what = {"topic_id": at[0], "partition": at[1], "start": part.start, "end": part.end, **counts}
            statement = trusted(self.plan.protocol["record_range"])
            self.conn.execute(statement, {**where_and_what, **self.mine, "seq": seq})
        self.conn.execute(
            "UPDATE ops.streams SET last_commit_at = clock_timestamp() WHERE stream = %(stream)s", self.mine
        )


def staged_of(topic: str) -> str:
    """The temporary table of a topic's messages, as they are to be stored."""
    return f"staged_{topic}"


def create_staged(scratch: Scratch, contract: Contract) -> sql.Identifier:
    """Make the temporary table staged_<topic>: the contract's latest fields, then where the message was found."""
    types = {**{f.name: f.postgres_type for f in contract.fields}, **BESIDE}
    columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c), trusted(t)) for c, t in types.items())
    return scratch.create(staged_of(contract.topic), sql.SQL("({})").format(columns))


def count(counter: Counts, rows: pa.Table) -> None:
    """Add the rows to the counter by (topic id, partition)."""
    found = rows.group_by(["topic_id", "partition"]).aggregate([([], "count_all")])
    counter.update({(one["topic_id"], one["partition"]): one["count_all"] for one in found.to_pylist()})


def tallied(rows: Iterable[tuple[Any, ...]]) -> Counts:
    """(topic id, partition, count) rows as a counter."""
    return Counter({(topic_id, partition): number for topic_id, partition, number in rows})
