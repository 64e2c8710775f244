"""The roles' rights compared with all that is expected: an extra one of each kind is named, and one that lacks."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.conftest import another_database
from wardstream.airflow.platform_setup import SetupError, check_roles
from wardstream.database.migrate import migrate
from wardstream.settings import Settings
from wardstream.stack.parts import postgres

BI = "wardstream_bi"


@pytest.fixture(scope="module")
def rights(server: Settings) -> Settings:
    settings = another_database(server, "wardstream_rights")
    migrate(settings)
    return settings


@pytest.fixture
def admin(rights: Settings) -> Iterator[psycopg.Connection]:
    with postgres.connect(rights, rights.database_name) as conn:
        yield conn


def test_as_set_up_they_are_right(rights: Settings) -> None:
    assert any("and no more" in line for line in check_roles(rights))


def test_a_stream_that_runs_has_temporary_tables(rights: Settings) -> None:
    with psycopg.connect(rights.writer_url, autocommit=True) as writer:
        writer.execute("CREATE TEMP TABLE staged_labs (body text)")
        assert any("and no more" in line for line in check_roles(rights))


MAKE = "CREATE FUNCTION mart.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
OWN = f"CREATE TABLE mart.mine (n int); ALTER TABLE mart.mine OWNER TO {BI}"
DEFAULT = "ALTER DEFAULT PRIVILEGES IN SCHEMA core"
GRANTED = {
    "table": ("UPDATE ON mart.labs", "UPDATE on mart.labs"),
    "hidden table": ("SELECT ON history.labs", "SELECT on history.labs"),
    "column": ("SELECT (patient_id) ON core.patients", "SELECT on column patient_id of core.patients"),
    "schema": ("CREATE ON SCHEMA mart", "CREATE on schema mart"),
    "sequence": ("USAGE ON SEQUENCE ops.commit_seq", "USAGE on ops.commit_seq"),
    "server's function": ("EXECUTE ON FUNCTION pg_advisory_lock(bigint)", "EXECUTE on pg_advisory_lock(bigint)"),
    "database": ("TEMPORARY ON DATABASE wardstream_rights", "TEMPORARY on database wardstream_rights"),
    "language": ("USAGE ON LANGUAGE sql", "has a right on language sql"),
    "membership": ("wardstream_writer", "is a member of role wardstream_writer"),
}
EXTRA = {
    kind: (f"GRANT {what} TO {BI}", f"REVOKE {what} FROM {BI}", said) for kind, (what, said) in GRANTED.items()
} | {
    "function": (MAKE, "DROP FUNCTION mart.f()", "EXECUTE on function mart.f()"),
    "everybody": ("GRANT INSERT ON mart.labs TO PUBLIC", "REVOKE INSERT ON mart.labs FROM PUBLIC", "as everybody"),
    "passing on": (
        f"GRANT SELECT ON mart.labs TO {BI} WITH GRANT OPTION",
        f"REVOKE GRANT OPTION FOR SELECT ON mart.labs FROM {BI}",
        "may pass on SELECT on mart.labs",
    ),
    "ownership": (OWN, "DROP TABLE mart.mine", "owns table mart.mine"),
    "attribute": (f"ALTER ROLE {BI} CREATEDB", f"ALTER ROLE {BI} NOCREATEDB", "has the attribute CREATEDB"),
    "default": (
        f"{DEFAULT} GRANT SELECT ON TABLES TO {BI}",
        f"{DEFAULT} REVOKE SELECT ON TABLES FROM {BI}",
        "has a right on default privileges",
    ),
}


@pytest.mark.parametrize("kind", EXTRA)
def test_an_extra_right_of_the_bi_role_is_named(rights: Settings, admin: psycopg.Connection, kind: str) -> None:
    grant, revoke, named = EXTRA[kind]
    admin.execute(grant.encode())
    try:
        with pytest.raises(SetupError) as found:
            check_roles(rights)
    finally:
        admin.execute(revoke.encode())
    assert named in str(found.value) and BI in str(found.value)
    check_roles(rights)


WRITER = [
    ("GRANT UPDATE ON history.labs TO", "REVOKE UPDATE ON history.labs FROM", "has UPDATE on history.labs"),
    ("REVOKE SELECT ON core.patients FROM", "GRANT SELECT ON core.patients TO", "lacks SELECT on core.patients"),
    ("GRANT INSERT ON ops.facilities TO", "REVOKE INSERT ON ops.facilities FROM", "has INSERT on ops.facilities"),
]


@pytest.mark.parametrize(("change", "back", "named"), WRITER)
def test_the_writers_rights_are_compared_too(
    rights: Settings, admin: psycopg.Connection, change: str, back: str, named: str
) -> None:
    admin.execute(f"{change} wardstream_writer".encode())
    try:
        with pytest.raises(SetupError, match=f"wardstream_writer {named}"):
            check_roles(rights)
    finally:
        admin.execute(f"{back} wardstream_writer".encode())
