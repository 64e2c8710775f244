"""The law is worth something: with a defect put into the SQL, a world is found in which it does not hold.

Most defects are found by the law's own search; where that takes long, one of the worlds it always tries shows them.
"""

import shutil

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab
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
ADMISSIONS, UPSERT = "folds/include/admission_facts.sql", "protocol/upsert_core.sql"
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
        UPSERT,
        "DO UPDATE\nSET ({columns}) = ROW({excluded})\nWHERE c *<> excluded",
        "DO NOTHING",
    ),
    "core: what vanishes stays": ("protocol/delete_vanished.sql", "NOT EXISTS", "false AND NOT EXISTS"),
}
SHOWN_BY = {
    "one fact: one id with two bodies, by arrival": TWO_BODIES_IN_TWO_BATCHES,
    "one fact: one id with two bodies in a batch, by arrival": ONE_ID_TWO_BODIES,
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


@pytest.mark.parametrize(
    "defect", [pytest.param(defect, marks=() if defect in BRIEFLY else pytest.mark.campaign) for defect in DEFECTS]
)
def test_a_defect_turns_the_law_red(bench, tmp_path, monkeypatch, defect):
    file, right, wrong = DEFECTS[defect]
    shutil.copytree(bench.settings.sql_dir, tmp_path / "sql")
    shutil.copytree(PROTOCOL_DIR, tmp_path / "sql" / "protocol")
    text = (tmp_path / "sql" / file).read_text()
    assert text.count(right) == 1
    (tmp_path / "sql" / file).write_text(text.replace(right, wrong))
    broken = bench.new_committer(bench.plan_of(tmp_path / "sql"))
    monkeypatch.setattr(bench, "committer", broken)
    try:
        if defect in SHOWN_BY:
            assert is_broken(bench, SHOWN_BY[defect])
        else:
            find(worlds(), lambda world: is_broken(bench, world), settings=BOUNDED)
    except NoSuchExample:
        pytest.fail("no world shows the defect")
    finally:
        broken.conn.close()


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
