"""A sender gone wrong: in one batch, a thousand rows that only PostgreSQL refuses, among fifty thousand good ones."""

import time
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab
from tests.integration.commit.test_commit_protocol import LABS, REFUSED_BY_POSTGRES

EVERY = 51
# What COPY refuses is found by the line that it names; what only a constraint refuses, by trying, which takes minutes.
BY_TRYING = "a required field without a value"
KINDS = [
    *(what for what in REFUSED_BY_POSTGRES if what != BY_TRYING),
    pytest.param(BY_TRYING, marks=pytest.mark.campaign),
]
GOOD, BAD = 50_000, 1_000


def spoiled(column: str, values: list[object], wrong: object) -> list[object]:
    return [wrong if n % EVERY == EVERY // 2 else value for n, value in enumerate(values)]


@pytest.mark.parametrize("what", KINDS)
def test_a_thousand_among_fifty_thousand(bench: Bench, what: str) -> None:
    column, wrong, state = REFUSED_BY_POSTGRES[what]
    facts = (lab(f"e{n}", "resulted", n % 100, lab_result_id=f"L{n}", value_text="7") for n in range(GOOD + BAD))
    batch = bench.batch(facts)
    table = batch.events["labs"]
    kind = table.schema.field(column).type
    values = table[column].cast(pa.int64()) if pa.types.is_timestamp(kind) else table[column]
    changed = pa.array(spoiled(column, values.to_pylist(), wrong), values.type).cast(kind)
    table = table.set_column(table.column_names.index(column), column, changed)
    begun = time.monotonic()
    outcome = bench.committer.commit(replace(batch, events={"labs": table}))
    print(f"{what}: {BAD} refused of {GOOD + BAD} in {time.monotonic() - begun:.1f} s")
    assert (outcome.stored[LABS], outcome.quarantined[LABS]) == (GOOD, BAD)
    found = bench.rows('SELECT reason, "offset" %% %s, count(*) FROM ops.quarantine GROUP BY 1, 2', EVERY)
    assert found == [(f"sqlstate:{state}", EVERY // 2, BAD)]
    assert bench.rows("SELECT count(*) FROM core.lab_results") == [(GOOD,)]
    assert len(bench.rows("SELECT FROM ops.ledger_ranges")) == 1
