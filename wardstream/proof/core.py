"""Core compared with the fold of all history, in both directions and byte for byte, in one snapshot."""

from __future__ import annotations

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import Connection, beside, names, scalar, trusted, types_of
from wardstream.database.scratch import Scratch
from wardstream.proof.rebuild import touch_all
from wardstream.stream.plan import Fold, Plan
from wardstream.stream.refold import Refold, create_touched


def core_differs(conn: Connection, plan: Plan) -> dict[str, list[str]]:
    """The keys of the rows of core that are not what history says, by table.

    A fold of greatest versions is first compared as a whole; entities are folded one by one where that does not prove
    core right, and for the other folds.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        scratch = Scratch(conn)
        create_touched(scratch)
        found = {
            fold.table: _differing(scratch, fold, plan)
            for fold in plan.folds
            if not (fold.of_greatest and _is_as_folded(conn, fold, fold.of_greatest))
        }
        scratch.drop()
    return {table: keys for table, keys in found.items() if keys}


def unknown_sources(conn: Connection, plan: Plan) -> dict[str, list[str]]:
    """Sources in core that no facility is known of, by table."""
    query = beside(__file__, "unknown_sources")
    tables = [fold.table for fold in plan.folds]
    rows = {table: conn.execute(query.format(core=sql.Identifier("core", table))).fetchall() for table in tables}
    return {table: [str(source) for (source,) in found] for table, found in rows.items() if found}


def _is_as_folded(conn: Connection, fold: Fold, of_greatest: str) -> bool:
    core = sql.Identifier("core", fold.table)
    types = types_of(conn, f"core.{fold.table}")
    folded = [sql.SQL("{}::{}").format(sql.Identifier("q", name), trusted(kind)) for name, kind in types.items()]
    query = beside(__file__, "core_is_as_folded").format(
        history=sql.Identifier("history", *fold.topics),
        core=core,
        key=sql.Identifier(fold.key),
        fold=trusted(of_greatest),
        core_row=names(types, "c"),
        folded_row=sql.SQL(", ").join(folded),
        history_version=names(VERSION_ORDER, "h"),
        core_version=names(VERSION_ORDER, "c"),
    )
    [(not_below, differing)] = conn.execute(query)
    return bool(differing == 0 and not_below == scalar(conn, sql.SQL("SELECT count(*) FROM {}").format(core)))


def _differing(scratch: Scratch, fold: Fold, plan: Plan) -> list[str]:
    refold = Refold(scratch, fold, plan.protocol)
    touch_all(refold)
    refold.compute()
    query = beside(__file__, "core_differs").format(
        core=refold.core, folded=refold.folded, pk=names(refold.primary_key), key=sql.Identifier(fold.key)
    )
    return [str(key) for (key,) in scratch.conn.execute(query)]
