"""One query for all topics or one a topic, one partition or two: the same core and mart, and verify agrees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.hospital import Hospital
from wardstream import stack

TOPICS_OF_COMMITS = (
    "SELECT count(DISTINCT topic) FROM ops.ledger_ranges JOIN ops.ledger USING (topic_id) GROUP BY commit_seq"
)


@pytest.fixture
def together(hospital: Hospital) -> Iterator[Hospital]:
    """The same hospital with one query for all topics and two partitions a topic."""
    own = Hospital(hospital.settings.model_copy(update={"stream_split": False, "topic_partitions": 2}))
    yield own
    stack.stop_part(own.settings, "stream")
    hospital.empty()


@pytest.mark.campaign
def test_split_and_partitioned(hospital: Hospital, together: Hospital) -> None:
    hospital.empty()
    hospital.must("replay", "sample")
    hospital.verified()
    digest = hospital.digest()
    assert {topics for (topics,) in hospital.rows(TOPICS_OF_COMMITS)} == {1}, "each topic is committed by its own query"

    together.empty()
    together.must("replay", "sample")
    tallies = together.verified().tallies
    assert {tally.partition for tally in tallies} == {0, 1}
    assert all(tally.stored for tally in tallies), "every partition has had its share"
    assert together.digest() == digest
    assert max(topics for (topics,) in together.rows(TOPICS_OF_COMMITS)) > 1
