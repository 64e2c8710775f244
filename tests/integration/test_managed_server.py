"""A PostgreSQL without superuser, as providers manage it: sql/bootstrap, migrations, and the stream's statements there.

Its administrator has CREATEROLE and CREATEDB. Nobody may call advisory lock functions here, so that nothing of ours
needs a lock that everybody who may connect could hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab
from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.airflow.platform_setup import check_roles
from wardstream.database.connection import connect, trusted
from wardstream.database.migrate import migrate
from wardstream.proof.rebuild import rebuild
from wardstream.settings import Settings
from wardstream.stack import paths
from wardstream.stack.parts import postgres
from wardstream.stream.control import request, situation
from wardstream.stream.lease import Lease

OURS = ("wardstream_owner", "wardstream_writer", "wardstream_bi")
NO_ADVISORY_LOCKS = """
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT oid::regprocedure FROM pg_proc WHERE proname ~ '^pg_(try_)?advisory_' LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
    END LOOP;
END
$$
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A server as a provider hands it over: an administrator, no role and no database of ours."""
    settings = own_settings(tmp_path_factory.mktemp("managed"))
    try:
        stack.start_part(settings, "postgres")
        with postgres.connect(settings, "template1") as root:
            root.execute(NO_ADVISORY_LOCKS)
        with postgres.connect(settings) as root:
            for database in (settings.database_name, postgres.REGISTRY_DATABASE):
                root.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)))
            for role in postgres.ROLES[1:]:
                root.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
            root.execute("CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD 'managed'")
            root.execute("GRANT CONNECT ON DATABASE postgres TO administrator")
        yield settings
    finally:
        stack.stop(settings)
        paths.remove(settings)


def administrator(settings: Settings, database: str) -> psycopg.Connection:
    """The provider's administrator in a database."""
    address = {"host": "127.0.0.1", "port": settings.postgres_port, "dbname": database}
    return psycopg.connect(**address, user="administrator", password="managed", autocommit=True)  # type: ignore[arg-type]


def bootstrap(settings: Settings, makes_database: str) -> None:
    """What docs/postgresql.md says, word for word but for the passwords."""
    files = postgres.BOOTSTRAP_DIR
    with administrator(settings, "postgres") as admin:
        admin.execute((files / "roles.sql").read_bytes())
        for role in OURS:
            set_password = sql.SQL("ALTER ROLE {} PASSWORD {}")
            admin.execute(set_password.format(sql.Identifier(role), sql.Literal(settings.password(role))))
        for statement in makes_database.split(";"):
            admin.execute(trusted(statement))
    with administrator(settings, "wardstream") as admin:
        admin.execute((files / "database.sql").read_bytes())


@pytest.mark.parametrize(
    "makes_database",
    [
        "CREATE DATABASE wardstream OWNER wardstream_owner",
        "CREATE DATABASE wardstream; ALTER DATABASE wardstream OWNER TO wardstream_owner",
    ],
    ids=["made for the owner", "handed over"],
)
def test_from_bootstrap_to_a_commit_without_superuser(bare: Settings, makes_database: str) -> None:
    bootstrap(bare, makes_database)
    with administrator(bare, "postgres") as admin:  # safe to repeat
        admin.execute((postgres.BOOTSTRAP_DIR / "roles.sql").read_bytes())
    assert migrate(bare) and migrate(bare) == []
    assert "and no more" in check_roles(bare)[0]
    lease = Lease(bare, "main")
    lease.take()
    request(bare, "stop", "a test")
    assert situation(bare).leased
    lease.release()
    bench = Bench(bare)
    assert bench.commit(lab("a", "resulted", 1)).stored.total() == 1
    assert rebuild(bare) == {} and bench.not_as_folded() == []
    with connect(bare.writer_url, "test") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT pg_advisory_lock(1)")  # what this test hangs on
    bench.admin.close()
    bench.committer.close()
    with postgres.connect(bare) as root:  # a session of a superuser may still be about to end
        root.execute("DROP DATABASE wardstream WITH (FORCE)")
