"""A made-up topic with one of everything a contract may use: nested record, array, map, day, int, bytes, boolean."""

import json
from pathlib import Path
from typing import Any

import yaml

from wardstream.contracts.lock import add_to_lock

TIME = {"type": "long", "logicalType": "timestamp-micros"}
DAY = {"type": "int", "logicalType": "date"}

ENVELOPE: list[dict[str, Any]] = [
    {"name": "event_id", "type": "string", "doc": "d"},
    {"name": "event_time", "type": TIME, "doc": "d"},
    {"name": "recorded_at", "type": TIME, "doc": "d"},
    {"name": "source_seq", "type": "long", "doc": "d", "default": 0},
    {"name": "source", "type": "string", "doc": "d"},
    {"name": "kind", "type": "string", "doc": "d"},
    {"name": "patient_id", "type": "string", "doc": "d"},
]

ADDRESS = {
    "type": "record",
    "name": "Address",
    "fields": [
        {"name": "street", "type": "string", "doc": "d"},
        {"name": "since", "type": ["null", DAY], "doc": "d", "default": None},
        {"name": "height", "type": ["null", "double"], "doc": "d", "default": None},
    ],
}


def _own(document: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing, not even with itself: tests change what they get."""
    copied: dict[str, Any] = json.loads(json.dumps(document))
    return copied


def optional(name: str, kind: Any) -> dict[str, Any]:
    """A field as contracts want it."""
    return {"name": name, "type": ["null", kind], "default": None, "doc": "d"}


def schema_v1() -> dict[str, Any]:
    """Version 1."""
    fields = [
        *ENVELOPE,
        optional("visit_id", "string"),
        optional("address", ADDRESS),
        optional("tags", {"type": "array", "items": "string"}),
        optional("scores", {"type": "map", "values": "double"}),
        optional("day", DAY),
        optional("count", "int"),
        optional("raw", "bytes"),
        optional("done", "boolean"),
    ]
    schema = {"type": "record", "name": "Visit", "namespace": "org.example.visits", "doc": "d", "fields": fields}
    return _own(schema)


def schema_v2() -> dict[str, Any]:
    """Version 2: one field more, and one more inside the record."""
    schema = schema_v1()
    schema["fields"].append(optional("note", "string"))
    address = next(field for field in schema["fields"] if field["name"] == "address")["type"][1]
    address["fields"].append(optional("city", "string"))
    return schema


def event(**values: Any) -> dict[str, Any]:
    """A whole event, raw values."""
    return {
        "event_id": "e1",
        "event_time": 1_772_439_300_000_000,
        "recorded_at": 1_772_439_300_000_001,
        "source_seq": 0,
        "source": "test",
        "kind": "seen",
        "patient_id": "p1",
        "visit_id": "v1",
        "address": {"street": "Änderung 1", "since": -3, "height": -0.0},
        "tags": ["b", "a"],
        "scores": {"z": 1.5, "a": 2.0},
        "day": 20000,
        "count": 7,
        "raw": b"\x00\xff",
        "done": False,
        **values,
    }


_LOGICAL = {"string": "string", "int": "integer", "bytes": "string", "boolean": "boolean", "double": "number"}
_TIMES = {"minimum": "1800-01-01T00:00:00Z", "exclusiveMaximum": "2300-01-01T00:00:00Z"}


def property_of(name: str, logical: str, physical: str, **more: Any) -> dict[str, Any]:
    """One property of contract.yaml."""
    base = {"name": name, "logicalType": logical, "physicalType": physical, "classification": "internal"}
    return {**base, "description": "d", **more}


def document() -> dict[str, Any]:
    """contract.yaml for version 1."""
    ids = {"logicalTypeOptions": {"minLength": 1, "maxLength": 200}, "required": True}
    kinds = {"metric": "invalidValues", "arguments": {"validValues": ["seen", "cancelled"]}, "mustBe": 0}
    days = {"minimum": "1800-01-01", "maximum": "2300-01-01"}
    inner = [
        property_of("street", "string", "string", required=True),
        property_of("since", "date", "date"),
        property_of("height", "number", "double"),
    ]
    properties = [
        property_of("event_id", "string", "string", **ids),
        property_of("event_time", "timestamp", "timestamp-micros", required=True, logicalTypeOptions=_TIMES),
        property_of("recorded_at", "timestamp", "timestamp-micros", required=True, logicalTypeOptions=_TIMES),
        property_of("source_seq", "integer", "long", required=True),
        property_of("source", "string", "string", **ids),
        property_of("kind", "string", "string", required=True, quality=[kinds]),
        property_of("patient_id", "string", "string", **ids),
        property_of("visit_id", "string", "string", primaryKey=True, **ids),
        property_of("address", "object", "record", properties=inner),
        property_of("tags", "array", "array"),
        property_of("scores", "object", "map"),
        property_of("day", "date", "date", logicalTypeOptions=days),
        property_of("count", "integer", "int", logicalTypeOptions={"minimum": 0, "exclusiveMaximum": 100}),
        property_of("raw", "string", "bytes"),
        property_of("done", "boolean", "boolean"),
    ]
    whole = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "org.example.visits",
        "name": "Visits",
        "version": "1.0.0",
        "status": "active",
        "description": {"purpose": "For tests."},
        "team": {"name": "t", "members": [{"username": "t", "role": "owner"}]},
        "slaProperties": [
            {"property": "retention", "value": 2, "unit": "d"},
            {"property": "latency", "value": 1, "unit": "s"},
            {"property": "freshness", "value": 60, "unit": "s"},
        ],
        "schema": [{"name": "visits", "physicalName": "visits", "logicalType": "object", "properties": properties}],
        "customProperties": [
            {"property": "dlq", "value": "visits.dlq"},
            {"property": "replayPolicy", "value": "idempotent"},
            {"property": "requiredFor", "value": {"seen": ["day"]}},
            {"property": "partitions", "value": 3},
        ],
    }
    return _own(whole)


def property_named(contract: dict[str, Any], name: str) -> dict[str, Any]:
    """A property of a document, to be changed."""
    found: dict[str, Any] = next(p for p in contract["schema"][0]["properties"] if p["name"] == name)
    return found


def write(
    folder: Path, contract: dict[str, Any] | None = None, schemas: list[dict[str, Any]] | None = None, lock: bool = True
) -> Path:
    """Write the topic under folder/schemas and return that; what is given replaces what is described here."""
    topic = folder / "schemas" / "visits"
    chosen = schemas or [schema_v1()]
    (topic / "value").mkdir(parents=True, exist_ok=True)
    for number, schema in enumerate(chosen, 1):
        (topic / "value" / f"v{number}.avsc").write_text(json.dumps(schema))
        for verdict in ("valid", "invalid"):
            (topic / "examples" / f"v{number}" / verdict).mkdir(parents=True, exist_ok=True)
        _write_examples(topic / "examples" / f"v{number}")
    said = contract or document()
    said["customProperties"].append(
        {
            "property": "changelog",
            "value": [
                {"version": "1.0.0" if n == len(chosen) else f"0.{n}.0", "schema": f"v{n}", "change": "c"}
                for n in range(len(chosen), 0, -1)
            ],
        }
    )
    (folder / "schemas" / "sources.yaml").write_text("sources: {old: {historical: true}}\n")
    (topic / "contract.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
    if lock:
        add_to_lock(folder / "schemas")
    return folder / "schemas"


def _write_examples(folder: Path) -> None:
    good = {
        **{"event_id": "e", "event_time": "2026-03-02T08:15:00Z", "recorded_at": "2026-03-02T08:15:00Z"},
        **{"source": "test", "kind": "seen", "patient_id": "p", "visit_id": "v", "day": "2026-03-02", "raw": "00ff"},
        **{"address": {"street": "s", "since": "2020-01-01"}, "tags": ["x"], "scores": {"a": 1.0}},
    }
    (folder / "valid" / "seen.json").write_text(json.dumps(good))
    bad = {"reason": "out_of_range:count", "event": {**good, "count": 100}}
    (folder / "invalid" / "count.json").write_text(json.dumps(bad))
