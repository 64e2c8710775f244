"""The law is worth something: with a defect put into the SQL, a world is found in which it does not hold.

Most defects are found by the law's own search; where that takes long, one of the worlds it always tries shows them.
"""

import shutil

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample

from tests.integration.commit.worlds import CANCELLED, MINUS_ZERO, ONE_ID_TWO_BODIES, faults, worlds
from wardstream.stream.plan import PROTOCOL_DIR

VERSION = "v.recorded_at DESC, v.source_seq DESC, v.event_id DESC, v.content_hash DESC"
POSITION = "h.recorded_at, h.source_seq, h.event_id, h.content_hash"
LABS, ADMISSIONS, UPSERT = "folds/lab_results.sql", "folds/include/admission_facts.sql", "protocol/upsert_core.sql"
DEFECTS = {
    "labs: the last to arrive wins": (LABS, VERSION, 'v.received_at DESC, v."offset" DESC'),
    "labs: the first to arrive wins": (LABS, VERSION, 'v."offset"'),
    "labs: versions are not compared, the first to lie there wins": (LABS, VERSION, "v.ctid"),
    "labs: ties are broken by where they lie": (LABS, VERSION, "v.recorded_at DESC, v.ctid"),
    "labs: source_seq is left out, then arrival": (LABS, VERSION, 'v.recorded_at DESC, v."offset" DESC'),
    "labs: one id with two bodies, by arrival": (LABS, "v.content_hash DESC", 'v."offset" DESC'),
    "stays: facts are laid out by arrival": (ADMISSIONS, POSITION, 'h.received_at, h."offset"'),
    "stays: ties are broken by arrival": (ADMISSIONS, POSITION, 'h.recorded_at, h."offset"'),
    "labs: whose id it is does not count": (LABS, "AND v.authority = touched.authority", ""),
    "stays: whose id it is does not count": (ADMISSIONS, "AND h.authority = touched.authority", ""),
    "core: what is there stays": (
        UPSERT,
        "DO UPDATE\nSET ({columns}) = ROW({excluded})\nWHERE c *<> excluded",
        "DO NOTHING",
    ),
    "core: equal numbers are not replaced": (UPSERT, "c *<> excluded", "c IS DISTINCT FROM excluded"),
    "core: what vanishes stays": ("protocol/delete_vanished.sql", "NOT EXISTS", "false AND NOT EXISTS"),
}
SHOWN_BY = {
    "labs: one id with two bodies, by arrival": ONE_ID_TWO_BODIES,
    "core: equal numbers are not replaced": MINUS_ZERO,
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
    "labs: the last to arrive wins",
    "stays: facts are laid out by arrival",
    "labs: one id with two bodies, by arrival",
    "core: equal numbers are not replaced",
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
            assert by_arrival(faults(bench, SHOWN_BY[defect]))
        else:
            find(worlds(), lambda world: by_arrival(faults(bench, world)), settings=BOUNDED)
    except NoSuchExample:
        pytest.fail("no world shows the defect")
    finally:
        broken.conn.close()


def by_arrival(found: list[str]) -> bool:
    """Whether two arrivals gave two digests (that core is not as folded is too easily seen)."""
    return any("digest" in fault for fault in found)
