"""Fingerprints of core and mart, and how they differ from those of an earlier version (README.md beside this).

Of each table and view: how many rows, a sum of hashes of the rows, and one a column, of key and value. Sums do not
depend on the order of rows, and on no columns but those that they are of: a later version may have more.

    PYTHONPATH=. .venv/bin/python …/fingerprints.py DATASET     # writes those of the stack that is up, of any version
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from wardstream.database.connection import Connection, connect, primary_key_of
from wardstream.settings import get_settings

BEFORE = Path(__file__).with_name("before-0.2.yaml")
KEYS_OF_VIEWS = {
    "mart.admissions": ["encounter_id"],
    "mart.diagnoses": ["diagnosis_id"],
    "mart.labs": ["lab_result_id"],
    "mart.patients": ["patient_id"],
}
CUT = {
    # The sample ends on 31 October 2026, 20:00 in New York, with stays that are open: each of the days after it, up to
    # yesterday, has these stays' midnight_census and nothing else, and tomorrow there is one day more.
    ("sample", "mart.daily_admissions"): "day <= '2026-10-31'",
}
"""Rows that depend on the day on which it is built are left out by this condition."""

Fingerprint = dict[str, Any]
"""rows: how many; all: of the rows; columns: of each column; key: the columns that name a row; where: if it was cut."""


def written(conn: Connection, dataset: str) -> dict[str, Fingerprint]:
    """`schema.relation` -> its fingerprint over all of its columns, for every table and view of core and mart."""
    columns = conn.execute(
        "SELECT table_schema || '.' || table_name, array_agg(column_name::text ORDER BY column_name COLLATE \"C\")"
        " FROM information_schema.columns WHERE table_schema IN ('core', 'mart') GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        name: fingerprint(
            conn, name, chosen, primary_key_of(conn, name) or [*KEYS_OF_VIEWS[name]], CUT.get((dataset, name))
        )
        for name, chosen in columns
    }


def fingerprint(conn: Connection, name: str, columns: list[str], key: list[str], where: str | None) -> Fingerprint:
    """Of these columns of a relation."""
    of_all, *of_columns = (
        sql.SQL("coalesce(sum(('x' || left(md5(ROW({})::text), 16))::bit(64)::bigint), 0)").format(
            sql.SQL(", ").join(map(sql.Identifier, hashed))
        )
        for hashed in (columns, *([*key, column] for column in columns))
    )
    query = sql.SQL("SELECT count(*), {} FROM {} WHERE {}").format(
        sql.SQL(", ").join([of_all, *of_columns]),
        sql.Identifier(*name.split(".")),
        sql.SQL(where or "true"),
    )
    with conn.transaction():
        conn.execute("SET LOCAL timezone = 'UTC'")
        conn.execute("SET LOCAL datestyle = 'ISO, YMD'")
        conn.execute("SET LOCAL extra_float_digits = 1")
        rows, *sums = conn.execute(query).fetchone() or ()
    found, *each = (f"{int(total) % 2**64:016x}" for total in sums)
    cut = {"where": where} if where else {}
    return {"key": key, **cut, "rows": rows, "all": found, "columns": dict(zip(columns, each, strict=True))}


def differences(conn: Connection, dataset: str) -> list[str]:
    """A line for each relation of before that says something else now, with the columns concerned and no values."""
    before: dict[str, Fingerprint] = yaml.safe_load(BEFORE.read_text())[dataset]
    there = {
        (relation, column)
        for relation, column in conn.execute(
            "SELECT table_schema || '.' || table_name, column_name FROM information_schema.columns"
        )
    }
    said = []
    for name, then in before.items():
        columns = list(then["columns"])
        if gone := [column for column in columns if (name, column) not in there]:
            said.append(f"{dataset}, {name}: gone: {', '.join(gone)}")
            continue
        now = fingerprint(conn, name, columns, then["key"], then.get("where"))
        if now != then:
            other = [column for column in columns if now["columns"][column] != then["columns"][column]]
            what = f"differ in: {', '.join(other)}" if other else "other values stand together"
            said.append(f"{dataset}, {name}: {then['rows']} rows, now {now['rows']}; {what}")
    return said


if __name__ == "__main__":
    with connect(get_settings().owner_url, "fingerprints") as session:
        found = {sys.argv[1]: written(session, sys.argv[1])}
    yaml.safe_dump(found, sys.stdout, sort_keys=False, default_flow_style=None, width=120)
