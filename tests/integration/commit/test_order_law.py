"""The law: any arrival of the same facts, in any order, batches and number, gives the same core and mart.

`make test` tries the same worlds every time. The campaign (`make proof`) draws new ones at each run;
LAW_EXAMPLES=20000 .venv/bin/pytest -m campaign tests/integration/commit makes it longer.
"""

import os

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.integration.commit.worlds import (
    CANCELLED,
    CANCELLED_BEFORE_IT_IS_KNOWN,
    MINUS_ZERO,
    ONE_ID_TWO_BODIES,
    faults,
    strangers,
    worlds,
)

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=70, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_IS_FINE)
@example(ONE_ID_TWO_BODIES)
@example(MINUS_ZERO)
@example(CANCELLED)
@example(CANCELLED_BEFORE_IT_IS_KNOWN)
@given(world=worlds())
def test_arrival_does_not_matter(shared_bench, world):
    assert faults(shared_bench, world) == []


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_IS_FINE)
@given(world=worlds())
def test_what_one_sender_says_does_not_matter_to_the_things_of_another(shared_bench, world):
    assert strangers(shared_bench, world) == []


@pytest.mark.campaign
@pytest.mark.timeout(0)
@settings(max_examples=int(os.environ.get("LAW_EXAMPLES", "2000")), deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(world=worlds())
def test_arrival_does_not_matter_in_many_worlds(shared_bench, world):
    assert faults(shared_bench, world) == []
