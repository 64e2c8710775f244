"""Messages of every kind, good, odd and hostile, and the two judges of them side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord, Encoder
from wardstream.contracts.model import Contract, Schema, load_contracts
from wardstream.contracts.sources import Sources
from wardstream.registry.client import SchemaSource, WriterSchema
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stream.arrow_judge import FastJudge
from wardstream.stream.decode import MESSAGE, Judge, judge_batches, judged_schema

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
BEDS = ["null", {"type": "record", "name": "Bed", "fields": [{"name": "room", "type": "string"}]}]
SOURCES = Sources.model_validate(
    {
        "sources": {"sample": {}, "east lab": {"authority": "east"}, "archive": {"historical": True}},
        "authorities": {"east": {"ignore_case": True}},
    }
)
Message = tuple[str, bytes | None]


def _wider(schema: Schema) -> Schema:
    """The schema with a field of every type that can be judged in columns, defaults other than null among them."""
    more: list[dict[str, Any]] = [
        {"name": "A_first", "type": "string", "default": "none"},
        {"name": "level", "type": "int", "default": 3},
        {"name": "sure", "type": "boolean", "default": True},
        {"name": "tally", "type": ["null", "int"], "default": None},
        {"name": "Tally", "type": ["null", "long"], "default": None},
        {"name": "ratio", "type": ["null", "double"], "default": None},
        {"name": "naïve", "type": ["null", "boolean"], "default": None},
        {"name": "seen_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
    ]
    return {**schema, "fields": [*schema["fields"], *more]}


def _contracts() -> dict[str, Contract]:
    found = {t: replace(c, sources=SOURCES) for t, c in load_contracts(PROJECT_ROOT / "schemas").items()}
    patients, diagnoses = found["patients"], found["diagnoses"]
    nested = {
        **diagnoses.latest,
        "fields": [*diagnoses.latest["fields"], {"name": "bed", "type": BEDS, "default": None}],
    }
    return {
        **found,
        "wide": replace(patients, topic="wide", versions={1: patients.latest, 2: _wider(patients.latest)}),
        "nested": replace(diagnoses, topic="nested", versions={1: nested}),
    }


CONTRACTS = _contracts()
NATIVE = tuple(topic for topic in CONTRACTS if topic != "nested")
IDS: dict[tuple[str, int], int] = {
    at: number for number, at in enumerate(((topic, v) for topic, c in CONTRACTS.items() for v in c.versions), start=1)
}
ALSO_LABS, NOT_DEPLOYED = 2**31 - 1, 77
ENCODERS = {at: Encoder(CONTRACTS[at[0]].versions[at[1]], schema_id) for at, schema_id in IDS.items()}


class Shelf(SchemaSource):
    """What it was taught is all that there is."""

    def lookup(self, schema_id: int, topic: str) -> WriterSchema:
        known = self.known(topic).get(schema_id)
        if known is None:
            raise BadRecord("unknown_schema")
        return known


def _source() -> SchemaSource:
    source = Shelf(Settings(schema_registry_url="http://nobody.invalid"))
    for (topic, version), schema_id in IDS.items():
        schema = CONTRACTS[topic].versions[version]
        source.teach(schema_id, topic, WriterSchema(schema, fingerprint(schema)))
    labs = CONTRACTS["labs"].latest
    source.teach(ALSO_LABS, "labs", WriterSchema({**labs, "doc": "the same"}, fingerprint(labs)))
    newer = _wider(labs)
    source.teach(NOT_DEPLOYED, "labs", WriterSchema(newer, fingerprint(newer)))
    return source


class BothJudges:
    """The same messages by either judge."""

    def __init__(self) -> None:
        self.fast = FastJudge(Judge(CONTRACTS, _source()), few=0)
        self._slow = judge_batches(Judge(CONTRACTS, _source()))

    def agree(self, messages: Iterable[Message], broker_time: datetime = NOW) -> list[bool]:
        """AssertionError where they differ in anything; which messages were judged the fast way."""
        sent = table(messages, broker_time)
        fast = self.fast(sent).sort_by("offset")
        slow = pa.Table.from_batches(self._slow(sent.to_batches()), judged_schema(CONTRACTS))
        assert fast.schema == slow.schema
        for one, other in zip(fast.to_pylist(), slow.to_pylist(), strict=True):
            assert repr(one) == repr(other)  # tells -0.0 from 0.0, which == does not
        good = {
            place
            for batch in sent.to_batches()
            for places, _ in self.fast.plainly_good(batch)
            for place in places.to_pylist()
        }
        return [number in good for number in range(sent.num_rows)]


def table(messages: Iterable[Message], broker_time: datetime) -> pa.Table:
    """Messages as read from Kafka, with their number as offset."""
    rows = [(topic, 0, number, broker_time, b"k", value) for number, (topic, value) in enumerate(messages)]
    columns = zip(*rows, strict=True) if rows else [()] * len(MESSAGE)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, MESSAGE, strict=True)], schema=MESSAGE)


def plain(topic: str, **more: Any) -> dict[str, Any]:
    """An event that is plainly good in any version of the topic."""
    kinds = {"labs": "resulted", "admissions": "admitted", "diagnoses": "recorded", "nested": "recorded"}
    keys = {
        "labs": "lab_result_id",
        "admissions": "encounter_id",
        "diagnoses": "diagnosis_id",
        "nested": "diagnosis_id",
    }
    event: dict[str, Any] = {"event_id": "e-1", "event_time": NOW_US, "recorded_at": NOW_US, "source_seq": 0}
    event |= {"source": "sample", "kind": kinds.get(topic, "registered"), "patient_id": "P1"}
    event |= {keys[topic]: "K1"} if topic in keys else {}
    event |= {"encounter_id": "E1"} if topic in ("diagnoses", "nested") else {}
    return {**event, **more}


def encoded(topic: str, version: int = 1, **more: Any) -> bytes:
    """The message of a plainly good event with these values changed."""
    return ENCODERS[topic, version].encode(plain(topic, **more))


def pieced(topic: str, version: int, event: Mapping[str, Any], **instead: bytes) -> bytes:
    """The message of an event in which the bytes of some fields are others."""
    parts = [b"\0" + IDS[topic, version].to_bytes(4, "big")]
    for field in CONTRACTS[topic].versions[version]["fields"]:
        name = field["name"]
        if name in instead:
            parts.append(instead[name])
        else:
            one = Encoder({"type": "record", "name": "one", "fields": [field]}, 0)
            parts.append(one.encode({name: event[name]} if name in event else {})[5:])
    return b"".join(parts)


def varint(number: int, width: int = 0) -> bytes:
    """Avro's encoding of a long, in at least `width` bytes."""
    rest = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    out = bytearray()
    while rest > 0x7F or len(out) + 1 < width:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def text(raw: bytes) -> bytes:
    """Avro's encoding of a string of these bytes."""
    return varint(len(raw)) + raw
