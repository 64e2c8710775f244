"""The commands: exit codes and what they say."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import wardstream.cli  # noqa: F401 - adds `register`
from tests.unit.contracts import made_up
from wardstream.contracts.contract_commands import app
from wardstream.registry.client import RegistryUnavailableError, register_all
from wardstream.settings import get_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = made_up.write(tmp_path, lock=False)
    monkeypatch.setenv("WARDSTREAM_SCHEMAS_DIR", str(made))
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")
    get_settings.cache_clear()
    yield made
    get_settings.cache_clear()


def test_check_lock_check(folder: Path):
    before = CliRunner().invoke(app, ["check"])
    assert before.exit_code == 1
    assert "visits/value/v1.avsc: not in SHA256SUMS" in before.output
    assert "added visits/value/v1.avsc" in CliRunner().invoke(app, ["lock"]).output
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_register_without_a_registry(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def impatient(settings, **more):
        return register_all(settings, patience_seconds=0.1, **more)

    monkeypatch.setattr("wardstream.cli.register_all", impatient)
    result = CliRunner().invoke(app, ["register"])
    assert result.exit_code == 1
    assert isinstance(result.exception, RegistryUnavailableError), "one line, by `wardstream.cli.main`"
    assert "is it running" in str(result.exception)
