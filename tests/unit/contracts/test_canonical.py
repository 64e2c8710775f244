"""The canonical form: golden values, and the law that two versions of a schema give one hash for one fact."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contracts import made_up
from tests.unit.contracts.strategies import events
from wardstream.contracts.canonical import Canonical, content_hash, json_fields
from wardstream.contracts.codec import Decoder, Encoder, split
from wardstream.contracts.model import load_contracts
from wardstream.settings import PROJECT_ROOT

V1, V2 = made_up.schema_v1(), made_up.schema_v2()
LABS = load_contracts(PROJECT_ROOT / "schemas")["labs"].latest
LAB = {
    "event_id": "0b9c2ac2-2f0c-5a0e-a1b1-2f8d9f0a1b2c",
    "event_time": 6145186860000000,
    "recorded_at": 6145186860000000,
    "source_seq": 0,
    "source": "mimic-iii",
    "kind": "resulted",
    "patient_id": "10006",
    "encounter_id": None,
    "lab_result_id": "6244565",
    "value_text": "10.0",
    "value_number": 10.0,
    "unit": "µg/dL",
}


def test_golden_labs():
    # These two values are a promise: history is keyed by such hashes. A change of them needs a new column, not an edit.
    assert Canonical(LABS).json(LAB).decode() == (
        '{"event_id":"0b9c2ac2-2f0c-5a0e-a1b1-2f8d9f0a1b2c","event_time":6145186860000000,"kind":"resulted",'
        '"lab_result_id":"6244565","patient_id":"10006","recorded_at":6145186860000000,"source":"mimic-iii",'
        '"unit":"µg/dL","value_number":10.0,"value_text":"10.0"}'
    )
    assert content_hash(LAB, LABS).hex() == "d8d6fcedc788789e9d35396cb49669723ded1ac0cbfe5595d99f4a6014fb001e"


def test_golden_nested():
    assert Canonical(V1).json(made_up.event()).decode() == (
        '{"address":{"height":-0.0,"since":-3,"street":"Änderung 1"},"count":7,"day":20000,"done":false,'
        '"event_id":"e1","event_time":1772439300000000,"kind":"seen","patient_id":"p1","raw":"00ff","recorded_at":1772439300000001,'
        '"scores":{"a":2.0,"z":1.5},"source":"test","tags":["b","a"],"visit_id":"v1"}'
    )
    assert content_hash(made_up.event(), V1).hex() == "523f0f951f9f327a06eb8f4abea9c85ee8e41b1465ae6c4433ea481c393077ac"


def test_whole_numbers_in_a_double_have_one_form():
    assert content_hash({**LAB, "value_number": 10}, LABS) == content_hash(LAB, LABS)


@pytest.mark.parametrize("seq, there", [(0, False), (1, True), (-1, True)])
def test_a_default_is_left_out(seq: int, there: bool):
    assert (b"source_seq" in Canonical(LABS).json({**LAB, "source_seq": seq})) is there


def test_missing_null_and_default_are_the_same():
    short = {name: value for name, value in LAB.items() if value not in (None, 0)}
    assert content_hash(short, LABS) == content_hash(LAB, LABS)


def test_minus_zero_is_not_the_default_zero():
    schema: dict[str, Any] = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "double", "default": 0}]}
    assert Canonical(schema).json({"a": 0.0}) == b"{}"
    assert Canonical(schema).json({"a": -0.0}) == b'{"a":-0.0}'


def test_defaults_of_every_type_are_recognized():
    inner = {"type": "record", "name": "i", "fields": [{"name": "x", "type": "int", "default": 3}]}
    fields = [
        {"name": "b", "type": "bytes", "default": "ÿ"},
        {"name": "r", "type": inner, "default": {}},
        {"name": "l", "type": {"type": "array", "items": "bytes"}, "default": ["a"]},
        {"name": "m", "type": {"type": "map", "values": "double"}, "default": {"k": 1}},
        {"name": "u", "type": ["string", "null"], "default": "s"},
    ]
    schema = {"type": "record", "name": "r", "fields": fields}
    assert Canonical(schema).json({"b": b"\xff", "r": {"x": 3}, "l": [b"a"], "m": {"k": 1.0}, "u": "s"}) == b"{}"
    other: dict[str, Any] = {"b": b"\xfe", "r": {"x": 4}, "l": [], "m": {}, "u": None}
    assert Canonical(schema).json(other) == b'{"b":"fe","l":[],"m":{},"r":{"x":4}}'


def test_nulls_in_arrays_and_maps_stay():
    schema = made_up.schema_v1()
    for field in schema["fields"]:
        if field["name"] in ("tags", "scores"):
            kind = field["type"][1]
            kind["items" if "items" in kind else "values"] = ["null", "bytes"]
    event = made_up.event(tags=[None, b"a"], scores={"x": None})
    assert b'"scores":{"x":null}' in Canonical(schema).json(event)
    assert b'"tags":[null,"61"]' in Canonical(schema).json(event)


def test_a_union_of_several_types_still_has_a_form():
    kinds = ["null", "bytes", "long", {"type": "array", "items": "bytes"}]
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": kinds}]}
    assert [Canonical(schema).json({"a": v}) for v in (b"\x01", 1, [b"\x02"])] == [
        b'{"a":"01"}',
        b'{"a":1}',
        b'{"a":["02"]}',
    ]


def test_staging_texts_of_nested_fields():
    canonical = Canonical(V1)
    names = json_fields(V1)
    assert names == ("address", "tags", "scores")
    texts = canonical.texts(made_up.event(tags=None), names)
    assert texts == {
        "address": '{"height":-0.0,"since":-3,"street":"Änderung 1"}',
        "tags": None,
        "scores": '{"a":2.0,"z":1.5}',
    }


@given(events(V1))
def test_both_versions_of_one_fact_hash_alike(event: dict[str, Any]):
    assert _through(V1, event) == _through(V2, event)


@given(events(V1), st.sampled_from(["event_id", "count", "day", "done", "raw", "tags", "scores", "address"]), st.data())
def test_another_value_has_another_form(event: dict[str, Any], name: str, data: st.DataObject):
    other = copy.deepcopy(event)
    other[name] = data.draw(events(V1))[name]
    same = json.dumps(_plain(event[name]), sort_keys=True) == json.dumps(_plain(other[name]), sort_keys=True)
    assert (Canonical(V1).json(event) == Canonical(V1).json(other)) is same


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _through(schema: dict[str, Any], event: dict[str, Any]) -> bytes:
    decoder = Decoder(schema)
    return decoder.content_hash(decoder.decode(split(Encoder(schema, 1).encode(event))[1]))
