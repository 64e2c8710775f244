"""The publisher without a broker: it gives up in time, says what failed, and looks schemas up."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.sources import mimic_files
from wardstream.contracts.model import ContractError
from wardstream.kafka import publish
from wardstream.kafka.publish import DeliveryFailed, Publisher
from wardstream.settings import PROJECT_ROOT, Settings, get_settings
from wardstream.sources.replay_commands import app

SETTINGS = Settings(kafka_bootstrap_servers="127.0.0.1:1", schemas_dir=PROJECT_ROOT / "schemas")
EVENT = {
    **{"event_id": "e", "source": "test", "kind": "registered", "patient_id": "p", "source_seq": 0},
    **{"event_time": datetime(2026, 1, 1, tzinfo=UTC), "recorded_at": datetime(2026, 1, 1, tzinfo=UTC)},
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publish, "schema_id", lambda *_: 1)


def test_a_dead_broker_ends_in_an_error_with_count_topic_and_code():
    begun = time.monotonic()
    with pytest.raises(DeliveryFailed, match=r"3 events.*patients: 3 x _MSG_TIMED_OUT.*_TRANSPORT"):  # noqa: SIM117
        with Publisher(SETTINGS, timeout_seconds=1.0) as publisher:
            for _ in range(3):
                publisher.send("patients", EVENT)
    assert time.monotonic() - begun < 15
    assert publisher.delivered == {}


def test_a_full_queue_waits_and_then_gives_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publish, "_QUEUE_MESSAGES", 5)
    with pytest.raises(DeliveryFailed), Publisher(SETTINGS, timeout_seconds=1.0) as publisher:
        for _ in range(100):
            publisher.send("patients", EVENT)


def test_an_error_in_the_source_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publish, "_GIVE_UP_SECONDS", 0.1)
    with pytest.raises(ZeroDivisionError), Publisher(SETTINGS, timeout_seconds=1.0) as publisher:
        publisher.send("patients", EVENT)
        raise ZeroDivisionError


def test_a_topic_without_contract():
    with pytest.raises(ContractError, match="topic nowhere"), Publisher(SETTINGS) as publisher:
        publisher.send("nowhere", EVENT)


def test_the_pace_holds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publish, "_GIVE_UP_SECONDS", 0.1)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Publisher(SETTINGS, pace=50) as publisher:
        for _ in range(26):
            publisher.send("patients", EVENT)
        raise KeyboardInterrupt
    assert 0.5 <= time.monotonic() - begun < 3


class _Everything:
    """A publisher that takes all."""

    def __init__(self, *_: Any, **__: Any) -> None:
        from collections import Counter

        self.delivered: Counter[str] = Counter()

    def __enter__(self) -> "_Everything":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def send(self, topic: str, event: Any) -> None:
        self.delivered[topic] += 1


@pytest.fixture
def publisher_of_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wardstream.sources.replay_commands.Publisher", _Everything)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")  # not that of a stack that runs here
    get_settings.cache_clear()


def test_the_commands_print_counts(tmp_path: Path, publisher_of_all: None):
    mimic_files.write(tmp_path)
    result = CliRunner().invoke(app, ["mimic-iii", str(tmp_path), "--shuffle", "3"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "total: 15 events acknowledged"
    assert "labs: 3 events acknowledged" in result.output
    result = CliRunner().invoke(app, ["sample", "--limit", "10"])
    assert result.output.splitlines()[-1] == "total: 10 events acknowledged"


def test_the_commands_end_with_one_line_and_exit_code_1(tmp_path: Path, publisher_of_all: None):
    result = CliRunner().invoke(app, ["mimic-iii", str(tmp_path)])
    assert result.exit_code == 1
    assert "ADMISSIONS.csv.gz (or .csv) is not in" in result.output
    result = CliRunner().invoke(app, ["sample", "--anchor", "2999-01-01"])
    assert result.exit_code == 1
    assert "give an earlier one" in result.output
