"""The day's numbers: the tables of sql/marts, built for their stale days.

    settings -> stale days -> snapshot -> Spark reads core and aggregates -> checks -> the days put in place

Run by spark-submit (Airflow) or by `wardstream daily`. Settings come from the environment; nothing secret is in the
arguments. Exit codes: 0 every stale day was built, 1 not all: the log says which table, which
days and why, and the rest was built.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import date

import psycopg

from wardstream.daily.build import run
from wardstream.daily.deadline import Deadline
from wardstream.daily.orphan import end_with_starter
from wardstream.daily.queries import FAULT, faults_of_queries
from wardstream.daily.spark import NoJdbcAddressError, limits, session
from wardstream.daily.stale import Range, RangeError
from wardstream.database.connection import MissingTable, connect
from wardstream.database.plan_error import PlanError
from wardstream.logs import configure_logging
from wardstream.settings import Settings, get_settings

log = logging.getLogger("wardstream.daily")


def arguments(words: list[str]) -> Range | None:
    """The command line, None for `--check`; exits with 2 and says why where it is none."""
    parser = argparse.ArgumentParser(prog="daily", description="Build the stale days of mart.daily_*.")
    parser.add_argument("--first", type=date.fromisoformat, metavar="YYYY-MM-DD", help="first day to build")
    parser.add_argument("--last", type=date.fromisoformat, metavar="YYYY-MM-DD", help="last day to build")
    parser.add_argument("--all-days", action="store_true", help="days of the range that are not stale, too")
    parser.add_argument(
        "--facility", action="append", metavar="NAME", help="only days of this facility; may be repeated"
    )
    parser.add_argument("--check", action="store_true", help="only have Spark plan the queries; say what is wrong")
    given = parser.parse_args(words)
    if given.check:
        return None
    try:
        return Range(given.first, given.last, given.all_days, facilities=tuple(given.facility or ()))
    except RangeError as fault:
        parser.error(str(fault))


def check(settings: Settings) -> int:
    """Say what is wrong with the queries, a line each on standard output; the exit code."""
    with connect(settings.writer_url, "wardstream check", more=limits(settings.daily_statement_seconds)) as conn:
        spark = session(settings)
        try:
            faults = faults_of_queries(settings, conn, spark)
        finally:
            spark.stop()
    for fault in faults:
        sys.stdout.write(f"{FAULT}{fault}\n")
    return 1 if faults else 0


def main() -> int:
    """Build what is stale; returns the exit code."""
    configure_logging()
    wanted = arguments(sys.argv[1:])
    end_with_starter()
    deadline = Deadline()
    deadline.start()
    # Spark takes the first `python3` of the path for its workers; ours need this very environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return run(get_settings(), wanted, session, deadline) if wanted else check(get_settings())
    except psycopg.OperationalError as reason:
        log.error("PostgreSQL does not answer: %s; is the stack up? `wardstream status`", type(reason).__name__)
    except psycopg.errors.UndefinedTable:
        log.error("a table is missing: run `wardstream migrate`")
    except (MissingTable, PlanError, NoJdbcAddressError) as reason:
        log.error("%s", reason)
    return 1


if __name__ == "__main__":
    sys.exit(main())
