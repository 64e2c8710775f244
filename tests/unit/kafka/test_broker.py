"""What of the broker's answers is only for a moment."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from wardstream.kafka.broker import has_no_leader_yet


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), True),
        (KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)), True),
        (KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), False),
        (RuntimeError("not of Kafka"), False),
    ],
)
def test_a_partition_that_has_no_leader_yet_is_asked_again(error: BaseException, expected: bool):
    assert has_no_leader_yet(error) is expected
