"""The bench: one a session for what empties it itself, and the same one emptied before each test."""

import pytest

from tests.integration.commit.bench import Bench
from wardstream.settings import Settings


@pytest.fixture(scope="session")
def shared_bench(database: Settings) -> Bench:
    """The bench of the session, in whatever state the last test left it."""
    return Bench(database)


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    """The bench with an empty database."""
    shared_bench.empty()
    return shared_bench
