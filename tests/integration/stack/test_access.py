"""Who gets at what in PostgreSQL: every role by its own password, and the BI role to schema mart alone.

Nothing is listed here by name: what there is comes from the server's catalog, so that a new table is tried as well.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from wardstream.database.connection import Connection, connect, trusted
from wardstream.settings import Settings
from wardstream.stack.parts import postgres

OURS = "nspname !~ '^pg_' AND nspname <> 'information_schema'"
RELATIONS = f"""
    SELECT n.nspname, c.relname, c.relkind::text
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY 1, 2
"""
HIDDEN_FROM_BI = {"history", "core", "ops", "public"}
WRITES = {
    "insert": "INSERT INTO {} DEFAULT VALUES",
    "delete": "DELETE FROM {}",
    "truncate": "TRUNCATE {}",
    "lock": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    "drop": "DROP TABLE {}",
    "index": "CREATE INDEX ON {} ((1))",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
}
CREATIONS = [
    "CREATE TABLE {schema}.t (n int)",
    "CREATE TEMPORARY TABLE t (n int)",
    "CREATE MATERIALIZED VIEW {schema}.m AS SELECT 1",
    "CREATE VIEW {schema}.v AS SELECT 1",
    "CREATE SEQUENCE {schema}.s",
    "CREATE FUNCTION {schema}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE {schema}.e AS ENUM ('a')",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION pg_trgm SCHEMA {schema}",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "BEGIN; LOCK TABLE ops.commit_lock IN ACCESS SHARE MODE",  # a stronger one would hold up every commit
    "COPY (SELECT 1) TO '/tmp/wardstream-bi'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SET ROLE wardstream_owner",
]
REFUSALS = (
    psycopg.errors.InsufficientPrivilege,
    *(psycopg.errors.WrongObjectType, psycopg.errors.ObjectNotInPrerequisiteState),  # such as an INSERT into a view
)
FUNCTIONS = f"""
    SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {OURS}
"""


@pytest.fixture
def owner(database: Settings) -> Iterator[Connection]:
    with connect(database.owner_url, "test") as conn:
        yield conn


@pytest.fixture
def bi(database: Settings) -> Iterator[Connection]:
    """A session of the BI role without the read-only default: what holds must be that it has no rights."""
    with psycopg.connect(database.bi_url, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        yield conn


def _refused(conn: Connection, statement: sql.Composed | sql.SQL) -> bool:
    try:
        conn.execute(statement)
    except REFUSALS:
        return True
    return False


def test_bi_reads_every_relation_of_mart_and_no_other(owner, bi):
    found = owner.execute(RELATIONS).fetchall()
    assert {schema for schema, _, _ in found} == {"mart"} | HIDDEN_FROM_BI
    assert {kind for _, _, kind in found} >= {"r", "v", "S"}
    read = {
        (schema, name)
        for schema, name, _ in found
        if not _refused(bi, sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(schema, name)))
    }
    assert read == {(schema, name) for schema, name, kind in found if schema == "mart" and kind != "S"}


def test_bi_draws_no_number_and_calls_only_what_makes_keys(owner, bi):
    for schema, name, kind in owner.execute(RELATIONS).fetchall():
        if kind == "S":
            assert _refused(bi, sql.SQL("SELECT nextval({})").format(f"{schema}.{name}")), name
    callable_by_bi = """
        AND has_schema_privilege('wardstream_bi', n.oid, 'USAGE')
        AND has_function_privilege('wardstream_bi', p.oid, 'EXECUTE')
    """
    assert owner.execute(FUNCTIONS + callable_by_bi).fetchall() == [("mart.text_key(text,text,integer)",)]
    # one that runs with its owner's rights would be a way around all of this
    assert owner.execute(FUNCTIONS + " AND prosecdef").fetchall() == []


def test_bi_changes_nothing_in_mart(owner, bi):
    relations = [(schema, name) for schema, name, _ in owner.execute(RELATIONS).fetchall() if schema == "mart"]
    assert relations
    done = []
    for schema, name in relations:
        for write, statement in WRITES.items():
            with bi.transaction(force_rollback=True):  # LOCK wants one
                if not _refused(bi, trusted(statement).format(sql.Identifier(schema, name))):
                    done.append((name, write))
    assert done == []
    columns = """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'mart' AND is_updatable = 'YES'  -- others nobody can change
    """
    for table, column in owner.execute(columns).fetchall():
        update = sql.SQL("UPDATE {} SET {c} = {c}").format(sql.Identifier("mart", table), c=sql.Identifier(column))
        assert _refused(bi, update), (table, column)


@pytest.mark.parametrize("statement", CREATIONS)
def test_bi_makes_nothing_and_becomes_nobody_else(bi, statement):
    for schema in ("mart", "public", "core") if "{schema}" in statement else ("",):
        assert _refused(bi, trusted(statement.format(schema=schema))), schema


def test_bi_gets_into_no_other_database(owner, database):
    names = [name for (name,) in owner.execute("SELECT datname FROM pg_database WHERE datallowconn")]
    assert {"postgres", "template1", postgres.REGISTRY_DATABASE} < set(names)
    # other tests have more databases of ours on this server, each as open to the BI role as the first one
    closed = {"postgres", "template1", postgres.REGISTRY_DATABASE, postgres.AIRFLOW_DATABASE}
    for name in closed & set(names):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(database.bi_url, dbname=name)


def test_every_role_needs_its_password_and_scram(server):
    with postgres.connect(server) as root:
        rules = root.execute("SELECT type, auth_method, error FROM pg_hba_file_rules").fetchall()
        assert rules == [("host", "scram-sha-256", None)]
        assert root.execute("SHOW password_encryption").fetchone() == ("scram-sha-256",)
        assert root.execute("SHOW unix_socket_directories").fetchone() == ("",)
        kept: dict[str, str] = dict(
            root.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
        )
    assert set(kept) == set(postgres.ROLES)
    assert all(password.startswith("SCRAM-SHA-256$") for password in kept.values())
    secrets = [server.password(role) for role in postgres.ROLES]
    assert len(set(secrets)) == len(secrets) and min(map(len, secrets)) >= 32
    address = f"host=127.0.0.1 port={server.postgres_port} dbname={server.database_name}"
    for role in postgres.ROLES:
        for given in ("", f" password={role}", " password=guess"):
            with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
                psycopg.connect(f"{address} user={role}{given}", passfile="/dev/null")
