"""Where a stream begins, and what Spark's offset log says it has planned."""

import json
from pathlib import Path
from typing import cast

import pytest

from wardstream.kafka.broker import Broker, Extent
from wardstream.stream.commit import BrokerChanged, Slice
from wardstream.stream.start import Start, check_drain, fresh_folder

IDS = {"labs": "L", "patients": "P"}


class Extents:
    """Only what `planned` asks of a broker: where partitions begin."""

    def extents(self) -> list[Extent]:
        return [Extent("labs", "L", 1, 5, 90), Extent("labs", "L", 0, 0, 90)]


BROKER = cast(Broker, Extents())


def start(folder: Path, *batches: dict[str, dict[str, int]]) -> Start:
    (folder / "offsets").mkdir()
    for number, ends in enumerate(batches):
        metadata = {"batchWatermarkMs": 0, "conf": {}}
        (folder / "offsets" / str(number)).write_text(f"v1\n{json.dumps(metadata)}\n{json.dumps(ends)}")
    return Start(("labs", "patients"), IDS, {("labs", 0): 3, ("patients", 0): 0}, folder)


def test_spark_is_told_every_partitions_first_offset(tmp_path):
    assert json.loads(start(tmp_path).starting_offsets) == {"labs": {"0": 3}, "patients": {"0": 0}}


def test_the_first_batch_begins_where_spark_was_told_to(tmp_path):
    planned = start(tmp_path, {"labs": {"0": 10}, "patients": {"0": 4}}).planned(0, BROKER)
    assert planned == [Slice("labs", "L", 0, 3, 10), Slice("patients", "P", 0, 0, 4)]


def test_a_later_batch_begins_where_the_one_before_it_ended(tmp_path):
    begun = start(tmp_path, {"labs": {"0": 10}, "patients": {"0": 4}}, {"labs": {"0": 12}, "patients": {"0": 4}})
    assert begun.planned(1, BROKER) == [Slice("labs", "L", 0, 10, 12)]  # patients did not move: no slice


def test_a_partition_that_appears_begins_where_its_log_does(tmp_path):
    begun = start(tmp_path, {"labs": {"0": 10}}, {"labs": {"0": 10, "1": 8}})
    assert begun.planned(1, BROKER) == [Slice("labs", "L", 1, 5, 8)]


def test_a_fresh_folder_is_empty(tmp_path):
    (tmp_path / "scratch" / "old").mkdir(parents=True)
    assert list(fresh_folder(tmp_path / "scratch").iterdir()) == []


def test_a_drain_to_what_the_broker_has_can_be_done():
    check_drain(None, BROKER.extents())
    check_drain({"L": {"0": 90, "1": 7}}, BROKER.extents())


@pytest.mark.parametrize(
    ("drain_to", "named"),
    [
        pytest.param({"L": {"0": 7}, "older": {"0": 3}}, "topic id older partition 0 offset 3", id="recreated"),
        pytest.param({"L": {"0": 91, "1": 7}}, "topic id L partition 0 offset 91", id="restored"),
    ],
)
def test_a_drain_to_what_the_broker_no_longer_has_cannot_be_done(drain_to, named):
    with pytest.raises(BrokerChanged, match=rf"up to {named}, which.*wardstream stream drain"):
        check_drain(drain_to, BROKER.extents())
