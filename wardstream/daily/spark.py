"""Spark's part of a build: a local session, core by JDBC from a given snapshot, the aggregation, the rows as Arrow.

Every connection that reads takes the snapshot that the build exported, so that all partitions of all views see one
state of core, and the same one as the versions of its days and the checks. Rows come through a cursor, aggregates
that outgrow memory are sorted on disk: the heap does not grow with core.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame, SparkSession

from wardstream.daily.jvm import JAVA_OPTIONS, SUBMIT, jdbc_jars
from wardstream.daily.marts import Mart, Read
from wardstream.daily.runs import number, on_days, share, touching_days
from wardstream.database.connection import Connection, trusted
from wardstream.database.facility import Facility
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import compare_columns
from wardstream.logs import keep_values_out
from wardstream.settings import Settings

DRIVER = "org.postgresql.Driver"
LINE = re.compile(r"\bline (\d+),? pos")
FETCH_ROWS = 5_000
READERS = 4
"""Partitions of a read, hence at most so many connections at once."""
MOST_RUNS = 16
"""Of a read of spans: more would be a long condition for every stay; some rows more are read instead."""
PASSED_ON = ("sslmode", "sslrootcert", "sslcert", "sslkey", "targetServerType")
APPLICATION = "wardstream daily read"
SESSION = "-c timezone=UTC -c jit=off -c client_connection_check_interval=1000"
CONNECT_SECONDS = 10
LOCK_SECONDS = 60
"""No build waits longer for a lock that another session holds; where statements must be quick, half as long as one."""
SILENCE_SECONDS = 30
"""How much longer than a statement may take Java waits for an answer: the server then ends it, and is not just gone."""


class NoJdbcAddressError(Exception):
    """The database's address cannot be given to JDBC."""


def session(settings: Settings) -> SparkSession:
    """A local Spark that listens on loopback only and keeps its scratch in the state folder.

    Under spark-submit the JVM is there already: heap and jars are what it was told.
    """
    scratch = _scratch(settings)
    java_options = f'{JAVA_OPTIONS} -Djava.io.tmpdir="{scratch}"'
    spark = (
        SparkSession.builder.appName("wardstream-daily")
        .master(settings.spark_master)
        .config(map=SUBMIT)
        .config("spark.jars", jdbc_jars(settings.spark_jars))
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", settings.daily_driver_memory)
        .config("spark.driver.extraJavaOptions", java_options)
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.adaptive.enabled", "false")  # plans are simple, and planning again costs more than it saves
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
        # An exact percentile holds its group's numbers. After so many groups in memory rows are sorted instead, on
        # disk if need be, and one group is held at a time.
        .config("spark.sql.objectHashAggregate.sortBased.fallbackThreshold", "16")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    keep_values_out(spark)  # `wardstream.daily.build` says what failed
    return spark


def _scratch(settings: Settings) -> Path:
    """A folder of this process; those of jobs that were killed are removed."""
    for old in settings.scratch_dir.glob("daily-*"):
        try:
            handle = os.open(old, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another job has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
        shutil.rmtree(old, ignore_errors=True)
    settings.scratch_dir.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f"new-daily-{os.getpid()}-", dir=settings.scratch_dir))
    # Held, not closed: whoever finds the lock free knows that this process is gone. Named when it is locked.
    fcntl.flock(os.open(new, os.O_RDONLY), fcntl.LOCK_SH)
    folder = new.rename(settings.scratch_dir / new.name.removeprefix("new-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def limits(seconds: int) -> str:
    """Options of a PostgreSQL session: how long one of its statements may take, and wait for a lock."""
    return f"-c statement_timeout={seconds}s -c lock_timeout={min(seconds * 500, LOCK_SECONDS * 1000)}ms"


def jdbc(url: str, seconds: int) -> dict[str, str]:
    """The options of Spark's JDBC source for a PostgreSQL URL; the password is one of its own, which Spark hides.

    A statement may take `seconds`; a server that says nothing at all for longer is an error, too.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    hosts, ports = parts.get("host", "localhost").split(","), parts.get("port", "5432").split(",")
    if any(host.startswith("/") for host in hosts):
        raise NoJdbcAddressError("DATABASE_URL names a Unix socket, which Java cannot use; name a host and a port")
    where = ",".join(f"{host}:{ports[i % len(ports)] or 5432}" for i, host in enumerate(hosts))
    # In the URL, because Spark writes the names of options in small letters, and the driver then does not know them.
    more = {name: parts[name] for name in PASSED_ON if name in parts}
    more |= {"options": f"{SESSION} {limits(seconds)}", "ApplicationName": APPLICATION, "tcpKeepAlive": "true"}
    more |= {"connectTimeout": str(CONNECT_SECONDS), "loginTimeout": str(CONNECT_SECONDS)}
    more |= {"socketTimeout": str(seconds + SILENCE_SECONDS)}
    return {
        "url": f"jdbc:postgresql://{where}/{quote(parts.get('dbname', ''))}?{urlencode(more, quote_via=quote)}",
        "user": parts.get("user", ""),
        "password": parts.get("password", ""),
        "driver": DRIVER,
        "fetchsize": str(FETCH_ROWS),
    }


def plan(
    spark: SparkSession,
    settings: Settings,
    conn: Connection,
    mart: Mart,
    days: Sequence[date],
    facility: Facility,
    columns: Sequence[str],
    snapshot: str | None = None,
) -> DataFrame:
    """The mart's query over these days, planned and not yet run, from core as `snapshot` or else each read sees it.

    PlanError where the query is wrong, or gives other columns than `columns`, those of the table but for `facility`.
    """
    for read in mart.reads:
        _view(spark, settings, conn, read, days, facility, snapshot)
    arguments: dict[str, Any] = {
        "days": [number(day) for day in days],
        "today": number(facility.today),
        "same_day_stay_days": facility.same_day_stay_days,
    }
    try:
        frame = spark.sql(mart.query, args=arguments)
    except AnalysisException as error:
        raise PlanError(f"{mart.query_path}{_line(spark, mart, error)}: {_first_sentence(error)}") from None
    compare_columns(mart.query_path, frame.columns, f"mart.{mart.table}", [c for c in columns if c != "facility"])
    return frame


def _line(spark: SparkSession, mart: Mart, error: AnalysisException) -> str:
    """Where in the file it is, as far as Spark says."""
    found = LINE.search(str(error))
    if not found and isinstance(error, ParseException):
        try:
            spark.sql(mart.query)  # without arguments the parser says where it was
        except AnalysisException as again:
            found = LINE.search(str(again))
    return f", line {found[1]}" if found else ""


def _first_sentence(error: AnalysisException) -> str:
    """What is wrong, without Spark's name for it, its advice and its plan. No row was read yet: no value is in it."""
    return re.split(r"[.]? SQLSTATE|\. |\n", re.sub(r"^\s*\[[\w.]+\] ", "", error.getMessage() or str(error)))[0]


def _view(
    spark: SparkSession,
    settings: Settings,
    conn: Connection,
    read: Read,
    days: Sequence[date],
    facility: Facility,
    snapshot: str | None,
) -> None:
    text = psycopg.ClientCursor(conn).mogrify(trusted(read.query), facility.parameters)
    if read.days_are_span:
        start, end = read.days
        where = [touching_days(start, end, days, MOST_RUNS)]
    elif read.days:
        where = [on_days(read.days[0], part) for part in share(days, READERS)]
    else:
        where = ["true"]
    options = jdbc(settings.writer_url, settings.daily_statement_seconds)
    # Spark turns autocommit off where a fetch size is set, so that this begins the transaction of the read.
    begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    options["sessionInitStatement"] = f"{begin}; SET TRANSACTION SNAPSHOT '{snapshot}'" if snapshot else begin
    rows = spark.read.jdbc(options.pop("url"), f"(\n{text}) AS t", predicates=where, properties=options)
    rows.drop(*read.days).createOrReplaceTempView(read.name)
