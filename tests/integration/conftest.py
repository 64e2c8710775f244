"""One real PostgreSQL a session for the tests that need no other server: on a free port, in a folder of its own."""

from collections.abc import Iterator

import pytest

from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.database.migrate import migrate
from wardstream.settings import Settings
from wardstream.stack import paths
from wardstream.stack.parts import postgres


def another_database(settings: Settings, name: str) -> Settings:
    """Settings of one more database, empty and with the same roles, on the same server."""
    other = settings.model_copy(update={"database_name": name})
    postgres.bootstrap(other)
    return other


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running PostgreSQL, stopped and deleted at the end. Neither Kafka nor the registry runs."""
    chosen = own_settings(tmp_path_factory.mktemp("postgres"))
    try:
        stack.start_part(chosen, "postgres")
        yield chosen
    finally:
        stack.stop(chosen)
        paths.remove(chosen)


@pytest.fixture(scope="session")
def database(server: Settings) -> Settings:
    """Settings of the migrated database on `server`."""
    migrate(server)
    return server
