"""`wardstream rebuild` mends what differs, turn by turn, while the stream commits between the turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, event, lab, stay
from tests.integration.commit.worlds import World, worlds
from wardstream.database.connection import Connection, connect
from wardstream.proof.rebuild import Mended, Rebuild

RESULTS = [lab(f"r{n}", "resulted", n, lab_result_id=f"L{n}", value_number=float(n)) for n in range(8)]
FACTS: list[Fact] = [
    *RESULTS,
    *(stay(f"a{n}", "admitted", 50 * n, encounter_id=f"E{n}", ward="A") for n in range(3)),
    *(stay(f"t{n}", "transferred", 50 * n + 1, encounter_id=f"E{n}", movement_id="M", ward="B") for n in range(3)),
    ("patients", event("p", "registered", 0)),
]
TAMPERED = """
UPDATE core.lab_results SET value_number = 4711 WHERE lab_result_id = 'L1';
UPDATE core.lab_results SET recorded_at = recorded_at + interval '1 year' WHERE lab_result_id = 'L2';
DELETE FROM core.lab_results WHERE lab_result_id IN ('L3', 'L4');
UPDATE core.lab_results SET lab_result_id = 'L99' WHERE lab_result_id = 'L5';
UPDATE core.lab_results SET value_number = '-0' WHERE lab_result_id = 'L0';
UPDATE core.encounters SET ward_now = 'X' WHERE encounter_id = 'E0';
DELETE FROM core.encounters WHERE encounter_id = 'E1';
DELETE FROM core.movements WHERE encounter_id = 'E1';
"""
WRONG = {"lab_results": 7, "encounters": 2, "movements": 1}
"""Entities: L0 to L5 and L99, E0 and E1, the movements of E1."""


@pytest.fixture
def owner(bench: Bench) -> Iterator[Connection]:
    """A session as the command has it."""
    with connect(bench.settings.owner_url, "wardstream rebuild") as conn:
        yield conn


@pytest.fixture
def impatient(bench: Bench) -> Iterator[Bench]:
    """A bench whose commits fail where they would have to wait for a lock."""
    bench.committer.conn.execute("SET lock_timeout = '2s'")
    yield bench
    bench.committer.conn.execute("RESET lock_timeout")


def rows(bench: Bench) -> dict[str, set[tuple[Any, ...]]]:
    """Each row of core with the place that it was written to."""
    tables = [fold.table for fold in bench.plan.folds]
    return {
        table: set(bench.rows(f"SELECT ctid::text, xmin::text, t::text FROM core.{table} AS t")) for table in tables
    }


def days(bench: Bench) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = {}
    for table, day in bench.rows("SELECT core_table, day FROM ops.day_versions"):
        found.setdefault(table, set()).add(day)
    return found


@pytest.mark.parametrize("at_a_time", [1, 3, 1000])
def test_what_differs_is_mended_and_nothing_else(bench: Bench, owner: Connection, at_a_time: int) -> None:
    bench.commit(*FACTS)
    right = bench.digest()
    bench.admin.execute(TAMPERED.encode())
    assert bench.not_as_folded()
    bench.admin.execute("DELETE FROM ops.day_versions")
    before = rows(bench)
    job = Rebuild(owner, bench.plan, at_a_time)
    job.look()
    turns = len(list(job.mend()))
    assert bench.digest() == right and bench.not_as_folded() == []
    assert {table: one.entities for table, one in job.mended.items()} == WRONG
    assert turns == sum(-(-wrong // at_a_time) for wrong in WRONG.values())
    written = {table: len(now - before[table]) for table, now in rows(bench).items()}
    assert written == {"lab_results": 6, "encounters": 2, "movements": 1, "patients": 0, "diagnoses": 0}
    assert {table: one.days for table, one in job.mended.items()} == {t: len(of_t) for t, of_t in days(bench).items()}


def test_a_version_that_was_raised_is_mended_and_marks_no_day(bench: Bench, owner: Connection) -> None:
    bench.commit(*FACTS)
    bench.admin.execute("UPDATE core.lab_results SET source_seq = 7 WHERE lab_result_id = 'L2'")
    job = Rebuild(owner, bench.plan)
    job.look()
    list(job.mend())
    assert job.mended == {"lab_results": Mended(1, 0)} and bench.not_as_folded() == []


def test_commits_go_on_between_the_turns_and_are_kept(impatient: Bench, owner: Connection) -> None:
    """Of what is mended, too: what the look folded is of before these facts."""
    bench = impatient
    bench.commit(*FACTS)
    bench.admin.execute(TAMPERED.encode())
    job = Rebuild(owner, bench.plan, 1)
    job.look()
    kept = {f"L{n}": 100.0 + n for n in range(8)}
    for n, result in enumerate(kept):  # L2 swallows this one: its version was raised
        outcome = bench.commit(lab(f"c{n}", "corrected", n, 50, lab_result_id=result, value_number=kept[result]))
        assert outcome.stored.total() == 1
    bench.commit(stay("d", "discharged", 60, encounter_id="E1"))
    committed = 0
    for turn, _ in enumerate(job.mend()):
        fact = lab(f"n{turn}", "resulted", 80, lab_result_id=f"N{turn}", value_number=1.0)
        committed += bench.commit(fact, stay(f"x{turn}", "updated", 70 + turn, encounter_id="E0")).stored.total()
    assert committed == 2 * sum(WRONG.values())
    assert bench.not_as_folded() == []
    found = dict(bench.rows("SELECT lab_result_id, value_number FROM core.lab_results"))
    assert found == {**kept, **{f"N{n}": 1.0 for n in range(sum(WRONG.values()))}}
    assert bench.rows("SELECT status FROM core.encounters WHERE encounter_id = 'E1'") == [("discharged",)]


def test_a_turn_holds_the_commit_lock_and_the_look_does_not(bench: Bench, owner: Connection) -> None:
    bench.commit(*FACTS)
    bench.admin.execute(TAMPERED.encode())
    owner.execute("SET lock_timeout = '200ms'")
    job = Rebuild(owner, bench.plan)
    with bench.admin.transaction():
        bench.admin.execute("LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE")
        job.look()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            next(job.mend())
    assert len(list(job.mend())) == len(WRONG)


DEEDS = {
    "delete": "DELETE FROM core.{table} AS c WHERE {row}",
    "change": "UPDATE core.{table} AS c SET source = 'nobody' WHERE {row}",
    "raise": "UPDATE core.{table} AS c SET recorded_at = recorded_at + interval '9 days' WHERE {row}",
    "lower": "UPDATE core.{table} AS c SET recorded_at = recorded_at - interval '9 days' WHERE {row}",
    "move": "UPDATE core.{table} AS c SET authority = 'nobody' WHERE {row}",
}
A_ROW = "c.ctid = (SELECT one.ctid FROM core.{table} AS one ORDER BY one::text OFFSET {number} LIMIT 1)"


@st.composite
def deeds(draw: st.DrawFn) -> str:
    """Something done to a row of core, by its number; where there is none, nothing is done."""
    table = draw(st.sampled_from(["encounters", "movements", "lab_results", "lab_results", "patients", "diagnoses"]))
    versioned = table not in ("encounters", "movements")
    deed = draw(st.sampled_from([name for name in DEEDS if versioned or name not in ("raise", "lower")]))
    row = A_ROW.format(table=table, number=draw(st.integers(0, 2)))
    return DEEDS[deed].format(table=table, row=row)


def wrong_after(bench: Bench, world: World, done: list[str]) -> list[str]:
    """Rows that are not as folded after a rebuild of what was tampered with, with commits wherever one can be."""
    bench.empty()
    bench.commit(*world.facts[::2])
    for deed in done:
        bench.admin.execute(deed.encode())
    batches = iter([*world.again(), list(world.facts)])
    with connect(bench.settings.owner_url, "test") as conn:
        job = Rebuild(conn, bench.plan, 1)
        job.look()
        bench.commit(*next(batches))
        for _ in job.mend():
            bench.commit(*next(batches, []))
    bench.commit(*(fact for facts in batches for fact in facts))
    return bench.not_as_folded()


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), done=st.lists(deeds(), min_size=1, max_size=5))
def test_core_is_the_fold_of_history_whatever_was_done_to_it(
    shared_bench: Bench, world: World, done: list[str]
) -> None:
    assert wrong_after(shared_bench, world, done) == []
