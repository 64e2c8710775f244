"""What is found beside the stream: when a finding is over, stale days, and messages in quarantine unattended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.alerts.conftest import Row, Webhook
from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contract
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment
from wardstream.watch import stale
from wardstream.watch.alerts import open_alert, tell
from wardstream.watch.finding import Finding, Look
from wardstream.watch.quarantine import Chosen, QuarantineError, discard, waiting
from wardstream.watch.quarantine_rate import check_rates

SINCE = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
Refuse = Callable[..., None]


def finding(code: str) -> Finding:
    return Finding(code, f"{code} is so", SINCE, "a-dag-failed.md", "`wardstream up`")


def told_so_far(webhook: Webhook) -> list[tuple[str, str]]:
    return [(posted["key"], posted["state"]) for posted in webhook.got]


def test_each_finding_is_a_message_and_is_over_when_its_own_look_no_longer_finds_it(told: Settings, webhook: Webhook):
    tell(told, Look("stream", [finding("behind:labs")]))
    tell(told, Look("stream", [finding("behind:labs"), finding("crash_loop")]))
    tell(told, Look("days", []))
    tell(told, Look("stream", [finding("behind:labs"), finding("crash_loop")]))
    assert told_so_far(webhook) == [("behind:labs", "open"), ("crash_loop", "open")]
    assert webhook.got[1]["remedy"] == "`wardstream up`"
    tell(told, Look("stream", [finding("behind:labs")]))
    assert told_so_far(webhook)[2:] == [("crash_loop", "resolved")]


def test_what_nobody_knows_the_beginning_of_counts_from_the_first_look(told: Settings, webhook: Webhook, row: Row):
    paused = Finding("dag_paused:some_dag", "it is paused", None, "a-dag-is-paused.md", "unpause it")
    tell(told, Look("dags", [paused]))
    began = row(paused.code)["since"]
    tell(told, Look("dags", [paused]))
    assert row(paused.code)["since"] == began
    tell(told, Look("dags"))
    assert webhook.got[1]["since"] == webhook.got[0]["since"] == began.astimezone(UTC).isoformat()


def test_a_look_ends_what_was_opened_without_one(told: Settings, webhook: Webhook):
    """As an alert that a former version, or a caller by hand, has left open."""
    open_alert(told, "crash_loop", "it loops", SINCE, "a-dag-failed.md")
    tell(told, Look("stream", [finding("crash_loop")]))
    tell(told, Look("stream"))
    assert told_so_far(webhook) == [("crash_loop", "open"), ("crash_loop", "resolved")]


def test_a_look_that_could_not_be_made_or_cannot_see_ends_nothing(told: Settings, webhook: Webhook):
    tell(told, Look("transactions", [finding("open_transaction:labs/0")]))
    tell(told, Look("transactions", unknown="Kafka does not answer"))
    tell(told, Look("transactions", hidden=lambda code: code == "open_transaction:labs/0"))
    assert len(webhook.got) == 1
    tell(told, Look("transactions"))
    assert told_so_far(webhook)[1:] == [("open_transaction:labs/0", "resolved")]


@pytest.mark.parametrize(
    ("schedule", "seen", "late"),
    [
        ("*/15 * * * *", "2026-03-02T10:07", "2026-03-02T10:40"),
        ("*/15 * * * *", "2026-03-02T10:15", "2026-03-02T10:55"),
        ("0 6 * * 1-5", "2026-03-06T07:00", "2026-03-10T06:10"),  # Friday after the run: Monday's, and Tuesday's
        ("@daily", "2026-03-02T10:07", "2026-03-04T00:10"),
    ],
)
def test_a_day_is_late_when_two_runs_were_due(schedule: str, seen: str, late: str):
    at = stale.late_from(schedule, datetime.fromisoformat(seen).replace(tzinfo=UTC))
    assert at == datetime.fromisoformat(late).replace(tzinfo=UTC)


@pytest.fixture
def days(quiet: Settings) -> Iterator[psycopg.Connection]:
    tables = "ops.day_versions, ops.day_builds, ops.stale_days"
    with psycopg.connect(quiet.owner_url, autocommit=True) as conn:
        conn.execute(f"TRUNCATE {tables}")
        yield conn
        conn.execute(f"TRUNCATE {tables}")


def test_stale_days_are_counted_from_the_first_look_since_their_last_build(quiet: Settings, days: psycopg.Connection):
    assert stale.find(quiet) is None
    days.execute(
        "INSERT INTO ops.day_versions (core_table, facility, day, version)"
        " VALUES ('lab_results', 'main', '2026-03-01', 5), ('lab_results', 'main', '2026-03-02', 5)"
    )
    assert stale.find(quiet) is None
    days.execute("UPDATE ops.stale_days SET seen_at = now() - interval '3 hours' WHERE day = '2026-03-01'")
    days.execute("UPDATE ops.day_versions SET version = 9")  # touched again and again: the count goes on
    found = stale.find(quiet)
    assert found is not None and found.since is not None
    assert abs(datetime.now(UTC) - timedelta(hours=3) - found.since) < timedelta(minutes=1)
    assert found.said.startswith("1 days of mart.daily_labs are stale") and "2026-03-01" in found.said
    days.execute(
        "INSERT INTO ops.day_builds (mart_table, facility, day, version, as_of)"
        " VALUES ('daily_labs', 'main', '2026-03-01', 9, '2026-03-03')"
    )
    days.execute("UPDATE ops.day_versions SET version = 12 WHERE day = '2026-03-01'")
    assert stale.find(quiet) is None, "built, and touched again since: that is another wait"


@pytest.fixture
def refuse(quiet: Settings) -> Iterator[Refuse]:
    """Puts messages of a topic into quarantine: value, reason, so many hours ago."""
    tables = "ops.quarantine, ops.ledger, ops.ledger_ranges, ops.schema_ids"
    with psycopg.connect(quiet.owner_url, autocommit=True) as conn:
        conn.execute(f"TRUNCATE {tables}")
        offsets: dict[tuple[str, int], int] = {}

        def put(topic: str, reason: str, hours: float, value: bytes = b"x", schema: int | None = 7, p: int = 0) -> None:
            offset = offsets[topic, p] = offsets.get((topic, p), -1) + 1
            conn.execute(
                'INSERT INTO ops.quarantine (topic_id, partition, "offset", topic, reason, schema_id, broker_time, key,'
                " value, commit_seq, quarantined_at) VALUES ('id-' || %(topic)s, %(p)s, %(offset)s, %(topic)s,"
                " %(reason)s, %(schema)s, now(), 'PATIENT-4711', %(value)s, 1, now() - make_interval(secs => %(s)s))",
                {**{"topic": topic, "p": p, "offset": offset, "reason": reason, "schema": schema}, "value": value}
                | {"s": hours * 3600},
            )

        yield put
        conn.execute(f"TRUNCATE {tables}")


def example(settings: Settings, source: str) -> bytes:
    """A message of topic labs by this source, under schema id 7."""
    folder = settings.schemas_dir / "labs"
    contract = load_contract(folder)
    with psycopg.connect(settings.owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO ops.schema_ids VALUES (7, 'labs', %s) ON CONFLICT DO NOTHING", [fingerprint(contract.latest)]
        )
    event = dict(next(load_examples(folder, contract)).event)
    ahead = datetime.now(UTC) + timedelta(hours=2, minutes=5, seconds=15)
    return Encoder(contract.latest, 7).encode({**event, "source": source, "recorded_at": ahead})


def test_one_message_that_nobody_attends_to_is_told_with_its_sender_until_it_is_discarded(
    told: Settings, webhook: Webhook, refuse: Refuse, row: Row
):
    refuse("labs", "clock_ahead", 23)
    check_rates(told)
    assert not webhook.got
    refuse("labs", "clock_ahead", 25, example(told, "lab-north"))
    refuse("labs", "clock_ahead", 2, example(told, "Jane Q. Doe, born 1950"))  # a text where a name should be
    refuse("labs", "bad_avro", 1, b"\0\0\0\0\x07\xff", None)
    said = check_rates(told)
    check_rates(told)
    [posted] = webhook.got
    assert posted["key"] == "quarantine_unattended:labs" and posted["runbook"] == "a-message-is-in-quarantine.md"
    assert posted["what"] == (
        "topic labs: 4 messages wait in quarantine, the oldest for longer than 24 hours;"
        " reasons: clock_ahead (3), bad_avro (1); schema ids: 7 (3), none (1);"
        " senders: (no name of a system) (1, its clock is 2 h 5 min ahead),"
        " lab-north (1, its clock is 2 h 5 min ahead)"
        " (quarantine_unattended:labs)"
    )
    assert "wardstream quarantine discard labs" in posted["remedy"]
    age = datetime.now(UTC) - row("quarantine_unattended:labs")["since"]
    assert abs(age - timedelta(hours=25)) < timedelta(minutes=1)
    assert not any(word in str([posted, said]) for word in ("4711", "Jane", "1950"))
    assert discard(told, Chosen("labs"), "me@here", "sent again") == 4
    check_rates(told)
    assert told_so_far(webhook)[1:] == [("quarantine_unattended:labs", "resolved")]


def test_an_hour_without_messages_does_not_make_a_sender_right_again(told: Settings, webhook: Webhook, refuse: Refuse):
    with psycopg.connect(told.owner_url, autocommit=True) as conn:
        conn.execute("INSERT INTO ops.ledger VALUES ('id-labs', 0, 'labs', 12)")
        conn.execute("INSERT INTO ops.ledger_ranges VALUES ('id-labs', 0, 0, 12, 12, 0, 0, 12, 1, 1, now())")
        for _ in range(12):
            refuse("labs", "bad_avro", 0)
        check_rates(told)
        assert "12 of 12 messages (100.0%)" in webhook.got[0]["what"] and "bad_avro (12)" in webhook.got[0]["what"]
        conn.execute("UPDATE ops.ledger_ranges SET committed_at = now() - interval '2 hours'")
        check_rates(told)
        assert len(webhook.got) == 1
        discard(told, Chosen("labs"), "me@here", "sent again")
        check_rates(told)
    assert told_so_far(webhook)[1:] == [("quarantine:labs", "resolved")]


def test_discarding_takes_what_was_chosen_once_and_deletes_nothing(quiet: Settings, refuse: Refuse):
    for hours, reason in ((30, "bad_avro"), (20, "bad_avro"), (10, "clock_ahead"), (1, "clock_ahead")):
        refuse("labs", reason, hours)
    refuse("labs", "bad_avro", 1, p=1)
    refuse("patients", "bad_avro", 30)
    before = datetime.now(UTC) - timedelta(hours=15)

    def take(*chosen: object, **more: object) -> int:
        return discard(quiet, Chosen(*chosen, **more), "me@here", "a test by hand")  # type: ignore[arg-type]

    assert [take("labs", "bad_avro", before), take("labs", "bad_avro", before)] == [2, 0]
    with pytest.raises(QuarantineError, match="partitions 0, 1"):
        take("labs", offsets=(2, 3))
    assert take("labs", partition=0, offsets=(1, 2)) == 1
    with pytest.raises(QuarantineError, match="topic lab is in quarantine"):
        take("lab")
    with psycopg.connect(quiet.owner_url) as conn:
        assert [(one.topic, one.reason, one.messages) for one in waiting(conn)] == [
            ("labs", "bad_avro", 1),
            ("labs", "clock_ahead", 1),
            ("patients", "bad_avro", 1),
        ]
        marked = conn.execute(
            'SELECT "offset", discarded_by, discard_note FROM ops.quarantine WHERE discarded_at IS NOT NULL'
            " AND value IS NOT NULL ORDER BY 1"
        ).fetchall()
        assert marked == [(offset, "me@here", "a test by hand") for offset in (0, 1, 2)]
        assert conn.execute("SELECT count(*) FROM ops.quarantine").fetchone() == (6,)


def test_the_streams_role_cannot_mark_anything(quiet: Settings, refuse: Refuse):
    refuse("labs", "bad_avro", 1)
    with psycopg.connect(quiet.writer_url) as writer, pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute("UPDATE ops.quarantine SET discarded_at = now()")


def command(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    values = {**os.environ, **environment(settings), "COLUMNS": "100"}
    argv = [sys.executable, "-m", "wardstream.cli", "quarantine", *words]
    return subprocess.run(argv, env=values, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)


def test_the_commands_show_counts_and_no_values_and_want_a_note(quiet: Settings, refuse: Refuse):
    refuse("labs", "clock_ahead", 25, example(quiet, "lab-north"))
    listed = command(quiet, "list")
    assert (
        listed.returncode == 0 and "lab-north (1, its clock is 2 h" in listed.stdout and "clock_ahead" in listed.stdout
    )
    assert "4711" not in listed.stdout
    for words, said in (
        (("labs",), "--note"),
        (("labs", "--note", "x", "--before", "yesterday"), "not a time"),
        (("labs", "--note", "x", "--offsets", "5-2"), "not a range"),
        (("lab", "--note", "x"), "no message of topic lab"),
    ):
        refused = command(quiet, "discard", *words)
        assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr
    done = command(quiet, "discard", "labs", "--note", "sent again", "--offsets", "0-0", "--reason", "clock_ahead")
    assert done.returncode == 0 and "discarded: 1 messages" in done.stdout
    again = command(quiet, "discard", "labs", "--note", "sent again")
    assert again.returncode == 0 and "nothing that fits" in again.stdout
    assert "nothing waits" in command(quiet, "list").stdout
