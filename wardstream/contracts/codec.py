"""The wire: one zero byte, four bytes of schema id, one Avro body; and nothing a sender can do with them to hurt us.

Decoding gives raw values (times as microseconds, days as days), for `canonical` and the staging columns alike. Every
fault of a message is a `BadRecord` with a stable reason code, and is found without allocating what the message
merely claims. What a value may be is `validate`'s part.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import fastavro

from wardstream.contracts.avro_tree import UnsafeSchemaError, expand, strip_logical
from wardstream.contracts.canonical import Canonical, Event, json_fields
from wardstream.contracts.model import Schema

_HEADER = struct.Struct(">bi")
_INT32 = range(-(2**31), 2**31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class BadRecord(Exception):
    """A message that can never become an event. It goes to quarantine under `reason`.

    Reasons here: no_value, bad_magic, too_short, unknown_schema, unsafe_schema, bad_avro, trailing_bytes; those of
    `validate` have the form rule:field. `detail` says where (offsets, names), never a value of the event.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def split(value: bytes | None) -> tuple[int, bytes]:
    """A message's schema id and Avro body. BadRecord: no_value, bad_magic, too_short."""
    if not value:
        raise BadRecord("no_value", "the message has no value")
    if value[0] != 0:
        raise BadRecord("bad_magic", "the first byte is not 0, so this is not the registry's wire format")
    if len(value) < _HEADER.size:
        raise BadRecord("too_short", f"{len(value)} bytes; the header alone has {_HEADER.size}")
    # Signed, as Kafka's own serializers read it; a negative id is in no registry and still fits a database integer.
    return _HEADER.unpack_from(value)[1], value[_HEADER.size :]


class Decoder:
    """Reads bodies written under one schema; build it once per schema id and keep it."""

    def __init__(self, writer_schema: Schema) -> None:
        """Compile the schema. BadRecord `unsafe_schema` where `avro_tree.expand` refuses it."""
        try:
            tree = expand(writer_schema)
            self.canonical = Canonical(writer_schema)
            self._schema = fastavro.parse_schema(strip_logical(writer_schema))
        except (UnsafeSchemaError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
            raise BadRecord("unsafe_schema", str(error)) from error
        except RecursionError as error:
            raise BadRecord("unsafe_schema", "nested too deeply") from error
        self.json_fields = json_fields(writer_schema)
        """Top-level fields whose staging column carries canonical JSON text (see `Canonical.texts`)."""
        self._check_ints = _int_checker(tree)

    def decode(self, body: bytes) -> Event:
        """The event, raw values by field name. BadRecord: bad_avro, trailing_bytes."""
        stream = BytesIO(body)
        try:
            event = fastavro.schemaless_reader(stream, self._schema, None)
        except MemoryError:
            raise  # of this process, not of this message: reading never allocates more than the body holds
        except Exception as error:  # noqa: BLE001
            # Whatever a decoder meets in hostile bytes is a fault of the message, and must not stop the stream.
            # `from None`: the text of a decoding error can quote the bytes, and those are somebody's data.
            raise BadRecord("bad_avro", f"{type(error).__name__} at byte {stream.tell()} of {len(body)}") from None
        if stream.tell() != len(body):
            raise BadRecord("trailing_bytes", f"the event ends at byte {stream.tell()} of {len(body)}")
        if self._check_ints is not None:
            self._check_ints(event)
        return event  # type: ignore[no-any-return]

    def content_hash(self, event: Mapping[str, Any]) -> bytes:
        """SHA-256 of the event's canonical JSON."""
        return self.canonical.hash(event)


class Encoder:
    """Writes messages under one schema id; build it once and keep it."""

    def __init__(self, schema: Schema, schema_id: int) -> None:
        """`schema_id` is the registry's id of exactly this schema."""
        self._schema = fastavro.parse_schema(strip_logical(schema))
        self._names = frozenset(field["name"] for field in schema["fields"])
        self._header = _HEADER.pack(0, schema_id)
        self._check_ints = _int_checker(expand(schema))

    def encode(self, event: Mapping[str, Any]) -> bytes:
        """The message for an event; times are aware datetimes or microseconds, days are dates or days since 1970.

        Missing fields take their default. ValueError for an unknown field, a missing one without default, a naive
        datetime or a value of another type; the message names no value.
        """
        unknown = event.keys() - self._names
        if unknown:
            raise ValueError(f"the schema has no field {', '.join(sorted(unknown))}")
        raw = {name: to_raw(value) for name, value in event.items()}
        stream = BytesIO()
        stream.write(self._header)
        try:
            fastavro.schemaless_writer(stream, self._schema, raw, strict_allow_default=True)
            if self._check_ints is not None:
                self._check_ints(raw)
        except Exception as error:  # noqa: BLE001 - a bad value shows as almost any type of exception
            raise ValueError(f"not encodable: {_culprit(self._schema, raw)} ({type(error).__name__})") from None
        return stream.getvalue()


def decode(body: bytes, writer_schema: Schema) -> Event:
    """One event from one body. For many bodies keep a `Decoder`."""
    return Decoder(writer_schema).decode(body)


def encode(event: Mapping[str, Any], schema: Schema, schema_id: int) -> bytes:
    """One message for one event. For many events keep an `Encoder`."""
    return Encoder(schema, schema_id).encode(event)


def to_raw(value: Any) -> Any:
    """A Python value as it stands on the wire: aware datetimes as microseconds since 1970 UTC, dates as days.

    ValueError for a datetime without a time zone: it would say nothing about when.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone; attach UTC or the facility's zone first")
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return (value - _EPOCH_DAY).days
    if isinstance(value, dict):
        return {key: to_raw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_raw(item) for item in value]
    return value


def _culprit(schema: Any, raw: Mapping[str, Any]) -> str:
    for field in schema["fields"]:
        one = {"type": "record", "name": "one", "fields": [field]}
        alone = {name: value for name, value in raw.items() if name == field["name"]}
        try:
            fastavro.schemaless_writer(BytesIO(), fastavro.parse_schema(one), alone, strict_allow_default=True)
        except Exception:  # noqa: BLE001 - the same fault again; only the field's name is of interest
            return f"field {field['name']} is missing or of another type"
    return "the event"


def _int_checker(tree: Any) -> Callable[[Any], None] | None:
    """A check that every Avro int fits 32 bits (the reader takes any width), or None where there is no int."""
    if isinstance(tree, list):
        checkers = [checker for branch in tree if (checker := _int_checker(branch))]
        return checkers[0] if len(checkers) == 1 else (_check_any_int if checkers else None)
    kind = tree["type"]
    if kind == "int":
        return _check_any_int
    if kind == "record":
        pairs = [(f["name"], checker) for f in tree["fields"] if (checker := _int_checker(f["type"]))]
        return _record_checker(pairs) if pairs else None
    if kind in ("array", "map"):
        inner = _int_checker(tree["items" if kind == "array" else "values"])
        return None if inner is None else _items_checker(inner)
    return None


def _check_any_int(value: Any) -> None:
    if type(value) is int and value not in _INT32:
        raise BadRecord("bad_avro", "an int of more than 32 bits")


def _record_checker(pairs: list[tuple[str, Callable[[Any], None]]]) -> Callable[[Any], None]:
    def check(record: Any) -> None:
        if type(record) is dict:
            for name, checker in pairs:
                checker(record.get(name))

    return check


def _items_checker(inner: Callable[[Any], None]) -> Callable[[Any], None]:
    def check(values: Any) -> None:
        if values is not None:
            for value in values.values() if type(values) is dict else values:
                inner(value)

    return check
