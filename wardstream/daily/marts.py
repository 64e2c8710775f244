"""The files of sql/marts: what each mart.daily_* table is built from and how.

    sql/marts/<table>.sql          Spark SQL: the definition of the table
    sql/marts/reads/<read>.sql     PostgreSQL: what Spark reads of core, one view a file
    sql/marts/checks/<table>.sql   PostgreSQL: what must hold of built rows; gives (fault, day)
    sql/marts/*.sql                stale.sql and keep_builds.sql, for all tables

A table's file begins with a header in comments: `-- core: a, b` (its core tables: a commit that marks a day of one of
them makes the day stale), `-- reads: x, y`, and `-- follows: today` where what a day says depends on what day it is. A
read's header says how it is cut to days, `-- days: column` or `-- days: from .. to`, as in sql/folds; one without is
read whole. This module reads files and checks their form; it runs no SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wardstream.stream.plan import PlanError

HEADER = re.compile(r"^-- (core|reads|follows|days): *(.+?) *$", re.MULTILINE)
TABLES = ("daily_admissions", "daily_diagnoses", "daily_labs")


@dataclass(frozen=True)
class Read:
    """One view for Spark: `query` over core, and the columns of the query that place a row on days."""

    name: str
    query: str
    days: tuple[str, ...]
    days_are_span: bool


@dataclass(frozen=True)
class Mart:
    """One table of daily aggregates."""

    table: str
    core: tuple[str, ...]
    reads: tuple[Read, ...]
    follows_today: bool
    query: str
    checks: str


@dataclass(frozen=True)
class Marts:
    """All of sql/marts."""

    tables: tuple[Mart, ...]
    stale: str
    keep_builds: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _text(path: Path) -> str:
    if not path.is_file():
        raise PlanError(f"there is no {path}; wardstream/daily/marts.py says what it is for")
    return path.read_text()


def read_read(path: Path) -> Read:
    """One file of sql/marts/reads."""
    text = _text(path)
    days = dict(HEADER.findall(text)).get("days", "")
    span = ".." in days
    columns = tuple(word.strip() for word in days.split("..")) if span else _words(days)
    if len(columns) > (2 if span else 1):
        raise PlanError(f"{path}: '-- days:' names one column, or a stay as 'from .. to'")
    return Read(path.stem, text, columns, span)


def read_mart(folder: Path, table: str) -> Mart:
    """One table's files; PlanError where one is missing or the header is incomplete."""
    path = folder / f"{table}.sql"
    text = _text(path)
    header = dict(HEADER.findall(text))
    missing = {"core", "reads"} - header.keys()
    if missing:
        raise PlanError(f"{path}: the header lacks {sorted(missing)}; write lines like '-- core: lab_results'")
    if header.get("follows", "today") != "today":
        raise PlanError(f"{path}: '-- follows:' can say today and nothing else")
    reads = tuple(read_read(folder / "reads" / f"{name}.sql") for name in _words(header["reads"]))
    checks = _text(folder / "checks" / f"{table}.sql")
    return Mart(table, _words(header["core"]), reads, "follows" in header, text, checks)


def load_marts(sql_dir: Path) -> Marts:
    """Read sql/marts."""
    folder = sql_dir / "marts"
    tables = tuple(read_mart(folder, table) for table in TABLES)
    return Marts(tables, _text(folder / "stale.sql"), _text(folder / "keep_builds.sql"))
