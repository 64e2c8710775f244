"""What a commit costs follows the batch: not the size of the tables, not what the planner believes, not other tables.

Counted are the rows that plans really read; times are printed by the long form alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, lab, stay
from wardstream.database.connection import trusted
from wardstream.stream.refold import Refold

EXPLAIN = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ")


def stays(count: int) -> Iterator[Fact]:
    """Six facts a stay, a cancellation among those of each tenth."""
    for n in range(count):
        which: dict[str, Any] = {"encounter_id": f"S{n}", "patient_id": f"P{n % 5000}"}
        at = n % 2000 / 10
        yield stay(f"a{n}", "admitted", at, ward="A", service="MED", **which)
        yield stay(f"t{n}", "transferred", at + 1, movement_id="M1", movement_type="admit", ward="A", **which)
        yield stay(f"u{n}", "updated", at + 2, service="SURG", **which)
        yield stay(f"v{n}", "transferred", at + 3, movement_id="M2", movement_type="transfer", ward="B", **which)
        last = {"movement_id": "M3", "movement_type": "transfer", "ward": "C"} if n % 10 else {}
        yield stay(f"w{n}", "transferred" if n % 10 else "cancelled_transfer", at + 4, **{**last, **which})
        yield stay(f"d{n}", "discharged", at + 30, **which)


def rows_read(bench: Bench, statement: sql.Composed) -> int:
    """Rows that every node of the plan took from the one below it, for the keys now in `touched`; it is carried out."""
    (plan,) = bench.admin.execute(EXPLAIN + statement, {"known_at": "infinity"}).fetchone() or ()
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in _nodes(plan[0]["Plan"])
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def touched(bench: Bench, table: str, keys: str) -> Refold:
    refold = next(one for one in bench.auditor if one.fold.table == table)
    refold.touch(trusted(keys))
    return refold


@pytest.mark.parametrize("table", ["encounters", "movements"])
def test_a_first_load_reads_what_it_folds(bench: Bench, table: str):
    """The tables have no statistics: a plan that hangs on them read each stay against all others."""
    events = list(stays(1500))
    bench.commit(*events)
    with bench.admin.transaction():
        refold = touched(bench, table, "SELECT DISTINCT authority, encounter_id FROM history.admissions")
        assert refold._fast
        for statement in (refold._compute, refold._fast):
            assert len(events) < rows_read(bench, statement) < 60 * len(events)
        assert rows_read(bench, refold._others) < 60 * len(events)


@pytest.mark.parametrize("table", ["encounters", "movements"])
def test_only_stays_of_which_something_was_cancelled_are_folded_by_definition(bench: Bench, table: str):
    """Else the fast path is followed by what it was to spare."""
    bench.commit(*stays(200))  # something was cancelled in each tenth
    with bench.admin.transaction():
        refold = touched(bench, table, "SELECT DISTINCT authority, encounter_id FROM history.admissions")
        refold._scratch.empty(refold._folded)
        assert refold._fast
        bench.admin.execute(refold._fast)
        ((decided,),) = bench.admin.execute(
            sql.SQL("SELECT count(DISTINCT encounter_id) FROM {}").format(refold.folded)
        ).fetchall()
        others = bench.admin.execute(refold._others, {"known_at": "infinity"})
        assert decided == 180
        assert others.rowcount == {"encounters": 20, "movements": 40}[table]


@pytest.mark.parametrize("table", ["patients", "diagnoses", "lab_results"])
def test_where_one_fact_says_all_history_is_not_read(bench: Bench, table: str):
    upsert = bench.committer.upserts[table]
    (plan,) = (
        psycopg.ClientCursor(bench.committer.conn)
        .execute(sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) ") + upsert._statement, {"now": None})
        .fetchone()
        or ()
    )
    read = {f"{n['Schema'].split('_temp')[0]}.{n['Relation Name']}" for n in _nodes(plan[0]["Plan"]) if "Schema" in n}
    days = {"ops.facilities", "ops.sources", "pg.touched_days"}
    assert read == {f"core.{table}", f"pg.staged_{upsert.topic}", *days}


def test_of_a_key_with_many_versions_the_greatest_stays(bench: Bench):
    bench.commit(*(lab(f"v{n}", "corrected", 1, recorded=n / 100, value_text=str(n)) for n in range(5000)))
    bench.commit(lab("late", "corrected", 1, recorded=1, value_text="late"))
    assert bench.rows("SELECT value_text FROM core.lab_results") == [("4999",)]
    assert bench.not_as_folded() == []


def test_a_small_commit_gives_no_table_a_new_file(bench: Bench):
    """To truncate a table, also an empty one, is to make a new file: sixteen of them took most of a commit's time."""
    ours = "SELECT relname, relfilenode FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' ORDER BY relname"
    committer = bench.new_committer()  # through whose tables nothing has gone yet
    committer.commit(bench.batch([lab("a", "resulted", 1), stay("b", "admitted", 1), stay("d", "discharged", 2)]))
    before = committer.conn.execute(ours).fetchall()
    committer.commit(bench.batch([lab("c", "resulted", 2, lab_result_id="L2"), stay("e", "discharged", 3)]))
    after = committer.conn.execute(ours).fetchall()
    committer.conn.close()
    assert len(before) > 10 and after == before


def test_nothing_of_an_earlier_batch_comes_back(bench: Bench):
    """Temporary tables keep their rows over COMMIT, and get them back with a rollback."""
    bench.commit(lab("a", "resulted", 1), stay("b", "admitted", 1))
    refused = bench.batch([lab("c", "resulted", 2, lab_result_id="L2")])
    ends = bench.committer._ask
    try:
        bench.committer._ask = lambda batch: {}
        with pytest.raises(Exception, match="its id changed"):
            bench.committer.commit(refused)
    finally:
        bench.committer._ask = ends
    outcome = bench.committer.commit(refused)
    assert outcome.received.total() == outcome.stored.total() == 1
    assert bench.not_as_folded() == []


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_half_a_million_into_empty_tables(bench: Bench, capsys: pytest.CaptureFixture[str]):
    """Ten batches of 50,000; the first hung for ten minutes when the fold joined all stays with each other."""
    events = stays(83_334)
    with capsys.disabled():
        for number in range(10):
            batch = bench.batch([fact for fact, _ in zip(events, range(50_000), strict=False)])
            begun = time.perf_counter()
            outcome = bench.committer.commit(batch)
            print(f"batch {number}: {outcome.stored.total()} events in {time.perf_counter() - begun:.2f} s")
    assert bench.rows("SELECT count(*) >= 499_000 FROM history.admissions") == [(True,)]
