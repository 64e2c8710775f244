"""Whose ids: two senders with equal ids, white space, a changed file of sources, a database that knew no authority."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, event, lab, stay
from wardstream.contracts.model import load_contracts
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate, rollback, to_roll_back
from wardstream.database.plan_error import PlanError
from wardstream.settings import Settings
from wardstream.stream.check import check_plan
from wardstream.stream.commit import Fenced

TWO_LABS = "sources: {lab: {authority: a}, other: {authority: b}}\n"
ONE_LAB = "sources: {lab: {authority: a}, other: {authority: a}}\n"
ANY_CASE = "sources: {lab: {authority: a}, other: {authority: a}}\nauthorities: {a: {ignore_case: true}}\n"
ALL_TOPICS: list[Fact] = [
    ("patients", event("p", "registered", 0)),
    stay("a", "admitted", 0),
    stay("t", "transferred", 1, movement_id="M1", movement_type="transfer"),
    ("diagnoses", event("d", "recorded", 1, diagnosis_id="D1", encounter_id="E1")),
    lab("l", "resulted", 2, value_number=1.0),
]
CORE = ("patients", "encounters", "movements", "diagnoses", "lab_results")


def sent_by(source: str, *facts: Fact, **more: object) -> list[Fact]:
    """The same facts, said by somebody."""
    return [(topic, {**body, "source": source, **more}) for topic, body in facts]


def generation(bench: Bench) -> int:
    return int(bench.rows("SELECT generation FROM ops.streams")[0][0])


def key_of(bench: Bench, authority: str, identifier: str, most: int = 200) -> str:
    return str(bench.rows("SELECT mart.text_key(%s, %s, %s)", authority, identifier, most)[0][0])


LONG = "1" * 200


@pytest.mark.parametrize(
    ("authority", "identifier", "key"),
    [
        ("hospital", "1001", "1001"),
        ("lab", "1001", "lab:1001"),
        ("hospital", "urn:x:1", "hospital:urn:x:1"),
        ("a:b%", "c", "a%3Ab%25:c"),
        ("hospital", "~1", "hospital:~1"),
        ("hospital", LONG, LONG),
    ],
)
def test_one_text_for_an_id_and_its_authority(bench: Bench, authority: str, identifier: str, key: str) -> None:
    assert key_of(bench, authority, identifier) == key


def test_a_key_that_is_too_long_is_a_hash_and_never_cut(bench: Bench) -> None:
    """Two hospitals, ids of 200 characters that differ in the last one."""
    names = [(a, LONG[:-1] + end) for a in ("north", "south") for end in "12"]
    for most in (33, 50, 200):
        keys = [key_of(bench, *name, most) for name in names]
        assert len(set(keys)) == 4 and all(len(k) == min(most, 65) and k.startswith("~") for k in keys)
        assert keys == [key_of(bench, *name, most) for name in names], "stable"


IDS = st.text(alphabet="a:~%1", min_size=1, max_size=4)
NAMES = st.lists(st.tuples(st.sampled_from(["hospital", "a", "a:a", "%3A", "~", "a%"]) | IDS, IDS), max_size=30)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(names=NAMES)
def test_two_things_never_have_the_same_key(shared_bench: Bench, names: list[tuple[str, str]]) -> None:
    query = "SELECT mart.text_key(a, i) FROM unnest(%s::text[], %s::text[]) AS n (a, i)"
    keys = shared_bench.rows(query, [a for a, _ in names], [i for _, i in names])
    assert len(set(keys)) == len(set(names))


@pytest.mark.parametrize("order", [1, -1])
def test_two_senders_with_equal_ids_are_two_things_in_every_topic(bench: Bench, order: int) -> None:
    facts = [*sent_by("lab", *ALL_TOPICS), *sent_by("other", *ALL_TOPICS)][::order]
    bench.commit(*facts)
    for table in CORE:
        assert bench.rows(f"SELECT authority, source FROM core.{table} ORDER BY 1") == [
            ("lab", "lab"),
            ("other", "other"),
        ], table
    for view in ("patients", "admissions", "diagnoses", "labs"):
        assert bench.rows(f"SELECT authority FROM mart.{view} ORDER BY 1") == [("lab",), ("other",)], view
    assert bench.not_as_folded() == []


def test_white_space_names_the_same_thing_and_is_kept(bench: Bench) -> None:
    bench.commit(lab("1", "resulted", 1, value_number=1.0), lab("2", "corrected", 2, lab_result_id="\u3000L1 "))
    assert bench.rows("SELECT lab_result_id, status FROM core.lab_results") == [("L1", "corrected")]
    assert bench.rows("SELECT lab_result_id, ids_as_sent FROM history.labs ORDER BY event_id") == [
        ("L1", None),
        ("L1", {"lab_result_id": "\u3000L1 "}),
    ]
    bench.commit(lab("3", "resulted", 1, lab_result_id=" \u2003"))
    assert bench.rows("SELECT reason FROM ops.quarantine") == [("empty:lab_result_id",)]


def test_a_changed_file_makes_two_things_one_and_one_two(said: Callable[[str], Settings]) -> None:
    settings = said(TWO_LABS)
    bench = Bench(settings)
    bench.commit(
        *sent_by("lab", *ALL_TOPICS), *sent_by("other", *ALL_TOPICS, recorded_at=event("", "", 5)["recorded_at"])
    )
    two = bench.digest()
    assert bench.rows("SELECT count(*) FROM core.lab_results") == [(2,)]
    assert bench.rows("SELECT source, authority FROM ops.sources ORDER BY 1") == [("lab", "a"), ("other", "b")]
    builds = bench.rows("SELECT max(version) FROM ops.day_versions")

    before = generation(bench)
    said(ONE_LAB)
    assert generation(bench) == before + 1, "a driver that judges by the file of before is fenced"
    with pytest.raises(Fenced):
        bench.commit(lab("new", "resulted", 3))
    assert bench.rows("SELECT authority, source FROM core.lab_results") == [("a", "other")]
    assert bench.rows("SELECT max(version) FROM ops.day_versions") > builds, "its days are stale"
    assert bench.not_as_folded() == []
    said(ONE_LAB)
    assert generation(bench) == before + 1, "nothing has changed"
    said(TWO_LABS)
    assert bench.digest() == two
    bench.committer.close()
    bench.admin.close()


def test_what_verify_has_seen_of_a_topic_that_is_restated_is_forgotten(said: Callable[[str], Settings]) -> None:
    bench = Bench(said(TWO_LABS))
    bench.commit(*sent_by("lab", *ALL_TOPICS), *sent_by("other", lab("x", "resulted", 5)))
    bench.admin.execute(
        "INSERT INTO ops.verified SELECT topic_id, partition, 0, 1, 'form', 1, 0, 0, 0, 0, 0, now() FROM ops.ledger"
    )
    said(ONE_LAB)
    left = bench.rows("SELECT topic FROM ops.verified JOIN ops.ledger USING (topic_id, partition) ORDER BY 1")
    assert left == [("admissions",), ("diagnoses",), ("patients",)], "only facts of labs came from the other source"
    bench.committer.close()
    bench.admin.close()


def test_case_counts_until_the_authority_says_otherwise(said: Callable[[str], Settings]) -> None:
    settings = said(ONE_LAB)
    bench = Bench(settings)
    bench.commit(*sent_by("lab", lab("1", "resulted", 1, lab_result_id="ab ")))
    bench.commit(*sent_by("other", lab("2", "corrected", 2, lab_result_id="AB")))
    assert bench.rows("SELECT lab_result_id FROM core.lab_results ORDER BY 1") == [("AB",), ("ab",)]
    said(ANY_CASE)
    assert bench.rows("SELECT lab_result_id, status FROM core.lab_results") == [("ab", "corrected")]
    kept = "SELECT lab_result_id, ids_as_sent ->> 'lab_result_id' FROM history.labs ORDER BY event_id"
    assert bench.rows(kept) == [("ab", "ab "), ("ab", "AB")]
    said(ONE_LAB)
    assert bench.rows(kept) == [("ab", "ab "), ("AB", None)]
    assert bench.not_as_folded() == []
    bench.committer.close()
    bench.admin.close()


def test_a_file_that_says_otherwise_than_the_database_stops_a_stream_before_it_starts(
    said: Callable[[str], Settings],
) -> None:
    settings = said(TWO_LABS)
    bench = Bench(settings)
    bench.commit(*sent_by("lab", *ALL_TOPICS), *sent_by("other", *ALL_TOPICS))
    (settings.schemas_dir / "sources.yaml").write_text(ONE_LAB)
    contracts = load_contracts(settings.schemas_dir)
    with connect(settings.writer_url, "test") as conn:
        assert check_plan(conn, contracts, bench.plan) == [
            "schemas/sources.yaml: source other uses the ids of a, but its facts are stored otherwise;"
            " run `wardstream migrate`"
        ]
    bench.committer.close()
    bench.admin.close()


def test_a_database_that_knew_no_authority_is_taken_over(said: Callable[[str], Settings]) -> None:
    """As the version before filled it: one thing a key, and white space is part of an id."""
    settings = said(TWO_LABS)
    bench = Bench(settings)
    sent = lab("9", "resulted", 1, lab_result_id="L1 ", value_number=9.0)
    bench.commit(*sent_by("lab", *ALL_TOPICS, sent), *sent_by("other", lab("x", "resulted", 7, lab_result_id="L2")))
    wanted = bench.digest()
    history = bench.rows("SELECT to_jsonb(t)::text FROM history.labs AS t ORDER BY event_id, source")
    days = "SELECT core_table, day, version FROM ops.day_versions ORDER BY 1, 2"

    rollback(settings, to_roll_back(settings, 1000).index("0028.authorities") + 1)
    assert bench.rows("SELECT lab_result_id FROM history.labs WHERE event_id = '9'") == [("L1 ",)]
    marked = bench.rows(days)
    migrate(settings)
    assert bench.digest() == wanted
    assert bench.rows("SELECT to_jsonb(t)::text FROM history.labs AS t ORDER BY event_id, source") == history
    assert bench.not_as_folded() == []
    assert bench.rows(days) == marked, "what is the same as before makes no day stale"
    assert bench.rows("SELECT source, authority FROM ops.sources ORDER BY 1") == [("lab", "a"), ("other", "b")]
    with connect(settings.writer_url, "test") as conn:
        assert check_plan(conn, bench.contracts, bench.plan) == []
    bench.committer.close()
    bench.admin.close()


def test_a_table_of_ones_own_that_has_no_authority_yet_is_named(said: Callable[[str], Settings]) -> None:
    settings = said(TWO_LABS)
    bench = Bench(settings)
    bench.commit(*sent_by("lab", *ALL_TOPICS))
    with connect(settings.owner_url, "test") as conn:
        conn.execute(
            "DROP VIEW mart.patients; ALTER TABLE core.patients DROP CONSTRAINT patients_pkey, DROP COLUMN authority,"
            " ADD PRIMARY KEY (patient_id)"
        )
    with pytest.raises(PlanError, match=r"sql/folds/patients\.sql: its key authority is not part .*decisions/0024"):
        said(ONE_LAB.replace("lab: {authority: a}", "lab: {authority: c}"))
    assert bench.rows("SELECT authority FROM ops.sources") == [("a",)], "nothing was changed"
    bench.committer.close()
    bench.admin.close()
