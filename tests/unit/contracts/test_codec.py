"""The wire: what goes in comes out, and whatever is not an event is a BadRecord, quickly and in little memory."""

import math
import struct
import time
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.contracts import made_up
from tests.unit.contracts.strategies import events
from wardstream.contracts.codec import BadRecord, Decoder, Encoder, decode, encode, split, to_raw
from wardstream.contracts.model import load_contracts
from wardstream.settings import PROJECT_ROOT

CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")
SCHEMAS = {**{topic: contract.latest for topic, contract in CONTRACTS.items()}, "visits": made_up.schema_v1()}
DECODERS = {topic: Decoder(schema) for topic, schema in SCHEMAS.items()}
SECRET = "Mr-Nobody"


def varint(number: int) -> bytes:
    """Avro's zigzag encoding of a long."""
    rest = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def record(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "r", "fields": [{"name": "a", "type": kind}]}


def reason_of(body: bytes, schema: dict[str, Any]) -> str:
    with pytest.raises(BadRecord) as caught:
        Decoder(schema).decode(body)
    return caught.value.reason


@pytest.mark.parametrize("topic", sorted(SCHEMAS))
@given(data=st.data())
def test_round_trip(topic: str, data: st.DataObject):
    event = data.draw(events(SCHEMAS[topic]))
    schema_id, body = split(encode(event, SCHEMAS[topic], 42))
    assert schema_id == 42
    assert _text(decode(body, SCHEMAS[topic])) == _text(event)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return str({name: _text(value[name]) for name in sorted(value)})
    return repr(value)  # tells -0.0 from 0.0, which == does not


@pytest.mark.parametrize("topic", sorted(SCHEMAS))
@given(body=st.binary(max_size=200))
@example(body=b"")
@example(body=b"\xff" * 60)
@example(body=b"\x01" * 60)
def test_random_bytes_are_an_event_or_a_bad_record(topic: str, body: bytes):
    _judge(topic, body)


@pytest.mark.parametrize("topic", sorted(SCHEMAS))
@given(data=st.data())
def test_damaged_events_are_an_event_or_a_bad_record(topic: str, data: st.DataObject):
    body = bytearray(split(encode(data.draw(events(SCHEMAS[topic])), SCHEMAS[topic], 1))[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        body[at : at + 1] = data.draw(
            st.sampled_from([b"", b"\xff", b"\x80", b"\x01", varint(2**40), varint(-(2**62))])
        )
    _judge(topic, bytes(body))


def _judge(topic: str, body: bytes) -> None:
    try:
        event = DECODERS[topic].decode(body)
    except BadRecord as bad:
        assert bad.reason in ("bad_avro", "trailing_bytes")
    else:
        assert list(event) == [field["name"] for field in SCHEMAS[topic]["fields"]]
        assert len(DECODERS[topic].content_hash(event)) == 32


@given(st.one_of(st.none(), st.binary(max_size=12)))
def test_split_of_anything(value: bytes | None):
    try:
        schema_id, body = split(value)
    except BadRecord as bad:
        assert bad.reason in ("no_value", "bad_magic", "too_short")
    else:
        assert value is not None
        assert struct.pack(">bi", 0, schema_id) + body == value


@pytest.mark.parametrize(
    "value, reason",
    [
        (None, "no_value"),
        (b"", "no_value"),
        (b"\x01abcd", "bad_magic"),
        (b"{", "bad_magic"),
        (b"\0\0\0\1", "too_short"),
    ],
)
def test_split_reasons(value: bytes | None, reason: str):
    with pytest.raises(BadRecord) as caught:
        split(value)
    assert caught.value.reason == reason


ARRAY, MAP = {"type": "array", "items": "string"}, {"type": "map", "values": "string"}
POISON = {
    "string of 1 GB": (record("string"), varint(2**30) + b"ab"),
    "string of 2^62": (record("string"), varint(2**62)),
    "string of negative length": (record("string"), varint(-1) + b"ab"),
    "string of the least length": (record("string"), varint(-(2**63)) + b"ab"),
    "bytes of 1 TB": (record("bytes"), varint(2**40) + b"ab"),
    "bytes of negative length": (record("bytes"), varint(-100) + b"ab"),
    "array of 2^31 items": (record(ARRAY), varint(2**31)),
    "array of 2^62 items": (record(ARRAY), varint(2**62) + b"\0" * 50),
    "array block of negative count without end": (record(ARRAY), varint(-5) + varint(0)),
    "map of 2^31 items": (record(MAP), varint(2**31) + b"\x02a"),
    "fixed of 1 GB": (record({"type": "fixed", "name": "f", "size": 2**30}), b"ab"),
    "union branch 5 of 2": (record(["null", "string"]), varint(5)),
    "union branch -9": (record(["null", "string"]), varint(-9)),
    "enum symbol 7 of 1": (record({"type": "enum", "name": "e", "symbols": ["A"]}), varint(7)),
    "invalid UTF-8": (record("string"), b"\x02\xff"),
    "a lone surrogate in UTF-8": (record("string"), b"\x06\xed\xa0\x80"),
    "a map key in invalid UTF-8": (record(MAP), b"\x02\x02\xff\x02a\0"),
    "half a double": (record("double"), b"\0\0\0\0"),
    "a long without end": (record("long"), b"\xff" * 40),
    "an int of 41 bits": (record("int"), varint(2**40)),
    "an int of 41 bits in an array": (record({"type": "array", "items": "int"}), varint(1) + varint(2**40) + b"\0"),
    "a day of 41 bits": (record(["null", {"type": "int", "logicalType": "date"}]), varint(1) + varint(-(2**40))),
}


@pytest.mark.parametrize("name", sorted(POISON))
def test_poison_is_a_bad_record_in_little_time_and_memory(name: str):
    schema, body = POISON[name]
    decoder = Decoder(schema)
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        with pytest.raises(BadRecord) as caught:
            decoder.decode(body)
        elapsed, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "bad_avro"
    assert elapsed < 0.5
    assert peak < 1_000_000


NODE = {"type": "record", "name": "Node", "namespace": "n", "fields": [{"name": "next", "type": ["null", "Node"]}]}


def _deep(levels: int) -> dict[str, Any]:
    kind: Any = "int"
    for _ in range(levels):
        kind = {"type": "array", "items": kind}
    return record(kind)


UNSAFE = {
    "nested 5,000 deep": _deep(5_000),
    "recursion": NODE,
    "recursion through an array": record(
        {"type": "record", "name": "N", "fields": [{"name": "l", "type": {"type": "array", "items": "N"}}]}
    ),
    "array of nulls": record({"type": "array", "items": "null"}),
    "array of empty records": record({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}),
    "array of fixed of no width": record({"type": "array", "items": {"type": "fixed", "name": "e", "size": 0}}),
    "unknown type": record("Nowhere"),
    "not a schema": {"type": "record"},
    "not a schema either": record(5),
}


@pytest.mark.parametrize("name", sorted(UNSAFE))
def test_a_schema_that_lets_messages_hurt_is_refused(name: str):
    with pytest.raises(BadRecord) as caught:
        Decoder(UNSAFE[name])
    assert caught.value.reason == "unsafe_schema"


def test_named_types_may_be_used_again():
    part = {"type": "record", "name": "Part", "namespace": "n", "fields": [{"name": "x", "type": "int"}]}
    schema = {
        "type": "record",
        "name": "r",
        "namespace": "n",
        "fields": [
            {"name": "a", "type": part},
            {"name": "b", "type": "Part"},
            {"name": "c", "type": ["null", "n.Part"]},
        ],
    }
    event = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}
    assert decode(split(encode(event, schema, 1))[1], schema) == event


def test_trailing_bytes():
    body = split(encode(made_up.event(), made_up.schema_v1(), 1))[1]
    assert reason_of(body + b"\0", made_up.schema_v1()) == "trailing_bytes"
    assert reason_of(body[:-1], made_up.schema_v1()) == "bad_avro"


def test_the_detail_of_a_bad_record_quotes_nothing():
    body = split(encode(made_up.event(visit_id=SECRET), made_up.schema_v1(), 1))[1]
    at = body.index(SECRET.encode())
    for broken in (body[: at + 9], body.replace(SECRET.encode(), SECRET[:-1].encode() + b"\xff"), body + b"x"):
        with pytest.raises(BadRecord) as caught:
            decode(broken, made_up.schema_v1())
        assert SECRET[:-1] not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_times_and_days_are_written_as_numbers():
    assert to_raw(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000_000
    assert to_raw(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert to_raw(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert to_raw(date(1969, 12, 31)) == -1
    with pytest.raises(ValueError, match="without a time zone"):
        to_raw(datetime(2020, 1, 1))


@given(st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2299, 12, 31), timezones=st.just(UTC)))
def test_microseconds_are_exact(at: datetime):
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=to_raw(at)) == at


def test_missing_fields_take_their_default():
    short = {name: value for name, value in made_up.event().items() if name not in ("source_seq", "done")}
    back = decode(split(encode(short, made_up.schema_v1(), 1))[1], made_up.schema_v1())
    assert (back["source_seq"], back["done"]) == (0, None)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"unheard_of": 1}, "no field unheard_of"),
        ({"visit_id": 5}, "field visit_id"),
        ({"count": 2**31}, "not encodable"),
        ({"event_id": None}, "field event_id"),
        ({"event_time": datetime(2020, 1, 1)}, "without a time zone"),
        ({"address": {"street": SECRET, "town": SECRET}}, "field address"),
        ({"done": SECRET}, "field done"),
    ],
)
def test_what_cannot_be_written_is_named_but_not_quoted(change: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says) as caught:
        encode(made_up.event(**change), made_up.schema_v1(), 1)
    assert SECRET not in str(caught.value)


def test_strings_that_are_no_unicode_cannot_be_written():
    with pytest.raises(ValueError, match="field visit_id"):
        encode(made_up.event(visit_id="\ud800"), made_up.schema_v1(), 1)


def test_not_a_number_is_decoded_for_the_validator_to_refuse():
    schema = record("double")
    back = decode(split(Encoder(schema, 1).encode({"a": math.nan}))[1], schema)
    assert math.isnan(back["a"])
