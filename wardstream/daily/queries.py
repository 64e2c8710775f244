"""The queries of sql/marts tried before they are needed: they are Spark SQL, so Spark plans them, and no row is read.

It does so in a process of its own, which ends when it has said what is wrong: who tries the queries keeps no JVM. It
costs ten seconds of CPU, so `up` and platform_setup_dag remember what was found in order, and ask again only when the
files, the columns or Spark have changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pyspark
from pyspark.sql import SparkSession

from wardstream.daily.check import EXAMPLE, faults_of
from wardstream.daily.marts import Mart, load_marts
from wardstream.daily.spark import plan
from wardstream.database.connection import Connection, columns_of, connect
from wardstream.database.facility import read_facilities
from wardstream.database.prepare import result_of
from wardstream.settings import Settings

FAULT = "fault: "
SECONDS = 240.0


def changed_queries(settings: Settings) -> list[str]:
    """What is wrong with the queries (`check_queries`); nothing where they are as they were when Spark took them."""
    with connect(settings.owner_url, "wardstream check") as conn:
        now = _fingerprint(settings, conn)
    seen = settings.state_dir / "queries.txt"
    if seen.exists() and seen.read_text() == now:
        return []
    faults = check_queries(settings)
    if not faults:
        seen.write_text(now)
    return faults


def _fingerprint(settings: Settings, conn: Connection) -> str:
    """A hash of what Spark's answer depends on: the files, what each read gives, the columns of the tables, Spark."""
    parts: list[object] = [pyspark.__version__]
    for mart in load_marts(settings.sql_dir):
        reads = [(read.name, result_of(conn, read.path, read.query, EXAMPLE)) for read in mart.reads]
        parts.append((mart.table, mart.definition, reads, columns_of(conn, "mart", mart.table)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def check_queries(settings: Settings) -> list[str]:
    """What is wrong with the queries, one sentence a table, with file and line; the reads must be sound.

    RuntimeError with the end of what Spark said where it could not try them.
    """
    from wardstream.stack import class_archive, jars
    from wardstream.stack.env import stream_environment  # Java, the jars and the settings for a child process

    if not settings.spark_jars:
        jars.fetch(settings, names=["spark"])
    command = [sys.executable, "-m", "spark_jobs.daily", "--check"]
    archive = class_archive.begin(settings)  # the first JVM of Spark here: those after it start in half the time
    values = {**os.environ, **stream_environment(settings), **archive}
    done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=SECONDS, check=False)
    class_archive.end(settings, archive)
    found = [line.removeprefix(FAULT) for line in done.stdout.splitlines() if line.startswith(FAULT)]
    if done.returncode != (1 if found else 0):
        end = "\n".join(done.stderr.splitlines()[-10:])
        raise RuntimeError(f"Spark could not try the queries of sql/marts (exit code {done.returncode}):\n{end}")
    return found


def faults_of_queries(settings: Settings, conn: Connection, spark: SparkSession) -> list[str]:
    """The same, in this process, on a connection as the writer."""
    facility = next(iter(read_facilities(conn).values()))

    def try_one(mart: Mart) -> None:
        plan(spark, settings, conn, mart, [facility.today], facility, columns_of(conn, "mart", mart.table))

    return faults_of(load_marts(settings.sql_dir), try_one)
