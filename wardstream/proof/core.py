"""Core compared with the fold of all history, in both directions and byte for byte: for `verify` and `rebuild`.

A fold of greatest versions is first compared in joins of history and core, and only entities that this does not prove
right are folded one by one; of the other folds all are.
"""

from __future__ import annotations

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import Connection, beside, names, one_snapshot, trusted, types_of
from wardstream.database.scratch import Scratch
from wardstream.stream.plan import Fold, Plan
from wardstream.stream.refold import Refold, create_touched


def core_differs(conn: Connection, plan: Plan) -> dict[str, list[str]]:
    """The keys of the rows of core that are not what history says, by table; in one snapshot."""
    with one_snapshot(conn):
        scratch = Scratch(conn)
        create_touched(scratch)
        found = {
            fold.table: [str(row) for *_, row in conn.execute(differing(scratch, Refold(scratch, fold, plan.protocol)))]
            for fold in plan.folds
        }
        scratch.drop()
    return {table: keys for table, keys in found.items() if keys}


def differing(scratch: Scratch, refold: Refold) -> sql.Composed:
    """A SELECT of the entities whose core rows are not as folded: authority, key, and the key of each such row.

    It reads `touched` and what was folded of them here, so it is for the same transaction.
    """
    touch_suspects(scratch, refold)
    refold.compute()
    return beside(__file__, "core_differs").format(
        core=refold.core, folded=refold.folded, pk=names(refold.primary_key), key=sql.Identifier(refold.fold.key)
    )


def touch_suspects(scratch: Scratch, refold: Refold) -> None:
    """Fill `touched` with every entity that may differ."""
    fold = refold.fold
    if not fold.of_greatest:
        touch_all(refold)
        return
    # CREATE TABLE AS is what PostgreSQL does on several cores; of INSERT it would not read history so.
    there = sql.SQL("AS {}").format(suspects(scratch.conn, fold, fold.of_greatest))
    refold.touch(sql.SQL("SELECT authority, key FROM {}").format(scratch.create(f"suspects_{fold.table}", there)))


def touch_all(refold: Refold) -> None:
    """Fill `touched` with every entity that history or core knows of."""
    fold = refold.fold
    key = sql.Identifier(fold.key)
    sources = [sql.Identifier("history", topic) for topic in fold.topics] + [sql.Identifier("core", fold.table)]
    selects = [
        sql.SQL("SELECT authority, {k} FROM {t} WHERE {k} IS NOT NULL").format(k=key, t=source) for source in sources
    ]
    refold.touch(sql.SQL(" UNION ").join(selects))


def suspects(conn: Connection, fold: Fold, of_greatest: str) -> sql.Composed:
    """A SELECT of the entities that a fold of greatest versions may give otherwise than core."""
    types = types_of(conn, f"core.{fold.table}")
    folded = [sql.SQL("{}::{}").format(sql.Identifier("q", name), trusted(kind)) for name, kind in types.items()]
    return beside(__file__, "core_suspects").format(
        history=sql.Identifier("history", *fold.topics),
        core=sql.Identifier("core", fold.table),
        key=sql.Identifier(fold.key),
        fold=trusted(of_greatest),
        core_row=names(types, "c"),
        folded_row=sql.SQL(", ").join(folded),
        history_version=names(VERSION_ORDER, "h"),
        core_version=names(VERSION_ORDER, "c"),
    )


def unknown_sources(conn: Connection, plan: Plan) -> dict[str, list[str]]:
    """Sources in core that no facility is known of, by table."""
    query = beside(__file__, "unknown_sources")
    tables = [fold.table for fold in plan.folds]
    rows = {table: conn.execute(query.format(core=sql.Identifier("core", table))).fetchall() for table in tables}
    return {table: [str(source) for (source,) in found] for table, found in rows.items() if found}
