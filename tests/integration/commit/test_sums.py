"""What verify sums of a table, and how it compares core with a fold of greatest versions without folding each key."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import event, lab, stay
from wardstream.database.connection import Connection, connect
from wardstream.proof import core
from wardstream.proof.core import core_differs
from wardstream.proof.digest import digest_of
from wardstream.proof.sums import Group, Rows, form_of, sum_table
from wardstream.settings import Settings
from wardstream.stream.refold import Refold

AT = ("id-of-labs", 0)
IN_PARALLEL = (
    "SET LOCAL parallel_setup_cost = 0",
    "SET LOCAL min_parallel_table_scan_size = 0",
)
MANY = """
INSERT INTO history.labs
SELECT (jsonb_populate_record(h, jsonb_build_object('event_id', i::text, 'offset', i))).*
FROM history.labs AS h, generate_series(10, 10000) AS i
WHERE h.event_id = '4'
"""
MANY_IN_CORE = """
INSERT INTO core.lab_results
SELECT (jsonb_populate_record(c, jsonb_build_object('event_id', i::text, 'lab_result_id', i::text))).*
FROM core.lab_results AS c, generate_series(10, 10000) AS i
WHERE c.event_id = '4'
"""


@pytest.fixture
def labs(bench: Bench) -> Bench:
    """Three results: one corrected, one sent twice; a message that is refused; and a stay and a patient."""
    bench.commit(
        lab("1", "resulted", 1, value_number=1.5),
        lab("2", "resulted", 2, lab_result_id="L2", value_number=0.0),
        lab("3", "corrected", 3, value_number=2.5),
        lab("2", "resulted", 2, lab_result_id="L2", value_number=0.0),
        lab("4", "resulted", 4, lab_result_id="L4"),
        stay("a", "admitted", 0),
        ("patients", event("p", "registered", 0)),
    )
    bench.commit(lab("", "resulted", 5))
    return bench


def sums(bench: Bench, place: str = "history", starts: tuple[int, ...] = (0, 3, 6)) -> dict[int | None, Rows]:
    """Rows of labs by piece: offsets 0 to 3, 3 to 6, and what comes after."""
    return {group.piece: group.rows for group in groups_of(bench, place, starts)}


def groups_of(bench: Bench, place: str, starts: tuple[int, ...]) -> list[Group]:
    return sum_table(bench.admin, place, "labs", {AT: starts})


def test_each_row_is_in_its_piece(labs: Bench) -> None:
    assert {piece: rows.number for piece, rows in sums(labs).items()} == {0: 3, 1: 1}
    assert {piece: rows.number for piece, rows in sums(labs, "duplicate").items()} == {1: 1}
    assert {piece: rows.number for piece, rows in sums(labs, "quarantine").items()} == {1: 1}
    first, second = sums(labs)[0], sums(labs)[1]
    assert sums(labs, starts=(0, 6)) == {0: first + second}
    assert sums(labs, starts=(0,)) == {None: first + second}, "where nothing was committed, all of it comes after"
    assert sums(labs, starts=(0, 3, 4))[None].number == 1


def test_rows_of_partitions_that_nobody_knows_are_said(labs: Bench) -> None:
    labs.admin.execute("UPDATE history.labs SET partition = 7 WHERE event_id = '4'")
    labs.admin.execute("UPDATE history.labs SET \"offset\" = 1000 WHERE event_id = '3'")
    groups = {(group.partition, group.piece): group for group in groups_of(labs, "history", (0, 6))}
    assert not groups[7, None].filed and groups[7, None].first == 4
    assert groups[0, None].filed and groups[0, None].beyond == 1
    assert groups[0, 0].filed and groups[0, 0].beyond == 0


CHANGES = [
    *("value_number = '-0'", "value_number = 0.1", "unit = 'g'", "content_hash = '\\x00'", "schema_id = 99"),
    *("received_at = received_at + interval '1 us'", 'ids_as_sent = \'{"patient_id": " P1"}\'', "authority = 'x'"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_column_changes_the_sum(labs: Bench, change: str) -> None:
    before = sums(labs)
    labs.admin.execute(f"UPDATE history.labs SET {change} WHERE event_id = '2'".encode())
    after = sums(labs)
    assert after[0].number == before[0].number and after[0].hashes != before[0].hashes
    assert after[1] == before[1]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("reason = 'missing:kind'", True),
        ("value = 'x'", True),
        ("quarantined_at = now() + interval '1 h'", True),
        ("discarded_at = now(), discarded_by = 'me', discard_note = 'known'", False),
        ("topic_id = 'id-of-labs'", False),
    ],
)
def test_what_happens_to_a_refused_message_does_not_count(labs: Bench, change: str, counts: bool) -> None:
    before = sums(labs, "quarantine")
    labs.admin.execute(f"UPDATE ops.quarantine SET {change}".encode())
    assert (sums(labs, "quarantine") != before) == counts


def test_a_piece_may_be_longer_than_what_is_looked_up_at_once(labs: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sums(labs)
    for cell in (1, 2, 4):
        monkeypatch.setattr("wardstream.proof.sums.CELL", cell)
        assert sums(labs) == whole


@pytest.mark.parametrize("change", ['"offset" = 1 - "offset"', "value_number = 1.5 - value_number"])
def test_two_rows_that_exchange_a_value_are_seen(labs: Bench, change: str) -> None:
    before = sums(labs)
    labs.admin.execute(f"UPDATE history.labs SET {change} WHERE event_id IN ('1', '2')".encode())
    assert sums(labs) != before


def test_a_column_more_is_another_form(labs: Bench) -> None:
    before = form_of(labs.admin, "labs")
    assert form_of(labs.admin, "labs") == before != form_of(labs.admin, "admissions")
    with labs.admin.transaction(force_rollback=True):
        labs.admin.execute("ALTER TABLE history.labs ADD COLUMN more text")
        assert form_of(labs.admin, "labs") != before


def plan_of(conn: Connection, statement: Any) -> str:
    """How PostgreSQL would run it on a large table."""
    return "\n".join(row for (row,) in conn.execute(sql.SQL("EXPLAIN {}").format(statement)))


class Explained:
    """A session that keeps the plan of every query that it runs."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.plans: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        if isinstance(statement, sql.Composed) and parameters is None:
            self.plans.append(plan_of(self._conn, statement))
        return self._conn.execute(statement, parameters)


def test_postgresql_shares_the_work(labs: Bench) -> None:
    """One pass over the table for sums, on several cores, whatever the statistics say; a digest likewise."""
    watched = Explained(labs.admin)
    with labs.admin.transaction(force_rollback=True):
        for statement in (*IN_PARALLEL, MANY, "ANALYZE history.labs, core.lab_results, ops.ledger"):
            labs.admin.execute(statement.encode())
        sum_table(watched, "history", "labs", {AT: (0, 3, 6), ("former", 0): (0, 9)})  # type: ignore[arg-type]
        digest_of(watched, "history", "labs")  # type: ignore[arg-type]
    of_sums, *_, of_digest = watched.plans
    assert "Partial HashAggregate" in of_sums and "Partial Aggregate" in of_digest, of_digest
    for plan in (of_sums, of_digest):
        assert plan.count("Parallel Seq Scan on labs ") == 1 == plan.count(" on labs "), plan


def test_core_is_compared_without_a_look_up_for_each_key(labs: Bench) -> None:
    """Two passes over history, each joined with core."""
    fold = next(fold for fold in labs.plan.folds if fold.table == "lab_results")
    assert fold.of_greatest is not None
    with labs.admin.transaction(force_rollback=True):
        for statement in (MANY, MANY_IN_CORE, "ANALYZE history.labs, core.lab_results"):
            labs.admin.execute(statement.encode())
        plan = plan_of(labs.admin, core.suspects(labs.admin, fold, fold.of_greatest))
    assert plan.count("Seq Scan on labs ") == 2 == plan.count(" on labs "), plan
    assert plan.count("Seq Scan on lab_results ") == 2 == plan.count(" on lab_results "), plan
    assert "SubPlan" not in plan, plan


def compared(bench: Bench) -> dict[str, list[str]]:
    """The keys that verify names, by table; in a session as verify has it."""
    with connect(bench.settings.owner_url, "test") as conn:
        return core_differs(conn, bench.plan)


TAMPERED = {
    "nothing": ("SELECT", []),
    "a value": ("UPDATE core.lab_results SET unit = 'g' WHERE lab_result_id = 'L1'", ["L1"]),
    "minus zero": ("UPDATE core.lab_results SET value_number = '-0' WHERE lab_result_id = 'L2'", ["L2"]),
    "a row gone": ("DELETE FROM core.lab_results WHERE lab_result_id = 'L4'", ["L4"]),
    "a row more": (
        'INSERT INTO core.lab_results SELECT (jsonb_populate_record(c, \'{"lab_result_id": "L5"}\')).*'
        " FROM core.lab_results AS c WHERE lab_result_id = 'L4'",
        ["L5"],
    ),
    "one in the place of another": (
        "UPDATE core.lab_results SET lab_result_id = 'L5' WHERE lab_result_id = 'L4'",
        ["L4", "L5"],
    ),
    "another authority": ("UPDATE core.lab_results SET authority = 'x' WHERE lab_result_id = 'L4'", ["L4", "L4"]),
    "a version above all": (
        "UPDATE core.lab_results SET source_seq = 5 WHERE lab_result_id = 'L1'",
        ["L1"],
    ),
    "an older version": (
        "UPDATE core.lab_results AS c SET value_number = h.value_number, recorded_at = h.recorded_at,"
        " event_id = h.event_id, content_hash = h.content_hash, observed_at = h.event_time, status = 'final'"
        " FROM history.labs AS h WHERE h.event_id = '1' AND c.lab_result_id = 'L1'",
        ["L1"],
    ),
    "history without its last fact": ("DELETE FROM history.labs WHERE event_id = '3'", ["L1"]),
    "history without all facts of a row": ("DELETE FROM history.labs WHERE event_id = '4'", ["L4"]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_differs_is_named_by_row(labs: Bench, name: str) -> None:
    """The same rows as an audit that folds every key finds."""
    change, keys = TAMPERED[name]
    labs.admin.execute(change.encode())
    found = compared(labs)
    assert sorted(key.split("/")[0] for key in found.get("lab_results", [])) == keys
    assert set(found) <= {"lab_results"}
    assert bool(found) == bool(labs.not_as_folded())


def test_what_is_right_is_not_folded_key_by_key(labs: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folded: dict[str, int] = {}

    def compute(refold: Refold) -> None:
        folded[refold.fold.table] = refold._scratch.conn.execute("SELECT count(*) FROM touched").fetchall()[0][0]
        fold(refold)

    fold = Refold.compute
    monkeypatch.setattr(Refold, "compute", compute)
    compared(labs)
    assert folded == {"diagnoses": 0, "encounters": 1, "lab_results": 0, "movements": 1, "patients": 0}
    labs.admin.execute("UPDATE core.lab_results SET unit = 'g' WHERE lab_result_id = 'L1'")
    compared(labs)
    assert folded["lab_results"] == 1


@pytest.fixture
def picky(database: Settings, tmp_path: Path) -> Iterator[Bench]:
    """A fold that keeps no row of a cancelled result: what a commit that compares versions does not take away."""
    folder = shutil.copytree(database.sql_dir, tmp_path / "sql")
    fold = folder / "folds" / "lab_results.sql"
    fold.write_text(fold.read_text() + "WHERE h.kind <> 'cancelled'\n")
    bench = Bench(database, folder)
    yield bench
    bench.committer.close()
    bench.admin.close()


def test_a_fold_that_leaves_facts_out_is_compared_key_by_key(picky: Bench) -> None:
    picky.commit(lab("1", "resulted", 1), lab("2", "resulted", 2, lab_result_id="L2"))
    assert compared(picky) == {}
    picky.commit(lab("3", "cancelled", 3))
    assert {table: len(keys) for table, keys in compared(picky).items()} == {"lab_results": 1}
    picky.admin.execute("DELETE FROM core.lab_results WHERE lab_result_id = 'L1'")
    assert compared(picky) == {}
