"""By which fold each core table was filled (ops.folds): a changed one is said before `verify` finds a difference.

A fold is noted where no fact of its topics is there yet, and by `wardstream rebuild`, which computes every row again.
In between, its file may change: rows of before and of after then stand side by side. A table that was filled before
folds were noted counts as changed, too, since nobody knows by what.
"""

from __future__ import annotations

import hashlib

from psycopg import sql

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import Connection, connect, scalar
from wardstream.database.locks import lock_commits
from wardstream.settings import Settings
from wardstream.stream.plan import Fold, load_plan

NOTE = """
INSERT INTO ops.folds AS f (core_table, fold) VALUES (%s, %s)
ON CONFLICT (core_table) DO UPDATE SET fold = excluded.fold, since = excluded.since WHERE f.fold <> excluded.fold
"""


def hash_of(fold: Fold) -> str:
    """SHA-256 of what a fold does: its text and what it includes without comments, its topics and its key."""
    lines = (line.rstrip() for line in fold.query.splitlines())
    code = [line for line in lines if line and not line.lstrip().startswith("--")]
    return hashlib.sha256("\n".join([*fold.topics, fold.key, *code]).encode()).hexdigest()


def note(conn: Connection, fold: Fold) -> None:
    """Every row of the fold's core table comes from it now."""
    conn.execute(NOTE, [fold.table, hash_of(fold)])


def note_folds_of_empty_tables(settings: Settings) -> None:
    """Note each fold of whose topics there is no fact, as the owner. Run by `wardstream migrate`."""
    folds = _folds(settings)
    with connect(settings.owner_url, "wardstream folds") as conn:
        for fold in _not_noted(conn, folds):
            with conn.transaction():
                lock_commits(conn)  # no fact comes between look and note
                if not _has_facts(conn, fold):
                    note(conn, fold)


def rebuild_due(settings: Settings) -> list[str]:
    """One sentence for each core table whose rows need not be what its fold says now."""
    folds = _folds(settings)
    with connect(settings.writer_url, "wardstream folds") as conn:
        return [f"core.{fold.table}: its fold changed; run `wardstream rebuild`" for fold in changed_folds(conn, folds)]


def changed_folds(conn: Connection, folds: tuple[Fold, ...]) -> list[Fold]:
    """Those by which not every row of their core table is known to be filled."""
    return [fold for fold in _not_noted(conn, folds) if _has_facts(conn, fold)]


def _folds(settings: Settings) -> tuple[Fold, ...]:
    return load_plan(settings.sql_dir, load_contracts(settings.schemas_dir)).folds


def _not_noted(conn: Connection, folds: tuple[Fold, ...]) -> list[Fold]:
    noted = {table: fold for table, fold in conn.execute("SELECT core_table, fold FROM ops.folds")}
    return [fold for fold in folds if noted.get(fold.table) != hash_of(fold)]


def _has_facts(conn: Connection, fold: Fold) -> bool:
    some = sql.SQL("EXISTS (SELECT FROM {})")
    topics = [some.format(sql.Identifier("history", topic)) for topic in fold.topics]
    return bool(scalar(conn, sql.SQL("SELECT {}").format(sql.SQL(" OR ").join(topics))))
