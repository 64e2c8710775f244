"""Facts that are there restated as schemas/sources.yaml says now: whose ids a source uses, and how they are compared.

Run by `wardstream migrate`. The facts of a source whose authority has changed are filed under the other one, ids take
the form in which they are compared there, and core is computed again: two things may become one, or one two. The driver
that runs is fenced, because it judges by the file as it was: it commits nothing more and leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from psycopg import sql

from wardstream.contracts.model import Contract
from wardstream.contracts.sources import CAPITALS, SMALL, WHITE_SPACE
from wardstream.database.connection import Connection, columns_of, names
from wardstream.database.locks import lock_commits
from wardstream.proof.refold_all import refold_all
from wardstream.stream.plan import Plan
from wardstream.stream.stored_sources import Uses, as_lists, stored_sources, uses_now

PUT = (
    "UPDATE ops.sources AS s SET authority = m.authority, ignore_case = m.ignore_case FROM ({moved}) AS m"
    " WHERE s.source = m.source"
)
MOVED = (
    "SELECT * FROM unnest(%(sources)s::text[], %(authorities)s::text[], %(ignore_case)s::boolean[])"
    " AS m (source, authority, ignore_case)"
)
HISTORY = (
    "UPDATE {history} AS h SET ({columns}) = ROW({values}) FROM ({moved}) AS m"
    " WHERE h.source = m.source AND ROW({old}) IS DISTINCT FROM ROW({values})"
)
FORGET = (
    "DELETE FROM ops.verified AS v USING ops.ledger AS l"
    " WHERE l.topic_id = v.topic_id AND l.partition = v.partition AND l.topic = %s"
)
CORE = (
    "UPDATE {core} AS c SET authority = m.authority FROM ({moved}) AS m WHERE c.source = m.source AND c.authority = ''"
)


def restate(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> list[str]:
    """Bring history and core to what the file says, as the owner; a sentence for each source that moved.

    The commit lock is held meanwhile: the stream waits.
    """
    with conn.transaction():
        lock_commits(conn)
        stored = stored_sources(conn)
        wanted = uses_now(contracts, stored)
        moved = {source: uses for source, uses in wanted.items() if stored[source].ids != uses.ids}
        if not moved:
            return []
        for contract in contracts.values():
            if _restate_history(conn, contract, moved):
                conn.execute(FORGET, [contract.topic])  # what verify has seen is not what is there now
        for fold in plan.folds:  # rows of a version that knew no authority; what else they should say, the folds say
            if not {"source", "authority"} <= set(columns_of(conn, "core", fold.table)):
                continue  # the fold gives each of its rows anew, or says what the table lacks
            _execute(conn, CORE, moved, core=sql.Identifier("core", fold.table))
        refold_all(conn, plan)
        _execute(conn, PUT, moved)
        conn.execute("UPDATE ops.streams SET generation = generation + 1")
    return [f"source {source}: its ids are those of {uses.authority}" for source, uses in moved.items()]


def _restate_history(conn: Connection, contract: Contract, moved: Mapping[str, Uses]) -> int:
    """Only rows that say something else are written; how many."""
    there = columns_of(conn, "history", contract.topic)
    ids = [name for name in contract.identifiers if name in there]
    sent = {name: sql.SQL("coalesce(h.ids_as_sent ->> {}, h.{})").format(name, sql.Identifier(name)) for name in ids}
    compared = {name: _compared(text) for name, text in sent.items()}
    changed = [
        sql.SQL("{}, CASE WHEN {} <> {} THEN {} END").format(name, sent[name], compared[name], sent[name])
        for name in ids
    ]
    said = sql.SQL("nullif(jsonb_strip_nulls(jsonb_build_object({})), '{{}}')").format(sql.SQL(", ").join(changed))
    columns = ["authority", "ids_as_sent", *ids]
    values = sql.SQL(", ").join([sql.SQL("m.authority"), said, *compared.values()])
    history = sql.Identifier("history", contract.topic)
    parts = {"history": history, "columns": names(columns), "old": names(columns, "h"), "values": values}
    return _execute(conn, HISTORY, moved, **parts)


def _compared(text: sql.Composable) -> sql.Composed:
    """`Sources.compared` in SQL."""
    bare = sql.SQL("btrim({}, {})").format(text, sql.Literal(WHITE_SPACE))
    small = sql.SQL("translate({}, {}, {})").format(bare, CAPITALS, SMALL)
    return sql.SQL("CASE WHEN m.ignore_case THEN {} ELSE {} END").format(small, bare)


def _execute(conn: Connection, statement: LiteralString, moved: Mapping[str, Uses], **parts: sql.Composable) -> int:
    return conn.execute(sql.SQL(statement).format(moved=sql.SQL(MOVED), **parts), as_lists(moved)).rowcount
