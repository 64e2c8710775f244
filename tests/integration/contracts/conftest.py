"""A broker and a registry with our topics and schemas, for the files of this folder."""

from collections.abc import Iterator

import pytest

from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.contracts.model import Contract, load_contracts
from wardstream.settings import Settings
from wardstream.stack import paths


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running stack without the stream; topics and schemas are there, stopped and deleted at the end."""
    chosen = own_settings(tmp_path_factory.mktemp("contracts"))
    try:
        stack.start(chosen, stream=False)
        yield chosen
    finally:
        stack.stop(chosen)
        paths.remove(chosen)


@pytest.fixture(scope="package")
def contracts(settings: Settings) -> dict[str, Contract]:
    return load_contracts(settings.schemas_dir)
