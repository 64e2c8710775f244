"""What status and metrics say of topics and quarantine, and that it stays cheap when the books are long."""

import os
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.integration.status.conftest import Books
from tests.unit.stream.test_metrics import samples
from wardstream.database.connection import beside, connect, trusted
from wardstream.stack import report
from wardstream.watch import figures as figures_of
from wardstream.watch import metrics
from wardstream.watch.figures import Figures, Topic, figures


def by_name(found: Figures) -> dict[str, Topic]:
    return {topic.topic: topic for topic in found.topics}


def test_the_last_minute_counts_over_all_partitions_and_nothing_before(books: Books):
    books.commit("labs", 9000, 61)
    books.commit("labs", 100, 50)
    books.commit("labs", 20, 1, partition=1)
    books.commit("patients", 30, 3600)
    found = by_name(figures(books.settings))
    assert {name: topic.events_per_second for name, topic in found.items()} == {"labs": 2.0, "patients": 0.0}


def test_the_age_is_that_of_the_topics_own_last_commit(books: Books):
    books.commit("labs", 1, 500)
    books.commit("labs", 1, 300)
    books.commit("labs", 1, 400, partition=1)
    books.commit("patients", 1, 7000)
    books.conn.execute("INSERT INTO ops.ledger VALUES ('id-new', 0, 'new', 0)")
    found = by_name(figures(books.settings))
    ages = {name: topic.last_commit_age_s for name, topic in found.items()}
    assert ages.pop("new") is None
    assert ages == {"labs": pytest.approx(300, abs=60), "patients": pytest.approx(7000, abs=60)}


def test_the_quarantine_of_a_day_by_reason(books: Books):
    for offset, hours in enumerate((25, 23, 2)):
        latest = books.refuse("labs", "bad_avro", offset, hours)
    books.refuse("labs", "missing:lab_result_id", 7, 1)
    books.refuse("patients", "bad_avro", 8, 1)
    books.refuse("patients", "old", 9, 24.1)
    found = figures(books.settings)
    assert [(q.topic, q.reason, q.messages) for q in found.quarantine] == [
        ("labs", "bad_avro", 2),
        ("labs", "missing:lab_result_id", 1),
        ("patients", "bad_avro", 1),
    ]
    assert found.quarantine[0].latest == latest
    assert not found.quarantine_is_cut


def test_of_too_many_the_newest_are_counted(books: Books, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures_of, "MOST_QUARANTINED", 3)
    books.refuse("labs", "old", 0, 5)
    for offset in range(1, 4):
        books.refuse("labs", "new", offset, 1)
    found = figures(books.settings)
    assert [(q.reason, q.messages) for q in found.quarantine] == [("new", 3)] and found.quarantine_is_cut


def test_the_lag_is_the_drivers_while_one_lives_and_unknown_without_kafka(books: Books):
    books.commit("labs", 10, 1)
    books.drive("running", 1, '{"labs": {"0": 3, "1": 4}, "patients": {"0": 0}}')
    found = figures(books.settings)
    assert {name: topic.lag for name, topic in by_name(found).items()} == {"labs": 7, "patients": 0} and found.lag == 7
    books.conn.execute("UPDATE ops.streams SET heartbeat_at = now() - interval '1 minute'")
    found = figures(books.settings)  # of a driver that is gone nothing is believed, and no Kafka runs here
    assert {name: topic.lag for name, topic in by_name(found).items()} == {"labs": None} and found.lag is None


def test_status_says_why_the_stream_does_not_begin(books: Books):
    books.drive("blocked", 1, "{}", "topic labs was recreated")
    seen = report.report(books.settings)
    assert seen.blocked_by == "topic labs was recreated"
    assert [row.generation for row in seen.parts if row.part == "stream"] == [7]
    assert "a name" not in str(seen)


def test_prometheus_gets_the_same_numbers(books: Books):
    # a topic that no other test knows: this process counts for all of them
    books.commit("rounds", 120, 5)
    books.commit("well", 1, 5)
    books.refuse("rounds", "bad_avro", 1, 1)
    books.drive("running", os.getpid(), '{"rounds": {"0": 3}}')
    found = samples(generate_latest(metrics.registry(books.settings, lambda _: {"kafka": 9})).decode())
    assert found["wardstream_up", ""] == 1 and found["wardstream_stream_healthy", ""] == 1
    assert {state: found["wardstream_stream_state", state] for state in metrics.STATES} == {
        state: state == "running" for state in metrics.STATES
    }
    assert found["wardstream_stream_generation", ""] == 7
    assert 0 <= found["wardstream_stream_heartbeat_age_seconds", ""] < 60
    assert found["wardstream_lag_events", "rounds"] == 3 and found["wardstream_events_per_second", "rounds"] == 2
    assert found["wardstream_last_commit_age_seconds", "rounds"] == pytest.approx(5, abs=60)
    assert found["wardstream_quarantined_24h", "bad_avro"] == 1 and found["wardstream_quarantined_24h", ""] == 0
    assert found["wardstream_events_received_total", "rounds"] == 0, "counted in this process, which committed nothing"


def test_a_database_before_its_migrations_has_no_topics(migrated):
    before = migrated.model_copy(update={"database_name": "postgres"})
    seen = report.report(before)
    assert seen.topics == [] and seen.blocked_by is None


FILL_LEDGER = """
INSERT INTO ops.ledger
SELECT 'id-' || t, p, 'topic-' || t, 1000000 FROM generate_series(1, 4) AS t, generate_series(0, 2) AS p;
INSERT INTO ops.ledger_ranges
SELECT 'id-' || (n % 4 + 1), n / 4 % 3, n * 10, n * 10 + 10, 10, 10, 0, 0, 1, n,
    now() - make_interval(secs => (600000 - n) * 0.2)
FROM generate_series(1, 600000) AS n;
INSERT INTO ops.quarantine
SELECT 'id-1', 0, n, 'topic-1', 'reason-' || n % 7, NULL, now(), 'k', convert_to(repeat('x', 300), 'UTF8'), 1,
    now() - make_interval(secs => (100000 - n) * 20)
FROM generate_series(1, 100000) AS n;
"""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


@pytest.mark.parametrize("analyzed", [False, True])
def test_long_books_are_not_read_through(books: Books, analyzed: bool):
    books.conn.execute(FILL_LEDGER)
    if analyzed:
        books.conn.execute("ANALYZE ops.ledger; ANALYZE ops.ledger_ranges; ANALYZE ops.quarantine")
    asked = {"window": figures_of.WINDOW_SECONDS, "most": 5000}
    with connect(books.settings.writer_url, "test") as conn:
        conn.execute(figures_of.SESSION)
        for name in ("topics", "quarantine"):
            row = conn.execute(
                trusted("EXPLAIN (ANALYZE, FORMAT JSON) ") + beside(figures_of.__file__, name), asked
            ).fetchone()
            assert row is not None
            for node in nodes(row[0][0]["Plan"]):
                read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert read * node["Actual Loops"] <= 12 * 1200, (name, node["Node Type"], node)
    ages = {name: topic.last_commit_age_s for name, topic in by_name(figures(books.settings)).items()}
    assert sorted(ages) == ["topic-1", "topic-2", "topic-3", "topic-4"]
    assert all(age is not None and age < 600_000 * 0.1 for age in ages.values()), "of the newest ranges"
