"""From messages to what the commit takes: judged by their writer's schema, split by verdict, in order of offset."""

import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord, Encoder
from wardstream.contracts.model import load_contracts
from wardstream.registry.client import SchemaSource, WriterSchema
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stream.decode import (
    MESSAGE,
    Judge,
    Sorted,
    judge_batches,
    judged_schema,
    sort_out,
)

ALL = load_contracts(PROJECT_ROOT / "schemas")
CONTRACTS = {topic: ALL[topic] for topic in ("labs", "patients")}
IDS = {"labs": 1, "patients": 2}
TOPIC_IDS = {"labs": "L", "patients": "P"}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Shelf(SchemaSource):
    """Answers for the registry: id 1 is of labs, 2 of patients, 3 a version of labs that is not deployed."""

    def lookup(self, schema_id: int, topic: str) -> WriterSchema:
        schema = CONTRACTS[topic].latest
        if schema_id == 3 and topic == "labs":
            newer = {**schema, "fields": [*schema["fields"], {"name": "x", "type": ["null", "int"], "default": None}]}
            return WriterSchema(newer, fingerprint(newer))
        if IDS[topic] != schema_id:
            raise BadRecord("unknown_schema")
        return WriterSchema(schema, fingerprint(schema))


JUDGE = Judge(CONTRACTS, Shelf(Settings(schema_registry_url="http://nobody.invalid")))


def value(topic: str, schema_id: int | None = None, **more: Any) -> bytes:
    event = {
        "event_id": "e",
        "event_time": NOW,
        "recorded_at": NOW,
        "source_seq": 0,
        "source": "test",
        "kind": "resulted" if topic == "labs" else "registered",
        "patient_id": "P1",
        **({"lab_result_id": "L1"} if topic == "labs" else {}),
        **more,
    }
    return Encoder(CONTRACTS[topic].latest, schema_id or IDS[topic]).encode(event)


def sorted_out(messages: Iterable[tuple[str, int, int, bytes | None]], judge: Judge = JUDGE) -> Sorted:
    rows = [(topic, partition, offset, NOW, b"k", body) for topic, partition, offset, body in messages]
    columns = zip(*rows, strict=True) if rows else [()] * len(MESSAGE)
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, MESSAGE, strict=True)], schema=MESSAGE)
    judged = pa.Table.from_batches(judge_batches(judge)(table.to_batches(max_chunksize=2)), judged_schema(CONTRACTS))
    return sort_out(judged, CONTRACTS, TOPIC_IDS)


def test_events_come_by_topic_in_order_of_partition_and_offset():
    messages = [
        ("labs", 1, 0, value("labs")),
        ("labs", 0, 5, value("labs", event_id="second")),
        ("patients", 0, 0, value("patients", gender="F")),
        ("labs", 0, 4, value("labs", event_id="first", value_number=4.1)),
    ]
    found = sorted_out(messages)
    labs = found.events["labs"]
    assert labs.select(["partition", "offset"]).to_pylist() == [
        {"partition": 0, "offset": 4},
        {"partition": 0, "offset": 5},
        {"partition": 1, "offset": 0},
    ]
    first = labs.slice(0, 1).to_pylist()[0]
    assert (first["event_id"], first["value_number"], first["event_time"]) == ("first", 4.1, NOW)
    assert (first["topic_id"], first["schema_id"], first["key"], first["value"]) == ("L", 1, b"k", messages[3][3])
    assert found.events["patients"]["gender"].to_pylist() == ["F"]
    assert found.rejects.num_rows == 0
    assert found.schema_ids == {(1, "labs", fingerprint(CONTRACTS["labs"].latest))} | {
        (2, "patients", fingerprint(CONTRACTS["patients"].latest))
    }


@pytest.mark.parametrize(
    ("body", "reason", "schema_id"),
    [
        (None, "no_value", None),
        (b"", "no_value", None),
        (b"{}", "bad_magic", None),
        (b"\0\0\0", "too_short", None),
        (b"\0\0\0\0\x09", "unknown_schema", 9),
        (value("patients"), "unknown_schema", 2),
        (value("labs")[:-3], "bad_avro", 1),
        (value("labs") + b"\0", "trailing_bytes", 1),
        (value("labs", kind="made up"), "not_allowed:kind", 1),
    ],
)
def test_a_message_at_fault_is_a_reject_and_its_neighbours_are_not(body, reason, schema_id):
    found = sorted_out([("labs", 0, 0, value("labs")), ("labs", 0, 1, body), ("labs", 0, 2, value("labs"))])
    assert found.events["labs"]["offset"].to_pylist() == [0, 2]
    (reject,) = found.rejects.to_pylist()
    assert (reject["reason"], reject["schema_id"], reject["value"]) == (reason, schema_id, body)
    assert (reject["topic"], reject["topic_id"], reject["offset"], reject["key"]) == ("labs", "L", 1, b"k")


def test_nothing_gives_nothing():
    found = sorted_out([])
    assert not found.events and found.rejects.num_rows == 0 and not found.schema_ids


def test_a_version_that_is_not_deployed_refuses_nobody():
    found = sorted_out([("labs", 0, 0, value("labs")), ("labs", 0, 1, value("labs", schema_id=3))])
    assert found.events["labs"]["offset"].to_pylist() == [0] and found.rejects.num_rows == 0
    assert found.waiting.to_pylist() == [
        {"topic": "labs", "topic_id": "L", "partition": 0, "offset": 1, "schema_id": 3}
    ]
    assert {schema_id for schema_id, *_ in found.schema_ids} == {1}, "it was met when it is committed"


def test_a_judge_travels_without_what_it_learned():
    judge = Judge(CONTRACTS, Shelf(Settings(schema_registry_url="http://nobody.invalid")))
    sorted_out([("labs", 0, 0, value("labs"))], judge)
    assert judge._decoders and not pickle.loads(pickle.dumps(judge))._decoders
