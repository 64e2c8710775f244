"""The commit on a bench: what Kafka, the registry and Spark do around it is done here, everything else is the product.

Facts are encoded and judged by the real code; only the look-up of a schema id and Kafka's topic ids are answered here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from psycopg import sql

from tests.integration.commit.facts import LATER, Fact
from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord, Encoder
from wardstream.contracts.model import Contract, load_contracts
from wardstream.database.connection import connect
from wardstream.database.scratch import Scratch
from wardstream.kafka.broker import Extent
from wardstream.proof.core import touch_all
from wardstream.proof.digest import digest, relations
from wardstream.registry.client import SchemaSource, WriterSchema
from wardstream.settings import Settings
from wardstream.stack.parts import postgres
from wardstream.stream.commit import Batch, Committer, Outcome, Slice
from wardstream.stream.decode import MESSAGE, Judge, judge_batches, judged_schema, sort_out
from wardstream.stream.plan import PROTOCOL_DIR, Plan, load_plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.start import open_ledger

STREAM = "bench"
ZONE = "America/New_York"
FILLED_AT_THE_START = {"facilities", "hospital", "diagnosis_chapters"}  # by migrate: an empty database has them


class Shelf(SchemaSource):
    """The registry's answers, without the registry: schema 1 is of the first topic by name, 2 of the second."""

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        super().__init__(Settings(schema_registry_url="http://nobody.invalid"))
        self.contracts = contracts
        self.ids = {topic: number for number, topic in enumerate(sorted(contracts), start=1)}

    def lookup(self, schema_id: int, topic: str) -> WriterSchema:
        if self.ids.get(topic) != schema_id:
            raise BadRecord("unknown_schema")
        schema = self.contracts[topic].latest
        return WriterSchema(schema, fingerprint(schema))


class Bench:
    """One database, one committer, and a counter of offsets for the one partition of each topic."""

    def __init__(self, settings: Settings, sql_dir: Path | None = None) -> None:
        self.settings = settings
        self.contracts = load_contracts(settings.schemas_dir)
        self.plan = self.plan_of(sql_dir or settings.sql_dir)
        self.topic_ids = {topic: f"id-of-{topic}" for topic in self.contracts}
        self.admin = postgres.connect(settings, settings.database_name)
        self.admin.execute("SET timezone = 'UTC'; SET synchronous_commit = off")
        shelf = Shelf(self.contracts)
        self.schema_ids = shelf.ids
        self._judge = judge_batches(Judge(self.contracts, shelf))
        self._encoders = {topic: Encoder(c.latest, shelf.ids[topic]) for topic, c in self.contracts.items()}
        self._kept = [t for s in ("history", "core", "ops", "mart") for t in self._tables(s)]
        self.next: Counter[str] = Counter()
        self.empty()
        self.committer = self.new_committer()
        self._audited = Scratch(self.admin)
        self.audit_by(self.plan)

    def _tables(self, schema: str) -> list[sql.Identifier]:
        there = [
            name for name, is_table in relations(self.admin, schema) if is_table and name not in FILLED_AT_THE_START
        ]
        return [sql.Identifier(schema, name) for name in there]

    def plan_of(self, sql_dir: Path) -> Plan:
        """The plan of another SQL folder, and of the protocol in it where there is one."""
        own = sql_dir / "protocol"
        return load_plan(sql_dir, self.contracts, own if own.is_dir() else PROTOCOL_DIR)

    def empty(self) -> None:
        """An empty database: no fact, no ledger but the partitions' first offsets, generation 1."""
        delete = sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in self._kept)
        self.admin.execute(delete)
        self.admin.execute(
            "INSERT INTO ops.streams (stream, generation, state, pid, backend_pids, started_at, heartbeat_at, lag)"
            " VALUES (%s, 1, 'running', 0, '{}', now(), now(), '{}')",
            [STREAM],
        )
        open_ledger(self.admin, [Extent(topic, self.topic_ids[topic], 0, 0, 10**6) for topic in self.contracts])
        self.next.clear()

    def new_committer(
        self, plan: Plan | None = None, generation: int = 1, ask: Callable[[Batch], Mapping[str, str]] | None = None
    ) -> Committer:
        """A committer on a connection of its own, as the stream has it."""
        conn = connect(self.settings.writer_url, "test")
        conn.execute("SET synchronous_commit = off")
        ask = ask or (lambda batch: self.topic_ids)
        return Committer(conn, self.contracts, plan or self.plan, STREAM, generation, ask)

    def messages(self, facts: Iterable[Fact]) -> pa.Table:
        """The facts as read from Kafka, each at the next offset of its topic; a body of bytes is sent as it is."""
        rows = []
        for topic, body in facts:
            value = body if isinstance(body, bytes) else self._encoders[topic].encode(body)
            rows.append((topic, 0, self.next[topic], LATER, b"key", value))
            self.next[topic] += 1
        columns = zip(*rows, strict=True) if rows else [()] * len(MESSAGE)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, MESSAGE, strict=True)], schema=MESSAGE)

    def batch(self, facts: Iterable[Fact]) -> Batch:
        """The facts as one batch, judged, at the next offsets."""
        starts = dict(self.next)
        judged = pa.Table.from_batches(
            self._judge(self.messages(facts).to_batches()), schema=judged_schema(self.contracts)
        )
        slices = [
            Slice(topic, self.topic_ids[topic], 0, starts.get(topic, 0), end)
            for topic, end in sorted(self.next.items())
            if end > starts.get(topic, 0)
        ]
        found = sort_out(judged, self.contracts, self.topic_ids)
        return Batch(tuple(slices), found.events, found.rejects, found.schema_ids)

    def commit(self, *facts: Fact) -> Outcome:
        """The facts in one batch, in this order."""
        return self.committer.commit(self.batch(facts))

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as the superuser."""
        return self.admin.execute(query.encode(), list(parameters) or None).fetchall()

    def row(self, table: str, where: str = "true") -> dict[str, Any] | None:
        """The one row of a table, by column; None where there is none."""
        found = self.admin.execute(f"SELECT * FROM {table} WHERE {where}".encode())
        columns = [column.name for column in found.description or []]
        rows = found.fetchall()
        assert len(rows) <= 1, rows
        return dict(zip(columns, rows[0], strict=True)) if rows else None

    def digest(self) -> dict[str, str]:
        """One hash a table of core and mart."""
        return digest(self.admin)

    def audit_by(self, plan: Plan) -> None:
        """Compare core with the folds of this plan from here on."""
        self._audited.drop()
        create_touched(self._audited)
        self.auditor = [Refold(self._audited, fold, plan.protocol) for fold in plan.folds]

    def not_as_folded(self, known_at: str = "infinity") -> list[str]:
        """Rows that only core or only a fold of all history has; byte for byte, so as text."""
        found = []
        with self.admin.transaction():
            for refold in self.auditor:
                touch_all(refold)
                refold.compute(known_at)
                differ = sql.SQL(
                    "(SELECT t::text FROM {a} t EXCEPT ALL SELECT t::text FROM {b} t) UNION ALL"
                    " (SELECT t::text FROM {b} t EXCEPT ALL SELECT t::text FROM {a} t)"
                ).format(a=refold.core, b=refold.folded)
                found += [f"{refold.fold.table}: {row}" for (row,) in self.admin.execute(differ)]
        return found

    def folded(self, table: str, known_at: str) -> list[dict[str, Any]]:
        """Rows of a core table as known at an earlier time."""
        refold = next(one for one in self.auditor if one.fold.table == table)
        with self.admin.transaction():
            touch_all(refold)
            refold.compute(known_at)
            rows = self.admin.execute(sql.SQL("SELECT * FROM {}").format(refold.folded)).fetchall()
        return [dict(zip(refold.columns, row, strict=True)) for row in rows]


def from_offset(batch: Batch, topic: str, start: int) -> Batch:
    """The batch, planned from another offset of a topic."""
    return replace(batch, slices=tuple(replace(s, start=start) if s.topic == topic else s for s in batch.slices))
