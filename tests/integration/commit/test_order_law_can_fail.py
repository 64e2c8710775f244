"""The law is worth something: with a defect put into the SQL, a world is found in which it does not hold.

Most defects are found by the law's own search; where that takes long, one of the worlds it always tries shows them.
"""

import shutil

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, lab, stay
from tests.integration.commit.worlds import (
    CANCELLED,
    ONE_ID_TWO_BODIES,
    TWO_BODIES_IN_TWO_BATCHES,
    World,
    faults,
    worlds,
)
from wardstream.stream.plan import PROTOCOL_DIR

VERSION = "recorded_at DESC, source_seq DESC, event_id DESC, content_hash DESC"
POSITION = "h.recorded_at, h.source_seq, h.event_id, h.content_hash"
ADMISSIONS = "folds/include/admission_facts.sql"
REPLACE = "protocol/replace_core.sql"
STAGED, BY_VERSION = "protocol/greatest_staged.sql", "protocol/upsert_by_version.sql"
GREATER = "({excluded_version}) > ({core_version})"
DEFECTS = {
    "one fact: whose id it is does not count": (STAGED, "DISTINCT ON ({key}, authority)", "DISTINCT ON ({key})"),
    "one fact: of a batch the last to arrive wins": (STAGED, VERSION, '"offset" DESC'),
    "one fact: of a batch the first to arrive wins": (STAGED, VERSION, '"offset"'),
    "one fact: of a batch, ties by arrival": (STAGED, VERSION, 'recorded_at DESC, "offset" DESC'),
    "one fact: one id with two bodies in a batch, by arrival": (STAGED, ", content_hash DESC", ', "offset" DESC'),
    "one fact: the last batch wins": (BY_VERSION, GREATER, "true"),
    "one fact: what is there stays": (BY_VERSION, GREATER, "false"),
    "one fact: of two batches, ties by arrival": (BY_VERSION, GREATER, "excluded.recorded_at >= c.recorded_at"),
    "one fact: one id with two bodies, by arrival": (
        BY_VERSION,
        GREATER,
        "(excluded.recorded_at, excluded.source_seq, excluded.event_id) >= (c.recorded_at, c.source_seq, c.event_id)",
    ),
    "stays: facts are laid out by arrival": (ADMISSIONS, POSITION, 'h.received_at, h."offset"'),
    "stays: ties are broken by arrival": (ADMISSIONS, POSITION, 'h.recorded_at, h."offset"'),
    "stays: whose id it is does not count": (ADMISSIONS, "AND h.authority = touched.authority", ""),
    "core: what is there stays": (
        REPLACE,
        "DO UPDATE\n    SET ({columns}) = ROW({excluded})\n    WHERE c *<> excluded",
        "DO NOTHING",
    ),
    "core: what vanishes stays": (
        REPLACE,
        "NOT EXISTS (SELECT FROM {folded}",
        "false AND NOT EXISTS (SELECT FROM {folded}",
    ),
}
NEWER_THEN_OLDER = World((lab("a", "resulted", 1), lab("b", "corrected", 2)), ((1,), (0,)))
LAID_OUT = World(
    (
        stay("a", "admitted", 0),
        stay("u", "updated", 1, service="MED"),
        stay("v", "updated", 2, service="SURG"),
        stay("c", "cancelled_transfer", 3),  # else it is not laid out by the definition
    ),
    ((3, 2), (1, 0)),
)
SHOWN_BY = {
    "one fact: one id with two bodies, by arrival": TWO_BODIES_IN_TWO_BATCHES,
    "one fact: one id with two bodies in a batch, by arrival": ONE_ID_TWO_BODIES,
    "one fact: the last batch wins": NEWER_THEN_OLDER,
    "stays: facts are laid out by arrival": LAID_OUT,
    "core: what vanishes stays": CANCELLED,
}
BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # one broken world is enough, it need not be the smallest
    suppress_health_check=list(HealthCheck),
)


# One of each kind in the ordinary suite; all of them in `make proof`.
BRIEFLY = (
    "one fact: of a batch the last to arrive wins",
    "one fact: one id with two bodies in a batch, by arrival",
    "one fact: the last batch wins",
    "one fact: one id with two bodies, by arrival",
    "stays: facts are laid out by arrival",
    "core: what vanishes stays",
)


ENCOUNTERS, MOVEMENTS = "folds/fast/encounters.sql", "folds/fast/movements.sql"
NONE_CANCELLED = "HAVING NOT bool_or(h.kind IN ('cancelled_admit', 'cancelled_transfer', 'cancelled_discharge'))"


def moved(event_id: str, at: float, movement: str, ward: str, recorded: float | None = None, **more: str) -> Fact:
    """The stay's patient enters a ward."""
    return stay(event_id, "transferred", at, recorded, movement_id=movement, ward=ward, **more)


OPEN = (stay("a", "admitted", 0, ward="A"), moved("b", 1, "M1", "B"))
OVER = (*OPEN, stay("d", "discharged", 9))
FAST = {
    "a cancelled admission counts": (ENCOUNTERS, NONE_CANCELLED, "", CANCELLED.facts),
    "a cancelled movement counts": (MOVEMENTS, NONE_CANCELLED, "", (*OVER, stay("c", "cancelled_transfer", 2))),
    "whose id it is does not count": (
        ENCOUNTERS,
        "AND h.authority = touched.authority",
        "",
        (*OPEN, stay("o", "discharged", 2, source="other")),
    ),
    "an update says nothing": (
        ENCOUNTERS,
        "h.kind IN ('admitted', 'updated')",
        "h.kind = 'admitted'",
        (*OPEN, stay("u", "updated", 2, service="SURG")),
    ),
    "the first discharge stays": (
        ENCOUNTERS,
        "FILTER (WHERE h.kind = 'discharged'))[1]",
        "FILTER (WHERE h.kind = 'discharged'))[2]",
        (*OVER, stay("e", "discharged", 10)),
    ),
    "the ward that was left": (ENCOUNTERS, "p.event_time DESC, p.newest", "p.event_time, p.newest", OPEN),
    "of two wards at once the older": (
        ENCOUNTERS,
        "p.event_time DESC, p.newest",
        "p.event_time DESC, p.newest DESC",
        (moved("b", 1, "M1", "B"), moved("c", 1, "M2", "C")),
    ),
    "a ward of before a correction": (
        ENCOUNTERS,
        "p.kind, p.ordinality\n",
        "p.kind, p.ordinality DESC\n",
        (*OPEN, moved("e", 1, "M1", "C", 2)),
    ),
    "an admission without a ward is a place": (
        ENCOUNTERS,
        "p.kind = 'transferred' OR p.ward IS NOT NULL",
        "true",
        (moved("b", 1, "M1", "B"), stay("a", "admitted", 2)),
    ),
    "the first version of a movement": (
        MOVEMENTS,
        "v.movement_id, v.ordinality\n",
        "v.movement_id, v.ordinality DESC\n",
        (*OPEN, moved("e", 1, "M1", "C", 2)),
    ),
    "a movement ends with the stay": (
        MOVEMENTS,
        "lead(m.event_time) OVER (ORDER BY m.event_time, m.ordinality DESC)",
        "NULL",
        (*OVER, moved("e", 2, "M2", "C")),
    ),
    "a bed after the discharge": (
        MOVEMENTS,
        "f.discharged_at >= m.event_time",
        "true",
        (*OVER, moved("e", 10, "M2", "C")),
    ),
    "two movements at once, in the wrong order": (
        MOVEMENTS,
        "m.event_time, m.ordinality DESC",
        "m.event_time, m.ordinality",
        (moved("b", 1, "M1", "B"), moved("c", 1, "M2", "C"), moved("e", 2, "M3", "D")),
    ),
}


@pytest.fixture
def broken(bench, tmp_path, monkeypatch):
    """Puts a defect into the SQL that the bench commits by; its worlds are still judged by the SQL as it is."""
    made = []

    def breaks(file: str, right: str, wrong: str) -> None:
        shutil.copytree(bench.settings.sql_dir, tmp_path / "sql")
        shutil.copytree(PROTOCOL_DIR, tmp_path / "sql" / "protocol")
        text = (tmp_path / "sql" / file).read_text()
        assert text.count(right) == 1
        (tmp_path / "sql" / file).write_text(text.replace(right, wrong))
        made.append(bench.new_committer(bench.plan_of(tmp_path / "sql")))
        monkeypatch.setattr(bench, "committer", made[0])

    yield breaks
    for committer in made:
        committer.conn.close()


@pytest.mark.parametrize(
    "defect", [pytest.param(defect, marks=() if defect in BRIEFLY else pytest.mark.campaign) for defect in DEFECTS]
)
def test_a_defect_turns_the_law_red(bench, broken, defect):
    broken(*DEFECTS[defect])
    if defect in SHOWN_BY:
        assert is_broken(bench, SHOWN_BY[defect])
    else:
        try:
            find(worlds(), lambda world: is_broken(bench, world), settings=BOUNDED)
        except NoSuchExample:
            pytest.fail("no world shows the defect")


@pytest.mark.parametrize("defect", FAST)
def test_a_fast_path_that_gives_another_row_turns_the_law_red(bench, broken, defect):
    *change, facts = FAST[defect]
    bench.commit(*facts)
    assert bench.not_as_folded() == []
    bench.empty()
    broken(*change)
    try:
        bench.commit(*facts)
    except psycopg.errors.CardinalityViolation:
        return  # a stay twice
    assert bench.not_as_folded() != []


def test_a_fold_of_history_that_gives_another_version_is_found(bench, tmp_path):
    """Commits do not fold where one fact says all: that core is as folded holds the two ways together."""
    shutil.copytree(bench.settings.sql_dir, tmp_path / "sql")
    protocol = shutil.copytree(PROTOCOL_DIR, tmp_path / "sql" / "protocol")
    text = (protocol / "greatest_version.sql").read_text()
    (protocol / "greatest_version.sql").write_text(text.replace("one.recorded_at DESC", "one.recorded_at"))
    bench.commit(lab("a", "resulted", 1), lab("b", "corrected", 2))
    assert bench.not_as_folded() == []
    bench.audit_by(bench.plan_of(tmp_path / "sql"))
    try:
        assert any(row.startswith("lab_results") for row in bench.not_as_folded())
    finally:
        bench.audit_by(bench.plan)


def is_broken(bench: Bench, world: World) -> bool:
    """Whether two arrivals gave two digests (that core is not as folded is too easily seen), or two rows for one."""
    try:
        return any("digest" in fault for fault in faults(bench, world))
    except psycopg.errors.CardinalityViolation:
        return True
