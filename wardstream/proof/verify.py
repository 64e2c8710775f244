"""The proof: what is in PostgreSQL is what is in Kafka, once each, and core is what history says.

In one snapshot of the database, with the topics' ends taken before it:

    1. ranges of the ledger (and accepted gaps) tile each partition up to those ends
    2. the topics are read again with a plain consumer; each message is found once, as a row of history, a duplicate
       or in quarantine, with the same content; and no row is there that no message accounts for
    3. core equals the refold of history, in both directions
    4. received = stored + duplicates + quarantined, as counted by the commits and as counted now
    5. PostgreSQL's durability settings are on, and the topics keep the broker's clock
    6. no transaction hangs and holds back what comes after it in Kafka, and no topic waits for a deployment

A finding names topic, partition and offset, or table and key. The database is not changed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
from psycopg import sql

from wardstream.contracts.model import Contract, load_contracts
from wardstream.database.connection import Connection, beside, columns_of, connect, names, scalar, trusted
from wardstream.database.copy import copy
from wardstream.database.scratch import Scratch
from wardstream.kafka.broker import HELD_RUNBOOK, Broker, Extent, Held, SendersClock
from wardstream.proof.reading import read_partition
from wardstream.proof.rebuild import touch_all
from wardstream.settings import Settings
from wardstream.stream import schema_ids
from wardstream.stream.check import must_run
from wardstream.stream.commit import create_staged
from wardstream.stream.decode import Judge, judge_batches, judged_schema, sort_out
from wardstream.stream.held import HELD_RUNBOOK as NOT_DEPLOYED_RUNBOOK
from wardstream.stream.held import HeldTopic, held_now, why
from wardstream.stream.lag import lag_of, read_ledger
from wardstream.stream.plan import BESIDE, Plan, load_plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.refused import QUARANTINE
from wardstream.watch.status import read_purpose, read_status

log = logging.getLogger(__name__)

SHOWN = 20  # findings of one kind that are listed one by one
SILENT_SECONDS = 3.0
REGISTRY_SECONDS = 20.0
BEHIND = "is the stream running (`wardstream status`)?"
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@dataclass(frozen=True)
class Tally:
    """One partition's account: what the commits counted, and what is there now."""

    topic: str
    partition: int
    next_offset: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    former: bool = False
    """Of a log that is gone, as somebody accepted (`wardstream stream accept-gap`)."""


@dataclass
class Report:
    """What verify found; `findings` empty means that all holds. `notes` are facts worth knowing (accepted gaps)."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)

    def find(self, what: str, places: Iterable[str]) -> None:
        """Add findings of one kind: the first ones by name, the rest as a number."""
        listed = list(places)
        self.findings += [f"{place}: {what}" for place in listed[:SHOWN]]
        if len(listed) > SHOWN:
            self.findings.append(f"… and {len(listed) - SHOWN} more: {what}")


def verify(settings: Settings, wait_seconds: float = 60.0) -> Report:
    """Check everything that is committed, waiting up to `wait_seconds` for the stream to reach the present ends.

    Connection errors of the broker, the registry and PostgreSQL are raised, and PlanError where a fold cannot be run:
    they prove nothing either way.
    """
    contracts = load_contracts(settings.schemas_dir)
    broker = Broker(settings, contracts)
    extents = broker.extents()
    with connect(settings.owner_url, "wardstream verify") as conn:
        must_run(conn, contracts, load_plan(settings.sql_dir, contracts))
        why_behind = _wait(settings, conn, extents, wait_seconds)
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            read_ledger(conn)  # the snapshot stands from here: nothing in it can be ahead of the ends asked now
            later = {(e.topic_id, e.partition): e.end for e in broker.extents()}
            return _Verification(settings, contracts, conn, extents, later, why_behind, broker.held()).run()


def not_durable(settings: Settings) -> list[str]:
    """The settings that keep a commit through a crash of the machine and are off, as in the stream's own sessions."""
    with connect(settings.writer_url, "wardstream verify") as writer:
        return [name for name in DURABLE if scalar(writer, "SELECT current_setting(%s)", [name]) == "off"]


def _wait(settings: Settings, conn: Connection, extents: list[Extent], seconds: float) -> str:
    """Wait for the stream to reach these ends, unless it was asked not to run; why it has not, in words."""
    begun = time.monotonic()
    said = False
    while True:
        ledger, waiting = read_ledger(conn), held_now(conn)
        if all(ledger.get((e.topic_id, e.partition), -1) >= e.end for e in extents if e.topic not in waiting):
            return ""
        purpose = read_purpose(conn)
        if purpose is not None and purpose.waits_on_purpose(purpose.waiting_pid):
            return f"the stream is {purpose.turn.desired}, as was asked; `wardstream stream start` starts it"
        waited = time.monotonic() - begun
        if waited > seconds:
            status = read_status(conn)
            blocked = status is not None and status.state == "blocked"
            return f"the stream is blocked: {status.blocked_by}" if status and blocked else BEHIND
        if waited > SILENT_SECONDS and not said:
            said = True
            log.info("waiting up to %.0f s for the stream to reach the topics' ends", seconds)
        time.sleep(0.2)


class _Verification:
    """One run, inside one snapshot."""

    def __init__(
        self,
        settings: Settings,
        contracts: dict[str, Contract],
        conn: Connection,
        extents: list[Extent],
        later: Mapping[tuple[str, int], int],
        why_behind: str,
        held: list[Held],
    ) -> None:
        self.settings = settings
        self.why_behind = why_behind or BEHIND
        self.conn = conn
        self._scratch = Scratch(conn)
        self.extents = extents
        self.later = later
        self.held = held
        self.contracts = contracts
        self.plan: Plan = load_plan(settings.sql_dir, self.contracts)
        self.report = Report()
        self._unread: Counter[tuple[str, int]] = Counter()
        self._waiting: dict[str, HeldTopic] = held_now(conn)

    def run(self) -> Report:
        ledger = read_ledger(self.conn)
        self._check_durability()
        self._check_clock()
        self._check_open_transactions()
        self._check_waiting(ledger)
        for extent in self.extents:
            done = ledger.get((extent.topic_id, extent.partition))
            self._check_ranges(extent, done)
        closed = self._closed_logs()
        for log in closed:
            self._check_ranges(log, ledger[log.topic_id, log.partition], f" of its former id {log.topic_id}")
        self._check_unknown_topics(ledger, closed)
        self._read_again(ledger)
        for log in closed:
            self._tally(log, ledger, former=True)
        self._check_core()
        self._note_bodies()
        return self.report

    def _check_durability(self) -> None:
        off = not_durable(self.settings)
        self.report.find("is off in PostgreSQL: a crash of the machine can lose what was committed", off)

    def _check_clock(self) -> None:
        try:
            Broker(self.settings, self.contracts).check_clock()
        except SendersClock as error:
            self.report.findings.append(str(error))

    def _check_open_transactions(self) -> None:
        """Ends are those that can be read: what an open transaction holds back would go unseen, and lag is 0."""
        for held in self.held:
            if held.hangs:
                self.report.findings.append(
                    f"{held}; it ends by itself at its producer's transaction.timeout.ms, or at once:"
                    f" docs/runbooks/{HELD_RUNBOOK}"
                )
            else:
                self.report.notes.append(f"{held}; they are not checked")

    def _closed_logs(self) -> list[Extent]:
        """Logs that are gone, as somebody accepted: nothing of them can be read, so that only the books are checked."""
        query = (
            "SELECT l.topic, l.topic_id, l.partition, l.next_offset, l.next_offset FROM ops.ledger AS l"
            " JOIN ops.gaps AS g USING (topic_id, partition) WHERE g.end_offset IS NULL ORDER BY l.topic, g.accepted_at"
        )
        return [Extent(*row) for row in self.conn.execute(query)]

    def _check_unknown_topics(self, ledger: Mapping[tuple[str, int], int], closed: list[Extent]) -> None:
        known = {(extent.topic_id, extent.partition) for extent in [*self.extents, *closed]}
        lost = [f"topic id {i} partition {p}" for i, p in sorted(ledger.keys() - known)]
        self.report.find("is in the ledger and no longer on the broker", lost)

    def _check_waiting(self, ledger: Mapping[tuple[str, int], int]) -> None:
        lag = lag_of(self.extents, ledger)
        self.report.findings += [
            f"{why(topic, replace(held, lag=lag.get(topic, {})))}; see {NOT_DEPLOYED_RUNBOOK}"
            for topic, held in self._waiting.items()
        ]

    def _check_ranges(self, extent: Extent, done: int | None, which: str = "") -> None:
        """Ranges and accepted gaps tile [first readable offset, ledger), and the ledger has reached the end."""
        where = f"topic {extent.topic} partition {extent.partition}{which}"
        if extent.topic not in self._waiting and (done is None or done < extent.end):
            behind = "nothing committed yet" if done is None else f"committed up to offset {done}"
            self.report.findings.append(f"{where}: {behind} of {extent.end}; {self.why_behind}")
        end = self.later.get((extent.topic_id, extent.partition), extent.end)
        if done is not None and done > end:
            self.report.findings.append(f"{where}: committed up to offset {done}, but the broker has only {end}")
        at = {"topic_id": extent.topic_id, "partition": extent.partition}
        breaks = self.conn.execute(beside(__file__, "breaks"), at).fetchall()
        for start, stop, gap, end_before, _ in breaks:
            before = extent.start if end_before is None else end_before
            if start > before:
                self.report.findings.append(f"{where} offsets {before} to {start}: no commit accounts for them")
            elif start < before and start >= extent.start:
                self.report.findings.append(
                    f"{where} offsets {start} to {min(before, stop)}: two commits account for them"
                )
            if gap is not None:
                lost = f"offsets {start} to {stop}" if stop is not None else f"from offset {start} on"
                self.report.notes.append(f"{where} {lost}: accepted as lost ({gap})")
        last = extent.start if not breaks or breaks[0][-1] is None else breaks[0][-1]
        if done is not None and last != done:
            self.report.findings.append(f"{where}: ranges end at offset {last}, the ledger at {done}")

    def _read_again(self, ledger: Mapping[tuple[str, int], int]) -> None:
        self._create_tables()
        learnt = schema_ids.learn(self.settings, self.contracts, REGISTRY_SECONDS)
        self.report.notes += [f"{schema_ids.gone(*one)}; read as it was met" for one in learnt.gone]
        self.report.findings += [f"{schema_ids.changed(*one)}; read as it was met" for one in learnt.changed]
        judge = Judge(self.contracts, learnt.source)
        schema = judged_schema(self.contracts)
        ids = {extent.topic: extent.topic_id for extent in self.extents}
        for extent in self.extents:
            end = ledger.get((extent.topic_id, extent.partition), extent.start)
            self.conn.execute(
                "INSERT INTO readable VALUES (%s, %s, %s, %s)",
                [extent.topic, extent.topic_id, extent.partition, extent.start],
            )
            for messages in read_partition(self.settings, extent.topic, extent.partition, extent.start, end):
                judged = pa.Table.from_batches(judge_batches(judge)(messages.to_batches()), schema)
                self._place(extent, judged, ids)
        self.conn.execute("ANALYZE placed")
        self._report_faults()
        self.report.findings += [
            f"topic {topic}: {messages} committed messages carry schema id {schema_id}, a version that"
            f" schemas/{topic}/value no longer has: they are there, what they say was not compared"
            for (topic, schema_id), messages in sorted(self._unread.items())
        ]
        for extent in self.extents:
            self._tally(extent, ledger)
        self._check_unclaimed()

    def _create_tables(self) -> None:
        where = 'topic_id text, partition int, "offset" bigint'
        self.conn.execute(f"CREATE TEMP TABLE placed ({where}, place text, fault text) ON COMMIT DROP")
        self.conn.execute("CREATE TEMP TABLE readable (topic text, topic_id text, partition int, start_offset bigint)")
        self.conn.execute("CREATE TEMP TABLE refused (LIKE ops.quarantine) ON COMMIT DROP")
        self.conn.execute("ALTER TABLE refused ALTER commit_seq DROP NOT NULL, ALTER quarantined_at DROP NOT NULL")
        for topic, contract in self.contracts.items():
            create_staged(self._scratch, contract)
            create = sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP")
            self.conn.execute(create.format(sql.Identifier(f"expected_{topic}"), sql.Identifier("history", topic)))
            drop = sql.SQL("ALTER TABLE {} DROP COLUMN received_at")
            self.conn.execute(drop.format(sql.Identifier(f"expected_{topic}")))

    def _place(self, extent: Extent, judged: pa.Table, ids: Mapping[str, str]) -> None:
        """Find one chunk of messages in the database, and write down where, with its fault if it has one."""
        found = sort_out(judged, self.contracts, ids)
        self._place_unread(extent, found.waiting)
        rejects = [found.rejects]
        for topic, rows in found.events.items():
            accepted, refused = self._split_off_quarantined(extent, rows)
            rejects.append(refused)
            self._place_events(topic, accepted)
        self.conn.execute("TRUNCATE refused")
        for rows in rejects:
            copy(self.conn, sql.Identifier("refused"), rows.select(list(QUARANTINE)))
        self.conn.execute(beside(__file__, "place_rejects"))

    def _place_unread(self, extent: Extent, rows: pa.Table) -> None:
        """Messages that were committed, and of which no deployed version is left: found by their place alone."""
        if rows.num_rows:
            self._unread.update((extent.topic, one) for one in rows["schema_id"].to_pylist())
            query = beside(__file__, "place_unread").format(history=sql.Identifier("history", extent.topic))
            at = {"topic_id": extent.topic_id, "partition": extent.partition, "offsets": rows["offset"].to_pylist()}
            self.conn.execute(query, at)

    def _split_off_quarantined(self, extent: Extent, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """What PostgreSQL refused at the time, or a registry or contract of that day, is looked for in quarantine."""
        offsets = rows["offset"].to_pylist()
        quarantined = {
            offset
            for (offset,) in self.conn.execute(
                'SELECT "offset" FROM ops.quarantine'
                ' WHERE topic_id = %s AND partition = %s AND "offset" BETWEEN %s AND %s',
                [extent.topic_id, extent.partition, offsets[0], offsets[-1]],
            )
        }
        here = pa.array([offset in quarantined for offset in offsets], pa.bool_())
        refused = rows.filter(here)
        refused = refused.append_column("topic", pa.array([extent.topic] * refused.num_rows, pa.string()))
        refused = refused.append_column("reason", pa.array(["refused then"] * refused.num_rows, pa.string()))
        return rows.filter(pa.compute.invert(here)), refused

    def _place_events(self, topic: str, rows: pa.Table) -> None:
        staged, expected = sql.Identifier(f"staged_{topic}"), sql.Identifier(f"expected_{topic}")
        columns = [c for c in columns_of(self.conn, "history", topic) if c != "received_at"]
        self.conn.execute(sql.SQL("TRUNCATE {}, {}").format(staged, expected))
        copy(self.conn, staged, rows.select([*(f.name for f in self.contracts[topic].fields), *BESIDE]))
        fill = sql.SQL("INSERT INTO {} ({c}) SELECT {c} FROM ({}) AS q")
        self.conn.execute(fill.format(expected, trusted(self.plan.history[topic]), c=names(columns)))
        self.conn.execute(sql.SQL("ANALYZE {}").format(expected))
        self.conn.execute(
            beside(__file__, "place_events").format(
                expected=expected,
                history=sql.Identifier("history", topic),
                expected_columns=names(columns, "e"),
                history_columns=names(columns, "h"),
            )
        )

    def _report_faults(self) -> None:
        faults = self.conn.execute(
            'SELECT p.fault, b.topic, p.partition, p."offset" FROM placed p JOIN readable b USING (topic_id, partition)'
            ' WHERE p.fault IS NOT NULL ORDER BY p.fault, b.topic, p.partition, p."offset"'
        ).fetchall()
        for fault in sorted({row[0] for row in faults}):
            places = [f"topic {t} partition {p} offset {o}" for f, t, p, o in faults if f == fault]
            self.report.find(f"the message was read, but {fault}", places)

    def _check_unclaimed(self) -> None:
        """Rows that no message accounts for; a row of history whose key was changed is one of them."""
        places = {
            **{("history", topic): ("history", topic) for topic in self.contracts},
            **{("duplicate", topic): ("ops", "duplicates") for topic in self.contracts},
            **{("quarantine", topic): ("ops", "quarantine") for topic in self.contracts},
        }
        for (place, topic), names_of in places.items():
            rows = sql.Identifier(*names_of)
            query = beside(__file__, "unclaimed").format(rows=rows, place=sql.Literal(place), topic=sql.Literal(topic))
            found = [f"topic {topic} partition {p} offset {o}" for p, o in self.conn.execute(query)]
            self.report.find(f"a row of {rows.as_string(self.conn)} says so, but the message does not", found)
        for names_of in sorted(set(places.values())):
            rows = sql.Identifier(*names_of)
            topic_of_row = sql.Literal(names_of[1]) if names_of[0] == "history" else sql.SQL("s.topic")
            query = beside(__file__, "strangers").format(rows=rows, topic=topic_of_row)
            found = [f"topic id {i} partition {p} from offset {o}" for i, p, o in self.conn.execute(query)]
            self.report.find(f"is in {rows.as_string(self.conn)}, but not in the ledger", found)

    def _tally(self, extent: Extent, ledger: Mapping[tuple[str, int], int], former: bool = False) -> None:
        at = (extent.topic_id, extent.partition)
        counted = self.conn.execute(
            "SELECT coalesce(sum(received), 0)::bigint, coalesce(sum(stored), 0)::bigint,"
            " coalesce(sum(duplicate), 0)::bigint, coalesce(sum(quarantined), 0)::bigint"
            " FROM ops.ledger_ranges WHERE topic_id = %s AND partition = %s",
            at,
        ).fetchone() or (0, 0, 0, 0)
        tally = Tally(extent.topic, extent.partition, ledger.get(at, 0), *counted)
        self.report.tallies.append(replace(tally, former=former))
        where = f"topic {extent.topic} partition {extent.partition}"
        if tally.received != tally.stored + tally.duplicate + tally.quarantined:
            self.report.findings.append(f"{where}: the ledger's counts do not add up")
        tables = [
            ("stored", sql.Identifier("history", extent.topic)),
            ("duplicate", sql.Identifier("ops", "duplicates")),
            ("quarantined", sql.Identifier("ops", "quarantine")),
        ]
        for name, table in tables:
            count = sql.SQL("SELECT count(*) FROM {} WHERE topic_id = %s AND partition = %s").format(table)
            there = scalar(self.conn, count, at)
            if there != getattr(tally, name):
                counted_there = f"{table.as_string(self.conn)} has {there}"
                self.report.findings.append(
                    f"{where}: the ledger counts {getattr(tally, name)} {name}, {counted_there}"
                )
        read = scalar(self.conn, "SELECT count(*) FROM placed WHERE topic_id = %s AND partition = %s", at)
        if extent.start == 0 and read != tally.received:
            self.report.findings.append(f"{where}: the ledger counts {tally.received} received, {read} were read now")
        if extent.start > 0 and not former:
            self.report.notes.append(
                f"{where}: offsets before {extent.start} are no longer on the broker to compare with"
            )

    def _note_bodies(self) -> None:
        """The same event id with another body breaks a sender's promise: both are kept, and this is the report."""
        for topic in self.contracts:
            query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} GROUP BY event_id HAVING count(*) > 1) AS ids")
            ids = scalar(self.conn, query.format(sql.Identifier("history", topic)))
            if ids:
                self.report.notes.append(f"topic {topic}: {ids} event ids came with more than one body; all are kept")

    def _check_core(self) -> None:
        create_touched(self._scratch)
        for fold in self.plan.folds:
            refold = Refold(self._scratch, fold, self.plan.protocol)
            touch_all(refold)
            refold.compute()
            query = beside(__file__, "core_differs").format(
                core=refold.core, folded=refold.folded, pk=names(refold.primary_key), key=sql.Identifier(fold.key)
            )
            found = [f"core.{fold.table} key {key}" for (key,) in self.conn.execute(query)]
            self.report.find("core is not what history says; `wardstream rebuild` puts it right", found)
            unknown = self.conn.execute(beside(__file__, "unknown_sources").format(core=refold.core))
            said = "ops.sources does not know it: its rows lie on no day; does the fold give the source as it was sent?"
            self.report.find(said, [f"core.{fold.table} source {source}" for (source,) in unknown])
