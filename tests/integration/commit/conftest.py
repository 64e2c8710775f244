"""The bench: one a session for what empties it itself, and the same one emptied before each test.

And a database whose file of sources a test writes.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.commit.bench import Bench
from tests.integration.conftest import another_database
from wardstream.database.migrate import migrate
from wardstream.settings import Settings
from wardstream.stack.parts import postgres


@pytest.fixture(scope="session")
def shared_bench(database: Settings) -> Bench:
    """The bench of the session, in whatever state the last test left it."""
    return Bench(database)


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """The bench with an empty database."""
    shared_bench.empty()
    return shared_bench


@pytest.fixture
def said(server: Settings, tmp_path: Path) -> Iterator[Callable[[str], Settings]]:
    """Settings of one database whose schemas/ has this file of sources; migrated."""
    chosen = another_database(server, "said")
    schemas = shutil.copytree(chosen.schemas_dir, tmp_path / "schemas")
    chosen = chosen.model_copy(update={"schemas_dir": schemas})

    def write(text: str) -> Settings:
        (schemas / "sources.yaml").write_text(text)
        migrate(chosen)
        return chosen

    yield write
    with postgres.connect(server) as admin:
        admin.execute("DROP DATABASE said WITH (FORCE)")
