"""The proof: what is in PostgreSQL is what is in Kafka, once each, and core is what history says.

    1. ranges of the ledger (and accepted gaps) tile each partition up to the topics' ends (`books`)
    2. each message is found once, as a row of history, a duplicate or in quarantine, with the same content; and no row
       is there that no message accounts for (`comparison`). Offsets that were verified before are not read again: their
       rows must sum up to what they did then
    3. core equals the refold of history, in both directions (`core`)
    4. received = stored + duplicates + quarantined, as counted by the commits and as counted now
    5. PostgreSQL's durability settings are on, and the topics keep the broker's clock
    6. no transaction hangs and holds back what comes after it in Kafka, and no topic waits for a deployment

What is compared is what the ledger had at the start: those rows never change, so that the comparison needs no snapshot
that lasts. A finding names topic, partition and offset, or table and key. ops.verified is all that is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from psycopg import sql

from wardstream.contracts.model import Contract, load_contracts
from wardstream.database.connection import Connection, connect, one_snapshot, scalar
from wardstream.database.plan_error import PlanError
from wardstream.kafka.broker import HELD_RUNBOOK, Broker, Extent, Held, SendersClock
from wardstream.proof.books import Books, check_tiles, closed_logs, read_books
from wardstream.proof.comparison import Comparison, Logs
from wardstream.proof.core import core_differs, unknown_sources
from wardstream.proof.placing import Job
from wardstream.proof.ranges import forms_of, load
from wardstream.proof.report import Report
from wardstream.settings import Settings
from wardstream.stream import schema_ids
from wardstream.stream.check import must_run
from wardstream.stream.decode import Judge
from wardstream.stream.held import HELD_RUNBOOK as NOT_DEPLOYED_RUNBOOK
from wardstream.stream.held import HeldTopic, held_now, why
from wardstream.stream.lag import lag_of, read_ledger
from wardstream.stream.plan import Plan, load_plan
from wardstream.stream.stored_sources import stored_sources
from wardstream.watch.status import read_purpose, read_status

log = logging.getLogger(__name__)

WORK_MEM = "64MB"  # core is joined with history; with PostgreSQL's 4 MB both would go to disk
SILENT_SECONDS = 3.0
REGISTRY_SECONDS = 20.0
BEHIND = "is the stream running (`wardstream status`)?"
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def verify(settings: Settings, wait_seconds: float = 60.0, full: bool = False) -> Report:
    """Check everything that is committed, waiting up to `wait_seconds` for the stream to reach the present ends.

    `full`: offsets that were verified before are read from Kafka all the same. Connection errors of the broker, the
    registry and PostgreSQL are raised, and PlanError where a fold cannot be run or `wardstream migrate` changed history
    meanwhile: they prove nothing either way.
    """
    contracts = load_contracts(settings.schemas_dir)
    broker = Broker(settings, contracts)
    extents = broker.extents()
    with connect(settings.owner_url, "wardstream verify", more=f"-c work_mem={WORK_MEM}") as conn:
        plan = load_plan(settings.sql_dir, contracts)
        must_run(conn, contracts, plan)
        why_behind = _wait(settings, conn, extents, wait_seconds)
        return _Verification(settings, contracts, plan, broker, conn, extents, why_behind).run(full)


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


def _ids(conn: Connection) -> dict[str, tuple[str, bool]]:
    """Whose ids each source uses: where that changes, so does history."""
    return {source: uses.ids for source, uses in stored_sources(conn).items()}


class _Verification:
    """One run."""

    def __init__(
        self,
        settings: Settings,
        contracts: dict[str, Contract],
        plan: Plan,
        broker: Broker,
        conn: Connection,
        extents: list[Extent],
        why_behind: str,
    ) -> None:
        self.settings = settings
        self.contracts = contracts
        self.plan = plan
        self.broker = broker
        self.conn = conn
        self.extents = extents
        self.why_behind = why_behind or BEHIND
        self.report = Report()
        self._held: list[Held] = broker.held()
        self._waiting: dict[str, HeldTopic] = held_now(conn)

    def run(self, full: bool) -> Report:
        self._check_durability()
        self._check_clock()
        self._check_open_transactions()
        with one_snapshot(self.conn):
            books = read_books(self.conn)  # the snapshot stands from here: nothing in it is ahead of the ends asked now
            later = {(e.topic_id, e.partition): e.end for e in self.broker.extents()}
            ids = _ids(self.conn)
            closed = closed_logs(self.conn)
            self._check_books(books, later, closed)
            forms = forms_of(self.conn, {*self.contracts, *(extent.topic for extent in closed)})
            known = load(self.conn, forms, books.ledger)
        logs = Logs([self._up_to(extent, later) for extent in self.extents], closed, books, known)
        comparison = Comparison(self.conn, self._job(), logs, full, self.report)
        comparison.run()
        with self.conn.transaction():
            # whoever changes what was committed takes ranges out of the table, and so waits, or is waited for
            self.conn.execute("LOCK TABLE ops.verified IN SHARE ROW EXCLUSIVE MODE")
            now = _ids(self.conn)
            if any(now.get(source) != uses for source, uses in ids.items()) or forms != forms_of(self.conn, forms):
                raise PlanError("`wardstream migrate` changed history while it was verified; verify again")
            comparison.keep(forms)
        comparison.report()
        self._check_core()
        self._note_bodies()
        return self.report

    def _job(self) -> Job:
        learnt = schema_ids.learn(self.settings, self.contracts, REGISTRY_SECONDS)
        self.report.notes += [f"{schema_ids.gone(*one)}; read as it was met" for one in learnt.gone]
        self.report.findings += [f"{schema_ids.changed(*one)}; read as it was met" for one in learnt.changed]
        return Job(self.settings, Judge(self.contracts, learnt.source), self.plan)

    def _up_to(self, extent: Extent, later: Mapping[tuple[str, int], int]) -> Extent:
        return replace(extent, end=later.get((extent.topic_id, extent.partition), extent.end))

    def _check_durability(self) -> None:
        off = not_durable(self.settings)
        self.report.find("is off in PostgreSQL: a crash of the machine can lose what was committed", off)

    def _check_clock(self) -> None:
        try:
            self.broker.check_clock()
        except SendersClock as error:
            self.report.findings.append(str(error))

    def _check_open_transactions(self) -> None:
        """Ends are those that can be read: what an open transaction holds back would go unseen, and lag is 0."""
        for held in self._held:
            if held.hangs:
                self.report.findings.append(
                    f"{held}; it ends by itself at its producer's transaction.timeout.ms, or at once:"
                    f" docs/runbooks/{HELD_RUNBOOK}"
                )
            else:
                self.report.notes.append(f"{held}; they are not checked")

    def _check_books(self, books: Books, later: Mapping[tuple[str, int], int], closed: list[Extent]) -> None:
        ledger = books.ledger
        self._check_waiting(ledger)
        for extent in self.extents:
            done = ledger.get((extent.topic_id, extent.partition))
            self._check_reached(extent, done, self._up_to(extent, later).end)
            check_tiles(self.conn, self.report, extent, done)
        for log in closed:
            done = ledger[log.topic_id, log.partition]
            check_tiles(self.conn, self.report, log, done, f" of its former id {log.topic_id}")
        known = {(extent.topic_id, extent.partition) for extent in [*self.extents, *closed]}
        lost = [f"topic id {i} partition {p}" for i, p in sorted(ledger.keys() - known)]
        self.report.find("is in the ledger and no longer on the broker", lost)

    def _check_waiting(self, ledger: Mapping[tuple[str, int], int]) -> None:
        lag = lag_of(self.extents, ledger)
        self.report.findings += [
            f"{why(topic, replace(held, lag=lag.get(topic, {})))}; see {NOT_DEPLOYED_RUNBOOK}"
            for topic, held in self._waiting.items()
        ]

    def _check_reached(self, extent: Extent, done: int | None, end: int) -> None:
        """The ledger has reached the end that was asked first, and is not ahead of the one that was asked now."""
        where = f"topic {extent.topic} partition {extent.partition}"
        if extent.topic not in self._waiting and (done is None or done < extent.end):
            behind = "nothing committed yet" if done is None else f"committed up to offset {done}"
            self.report.findings.append(f"{where}: {behind} of {extent.end}; {self.why_behind}")
        if done is not None and done > end:
            self.report.findings.append(f"{where}: committed up to offset {done}, but the broker has only {end}")

    def _check_core(self) -> None:
        for table, keys in core_differs(self.conn, self.plan).items():
            found = [f"core.{table} key {key}" for key in keys]
            self.report.find("core is not what history says; `wardstream rebuild` puts it right", found)
        said = "ops.sources does not know it: its rows lie on no day; does the fold give the source as it was sent?"
        for table, sources in unknown_sources(self.conn, self.plan).items():
            self.report.find(said, [f"core.{table} source {source}" for source in sources])

    def _note_bodies(self) -> None:
        """The same event id with another body breaks a sender's promise: both are kept, and this is the report."""
        for topic in self.contracts:
            query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} GROUP BY event_id HAVING count(*) > 1) AS ids")
            ids = scalar(self.conn, query.format(sql.Identifier("history", topic)))
            if ids:
                self.report.notes.append(f"topic {topic}: {ids} event ids came with more than one body; all are kept")
