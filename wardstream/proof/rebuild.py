"""core from history again: every entity folded anew, and what differs replaced."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER, load_contracts
from wardstream.database.connection import Connection, connect, scalar, trusted
from wardstream.database.facility import NOW
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.proof.folds import note
from wardstream.settings import Settings
from wardstream.stream.check import must_run
from wardstream.stream.plan import Fold, Plan, load_plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.upsert import version_may_be_missing


def touch_all(refold: Refold) -> None:
    """Fill `touched` with every entity that history or core knows of."""
    fold = refold.fold
    key = sql.Identifier(fold.key)
    sources = [sql.Identifier("history", topic) for topic in fold.topics] + [sql.Identifier("core", fold.table)]
    selects = [
        sql.SQL("SELECT authority, {k} FROM {t} WHERE {k} IS NOT NULL").format(k=key, t=source) for source in sources
    ]
    refold.touch(sql.SQL(" UNION ").join(selects))


def rebuild(settings: Settings) -> dict[str, int]:
    """Put the refold of all history in core's place, in one transaction; returns the days marked by core table.

    The commit lock is held meanwhile: the stream waits, and goes on. PlanError where a fold cannot be run.
    """
    contracts = load_contracts(settings.schemas_dir)
    plan = load_plan(settings.sql_dir, contracts)
    with connect(settings.owner_url, "wardstream rebuild") as conn:
        must_run(conn, contracts, plan)
        with conn.transaction():
            lock_commits(conn)
            return refold_all(conn, plan)


def refold_all(conn: Connection, plan: Plan, folds: Sequence[Fold] | None = None) -> dict[str, int]:
    """The same within a transaction that holds the commit lock, or only by these folds."""
    scratch = Scratch(conn)
    create_touched(scratch)
    now = scalar(conn, NOW)
    for fold in plan.folds if folds is None else folds:
        refold = Refold(scratch, fold, plan.protocol)
        touch_all(refold)
        refold.compute()
        refold.apply(now)
        note(conn, fold)
    seq = scalar(conn, "SELECT nextval('ops.commit_seq')")
    conn.execute(trusted(plan.protocol["raise_day_versions"]), {"seq": seq})
    marked = conn.execute(
        "SELECT core_table, count(DISTINCT (facility, day)) FROM touched_days GROUP BY core_table ORDER BY core_table"
    ).fetchall()
    scratch.drop()
    return {str(table): int(days) for table, days in marked}


def fill_versions(conn: Connection, plan: Plan) -> None:
    """Give the rows of a wardstream that kept no versions beside them theirs, as the owner.

    Run by `wardstream migrate`. The commit lock is held meanwhile.
    """
    loose = [fold for fold in plan.folds if fold.of_greatest and version_may_be_missing(conn, fold)]
    if not loose:
        return
    with conn.transaction():
        lock_commits(conn)
        if missing := [fold for fold in loose if scalar(conn, _some_are_missing(fold))]:
            refold_all(conn, plan, missing)
        for fold in loose:
            for column in VERSION_ORDER:
                strict = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL")
                conn.execute(strict.format(sql.Identifier("core", fold.table), sql.Identifier(column)))


def _some_are_missing(fold: Fold) -> sql.Composed:
    some = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} IS NULL)")
    return some.format(sql.Identifier("core", fold.table), sql.Identifier(VERSION_ORDER[0]))
