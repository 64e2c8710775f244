"""The folders of sql/marts tried against the database before anything is built by them: no row is read or written.

Each read and each check is planned by PostgreSQL, its columns are compared, and so are the relations it reads with
those that metadata.yaml names: a table that nobody names could change and make no day stale. The query is Spark SQL,
which `wardstream.daily.queries` has Spark plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from psycopg import sql

from wardstream.daily.marts import Mart, load_marts
from wardstream.database.connection import Connection, MissingTable, columns_of, primary_key_of
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import compare_columns, relations_of, result_of

ALWAYS = {"ops.sources", "ops.facilities"}
"""A change of these makes the days stale that it concerns: what reads them need not say so."""

EXAMPLE = {"facility": "main", "zone": "UTC", "today": "2000-01-01"}

# The names that a build has, without a row.
NOTHING_BUILT = """WITH built AS (SELECT * FROM {} WHERE false),
building AS (SELECT NULL::date AS day, NULL::bigint AS version WHERE false),
building_runs AS (
    SELECT NULL::date AS first_day, NULL::date AS last_day, NULL::timestamptz AS from_at, NULL::timestamptz AS until_at
    WHERE false
)
"""


def check_marts(conn: Connection, sql_dir: Path) -> list[str]:
    """What is wrong with the tables of sql/marts, one sentence a table, with file and line; as the writer."""
    return faults_of(load_marts(sql_dir), lambda mart: check_mart(conn, mart))


def faults_of(marts: Sequence[Mart], check: Callable[[Mart], object]) -> list[str]:
    """What the check finds of each of these tables by a PlanError."""
    found = []
    for mart in marts:
        try:
            check(mart)
        except PlanError as fault:
            found.append(str(fault))
    return found


def check_mart(conn: Connection, mart: Mart) -> None:
    """Plan what PostgreSQL is to run for one table; PlanError says what is wrong first."""
    _check_table(conn, mart)
    named = {f"core.{table}" for table in mart.metadata.core} | set(mart.metadata.references)
    seen: set[str] = set()
    for read in mart.reads:
        columns = result_of(conn, read.path, read.query, EXAMPLE)
        if missing := [column for column in read.days if column not in columns]:
            raise PlanError(f"{read.path}: its header cuts it by {', '.join(missing)}, which it does not give")
        if read.days and not read.days_are_span and "day" not in columns:
            raise PlanError(f"{read.path}: it does not give day, the number of the day that its row lies on")
        if read.days and "%(facility)s" not in read.query:
            raise PlanError(f"{read.path}: it does not ask for %(facility)s: each facility would count the rows of all")
        seen |= relations_of(conn, read.query, EXAMPLE)
    where = mart.folder / "metadata.yaml"
    if extra := sorted(seen - named - ALWAYS):
        raise PlanError(f"{where}: its reads read {', '.join(extra)}: name each under core or references")
    if extra := sorted(named - seen):
        raise PlanError(f"{where}: it names {', '.join(extra)}, which no read reads")
    built = sql.SQL(NOTHING_BUILT).format(sql.Identifier("mart", mart.table))
    columns = result_of(conn, mart.checks_path, mart.checks, EXAMPLE, built)
    compare_columns(mart.checks_path, list(columns), "a check", ["fault", "day"])


def _check_table(conn: Connection, mart: Mart) -> None:
    where = mart.folder / "metadata.yaml"
    try:
        columns = columns_of(conn, "mart", mart.table)
    except MissingTable as none:
        raise PlanError(f"{mart.folder}: {none}") from None
    compare_columns(where, list(mart.metadata.columns), f"mart.{mart.table}", columns)
    key = primary_key_of(conn, f"mart.{mart.table}")
    needed = ["facility", "day", *(["hour"] if mart.metadata.grain == "hour" else [])]
    if missing := [column for column in needed if column not in key]:
        raise PlanError(f"{where}: its grain needs {', '.join(missing)} in the primary key of mart.{mart.table}")
    if mart.metadata.grain != "day" and len(key) < 3:
        raise PlanError(f"{where}: the primary key of mart.{mart.table} leaves one row a day; its grain is another")
