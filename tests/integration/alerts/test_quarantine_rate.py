"""The share of refused messages in the last hour, counted from the ledger's ranges."""

from collections.abc import Callable

import psycopg
import pytest

from tests.integration.alerts.conftest import Row, Webhook
from wardstream.settings import Settings
from wardstream.watch.quarantine_rate import check_rates, rates

Commits = Callable[..., None]


@pytest.fixture
def commits(quiet: Settings) -> Commits:
    """Puts a commit into the ledger: received, quarantined, so many minutes ago."""
    with psycopg.connect(quiet.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE ops.ledger, ops.ledger_ranges")
        for topic in ("labs", "patients"):
            conn.execute("INSERT INTO ops.ledger VALUES (%s, 0, %s, 0)", [f"id-{topic}", topic])

    def put(topic: str, received: int, quarantined: int, minutes_ago: float) -> None:
        with psycopg.connect(quiet.owner_url, autocommit=True) as conn:
            conn.execute(
                "WITH moved AS (UPDATE ops.ledger SET next_offset = next_offset + %(n)s WHERE topic = %(topic)s"
                " RETURNING topic_id, partition, next_offset)"
                " INSERT INTO ops.ledger_ranges (topic_id, partition, start_offset, end_offset, received, stored,"
                "  duplicate, quarantined, generation, commit_seq, committed_at)"
                " SELECT topic_id, partition, next_offset - %(n)s, next_offset, %(n)s, %(n)s - %(bad)s, 0, %(bad)s, 1,"
                "  1, now() - make_interval(secs => %(seconds)s) FROM moved",
                {"topic": topic, "n": received, "bad": quarantined, "seconds": minutes_ago * 60},
            )

    return put


def test_only_the_last_hour_counts_and_each_topic_for_itself(quiet: Settings, commits: Commits):
    commits("labs", 1000, 900, 61)
    commits("labs", 90, 0, 50)
    commits("labs", 10, 4, 10)
    assert {rate.topic: (rate.received, rate.quarantined) for rate in rates(quiet)} == {
        "labs": (100, 4),
        "patients": (0, 0),
    }


def test_too_high_a_share_is_told_once_and_closed_when_it_falls(
    told: Settings, webhook: Webhook, commits: Commits, row: Row
):
    commits("labs", 99, 0, 30)
    commits("labs", 101, 3, 20)
    said = check_rates(told)  # 3 of 200 is 1.5 %
    assert said[0] == (
        "topic labs: 3 of 200 messages (1.5%) in quarantine in the last hour; more than 1.0% is too many. "
        "What to do: docs/runbooks/a-message-is-in-quarantine.md"
    )
    assert said[1].startswith("topic patients: 0 of 0 messages")
    check_rates(told)
    [posted] = webhook.got
    assert (posted["key"], posted["runbook"]) == ("quarantine:labs", "a-message-is-in-quarantine.md")
    minutes = (row("quarantine:labs")["opened_at"] - row("quarantine:labs")["since"]).total_seconds() / 60
    assert 19.5 < minutes < 21  # since the first commit that refused one
    commits("labs", 200, 0, 1)
    check_rates(told)
    assert row("quarantine:labs")["closed_at"] is not None
    assert [posted["state"] for posted in webhook.got] == ["open", "resolved"]


@pytest.mark.parametrize(
    ("received", "quarantined", "is_told"),
    [(19, 19, True), (12, 12, True), (19, 18, False), (20, 1, True), (100, 1, False), (100, 2, True), (5000, 0, False)],
)
def test_the_limits(told: Settings, webhook: Webhook, commits: Commits, received: int, quarantined: int, is_told: bool):
    commits("patients", received, quarantined, 5)
    check_rates(told)
    assert bool(webhook.got) == is_told


def test_an_empty_ledger_is_said(quiet: Settings, commits: Commits):
    with psycopg.connect(quiet.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE ops.ledger, ops.ledger_ranges")
    assert check_rates(quiet) == ["no topic is in the ledger yet: the stream has not run"]
