"""The one canonical form of an event, and the hash of it: two encodings of one fact hash alike.

Canonical JSON: an object with its fields sorted by name; fields that are null or equal their default left out, in
nested records too; timestamps as integer microseconds since 1970 UTC, days as integer days since 1970, doubles in
Python's shortest form that reads back the same (`repr`), bytes as lower-case hex; UTF-8, no spaces. Items of arrays
and values of maps are kept as they are, nulls too: their place or key says something.

So an event written by v1 and the same event written by v2, whose added fields are null by default, have the same
form. Values come *raw*, as `codec.decode` gives them: integers for times and days.
Nothing here checks values; that is `validate`'s part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from wardstream.contracts.avro_tree import expand
from wardstream.contracts.model import JSON_TYPES, Schema

Event = dict[str, Any]
Convert = Callable[[Any], Any]
_NO_DEFAULT = object()

_encode_sorted = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
_encode_as_is = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Canonical:
    """Canonical forms under one schema, compiled once: use one object per schema for many events."""

    def __init__(self, schema: Schema) -> None:
        """Compile the plan; UnsafeSchemaError for a schema that `expand` refuses."""
        tree = expand(schema)
        self._form = _record_form(tree)
        # Sorting inside the encoder is needed only where maps bring keys of their own.
        self._encode = _encode_sorted if _has_map(tree) else _encode_as_is

    def json(self, event: Mapping[str, Any]) -> bytes:
        """The canonical JSON of an event, UTF-8."""
        return self._encode(self._form(event)).encode()

    def hash(self, event: Mapping[str, Any]) -> bytes:
        """SHA-256 of the canonical JSON: 32 bytes."""
        return hashlib.sha256(self.json(event)).digest()

    def texts(self, event: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str | None]:
        """Canonical JSON text of the named fields (records, arrays, maps): what their staging columns carry."""
        present = {name: event[name] for name in names if event.get(name) is not None}
        form = self._form(present) if present else {}
        return {name: _encode_sorted(form[name]) if name in form else None for name in names}


def content_hash(event: Mapping[str, Any], schema: Schema) -> bytes:
    """SHA-256 of the canonical JSON of one event: 32 bytes. For many events keep a `Canonical`."""
    return Canonical(schema).hash(event)


def json_fields(schema: Schema) -> tuple[str, ...]:
    """Names of the top-level fields whose staging column is canonical JSON text."""
    found = []
    for field in expand(schema)["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        if any(branch["type"] in JSON_TYPES for branch in branches):
            found.append(field["name"])
    return tuple(found)


def _record_form(tree: Any) -> Convert:
    plan = []
    for field in sorted(tree["fields"], key=itemgetter("name")):
        convert = _converter(field["type"])
        default = _default_form(field["type"], field.get("default"))
        # Equal numbers can be different texts (-0.0 and 0.0); only where floats may be inside is it worth the time.
        text = _encode_sorted(default) if isinstance(default, (float, dict, list)) else None
        plan.append((field["name"], convert, default, text))

    def form(record: Mapping[str, Any]) -> dict[str, Any]:
        out = {}
        get = record.get
        for name, convert, default, default_text in plan:
            value = get(name)
            if value is None:
                continue
            if convert is not None:
                value = convert(value)
            if value == default and (default_text is None or _encode_sorted(value) == default_text):
                continue
            out[name] = value
        return out

    return form


def _converter(tree: Any) -> Convert | None:
    """What turns a raw value into its JSON form; None where it is one already."""
    if isinstance(tree, list):
        return _union_converter(tree)
    kind = tree["type"]
    if kind in ("float", "double"):
        return float
    if kind in ("bytes", "fixed"):
        return bytes.hex
    if kind == "record":
        return _record_form(tree)
    if kind in ("array", "map"):
        item = _converter(tree["items" if kind == "array" else "values"])
        if item is None:
            return None
        if kind == "array":
            return lambda values: [None if value is None else item(value) for value in values]
        return lambda values: {key: None if value is None else item(value) for key, value in values.items()}
    return None


def _union_converter(branches: list[Any]) -> Convert | None:
    rest = [branch for branch in branches if branch["type"] != "null"]
    if len(rest) == 1:
        return _converter(rest[0])
    if all(_converter(branch) is None for branch in rest):
        return None
    # `contracts check` refuses such unions; a foreign writer's schema still gets a form that only depends on the value.
    return _plain


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _default_form(tree: Any, default: Any) -> Any:
    """The canonical form of a field's default, or _NO_DEFAULT where it is null or missing."""
    if default is None:
        return _NO_DEFAULT
    branch = tree[0] if isinstance(tree, list) else tree  # Avro: a union's default is of its first branch
    convert = _converter(branch)
    raw = _raw_default(branch, default)
    return raw if convert is None else convert(raw)


def _raw_default(tree: Any, default: Any) -> Any:
    """A default as it would be decoded: Avro writes the bytes of a default as text, one character a byte."""
    if isinstance(tree, list):
        return None if default is None else _raw_default(tree[0], default)
    kind = tree["type"]
    if kind in ("bytes", "fixed"):
        return str(default).encode("latin-1")
    if kind == "record":
        inner = {field["name"]: default.get(field["name"], field.get("default")) for field in tree["fields"]}
        return {field["name"]: _raw_default(field["type"], inner[field["name"]]) for field in tree["fields"]}
    if kind == "array":
        return [_raw_default(tree["items"], item) for item in default]
    if kind == "map":
        return {key: _raw_default(tree["values"], item) for key, item in default.items()}
    return default


def _has_map(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(_has_map(branch) for branch in tree)
    kind = tree["type"]
    if kind == "record":
        return any(_has_map(field["type"]) for field in tree["fields"])
    return kind == "map" or (kind == "array" and _has_map(tree["items"]))
