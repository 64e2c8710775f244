"""The tables of schema history, made and extended from the contracts by `wardstream migrate`; no migration has them.

history.<topic> has the columns that the topic's SELECT over staging gives (`Plan.history`): the contract's fields as
they were sent, or what sql/commit/<topic>.sql makes of them. A field of a new version is a column more, null in the
rows that are there: no row is rewritten, and no column is ever dropped or given another type.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER, Contract
from wardstream.database.comments import ITSELF, Comments, set_comments
from wardstream.database.connection import Connection, names, trusted, types_of
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import result_of
from wardstream.database.scratch import Scratch
from wardstream.stream.commit import create_staged, staged_of
from wardstream.stream.plan import BESIDE, Plan

NULLABLE = {"ids_as_sent"}
"""Of what is beside an event's fields: what most facts do not have."""
FACT = ("recorded_at", "event_id", "content_hash")
"""Primary key: the same event with the same body is the same fact."""
WHAT_WAS_FOUND = {
    "authority": "Whose ids it has, by schemas/sources.yaml: an id names a thing together with it.",
    "ids_as_sent": "Those ids that were sent in another form than the one in which they are compared, as sent.",
    "content_hash": "SHA-256 of the fact's canonical form.",
    "topic_id": "Kafka's id of the topic it was first committed from.",
    "partition": "Partition it was first committed from.",
    "offset": "Offset it was first committed from.",
    "schema_id": "Registry id of the writer's schema.",
    "received_at": "Start of the transaction that committed it.",
}
NOT_NULL = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull"


def apply_history(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> list[str]:
    """Make the tables that are missing and extend the others, as the owner; the tables changed.

    PlanError where a SELECT cannot be run, or gives another type than the column has.
    """
    changed = []
    for topic, contract in contracts.items():
        with conn.transaction():
            table = sql.Identifier("history", topic)
            columns = _columns(conn, contract, plan)
            there = conn.execute("SELECT to_regclass(%s)", [table.as_string(conn)]).fetchone() != (None,)
            altered = _extend(conn, contract, columns) if there else _create(conn, contract, columns)
            folds = plan.folds_of(topic)
            for key in {fold.key for fold in folds} or {contract.key}:
                read = any(fold.key == key and fold.of_greatest is None for fold in folds)
                _index(conn, contract, key, read_by_commits=read)
            if set_comments(conn, "history", topic, _comments(contract)) or altered:
                changed.append(f"history.{topic}")
    return changed


def _columns(conn: Connection, contract: Contract, plan: Plan) -> dict[str, str]:
    """Type of each column that the topic's SELECT gives."""
    create_staged(Scratch(conn), contract)
    columns = result_of(conn, f"sql/commit/{contract.topic}.sql", plan.history[contract.topic])
    conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(staged_of(contract.topic))))
    if missing := [name for name in (*VERSION_ORDER, *BESIDE) if name not in columns]:
        raise PlanError(f"sql/commit/{contract.topic}.sql: it does not give {', '.join(missing)}")
    return columns


def _create(conn: Connection, contract: Contract, columns: Mapping[str, str]) -> bool:
    required = {*contract.required, *BESIDE} - NULLABLE
    parts: list[sql.Composable] = [
        sql.SQL("{} {} {} {}").format(
            sql.Identifier(name),
            trusted(kind),
            sql.SQL('COLLATE "C"' if name == "event_id" else ""),  # one order on every server
            sql.SQL("NOT NULL" if name in required else ""),
        )
        for name, kind in columns.items()
    ]
    parts.append(sql.SQL("received_at timestamptz NOT NULL DEFAULT now()"))
    parts.append(sql.SQL("PRIMARY KEY ({})").format(names(FACT)))
    table = sql.Identifier("history", contract.topic)
    conn.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(parts)))
    conn.execute(sql.SQL("GRANT SELECT, INSERT ON {} TO wardstream_writer").format(table))
    return True


def _extend(conn: Connection, contract: Contract, columns: Mapping[str, str]) -> bool:
    table = sql.Identifier("history", contract.topic)
    name_of_table = table.as_string(conn)
    there = types_of(conn, name_of_table)
    for name, kind in columns.items():
        if there.get(name, kind) != kind:
            raise PlanError(
                f"history.{contract.topic}: column {name} is {there[name]}, but its facts come as {kind};"
                f" cast it in sql/commit/{contract.topic}.sql, or give the field another name"
            )
    new = {name: kind for name, kind in columns.items() if name not in there}
    if new.pop("authority", None):
        _add_authority(conn, contract)
    for name, kind in new.items():
        conn.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, sql.Identifier(name), trusted(kind)))
    kept = {*contract.required, *BESIDE, "received_at"} - NULLABLE
    loosened = [name for (name,) in conn.execute(NOT_NULL, [name_of_table]) if name not in kept]
    for name in loosened:  # an event may leave it out now
        conn.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(table, sql.Identifier(name)))
    return bool(new or loosened or "authority" not in there)


def _add_authority(conn: Connection, contract: Contract) -> None:
    """Give facts of a version that knew no authority that of most of them, without writing a row; `proof.restate`
    gives the others theirs."""
    table = sql.Identifier("history", contract.topic)
    count = sql.SQL("SELECT source, count(*) FROM {} GROUP BY source ORDER BY count(*) DESC, source")
    sources = [source for source, _ in conn.execute(count.format(table))]
    most = contract.sources.authority_of(sources[0]) if sources else contract.sources.default_authority
    add = sql.SQL("ALTER TABLE {} ADD COLUMN authority text NOT NULL DEFAULT {}")
    conn.execute(add.format(table, sql.Literal(most)))
    conn.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN authority DROP DEFAULT").format(table))
    with conn.cursor() as cursor:
        known = (
            "INSERT INTO ops.sources (source, authority, ignore_case, facility)"
            " SELECT %s, '', false, default_facility FROM ops.hospital ON CONFLICT DO NOTHING"
        )
        cursor.executemany(known, [[source] for source in sources])


def _index(conn: Connection, contract: Contract, key: str, *, read_by_commits: bool) -> None:
    """How the versions of an entity are found.

    Where commits fold them, in their order: by it a fold reads no more than it needs, whatever the planner believes
    there to be. Else a fifth as large and half as dear to keep, for whoever rebuilds, or asks what was known when.
    Either replaces the other, and those of a version that knew no authority.
    """
    ordered, hashed = f"{contract.topic}_versions_by_{key}", f"{contract.topic}_by_{key}"
    before = f"{contract.topic}_version" if key == contract.key else f"{contract.topic}_{key}_version"
    table = sql.Identifier("history", contract.topic)
    if read_by_commits:
        wanted, method, columns = ordered, sql.SQL("btree"), [key, "authority", *VERSION_ORDER]
    else:
        wanted, method, columns = hashed, sql.SQL("hash"), [key]
    create = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING {} ({})")
    conn.execute(create.format(sql.Identifier(wanted), table, method, names(columns)))
    for other in {ordered, hashed, before} - {wanted}:
        conn.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier("history", other)))


def _comments(contract: Contract) -> Comments:
    of_table = f"Every distinct fact of topic {contract.topic}, in the order of its versions. Append-only."
    return {ITSELF: of_table, **contract.descriptions, **WHAT_WAS_FOUND}
