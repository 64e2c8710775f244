"""A sender that falls silent: by its own rhythm, not while the stream stands still, and over when it sends again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.alerts.conftest import Webhook
from wardstream.database.connection import trusted
from wardstream.settings import Settings
from wardstream.stream.plan import PROTOCOL_DIR
from wardstream.watch.alerts import tell
from wardstream.watch.senders import look

NOTE = trusted((PROTOCOL_DIR / "note_sender.sql").read_text())
NOW = datetime.now(UTC)


class Ward:
    """Two senders of labs, and a driver that has read all there is."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn

    def sent(self, source: str, *hours_ago: float) -> None:
        for hours in hours_ago:
            at = NOW - timedelta(hours=hours)
            one = {
                "topic": "labs",
                "source": source,
                "broker_time_count": 1,
                "broker_time_min": at,
                "broker_time_max": at,
            }
            self.conn.execute(NOTE, one)


@pytest.fixture
def ward(told: Settings) -> Iterator[Ward]:
    with psycopg.connect(told.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE ops.senders, ops.streams")
        conn.execute(
            "INSERT INTO ops.streams (stream, generation, state, pid, backend_pids, started_at, heartbeat_at, lag)"
            " VALUES ('main', 1, 'running', 1, '{}', now(), now(), '{\"labs\": {\"0\": 0}}')"
        )
        yield Ward(conn)
        conn.execute("TRUNCATE ops.senders, ops.streams")


def codes(settings: Settings) -> list[str]:
    return [one.code for one in look(settings).found]


def test_senders_fall_silent_one_by_one_and_one_sends_again(told: Settings, webhook: Webhook, ward: Ward) -> None:
    ward.sent("steady", *range(60, -1, -1))
    ward.sent("lab-a", *range(60, 7, -1))
    ward.sent("lab-b", *range(60, 8, -1))
    tell(told, look(told))
    assert [(posted["key"], posted["state"]) for posted in webhook.got] == [
        ("silent:labs/lab-a", "open"),
        ("silent:labs/lab-b", "open"),
    ]
    assert not any(one.red for one in look(told).found)
    ward.sent("lab-a", 0)
    tell(told, look(told))
    assert [(posted["key"], posted["state"]) for posted in webhook.got][2:] == [("silent:labs/lab-a", "resolved")]


def test_its_rhythm_is_its_own(told: Settings, ward: Ward) -> None:
    """Once a day for a week: a pause of two days is nothing, one of four is."""
    for pause, silent in ((48, []), (96, ["silent:labs/daily"])):
        ward.conn.execute("TRUNCATE ops.senders")
        ward.sent("daily", *(pause + 24 * day for day in range(9, -1, -1)))
        assert codes(told) == silent


def test_one_outage_does_not_become_the_rhythm(told: Settings, ward: Ward) -> None:
    ward.sent("lab-a", *range(400, 300, -1), *range(100, 9, -1))  # an outage of 200 hours
    assert codes(told) == ["silent:labs/lab-a"]


def test_who_sends_more_often_by_now_has_the_rhythm_of_now(told: Settings, ward: Ward) -> None:
    ward.sent("lab-a", *range(38 * 24, 28 * 24, -24), *range(28 * 24, 9, -1))  # daily, then hourly for four weeks
    assert codes(told) == ["silent:labs/lab-a"]


def test_a_log_that_is_read_anew_silences_nobody(told: Settings, ward: Ward) -> None:
    ward.sent("lab-a", *range(60, -1, -1))
    ward.sent("lab-a", 30)
    assert codes(told) == []


def test_a_load_of_one_hour_has_no_rhythm(told: Settings, ward: Ward) -> None:
    ward.sent("sample", 100.0, 99.5, 99.0)
    assert codes(told) == []


def test_hours_that_the_settings_allow_are_no_silence(told: Settings, ward: Ward) -> None:
    ward.sent("lab-a", *range(60, 4, -1))  # five hours, and three times its pause is three
    assert codes(told) == []
    assert codes(told.model_copy(update={"alert_silent_hours": 4.0})) == ["silent:labs/lab-a"]


@pytest.mark.parametrize(
    "change",
    [
        "lag = jsonb_set(lag, '{labs,0}', '5')",  # events wait
        "lag = '{}'",  # how many wait is not known
        "heartbeat_at = now() - interval '10 minutes'",
        "state = 'starting'",
    ],
)
def test_while_the_stream_has_not_read_it_nothing_is_known(
    told: Settings, webhook: Webhook, ward: Ward, change: str
) -> None:
    ward.sent("lab-a", *range(60, 7, -1))
    tell(told, look(told))
    ward.conn.execute(f"UPDATE ops.streams SET {change}".encode())
    found = look(told)
    tell(told, found)
    assert not found.found and len(webhook.got) == 1, "neither told nor over"
