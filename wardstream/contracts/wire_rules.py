"""What `contracts check` wants of the .avsc files: the envelope, types built to evolve, versions that agree.

The standard's own check (PyPI `avro`) runs in both directions over every pair of versions. On top of it comes what it
lets through and what changes meaning all the same: micros to millis, decimal scale or precision, a null default
dropped, a rename, a grown enum, any change of a type at all, a field removed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import avro.errors
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from wardstream.contracts.avro_tree import UnsafeSchemaError, expand
from wardstream.contracts.model import SUPPORTED_TYPES, Contract, Schema, short_type, split_null

ENVELOPE = (
    ("event_id", "string"),
    ("event_time", "timestamp-micros"),
    ("recorded_at", "timestamp-micros"),
    ("source_seq", "long"),
    ("source", "string"),
    ("kind", "string"),
    ("patient_id", "string"),
)
"""The fields that every event begins with, in this order, none of them nullable. encounter_id may follow."""

_BASE_OF_LOGICAL = {"timestamp-micros": "long", "date": "int"}
RESERVED = frozenset(
    {"content_hash", "topic_id", "partition", "offset", "schema_id", "received_at", "broker_time", "key", "value"}
    | {"authority", "ids_as_sent"}
)
"""Columns that staging and history put beside the fields of an event."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WHY_NOT = {
    "enum": "a new symbol breaks old readers; use a string and list the values in contract.yaml",
    "fixed": "use a string or bytes",
    "decimal": "a change of its scale passes every compatibility check; use a double beside the text as sent",
    "timestamp-millis": "all times are timestamp-micros",
    "uuid": "ids and uuids are plain strings",
    "union": "a union is null and one type",
}


def wire_problems(contract: Contract) -> list[str]:
    """Everything wrong with a topic's schemas, as sentences that begin with the file."""
    problems = []
    numbers = list(contract.versions)
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"{contract.topic}/value: versions are {numbers}; they must run from v1 without a gap")
    trees: dict[int, Any] = {}
    for version, schema in contract.versions.items():
        where = _file(contract, version)
        try:
            trees[version] = expand(schema)
            avro.schema.parse(json.dumps(schema))
        except (UnsafeSchemaError, avro.errors.AvroException) as error:
            problems.append(f"{where}: {error}")
            trees.pop(version, None)
            continue
        problems += [f"{where}: {text}" for text in (*_envelope(schema), *_fields(trees[version]))]
    for old, new in itertools.combinations(trees, 2):
        pair = f"{_file(contract, new)} against v{old}"
        problems += [f"{pair}: {text}" for text in _differences(trees[old], trees[new], "")]
        problems += [f"{pair}: {text}" for text in _standard(contract.versions[old], contract.versions[new])]
    return problems


def _file(contract: Contract, version: int) -> str:
    return f"{contract.topic}/value/v{version}.avsc"


def _envelope(schema: Schema) -> Iterator[str]:
    fields = schema["fields"]
    for position, (name, kind) in enumerate(ENVELOPE):
        field = fields[position] if position < len(fields) else {}
        if field.get("name") != name:
            yield f"field {position + 1} must be {name} (the envelope comes first, in its order)"
        elif split_null(field["type"])[1] or short_type(field["type"]) != kind:
            yield f"field {name}: the envelope wants {kind}, not nullable"
        elif name == "source_seq" and field.get("default") != 0:
            yield "field source_seq: its default must be 0"
    names = [field["name"] for field in fields]
    if "encounter_id" in names and names.index("encounter_id") != len(ENVELOPE):
        yield f"field encounter_id must follow {ENVELOPE[-1][0]}"


def _fields(tree: Any) -> Iterator[str]:
    not_nullable = {name for name, _ in ENVELOPE} | {"encounter_id"}
    for field in tree["fields"]:
        name = field["name"]
        if not NAME.fullmatch(name) or name in RESERVED:
            yield f"field {name}: must be lower case with underscores, at most 63 long, none of {sorted(RESERVED)}"
        if name not in not_nullable or isinstance(field["type"], list):
            yield from _nullable(field, name)
        yield from _types(field["type"], name)


def _nullable(field: Any, where: str) -> Iterator[str]:
    kind = field["type"]
    if not isinstance(kind, list) or len(kind) != 2 or kind[0]["type"] != "null":
        yield f'field {where}: outside the envelope a type is ["null", <one type>]'
    elif "default" not in field or field["default"] is not None:
        yield f"field {where}: outside the envelope the default is null"


def _types(tree: Any, where: str) -> Iterator[str]:
    if isinstance(tree, list):
        rest = [branch for branch in tree if branch["type"] != "null"]
        if len(rest) != 1:
            yield f"field {where}: {_WHY_NOT['union']}"
        for branch in rest:
            yield from _types(branch, where)
        return
    kind = short_type(tree)
    if kind not in SUPPORTED_TYPES or tree["type"] in ("enum", "fixed"):
        word = kind if kind in _WHY_NOT else tree["type"]
        yield f"field {where}: type {kind} is not used here: {_WHY_NOT.get(word, 'see docs of the contracts')}"
    elif kind in _BASE_OF_LOGICAL and tree["type"] != _BASE_OF_LOGICAL[kind]:
        yield f"field {where}: {kind} belongs on {_BASE_OF_LOGICAL[kind]}; on another type Avro ignores it"
    for field in tree.get("fields", []):
        inner = f"{where}.{field['name']}"
        if field.get("default") is not None:
            yield f"field {inner}: inside a record the only default is null"
        yield from _types(field["type"], inner)
    for key in ("items", "values"):
        if key in tree:
            yield from _types(tree[key], f"{where}[]")


def _differences(old: Any, new: Any, where: str) -> Iterator[str]:
    """What a later version changed that it must not; it may only add fields at the end that are null by default."""
    here = where or "the record"
    if isinstance(old, list) != isinstance(new, list) or (isinstance(old, list) and len(old) != len(new)):
        yield f"{here}: the type changed (null given or taken, or another branch)"
        return
    if isinstance(old, list):
        for one, other in zip(old, new, strict=True):
            yield from _differences(one, other, where)
        return
    for key in ("type", "logicalType", "precision", "scale", "size", "symbols", "name", "namespace", "aliases"):
        if old.get(key) != new.get(key):
            yield f"{here}: `{key}` changed; a released type never changes, add a new field instead"
    for key in ("items", "values"):
        if key in old and key in new:
            yield from _differences(old[key], new[key], f"{where}[]")
    if "fields" in old and "fields" in new:
        yield from _field_differences(old["fields"], new["fields"], where)


def _field_differences(old: list[Any], new: list[Any], where: str) -> Iterator[str]:
    before, after = [field["name"] for field in old], [field["name"] for field in new]
    for name in before:
        if name not in after:
            yield f"{where}.{name}: removed or renamed; leave it and stop filling it".lstrip(".")
    if all(name in after for name in before) and after[: len(before)] != before:
        yield f"{where or 'the record'}: fields changed their order; new ones go to the end"
    later = {field["name"]: field for field in new}
    for field in old:
        if field["name"] in later:
            path = f"{where}.{field['name']}".lstrip(".")
            other = later[field["name"]]
            if ("default" in field, field.get("default")) != ("default" in other, other.get("default")):
                yield f"{path}: its default changed"
            if field.get("aliases") != other.get("aliases"):
                yield f"{path}: `aliases` changed; a rename breaks readers of the older version"
            yield from _differences(field["type"], other["type"], path)
    for field in new:
        if field["name"] not in before:
            yield from _nullable(field, f"{where}.{field['name']}".lstrip("."))


def _standard(old: Schema, new: Schema) -> Iterator[str]:
    """Avro's own compatibility check, both ways."""
    one, other = avro.schema.parse(json.dumps(old)), avro.schema.parse(json.dumps(new))
    for reader, writer, which in (
        (one, other, "old readers cannot read it"),
        (other, one, "it cannot read old events"),
    ):
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            yield f"{which}: {', '.join(sorted(result.messages)) or 'incompatible'}"
