"""Building stale days: versions first, then data from the same snapshot, checks, and the days put in place.

At most DAYS_A_CHUNK days of a table and a facility at a time, the newest first, and tables and facilities in turn:

    snapshot     one REPEATABLE READ transaction: the stale days with their versions, the definition, the facility and
                 its today; the snapshot is exported, and Spark's reads of core take it (`wardstream.daily.spark`)
    checks       the aggregated rows are staged and checked in that transaction, against core counted by PostgreSQL
    put          one READ COMMITTED transaction: ops.day_builds takes the days that no newer build holds; the rows of
                 those days, and of no others, are deleted and inserted

A day that fails a check keeps its old rows and stays stale; other days and tables go on. Two builds at once are
harmless: each puts what is newer than what is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import zip_longest

import psycopg
import pyarrow as pa
from psycopg import sql
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from wardstream.daily.check import check_mart
from wardstream.daily.deadline import Deadline
from wardstream.daily.marts import Mart, load_marts
from wardstream.daily.runs import chunks, runs_of
from wardstream.daily.spark import limits, plan
from wardstream.daily.stale import Range, by_facility, definition_of, stale_days
from wardstream.database.connection import Connection, beside, columns_of, connect, names, one_snapshot, scalar, trusted
from wardstream.database.copy import copy
from wardstream.database.facility import NOW, Facility, read_facilities
from wardstream.database.plan_error import PlanError
from wardstream.settings import Settings

log = logging.getLogger(__name__)

DAYS_A_CHUNK = 366
DAYS_NAMED = 10
STATEMENTS = 3
"""How many of the longest statements a step of the job may take; more is a job that hangs."""
HUNG = {
    "lock timeout": "another session holds a lock on what it needs",
    "statement timeout": "a statement took longer than WARDSTREAM_DAILY_STATEMENT_SECONDS",
    "Read timed out": "PostgreSQL said nothing for longer than WARDSTREAM_DAILY_STATEMENT_SECONDS",
}


@dataclass(frozen=True)
class Chunk:
    """Days of one facility that are built together."""

    facility: str
    days: list[date]


@dataclass(frozen=True)
class Snapshot:
    """Days of a facility to build as one state of the database has them, and by what they are built."""

    versions: dict[date, int]
    definition: str
    facility: Facility
    name: str


@dataclass
class Built:
    """What became of one mart table; of one facility's days in it, where there are several."""

    name: str
    days: int = 0
    rows: int = 0
    overtaken: int = 0
    faults: dict[str, set[date | None]] = field(default_factory=dict)
    held: set[date] = field(default_factory=set)

    @property
    def failures(self) -> list[str]:
        """What the checks found, and the days that keep their old rows for it; no value of a row is in it."""
        named = {day for days in self.faults.values() for day in days}
        said = [f"{fault}: {_named(days)}" for fault, days in self.faults.items()]
        if self.held != named:
            said.append(f"which holds back all days that were built with them: {_named(self.held)}")
        return said


class Builder:
    """Builds days on one connection as the writer. Not thread-safe."""

    def __init__(
        self, settings: Settings, conn: Connection, spark: SparkSession, deadline: Deadline | None = None
    ) -> None:
        self.settings = settings
        self.conn = conn
        self.spark = spark
        self.deadline = deadline or Deadline()
        self.marts = load_marts(settings.sql_dir)
        conn.execute("CREATE TEMP TABLE building (day date, version bigint)")
        conn.execute(
            "CREATE TEMP TABLE building_runs (first_day date, last_day date, from_at timestamptz, until_at timestamptz)"
        )

    def build(self, mart: Mart, wanted: Range) -> list[Built]:
        """Build what is stale of one table."""
        chunks = self.chunks(mart, wanted)
        built = {chunk.facility: self.begun(mart, chunk.facility) for chunk in chunks}
        for chunk in chunks:
            self.build_chunk(mart, chunk, wanted, built[chunk.facility])
        return list(built.values())

    def begun(self, mart: Mart, facility: str) -> Built:
        """To be told what becomes of a facility's days; it is named where there are several."""
        several = len(read_facilities(self.conn)) > 1
        return Built(f"mart.{mart.table} of {facility}" if several else f"mart.{mart.table}")

    def chunks(self, mart: Mart, wanted: Range) -> list[Chunk]:
        """What is stale of one table, in the order in which it is to be built: the newest days of each facility before
        the old ones of any."""
        with self.deadline.within(
            STATEMENTS * self.settings.daily_statement_seconds, f"stale days of mart.{mart.table}"
        ):
            facilities, stale = read_facilities(self.conn, wanted.at), by_facility(stale_days(self.conn, mart, wanted))
        of_each = [
            [Chunk(name, days) for days in chunks(stale[name], facility.today, DAYS_A_CHUNK)]
            for name, facility in facilities.items()
            if name in stale
        ]
        return [chunk for turn in zip_longest(*of_each) for chunk in turn if chunk is not None]

    def build_chunk(self, mart: Mart, chunk: Chunk, wanted: Range, built: Built) -> None:
        """Build these days; `built` is told what became of them."""
        seconds = STATEMENTS * self.settings.daily_statement_seconds
        with self.deadline.within(seconds, f"{built.name}, {chunk.days[0]} to {chunk.days[-1]}"):
            with self.snapshot(mart, chunk, wanted) as snapshot:
                if not snapshot.versions:
                    return
                held = self.stage(mart, snapshot, self.aggregate(mart, snapshot), built.faults)
            put, rows = self.put(mart, snapshot)
        built.days += put
        built.rows += rows
        built.held |= held
        built.overtaken += len(snapshot.versions) - len(held) - put

    @contextmanager
    def snapshot(self, mart: Mart, chunk: Chunk, wanted: Range) -> Iterator[Snapshot]:
        """A transaction in which nothing changes, and what Spark needs to read the same."""
        with one_snapshot(self.conn):
            self.conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            at = wanted.at or scalar(self.conn, NOW)
            facility = read_facilities(self.conn, at)[chunk.facility]
            definition = definition_of(self.conn, mart)
            within = Range(chunk.days[0], chunk.days[-1], wanted.all_days, at, (facility.name,))
            stale = stale_days(self.conn, mart, within, definition)
            days = [(day, stale.get((facility.name, day))) for day in chunk.days]
            versions = {day: version for day, version in days if version is not None}  # others were built meanwhile
            yield Snapshot(versions, definition, facility, scalar(self.conn, "SELECT pg_export_snapshot()"))

    def aggregate(self, mart: Mart, snapshot: Snapshot) -> pa.Table:
        """The rows of the snapshot's days, computed by Spark from core as the snapshot has it."""
        days, columns = list(snapshot.versions), columns_of(self.conn, "mart", mart.table)
        seconds = 2 * STATEMENTS * self.settings.daily_statement_seconds
        with self.deadline.within(seconds, f"Spark, mart.{mart.table}, {days[0]} to {days[-1]}"):
            frame = plan(self.spark, self.settings, self.conn, mart, days, snapshot.facility, columns, snapshot.name)
            rows = frame.toArrow()
        return rows.append_column("facility", pa.array([snapshot.facility.name] * rows.num_rows, pa.string()))

    def stage(
        self, mart: Mart, snapshot: Snapshot, rows: pa.Table, faults: dict[str, set[date | None]] | None = None
    ) -> set[date]:
        """Rows into built_<table>, and into `building` the days of which the table's checks find no fault.

        The days that are held back; `faults` takes why. A fault that names no day of these may be of any: all are held.
        """
        days, faults = list(snapshot.versions), {} if faults is None else faults
        staged = sql.Identifier(f"built_{mart.table}")
        self.conn.execute(
            sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} AS SELECT * FROM {} WITH NO DATA").format(
                staged, sql.Identifier("mart", mart.table)
            )
        )
        self.conn.execute(sql.SQL("TRUNCATE building, building_runs, {}").format(staged))
        copy(self.conn, staged, rows)
        versions = pa.table({"day": days, "version": list(snapshot.versions.values())})
        copy(self.conn, sql.Identifier("building"), versions)
        with self.conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO building_runs VALUES (%s, %s, %s, %s)",
                [(run.first, run.last, run.from_at, run.until_at) for run in runs_of(days)],
            )
        self.conn.execute(sql.SQL("ANALYZE building, building_runs, {}").format(staged))
        checks = sql.SQL("WITH built AS (SELECT * FROM {}) SELECT fault, day FROM (\n{}\n) AS f ORDER BY fault, day")
        bad = set()
        for fault, day in self.conn.execute(checks.format(staged, trusted(mart.checks)), snapshot.facility.parameters):
            faults.setdefault(fault, set()).add(day)
            bad.add(day)
        held = bad if bad <= set(days) else set(days)
        self.conn.execute("DELETE FROM building WHERE day = ANY(%s)", [list(held)])
        return held

    def put(self, mart: Mart, snapshot: Snapshot) -> tuple[int, int]:
        """Put the days of `building` in place where no newer build is there; how many days and rows that were."""
        table, staged = sql.Identifier("mart", mart.table), sql.Identifier(f"built_{mart.table}")
        facility = snapshot.facility.name
        by = {"table": mart.table, "definition": snapshot.definition, **snapshot.facility.parameters}
        with self.conn.transaction():
            days = [day for (day,) in self.conn.execute(beside(__file__, "keep_builds"), by)]
            delete = sql.SQL("DELETE FROM {} WHERE facility = %s AND day = ANY(%s)")
            self.conn.execute(delete.format(table), [facility, days])
            insert = sql.SQL("INSERT INTO {} ({c}) SELECT {c} FROM {} WHERE day = ANY(%s)")
            columns = names(columns_of(self.conn, "mart", mart.table))
            rows = self.conn.execute(insert.format(table, staged, c=columns), [days]).rowcount
        return len(days), rows


def _named(days: Iterable[date | None]) -> str:
    different = sorted({"a row without a day" if day is None else str(day) for day in days})
    more = f" and {len(different) - DAYS_NAMED} more" if len(different) > DAYS_NAMED else ""
    return f"{', '.join(different[:DAYS_NAMED])}{more}"


def run(
    settings: Settings,
    wanted: Range,
    open_session: Callable[[Settings], SparkSession],
    deadline: Deadline | None = None,
) -> int:
    """Build what is stale of every table, and say what was done; the exit code: 1 if anything failed.

    Spark is not started where nothing is stale, or nothing that is can be built.
    """
    marts, deadline = load_marts(settings.sql_dir), deadline or Deadline()
    seconds = STATEMENTS * settings.daily_statement_seconds
    with connect(settings.writer_url, "wardstream daily", more=limits(settings.daily_statement_seconds)) as conn:
        with deadline.within(seconds, "which days are stale"):
            facilities = read_facilities(conn)
            if unknown := [name for name in wanted.facilities if name not in facilities]:
                log.error("there is no facility %s; there are: %s", ", ".join(unknown), ", ".join(facilities))
                return 1
            stale = [mart for mart in marts if stale_days(conn, mart, wanted)]
            for mart in marts if not stale else ():
                log.info("mart.%s: no day is stale", mart.table)
            sound = [mart for mart in stale if _is_sound(conn, mart)]
        if not sound:
            return 1 if stale else 0
        with deadline.within(seconds, "Spark's start"):
            spark = open_session(settings)
        try:
            done = _build(Builder(settings, conn, spark, deadline), sound, wanted)
        finally:
            spark.stop()
    return 0 if done and sound == stale else 1


def _is_sound(conn: Connection, mart: Mart) -> bool:
    """Whether PostgreSQL takes what a table is built by; said where it does not."""
    try:
        check_mart(conn, mart)
    except (PlanError, psycopg.Error) as fault:
        log.error("mart.%s: not built, its old rows stay: %s", mart.table, _why(fault))
        return False
    return True


def _build(builder: Builder, marts: Sequence[Mart], wanted: Range) -> bool:
    """Build the tables in turn, a chunk each: the newest days of all come before the old ones of any. Whether all
    went well."""
    left = {mart.table: builder.chunks(mart, wanted) for mart in marts}
    all_built = {
        mart.table: {chunk.facility: builder.begun(mart, chunk.facility) for chunk in left[mart.table]}
        for mart in marts
    }
    well = True
    while left:
        for mart in [mart for mart in marts if mart.table in left]:
            built = all_built[mart.table]
            try:
                if left[mart.table]:
                    chunk = left[mart.table].pop(0)
                    builder.build_chunk(mart, chunk, wanted, built[chunk.facility])
            except (PlanError, PySparkException, Py4JError, psycopg.Error, ValueError) as error:
                log.error("mart.%s: the build failed, its old rows stay: %s", mart.table, _why(error))
                well, left[mart.table] = False, []
            if not left[mart.table]:
                del left[mart.table]
                well = all([_say(of_one) for of_one in built.values()]) and well
    return well


def _say(built: Built) -> bool:
    """What became of a table; whether its checks hold."""
    if built.failures:
        rest = f"; {built.days} other days were built" if built.days else ""
        said = "; ".join(built.failures)
        log.error("%s: a check failed, the old rows of these days stay: %s%s", built.name, said, rest)
    overtaken = f"; {built.overtaken} days were built by a newer build meanwhile" if built.overtaken else ""
    log.info("%s: %s days built, %s rows%s", built.name, built.days, built.rows, overtaken)
    return not built.failures


def _why(error: Exception) -> str:
    """What a failure is, in words of our own: texts of PostgreSQL and Spark can quote a row.

    ValueError: rows of another form than the table's, a defect of its SQL file.
    """
    if isinstance(error, PlanError):
        return str(error)
    text = str(error)
    for sign, said in HUNG.items():
        if sign in text:
            return said
    if isinstance(error, psycopg.Error):
        return f"SQLSTATE {error.sqlstate}" if error.sqlstate else f"{type(error).__name__}, the connection was lost"
    condition = error.getCondition() if isinstance(error, PySparkException) else None
    return f"{type(error).__name__}{f' {condition}' if condition else ''}"
