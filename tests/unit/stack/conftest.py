"""Settings that no environment and no .env of a developer changes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wardstream.settings import Settings
from wardstream.stack.env import variable

Make = Callable[..., Settings]


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Settings from keyword arguments and defaults alone."""
    known = {variable(name, field) for name, field in Settings.model_fields.items()}
    for name in known & set(os.environ):
        monkeypatch.delenv(name)
    return lambda **values: Settings(_env_file=None, **values)  # type: ignore[call-arg]


@pytest.fixture
def settings(make_settings: Make, tmp_path: Path) -> Settings:
    """Everything in the test's own folder."""
    return make_settings(state_dir=tmp_path / "state %d", cache_dir=tmp_path / "cache", short_dir=tmp_path)
