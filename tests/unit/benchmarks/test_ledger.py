"""From ranges of the ledger to speed and latency, and from two looks at CPU to what was used in between."""

import pytest

from benchmarks import ledger
from benchmarks.ledger import Range
from benchmarks.peer_runs import columns_of, first_of
from benchmarks.peers.job import Job, Table, read_job
from benchmarks.publish import Extent, Paced
from benchmarks.usage import kind, used


def committed(start: int, end: int, began: float, at: float, seq: int) -> Range:
    return Range(start, end, end - start, end - start, 0, 0, seq, began, at)


THREE = [committed(0, 100, 9.0, 10.0, 1), committed(100, 300, 10.5, 12.0, 2), committed(300, 400, 12.0, 14.0, 3)]


def test_speed_is_that_between_the_first_commit_and_the_last():
    found = ledger.steady(THREE)
    assert (found.events, found.seconds, found.events_per_second) == (300, 4.0, 75.0)
    assert found.commit_us_per_event == pytest.approx(1e6 * (1.0 + 1.5 + 2.0) / 400)


def test_a_commit_of_several_topics_counts_its_time_once():
    two = [committed(0, 50, 1.0, 2.0, 7), committed(800, 850, 1.0, 2.0, 7)]
    assert ledger.steady(two).commit_us_per_event == pytest.approx(1e4)
    assert ledger.steady(two).events_per_second == 0


def test_a_batch_that_is_stored_beside_another_counts_from_the_end_of_that_one():
    three = [committed(0, 50, 1.0, 4.0, 1), committed(50, 90, 2.0, 5.0, 2), committed(90, 100, 7.0, 8.0, 3)]
    assert ledger.steady(three).commit_us_per_event == pytest.approx(1e6 * (3.0 + 1.0 + 1.0) / 100)


def test_latency_is_from_produce_to_the_commit_of_the_range_that_holds_the_offset():
    paced = Paced("labs", [(0, 9.5), (99, 9.9), (100, 11.0), (399, 13.0)])
    assert ledger.latencies(THREE, paced) == pytest.approx([500, 100, 1000, 1000])
    assert ledger.latencies(THREE, paced, after=1.0) == pytest.approx([1000, 1000])


@pytest.mark.parametrize("offset", [400, -1])
def test_an_event_that_was_not_committed_is_an_error_and_not_left_out(offset):
    with pytest.raises(ValueError, match="in no range"):
        ledger.latencies(THREE, Paced("labs", [(0, 9.5), (offset, 9.6)]))


def test_an_offset_between_two_ranges_is_an_error():
    with pytest.raises(ValueError, match="in no range"):
        ledger.latencies([THREE[0], THREE[2]], Paced("labs", [(150, 9.5)]))


def test_what_waits_at_the_end_is_what_was_committed_after_the_last_was_produced():
    paced = Paced("labs", [(0, 9.0), (150, 11.0), (350, 12.0)])
    assert ledger.waiting_at_end(THREE, paced) == 1
    assert ledger.waiting_at_end(THREE, Paced("labs", [(0, 9.0), (1, 20.0)])) == 0


def test_a_rate_is_the_one_achieved():
    assert Paced("labs", [(0, 1.0), (1, 1.5), (2, 2.0)]).achieved == 2.0


def test_use_is_a_difference_and_a_part_started_anew_counts_from_its_start():
    before = {"kafka": 10.0, "stream_jvm": 50.0}
    assert used(before, {"kafka": 12.5, "stream_jvm": 3.0, "registry": 1.0}) == {
        "kafka": 2.5,
        "stream_jvm": 3.0,
        "registry": 1.0,
    }


def test_the_streams_processes_are_told_apart():
    assert kind("kafka", ["java", "kafka.Kafka"]) == "kafka"
    assert kind("stream", ["java", "org.apache.spark.deploy.SparkSubmit", "pyspark-shell"]) == "stream_jvm"
    assert kind("stream", ["python", "-m", "pyspark.daemon"]) == "stream_python_worker"
    assert kind("stream", ["python", "-m", "spark_jobs.stream"]) == "stream_driver"


def test_slow_peers_get_the_first_messages_of_each_topic_in_the_same_shares():
    found = first_of([Extent("labs", 10, 910, 900), Extent("admissions", 0, 100, 90)], 100)
    assert [(each.topic, each.start, each.end) for each in found] == [("labs", 10, 100), ("admissions", 0, 10)]
    # of keys that come twice nobody knows how many are among the first
    assert [each.keys for each in found] == [90, 0]
    assert first_of([Extent("labs", 0, 5, 5)], 100) == [Extent("labs", 0, 5, 5)]


AVRO = {
    "type": "record",
    "name": "x",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "number", "type": ["null", "double"], "default": None},
    ],
}


def test_a_peers_columns_are_those_of_the_schema():
    assert columns_of(AVRO) == {"id": "text", "at": "timestamptz", "day": "date", "number": "double precision"}


def test_a_job_comes_out_of_json_as_it_went_in():
    table = Table("labs", 0, 10, "bench.x_labs", "id", columns_of(AVRO), AVRO, AVRO)
    job = Job("127.0.0.1:1", "postgresql://a:b@c/d", 50, (table,), {"decoder": "rust"})
    assert read_job(job.as_json()) == job
    assert job.count == 10
