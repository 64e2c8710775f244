"""Building stale days: versions first, then data from the same snapshot, checks, and the days put in place.

For each mart table, at most DAYS_A_CHUNK days at a time:

    snapshot     one REPEATABLE READ transaction: the stale days with their versions, the facility and its today; the
                 snapshot is exported, and Spark's reads of core take it (`wardstream.daily.spark`)
    checks       the aggregated rows are staged and checked in that transaction, against core counted by PostgreSQL
    put          one READ COMMITTED transaction: ops.day_builds takes the days that no newer build holds; the rows of
                 those days, and of no others, are deleted and inserted

A chunk that fails a check keeps its old rows and stays stale; other chunks and tables go on. Two builds at once are
harmless: each puts what is newer than what is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import psycopg
import pyarrow as pa
from psycopg import sql
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from wardstream.daily.marts import Mart, load_marts
from wardstream.daily.runs import chunks, runs_of
from wardstream.daily.spark import aggregate
from wardstream.daily.stale import Range, stale_days
from wardstream.database.connection import Connection, connect, names, scalar, trusted
from wardstream.database.copy import copy
from wardstream.database.facility import Facility, read_facility
from wardstream.settings import Settings

log = logging.getLogger(__name__)

DAYS_A_CHUNK = 366
DAYS_NAMED = 10


class CheckFailedError(Exception):
    """Built rows do not hold what must hold of them; the message names check, table and days, never a patient."""


@dataclass(frozen=True)
class Snapshot:
    """Days to build as one state of the database has them."""

    versions: dict[date, int]
    facility: Facility
    name: str


@dataclass
class Built:
    """What became of one mart table."""

    table: str
    days: int = 0
    rows: int = 0
    overtaken: int = 0
    failures: list[str] = field(default_factory=list)


class Builder:
    """Builds days on one connection as the writer. Not thread-safe."""

    def __init__(self, settings: Settings, conn: Connection, spark: SparkSession) -> None:
        self.settings = settings
        self.conn = conn
        self.spark = spark
        self.marts = load_marts(settings.sql_dir)
        for mart in self.marts.tables:
            conn.execute(
                sql.SQL("CREATE TEMP TABLE {} AS SELECT * FROM {} WITH NO DATA").format(
                    sql.Identifier(f"built_{mart.table}"), sql.Identifier("mart", mart.table)
                )
            )
        conn.execute("CREATE TEMP TABLE building (day date, version bigint)")
        conn.execute(
            "CREATE TEMP TABLE building_runs (first_day date, last_day date, from_at timestamptz, until_at timestamptz)"
        )

    def build(self, mart: Mart, wanted: Range) -> Built:
        """Build what is stale of one table, chunk by chunk."""
        built = Built(mart.table)
        for days in chunks(list(stale_days(self.conn, self.marts, mart, wanted)), DAYS_A_CHUNK):
            try:
                with self.snapshot(mart, days, wanted) as snapshot:
                    if snapshot.versions:
                        self.stage(mart, snapshot, self.aggregate(mart, snapshot))
                put, rows = self.put(mart, snapshot) if snapshot.versions else (0, 0)
            except CheckFailedError as failure:
                built.failures.append(str(failure))
                continue
            built.days += put
            built.rows += rows
            built.overtaken += len(snapshot.versions) - put
        return built

    @contextmanager
    def snapshot(self, mart: Mart, days: Sequence[date], wanted: Range) -> Iterator[Snapshot]:
        """A transaction in which nothing changes, and what Spark needs to read the same."""
        with self.conn.transaction():
            self.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            facility = read_facility(self.conn, wanted.today)
            within = Range(days[0], days[-1], wanted.all_days, facility.today)
            stale = stale_days(self.conn, self.marts, mart, within)
            versions = {day: stale[day] for day in days if day in stale}  # another build may have built some meanwhile
            yield Snapshot(versions, facility, scalar(self.conn, "SELECT pg_export_snapshot()"))

    def aggregate(self, mart: Mart, snapshot: Snapshot) -> pa.Table:
        """The rows of the snapshot's days, computed by Spark from core as the snapshot has it."""
        return aggregate(
            self.spark, self.settings, self.conn, mart, list(snapshot.versions), snapshot.facility, snapshot.name
        )

    def stage(self, mart: Mart, snapshot: Snapshot, rows: pa.Table) -> None:
        """Rows into built_<table> and days into `building`; CheckFailedError where the table's checks find a fault."""
        days = list(snapshot.versions)
        staged = sql.Identifier(f"built_{mart.table}")
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
        parameters = {"zone": snapshot.facility.timezone, "today": snapshot.facility.today}
        checks = sql.SQL("WITH built AS (SELECT * FROM {}) SELECT fault, day FROM (\n{}\n) AS f ORDER BY fault, day")
        found: dict[str, list[str]] = {}
        for fault, day in self.conn.execute(checks.format(staged, trusted(mart.checks)), parameters):
            found.setdefault(fault, []).append(str(day))
        if found:
            raise CheckFailedError("; ".join(f"{fault}: {_named(days)}" for fault, days in found.items()))

    def put(self, mart: Mart, snapshot: Snapshot) -> tuple[int, int]:
        """Put the staged days in place where no newer build is there; how many days and rows that were."""
        table, staged = sql.Identifier("mart", mart.table), sql.Identifier(f"built_{mart.table}")
        with self.conn.transaction():
            kept = self.conn.execute(
                trusted(self.marts.keep_builds), {"table": mart.table, "today": snapshot.facility.today}
            )
            days = [day for (day,) in kept]
            self.conn.execute(sql.SQL("DELETE FROM {} WHERE day = ANY(%s)").format(table), [days])
            insert = sql.SQL("INSERT INTO {} ({c}) SELECT {c} FROM {} WHERE day = ANY(%s)")
            columns = names(self._columns(mart))
            rows = self.conn.execute(insert.format(table, staged, c=columns), [days]).rowcount
        return len(days), rows

    def _columns(self, mart: Mart) -> list[str]:
        found = self.conn.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier("mart", mart.table)))
        return [column.name for column in found.description or []]


def _named(days: Sequence[str]) -> str:
    different = sorted(set(days))
    more = f" and {len(different) - DAYS_NAMED} more" if len(different) > DAYS_NAMED else ""
    return f"{', '.join(different[:DAYS_NAMED])}{more}"


def run(settings: Settings, wanted: Range, open_session: Callable[[Settings], SparkSession]) -> int:
    """Build what is stale of every table, and say what was done; the exit code: 1 if anything failed.

    Spark is not started where nothing is stale.
    """
    marts = load_marts(settings.sql_dir)
    with connect(settings.writer_url, "wardstream daily") as conn:
        stale = {mart.table: len(stale_days(conn, marts, mart, wanted)) for mart in marts.tables}
        if not any(stale.values()):
            for table in stale:
                log.info("mart.%s: no day is stale", table)
            return 0
        spark = open_session(settings)
        try:
            builder = Builder(settings, conn, spark)
            return max(_build(builder, mart, wanted) for mart in marts.tables)
        finally:
            spark.stop()


def _build(builder: Builder, mart: Mart, wanted: Range) -> int:
    try:
        built = builder.build(mart, wanted)
    except (PySparkException, Py4JError, psycopg.Error, ValueError) as error:
        # Their texts can quote a row, and Spark's ends with a page of Java. ValueError: rows of another form than the
        # table's, a defect of its SQL file.
        what = f"SQLSTATE {error.sqlstate}" if isinstance(error, psycopg.Error) else type(error).__name__
        log.error("mart.%s: the build failed, its old rows stay: %s", mart.table, what)
        return 1
    for failure in built.failures:
        log.error("mart.%s: a check failed, the old rows of these days stay: %s", mart.table, failure)
    overtaken = f"; {built.overtaken} days were built by a newer build meanwhile" if built.overtaken else ""
    log.info("mart.%s: %s days built, %s rows%s", mart.table, built.days, built.rows, overtaken)
    return 1 if built.failures else 0
