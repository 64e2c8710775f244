"""The protocol of one commit: who may write, what is stored, counted and refused, and that it is all or nothing."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from tests.e2e.hospital import wait_for
from tests.integration.commit.bench import Bench, from_offset
from tests.integration.commit.facts import LATER, lab, stay
from wardstream.database.connection import connect
from wardstream.database.locks import lock_commits
from wardstream.stream.commit import Batch, BrokerChanged, CountsDoNotAddUp, Fenced, NotOurs

LABS = ("id-of-labs", 0)


def labs(number: int) -> list[Any]:
    return [lab(f"e{n}", "resulted", n, lab_result_id=f"L{n}", value_text=f"value {n}") for n in range(number)]


def with_value(batch: Batch, topic: str, column: str, row: int, value: Any) -> Batch:
    """The batch with one value that `validate` would never have let through."""
    table = batch.events[topic]
    at = table.column_names.index(column)
    values = table[column].cast(pa.int64()).to_pylist() if isinstance(value, int) else table[column].to_pylist()
    values[row] = value
    changed = pa.array(values, pa.int64() if isinstance(value, int) else table.schema.types[at])
    changed = changed.cast(table.schema.types[at])
    return replace(batch, events={**batch.events, topic: table.set_column(at, column, changed)})


def kept(bench: Bench) -> dict[str, int]:
    """Rows of every table that a commit writes, and the offsets of the ledger."""
    tables = ["history.labs", "core.lab_results", "ops.duplicates", "ops.quarantine", "ops.ledger_ranges"]
    tables += ["ops.schema_ids", "ops.day_versions"]
    found = {table: int(bench.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in tables}
    return {**found, "offsets": int(bench.rows("SELECT sum(next_offset) FROM ops.ledger")[0][0])}


def refuses(bench: Bench, batch: Batch, error: type[Exception], committer: Any = None) -> str:
    """Commit what must not be committed: the error comes, and nothing has changed. Returns what the error says."""
    before = kept(bench)
    with pytest.raises(error) as raised:
        (committer or bench.committer).commit(batch)
    assert kept(bench) == before
    return str(raised.value)


def test_one_batch(bench):
    outcome = bench.commit(
        *labs(3), ("labs", b"no Avro"), lab("e0", "resulted", 0, lab_result_id="L0", value_text="value 0")
    )
    assert (outcome.received[LABS], outcome.stored[LABS]) == (5, 3)
    assert (outcome.duplicate[LABS], outcome.quarantined[LABS]) == (1, 1)
    range_ = bench.row("ops.ledger_ranges")
    assert (range_["start_offset"], range_["end_offset"], range_["generation"]) == (0, 5, 1)
    assert (range_["received"], range_["stored"], range_["duplicate"], range_["quarantined"]) == (5, 3, 1, 1)
    assert bench.row("ops.ledger", "topic = 'labs'")["next_offset"] == 5
    assert bench.row("ops.streams")["last_commit_at"] is not None


def test_the_ledger_keeps_the_time_of_the_newest_message(bench):
    """Of stored, repeated and refused ones alike; it never goes back."""
    hour = timedelta(hours=1)

    def commit(late: timedelta, *facts: Any) -> Any:
        batch = bench.batch(facts)

        def at(rows: pa.Table) -> pa.Table:
            times = pa.array([LATER] * (rows.num_rows - 1) + [LATER + late], rows.schema.field("broker_time").type)
            return rows.set_column(rows.column_names.index("broker_time"), "broker_time", times)

        events = {topic: at(rows) for topic, rows in batch.events.items()}
        rejects = at(batch.rejects) if batch.rejects.num_rows else batch.rejects
        bench.committer.commit(replace(batch, events=events, rejects=rejects))
        return bench.row("ops.ledger", "topic = 'labs'")["newest"]

    assert bench.row("ops.ledger", "topic = 'labs'")["newest"] is None
    assert commit(hour, *labs(3)) == LATER + hour
    assert commit(2 * hour, *labs(3)) == LATER + 2 * hour, "all were duplicates"
    assert commit(3 * hour, ("labs", b"no Avro")) == LATER + 3 * hour
    assert commit(hour, *labs(4)) == LATER + 3 * hour
    assert bench.row("ops.ledger", "topic = 'patients'")["newest"] is None
    assert bench.row("ops.schema_ids")["topic"] == "labs"


def test_topics_are_counted_apart(bench):
    outcome = bench.commit(*labs(2), stay("a", "admitted", 1))
    assert outcome.stored == {LABS: 2, ("id-of-admissions", 0): 1}
    assert bench.rows("SELECT topic_id, stored FROM ops.ledger_ranges ORDER BY 1") == [
        ("id-of-admissions", 1),
        ("id-of-labs", 2),
    ]


@pytest.mark.parametrize("start", [0, 2, 4])
def test_another_start_than_the_ledgers_is_refused(bench, start):
    bench.commit(*labs(3))
    refuses(bench, from_offset(bench.batch(labs(2)), "labs", start), NotOurs)


def test_one_partition_elsewhere_refuses_the_whole_batch(bench):
    batch = bench.batch([*labs(1), stay("a", "admitted", 1)])
    bench.admin.execute("UPDATE ops.ledger SET next_offset = 7 WHERE topic = 'admissions'")
    refuses(bench, batch, NotOurs)


def test_the_same_batch_twice_is_refused(bench):
    batch = bench.batch(labs(2))
    bench.committer.commit(batch)
    refuses(bench, batch, NotOurs)


def test_an_older_generation_is_refused(bench):
    bench.admin.execute("UPDATE ops.streams SET generation = 2")
    refuses(bench, bench.batch(labs(1)), Fenced)


def test_another_streams_generation_is_not_ours(bench):
    bench.admin.execute("UPDATE ops.streams SET stream = 'another'")
    refuses(bench, bench.batch(labs(1)), NotOurs)


def test_a_topic_made_again_stops_the_stream(bench):
    committer = bench.new_committer(ask=lambda batch: {"labs": "another id"})
    assert "topic labs" in refuses(bench, bench.batch(labs(1)), BrokerChanged, committer)
    committer.conn.close()


def test_a_schema_id_that_changes_its_meaning_stops_the_stream(bench):
    bench.commit(*labs(1))
    batch = replace(bench.batch(labs(1)), schema_ids=frozenset({(bench.schema_ids["labs"], "labs", 4711)}))
    assert "schema id" in refuses(bench, batch, BrokerChanged)


def test_offsets_without_rows_are_committed_too(bench):
    batch = bench.batch(labs(1))
    hole = replace(batch, events={}, slices=(replace(batch.slices[0], end=9),))  # transaction markers leave such holes
    bench.committer.commit(hole)
    assert bench.row("ops.ledger", "topic = 'labs'")["next_offset"] == 9
    range_ = bench.row("ops.ledger_ranges")
    assert (range_["end_offset"], range_["received"]) == (9, 0)


def test_one_id_with_another_body_is_another_fact(bench):
    bench.commit(lab("e", "resulted", 1, value_text="a"), lab("e", "resulted", 1, value_text="b"))
    assert len(bench.rows("SELECT FROM history.labs WHERE event_id = 'e'")) == 2
    assert bench.rows("SELECT FROM ops.duplicates") == []


@pytest.mark.parametrize("batches", [[[0, 0]], [[0], [0]]], ids=["in one batch", "in two"])
def test_a_duplicate_says_where_it_was_and_of_which_fact(bench, batches):
    fact = lab("e", "resulted", 1, value_text="a")
    for batch in batches:
        bench.commit(*[fact for _ in batch])
    stored, repeated = bench.row("history.labs"), bench.row("ops.duplicates")
    assert stored["offset"] == 0
    key = ("recorded_at", "event_id", "content_hash")
    assert {name: repeated[name] for name in key} == {name: stored[name] for name in key}
    assert (repeated["topic"], repeated["topic_id"], repeated["partition"], repeated["offset"]) == ("labs", *LABS, 1)


def test_what_cannot_be_decoded_is_kept_as_it_came(bench):
    bench.commit(("labs", b"\x07nonsense"), ("labs", b"\x00\x00\x00\x00\x63body"), lab("", "resulted", 1))
    rows = bench.rows('SELECT "offset", reason, schema_id, key, value FROM ops.quarantine ORDER BY 1')
    assert [row[:3] for row in rows] == [
        (0, "bad_magic", None),
        (1, "unknown_schema", 99),
        (2, "empty:event_id", bench.schema_ids["labs"]),
    ]
    assert rows[0][3:] == (b"key", b"\x07nonsense")


REFUSED_BY_POSTGRES = {
    "text with a NUL": ("value_text", "a\0b", "22021"),
    "a time before PostgreSQL's": ("event_time", -300_000_000_000_000_000, "22008"),
    "a required field without a value": ("patient_id", None, "23502"),
}


@pytest.mark.parametrize("row", [0, 4, 6])
@pytest.mark.parametrize("what", REFUSED_BY_POSTGRES)
def test_a_row_that_only_postgresql_refuses_is_found_among_its_neighbours(bench, what, row):
    column, value, state = REFUSED_BY_POSTGRES[what]
    outcome = bench.committer.commit(with_value(bench.batch([*labs(7), *labs(1)]), "labs", column, row, value))
    rows = bench.rows('SELECT "offset", reason, topic, value IS NOT NULL FROM ops.quarantine')
    assert rows == [(row, f"sqlstate:{state}", "labs", True)]
    assert outcome.received[LABS] == 8 and outcome.quarantined[LABS] == 1
    stored = {f"L{n}" for n in range(7)} - ({f"L{row}"} if row else set())  # L0 came a second time
    assert {key for (key,) in bench.rows("SELECT lab_result_id FROM core.lab_results")} == stored
    assert len(bench.rows("SELECT FROM ops.ledger_ranges")) == 1
    assert bench.row("ops.ledger", "topic = 'labs'")["next_offset"] == 8
    assert bench.not_as_folded() == []


def test_all_rows_refused(bench):
    batch = bench.batch(labs(3))
    for row in range(3):
        batch = with_value(batch, "labs", "value_text", row, "\0")
    outcome = bench.committer.commit(batch)
    assert outcome.quarantined[LABS] == 3 and not outcome.stored


def test_an_error_that_is_no_fault_of_a_row_quarantines_nothing(bench):
    plan = replace(bench.plan, history={**bench.plan.history, "labs": "SELECT * FROM no_such_table"})
    committer = bench.new_committer(plan)
    refuses(bench, bench.batch(labs(2)), psycopg.errors.UndefinedTable, committer)
    committer.conn.close()


def test_a_session_that_ends_inside_a_commit_leaves_nothing_and_can_be_asked(bench):
    def end_it(_: Batch) -> dict[str, str]:
        bench.admin.execute("SELECT pg_terminate_backend(%s)", [committer.conn.info.backend_pid])
        return dict(bench.topic_ids)

    batch = bench.batch(labs(2))
    committer = bench.new_committer(ask=end_it)
    refuses(bench, batch, psycopg.OperationalError, committer)
    assert not bench.committer.was_committed(batch)
    bench.committer.commit(batch)
    assert bench.committer.was_committed(batch)


def test_was_committed_is_about_this_generation_and_these_ranges(bench):
    batch = bench.batch(labs(2))
    assert not bench.committer.was_committed(batch)
    bench.committer.commit(batch)
    assert bench.committer.was_committed(batch)
    assert not bench.committer.was_committed(from_offset(batch, "labs", 1))
    successor = bench.new_committer(generation=2)
    assert not successor.was_committed(batch)
    successor.conn.close()


COMMIT_WAITS = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'ops.commit_lock'::regclass"


def test_a_commit_waits_for_the_lock_then_sees_what_was_committed_meanwhile(bench):
    """And nobody else waits: pg_dump takes the weakest lock on every table, also on this one."""
    batch, ended = bench.batch(labs(1)), []

    def run() -> None:
        try:
            bench.committer.commit(batch)
        except Fenced as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    with connect(bench.settings.owner_url, "test") as other:
        with other.transaction():
            lock_commits(other)
            thread.start()
            wait_for("the commit at the lock", lambda: bench.rows(COMMIT_WAITS) != [], 20)
            bench.admin.execute("BEGIN; SET LOCAL lock_timeout = '5s'; LOCK TABLE ops.commit_lock IN ACCESS SHARE MODE")
            bench.admin.execute("COMMIT")
            other.execute("UPDATE ops.streams SET generation = 2")
        thread.join()
    assert len(ended) == 1 and bench.rows("SELECT FROM history.labs") == []


def test_of_two_committers_one_wins(bench):
    batch = bench.batch([*labs(20), stay("a", "admitted", 1)])
    committers = [bench.new_committer() for _ in range(2)]
    both = threading.Barrier(2)
    ended: list[str] = []

    def run(index: int) -> None:
        both.wait()
        try:
            committers[index].commit(batch)
            ended.append("stored")
        except NotOurs:
            ended.append("refused")

    threads = [threading.Thread(target=run, args=[index]) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["refused", "stored"]
    assert len(bench.rows("SELECT FROM history.labs")) == 20 and bench.rows("SELECT FROM ops.duplicates") == []
    for committer in committers:
        committer.conn.close()


def test_a_commit_file_that_makes_more_rows_than_it_got_is_stopped(bench):
    query = bench.plan.history["labs"]
    more = query + " UNION ALL " + query.replace('"event_id",', "'more',", 1)
    committer = bench.new_committer(replace(bench.plan, history={**bench.plan.history, "labs": more}))
    assert "sql/commit/labs.sql" in refuses(bench, bench.batch(labs(2)), CountsDoNotAddUp, committer)
    committer.conn.close()


def test_a_commit_file_that_drops_rows_is_stopped(bench):
    query = bench.plan.history["labs"] + " WHERE event_id <> 'e1'"
    committer = bench.new_committer(replace(bench.plan, history={**bench.plan.history, "labs": query}))
    assert "sql/commit/labs.sql" in refuses(bench, bench.batch(labs(2)), CountsDoNotAddUp, committer)
    committer.conn.close()


def test_a_commit_notes_when_each_sender_sent(bench):
    bench.commit(*(lab(f"e{n}", "resulted", n, lab_result_id=f"L{n}", source="lab-a") for n in range(3)))
    bench.commit(lab("e9", "resulted", 9, lab_result_id="L9", source="lab-b"))
    assert bench.rows("SELECT topic, source, messages, first_at <= last_at FROM ops.senders ORDER BY source") == [
        ("labs", "lab-a", 3, True),
        ("labs", "lab-b", 1, True),
    ]
