"""core from history again as a whole, in one transaction: for who changes history or the tables of core in it as well.

`wardstream rebuild`, which lets the stream commit meanwhile, is in `rebuild`.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import Connection, scalar, trusted
from wardstream.database.facility import NOW
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.proof.core import touch_all
from wardstream.proof.folds import note
from wardstream.stream.plan import Fold, Plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.upsert import version_may_be_missing


def refold_all(conn: Connection, plan: Plan, folds: Sequence[Fold] | None = None) -> None:
    """Put the refold of all history in core's place, or only by these folds.

    Within a transaction that holds the commit lock: the stream waits, and goes on.
    """
    scratch = Scratch(conn)
    create_touched(scratch)
    now = scalar(conn, NOW)
    for fold in plan.folds if folds is None else folds:
        refold = Refold(scratch, fold, plan.protocol)
        touch_all(refold)
        refold.compute()
        refold.apply(now)
        note(conn, fold)
    raise_days(conn, plan)
    scratch.drop()


def raise_days(conn: Connection, plan: Plan) -> None:
    """Give the days in `touched_days` the next commit's number."""
    seq = scalar(conn, "SELECT nextval('ops.commit_seq')")
    conn.execute(trusted(plan.protocol["raise_day_versions"]), {"seq": seq})


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
