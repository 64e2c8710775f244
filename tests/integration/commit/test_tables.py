"""Tables, contracts and SQL files say the same; roles can do what they must; migrations have a way back."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.conftest import another_database
from wardstream.contracts.model import Contract, load_contracts
from wardstream.contracts.sources import LONGEST_NAME
from wardstream.database.connection import Connection, columns_of, connect, primary_key_of
from wardstream.database.migrate import migrate, rollback
from wardstream.database.scratch import Scratch
from wardstream.proof.digest import relations
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.parts import postgres
from wardstream.stream.commit import create_staged
from wardstream.stream.plan import BESIDE, load_plan

CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")
PLAN = load_plan(PROJECT_ROOT / "sql", CONTRACTS)
SCHEMAS = ["history", "core", "ops", "mart"]
VERSION_ORDER = ["recorded_at", "source_seq", "event_id", "content_hash"]
FOUND = {
    "authority": "text",
    "content_hash": "bytea",
    "topic_id": "text",
    "partition": "integer",
    "offset": "bigint",
    "schema_id": "integer",
}
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, NULL), a.attnotnull
    FROM pg_attribute AS a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
CATALOGUE = """
    SELECT 'column', c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text
        || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || coalesce(col_description(c.oid, a.attnum), '')
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = ANY(%(schemas)s::regnamespace[]) AND c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT c.relkind::text, c.oid::regclass::text, coalesce(c.relacl::text, ''), coalesce(obj_description(c.oid), '')
    FROM pg_class AS c
    WHERE c.relnamespace = ANY(%(schemas)s::regnamespace[])
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = ANY(%(schemas)s::regnamespace[])
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = ANY(%(schemas)s::text[])
    UNION ALL
    SELECT 'view', viewname, schemaname, definition FROM pg_views WHERE schemaname = ANY(%(schemas)s::text[])
    UNION ALL
    SELECT 'schema', nspname, nspacl::text, obj_description(oid)
    FROM pg_namespace WHERE nspname = ANY(%(schemas)s::text[])
    ORDER BY 1, 2, 3, 4
"""


@pytest.fixture
def owner(database: Settings) -> Iterator[Connection]:
    with connect(database.owner_url, "test") as conn:
        yield conn


def session(settings: Settings, role: str) -> Connection:
    urls = {"wardstream_writer": settings.writer_url, "wardstream_bi": settings.bi_url}
    return psycopg.connect(urls[role], autocommit=True)


def test_every_topic_has_its_table_and_every_table_its_topic(owner):
    assert {name for name, _ in relations(owner, "history")} == set(CONTRACTS)
    assert {name for name, _ in relations(owner, "core")} == {fold.table for fold in PLAN.folds}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_history_has_the_contracts_fields_and_where_they_were_found(owner, contract: Contract):
    found = {name: (kind, required) for name, kind, required in owner.execute(COLUMNS, [f"history.{contract.topic}"])}
    wanted: dict[str, Any] = {
        field.name: (
            field.postgres_type.replace("timestamptz", "timestamp with time zone"),
            field.name in contract.required,
        )
        for field in contract.fields
    }
    wanted |= {name: (kind, True) for name, kind in FOUND.items()}
    wanted["received_at"] = ("timestamp with time zone", True)
    wanted["ids_as_sent"] = ("jsonb", False)
    assert found == wanted


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_history_is_kept_and_found_by_version(owner, contract: Contract):
    indexes = [
        definition.split(" USING ")[1]
        for (definition,) in owner.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'history' AND tablename = %s ORDER BY 1",
            [contract.topic],
        )
    ]
    # A stay is one entity of several facts: commits read them by stay, whatever the contract's own key.
    wanted = {
        f"hash ({fold.key})" if fold.of_greatest else f"btree ({', '.join([fold.key, 'authority', *VERSION_ORDER])})"
        for fold in PLAN.folds_of(contract.topic)
    }
    assert sorted(indexes) == sorted(["btree (recorded_at, event_id, content_hash)", *wanted])
    assert set(primary_key_of(owner, f"history.{contract.topic}")) == {"recorded_at", "event_id", "content_hash"}
    collation = (
        "SELECT collation_name FROM information_schema.columns WHERE table_schema = 'history' AND table_name = %s"
    )
    assert owner.execute(f"{collation} AND column_name = 'event_id'", [contract.topic]).fetchone() == ("C",)


def test_everything_has_a_comment(owner):
    silent = owner.execute(
        "SELECT c.oid::regclass::text, a.attname FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = ANY(%(s)s::regnamespace[]) AND c.relkind IN ('r', 'v')"
        " AND coalesce(col_description(c.oid, a.attnum), '') = ''"
        " UNION ALL SELECT c.oid::regclass::text, NULL FROM pg_class c"
        " WHERE c.relnamespace = ANY(%(s)s::regnamespace[]) AND c.relkind IN ('r', 'v', 'S')"
        " AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''"
        " UNION ALL SELECT nspname, NULL FROM pg_namespace WHERE nspname = ANY(%(s)s::text[])"
        " AND coalesce(obj_description(oid, 'pg_namespace'), '') = ''",
        {"s": SCHEMAS},
    ).fetchall()
    assert silent == []


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_the_commit_file_gives_the_columns_of_history(owner, contract: Contract):
    create_staged(Scratch(owner), contract)
    given = _result_of(owner, PLAN.history[contract.topic])
    kept = {name: kind for name, kind, _ in owner.execute(COLUMNS, [f"history.{contract.topic}"])}
    kept.pop("received_at")
    assert given == kept
    assert set(BESIDE) <= set(given)


@pytest.mark.parametrize("fold", PLAN.folds, ids=[fold.table for fold in PLAN.folds])
def test_a_fold_gives_the_columns_of_its_table(owner, fold):
    owner.execute("CREATE TEMP TABLE touched (authority text, key text)")
    given = _result_of(owner, fold.query, {"known_at": "infinity"})
    kept = {name: kind for name, kind, _ in owner.execute(COLUMNS, [f"core.{fold.table}"])}
    assert given == kept
    assert {fold.key, *fold.days} <= set(given)


def _result_of(conn: Connection, query: str, parameters: Any = None) -> dict[str, str]:
    """Column name -> type of a query."""
    conn.execute(f"CREATE TEMP TABLE result AS SELECT * FROM ({query}) AS q LIMIT 0".encode(), parameters)
    found = {name: kind for name, kind, _ in conn.execute(COLUMNS, ["result"])}
    conn.execute("DROP TABLE result")
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
def test_bi_reads_mart_and_nothing_else(database, owner, schema):
    with session(database, "wardstream_bi") as bi:
        for name, _ in relations(owner, schema):
            query = sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(schema, name))
            if schema == "mart":
                bi.execute(query)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    bi.execute(query)


def test_bi_cannot_write_mart(database, owner):
    with session(database, "wardstream_bi") as bi:
        bi.execute("SET default_transaction_read_only = off")
        for name, _ in relations(owner, "mart"):
            # nobody can write a view of more than one table
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                bi.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("mart", name)))


def test_the_writer_adds_to_history_and_never_changes_it(database, owner):
    tables = [("history", name) for name, _ in relations(owner, "history")]
    tables += [("ops", name) for name in ("ledger_ranges", "duplicates", "quarantine", "gaps")]
    with session(database, "wardstream_writer") as writer:
        for schema, name in tables:
            table, column = sql.Identifier(schema, name), sql.Identifier(columns_of(owner, schema, name)[0])
            for statement in ("UPDATE {t} SET {c} = {c}", "DELETE FROM {t}", "TRUNCATE {t}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    writer.execute(sql.SQL(statement).format(t=table, c=column))


def test_the_writer_owns_nothing(owner):
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = ANY(%s::regnamespace[])"
    assert owner.execute(owners, [SCHEMAS]).fetchall() == [("wardstream_owner",)]


def test_migrations_go_back_to_nothing_and_forward_again(server):
    settings = another_database(server, "wardstream_back_and_forth")
    applied = migrate(settings)
    before = _catalogue(settings)
    assert len(before) > 100 and migrate(settings) == []
    assert rollback(settings) == applied[::-1]
    with postgres.connect(settings, settings.database_name) as conn:
        left = conn.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [SCHEMAS]).fetchall()
        assert left == []
    assert migrate(settings) == applied
    assert _catalogue(settings) == before


def _catalogue(settings: Settings) -> list[tuple[Any, ...]]:
    with connect(settings.owner_url, "test") as conn:
        return conn.execute(CATALOGUE, {"schemas": SCHEMAS}).fetchall()


def test_what_a_mart_is_keyed_by_fits_into_an_index(owner):
    """PostgreSQL refuses a key of more than 2,704 bytes, and so would refuse the day, and each build of it."""
    marts = [table for table, is_table in relations(owner, "mart") if is_table and table.startswith("daily_")]
    for mart in marts:
        keys = set(primary_key_of(owner, f"mart.{mart}")) - {"day"}
        longest = {
            key: contract.properties[key].get("logicalTypeOptions", {}).get("maxLength", 10**6)
            for contract in CONTRACTS.values()
            for key in keys & set(contract.properties)
        } | {"facility": LONGEST_NAME}
        assert keys <= set(longest), f"{mart}: keys are fields of a contract"
        assert 4 * sum(longest.values()) < 2_600, f"{mart}: four bytes a letter; {longest}"
