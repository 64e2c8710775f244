"""One stack for all end-to-end tests of a session; each test module empties it first."""

from collections.abc import Iterator

import pytest

from tests.e2e.hospital import Hospital
from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.stack import paths


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A running stack with its stream, stopped and deleted at the end."""
    settings = own_settings(tmp_path_factory.mktemp("e2e"))
    try:
        stack.start(settings)
        yield Hospital(settings)
    finally:
        stack.stop(settings)
        paths.remove(settings)
