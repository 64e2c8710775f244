"""`contracts check`: the checked-in contracts pass, and each rule, broken once, is named with its file."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.contracts import made_up
from tests.unit.contracts.made_up import optional, property_named, property_of
from wardstream.contracts.check import check_contracts
from wardstream.contracts.examples import load_examples
from wardstream.contracts.lock import add_to_lock
from wardstream.contracts.model import ContractError, load_contract
from wardstream.settings import PROJECT_ROOT

Change = Callable[[dict[str, Any]], Any]


def test_the_contracts_of_this_repository_are_in_order():
    assert check_contracts(PROJECT_ROOT / "schemas") == []


def test_the_made_up_topic_is_in_order(tmp_path: Path):
    assert check_contracts(made_up.write(tmp_path)) == []


def test_its_second_version_too(tmp_path: Path):
    document = made_up.document()
    document["schema"][0]["properties"].append(property_of("note", "string", "string"))
    property_named(document, "address")["properties"].append(property_of("city", "string", "string"))
    assert check_contracts(made_up.write(tmp_path, document, [made_up.schema_v1(), made_up.schema_v2()])) == []


def the_only_kind(folder: Path, *words: str) -> list[str]:
    """The problems, which must not be empty, each with all the words."""
    problems = check_contracts(folder)
    assert problems
    assert [p for p in problems if not all(word in p for word in words)] == []
    return problems


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in schema["fields"] if f["name"] == name)
    return found


# -- contract.yaml alone -------------------------------------------------------------------------------------------

DOCUMENT: list[tuple[str, Change, str]] = [
    ("api version", lambda d: d.update(apiVersion="v3.0.0"), "apiVersion"),
    ("unknown key", lambda d: d.update(owner="me"), "`owner` is no key"),
    ("no team", lambda d: d.pop("team"), "team"),
    ("no owner", lambda d: d["team"]["members"][0].update(role="guest"), "role: owner"),
    ("no purpose", lambda d: d.update(description={"usage": "x"}), "purpose"),
    ("no retention", lambda d: d["slaProperties"].pop(0), "retention"),
    ("no latency", lambda d: d["slaProperties"].pop(1), "latency"),
    ("no freshness", lambda d: d["slaProperties"].pop(2), "needs `freshness`"),
    ("freshness in hours", lambda d: d["slaProperties"][2].update(unit="h"), "needs `freshness`"),
    ("freshness in words", lambda d: d["slaProperties"][2].update(value="soon"), "needs `freshness`"),
    ("no time at all", lambda d: d["slaProperties"][2].update(value=0), "needs `freshness`"),
    ("another topic", lambda d: d["schema"][0].update(physicalName="other"), "physicalName"),
    ("custom unknown", lambda d: d["customProperties"].append({"property": "x", "value": 1}), "`x` is not known"),
    ("no dlq", lambda d: d["customProperties"].pop(0), "dlq"),
    ("no replay policy", lambda d: d["customProperties"].pop(1), "replayPolicy"),
    ("requiredFor kind", lambda d: d["customProperties"][2].update(value={"flown": ["day"]}), "flown"),
    ("requiredFor field", lambda d: d["customProperties"][2].update(value={"seen": ["moon"]}), "moon"),
    ("no key", lambda d: property_named(d, "visit_id").pop("primaryKey"), "primaryKey"),
    ("two keys", lambda d: property_named(d, "source").update(primaryKey=True), "primaryKey"),
    ("key not required", lambda d: property_named(d, "visit_id").pop("required"), "visit_id"),
    ("key without length", lambda d: property_named(d, "visit_id").pop("logicalTypeOptions"), "visit_id"),
    ("long ids", lambda d: property_named(d, "source")["logicalTypeOptions"].update(maxLength=500), "source"),
    ("no kinds", lambda d: property_named(d, "kind").pop("quality"), "kind"),
    ("property missing", lambda d: d["schema"][0]["properties"].pop(-1), "done: missing"),
    ("property extra", lambda d: d["schema"][0]["properties"].append(property_of("x", "string", "string")), "x: the"),
    ("order", lambda d: d["schema"][0]["properties"].reverse(), "order"),
    ("physical type", lambda d: property_named(d, "count").update(physicalType="long"), "count"),
    ("logical type", lambda d: property_named(d, "count").update(logicalType="number"), "count"),
    ("not required", lambda d: property_named(d, "source_seq").pop("required"), "source_seq"),
    ("no class", lambda d: property_named(d, "count").pop("classification"), "classification"),
    ("odd class", lambda d: property_named(d, "count").update(classification="secret"), "classification"),
    ("no description", lambda d: property_named(d, "count").pop("description"), "description"),
    ("unenforced", lambda d: property_named(d, "kind").update(logicalTypeOptions={"pattern": "a"}), "pattern"),
    ("length", lambda d: property_named(d, "count").update(logicalTypeOptions={"maxLength": 3}), "lengths"),
    ("range of text", lambda d: property_named(d, "kind").update(logicalTypeOptions={"minimum": 3}), "kind"),
    ("time unbounded", lambda d: property_named(d, "day").pop("logicalTypeOptions"), "day: a time needs"),
    ("bound", lambda d: property_named(d, "day")["logicalTypeOptions"].update(minimum="soon"), "property day"),
    ("metric", lambda d: property_named(d, "kind")["quality"].append({"metric": "rowCount", "mustBe": 0}), "kind"),
    ("values", lambda d: property_named(d, "done").update(quality=[{"metric": "nullValues", "mustBe": 0}]), "done"),
    ("nested missing", lambda d: property_named(d, "address")["properties"].pop(), "address.height: missing"),
    ("nested rule", lambda d: property_named(d, "address")["properties"][0].update(quality=[{}]), "address.street"),
    ("nested required", lambda d: property_named(d, "address")["properties"][0].pop("required"), "address.street"),
    ("version not in changelog", lambda d: d.update(version="1.1.0"), "1.1.0"),
]


@pytest.mark.parametrize("change, word", [case[1:] for case in DOCUMENT], ids=[case[0] for case in DOCUMENT])
def test_each_rule_of_the_document(tmp_path: Path, change: Change, word: str):
    document = made_up.document()
    change(document)
    problems = check_contracts(made_up.write(tmp_path, document))
    assert any(word in problem for problem in problems), problems
    assert all(problem.startswith("visits/") or "contract.yaml" in problem for problem in problems)


# -- one .avsc -----------------------------------------------------------------------------------------------------

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
LOOP = {"type": "record", "name": "L", "fields": [{"name": "again", "type": ["null", "L"], "default": None}]}
HOLLOW = {"type": "array", "items": "null"}
INNER_DEFAULT = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "int", "default": 1}]}
WIRE: list[tuple[str, Change, str]] = [
    ("envelope order", lambda s: s["fields"].insert(0, s["fields"].pop(1)), "field 1 must be event_id"),
    ("envelope type", lambda s: field(s, "source_seq").update(type="int"), "source_seq"),
    ("envelope nullable", lambda s: field(s, "kind").update(type=["null", "string"], default=None), "kind"),
    ("source_seq default", lambda s: field(s, "source_seq").pop("default"), "default must be 0"),
    ("encounter_id last", lambda s: s["fields"].append(optional("encounter_id", "string")), "encounter_id must follow"),
    ("not nullable", lambda s: field(s, "count").update(type="int"), "count"),
    ("no default", lambda s: field(s, "count").pop("default"), "default is null"),
    ("null last", lambda s: field(s, "count").update(type=["int", "null"], default=3), "count"),
    ("union of three", lambda s: field(s, "count").update(type=["null", "int", "string"]), "count"),
    ("enum", lambda s: field(s, "count")["type"].__setitem__(1, ENUM), "list the values"),
    ("decimal", lambda s: field(s, "count")["type"].__setitem__(1, DECIMAL), "double beside the text"),
    ("millis", lambda s: field(s, "count")["type"].__setitem__(1, MILLIS), "timestamp-micros"),
    ("fixed", lambda s: field(s, "count")["type"].__setitem__(1, {"type": "fixed", "name": "F", "size": 2}), "fixed"),
    ("day on a long", lambda s: field(s, "day")["type"][1].update(type="long"), "date belongs on int"),
    ("recursion", lambda s: field(s, "count")["type"].__setitem__(1, LOOP), "contains itself"),
    ("items of no width", lambda s: field(s, "count")["type"].__setitem__(1, HOLLOW), "no width"),
    ("default in a record", lambda s: field(s, "count")["type"].__setitem__(1, INNER_DEFAULT), "only default is null"),
    ("name", lambda s: field(s, "count").update(name="Count"), "lower case"),
    ("reserved name", lambda s: field(s, "count").update(name="offset"), "offset"),
    ("no Avro", lambda s: field(s, "count").update(type="number"), "number"),
    ("bad default", lambda s: field(s, "source_seq").update(default="zero"), "source_seq"),
]


@pytest.mark.parametrize("change, word", [case[1:] for case in WIRE], ids=[case[0] for case in WIRE])
def test_each_rule_of_a_schema(tmp_path: Path, change: Change, word: str):
    schema = made_up.schema_v1()
    change(schema)
    problems = [p for p in check_contracts(made_up.write(tmp_path, schemas=[schema])) if "value/v1.avsc" in p]
    assert any(word in problem for problem in problems), problems


# -- two versions --------------------------------------------------------------------------------------------------


def with_type(kind: Any) -> dict[str, Any]:
    """Version 1 with a field `extra` of this type, to be changed in version 2."""
    schema = made_up.schema_v1()
    schema["fields"].append(optional("extra", copy.deepcopy(kind)))
    return schema


PAIRS: list[tuple[str, Any, Change, str]] = [
    ("micros to millis", made_up.TIME, lambda f: f["type"][1].update(logicalType="timestamp-millis"), "logicalType"),
    ("decimal scale", DECIMAL, lambda f: f["type"][1].update(scale=1), "scale"),
    ("decimal precision", DECIMAL, lambda f: f["type"][1].update(precision=8), "precision"),
    ("null default dropped", "string", lambda f: f.pop("default"), "default changed"),
    ("default changed", "string", lambda f: f.update(type=["string", "null"], default="a"), "extra"),
    ("renamed", "string", lambda f: f.update(name="other"), "removed or renamed"),
    ("renamed with alias", "string", lambda f: f.update(name="other", aliases=["extra"]), "removed or renamed"),
    ("alias", "string", lambda f: f.update(aliases=["other"]), "aliases"),
    ("enum grown", ENUM, lambda f: f["type"][1].update(symbols=["A", "B"]), "symbols"),
    ("int to long", "int", lambda f: f["type"].__setitem__(1, "long"), "`type` changed"),
    ("string to bytes", "string", lambda f: f["type"].__setitem__(1, "bytes"), "`type` changed"),
    ("no longer nullable", "string", lambda f: (f.update(type="string"), f.pop("default")), "the type changed"),
    ("logical type dropped", made_up.DAY, lambda f: f["type"].__setitem__(1, "int"), "logicalType"),
    ("items", {"type": "array", "items": "int"}, lambda f: f["type"][1].update(items="long"), "extra[]"),
    ("values", {"type": "map", "values": "int"}, lambda f: f["type"][1].update(values="long"), "extra[]"),
    ("record renamed", INNER_DEFAULT, lambda f: f["type"][1].update(name="J"), "`name` changed"),
    ("inner field removed", {**INNER_DEFAULT}, lambda f: f["type"][1].update(fields=[optional("b", "int")]), "extra.a"),
    (
        "inner field not nullable",
        INNER_DEFAULT,
        lambda f: f["type"][1]["fields"].append({"name": "b", "type": "int", "default": 1}),
        "extra.b",
    ),
]


@pytest.mark.parametrize("kind, change, word", [case[1:] for case in PAIRS], ids=[case[0] for case in PAIRS])
def test_each_rule_of_two_versions(tmp_path: Path, kind: Any, change: Change, word: str):
    old = with_type(kind)
    new = copy.deepcopy(old)
    change(new["fields"][-1])
    problems = check_contracts(made_up.write(tmp_path, schemas=[old, new]))
    against = [problem for problem in problems if problem.startswith("visits/value/v2.avsc against v1")]
    assert any(word in problem for problem in against), problems


def test_a_field_may_not_be_removed(tmp_path: Path):
    new = made_up.schema_v1()
    new["fields"].pop()
    problems = check_contracts(made_up.write(tmp_path, schemas=[made_up.schema_v1(), new]))
    assert any("done: removed or renamed" in problem for problem in problems)


def test_a_new_field_goes_to_the_end_and_is_null_by_default(tmp_path: Path):
    new = made_up.schema_v1()
    new["fields"].insert(9, {"name": "early", "type": "string", "doc": "d"})
    problems = check_contracts(made_up.write(tmp_path, schemas=[made_up.schema_v1(), new]))
    assert any("new ones go to the end" in problem for problem in problems)
    assert any("against v1" in problem and "cannot read" in problem for problem in problems)  # the standard's own check


def test_every_pair_is_compared_not_only_neighbours(tmp_path: Path):
    first, second = with_type("string"), made_up.schema_v1()
    third = with_type("int")
    problems = check_contracts(made_up.write(tmp_path, schemas=[first, second, third]))
    assert any(problem.startswith("visits/value/v3.avsc against v1: extra: `type`") for problem in problems)


def test_versions_run_without_a_gap(tmp_path: Path):
    folder = made_up.write(tmp_path, schemas=[made_up.schema_v1()] * 3, lock=False)
    (folder / "visits/value/v2.avsc").unlink()
    add_to_lock(folder)
    assert any("without a gap" in problem for problem in check_contracts(folder))


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_released_schema_may_not_change(tmp_path: Path):
    folder = made_up.write(tmp_path)
    file = folder / "visits/value/v1.avsc"
    file.write_text(file.read_text().replace('"doc": "d"', '"doc": "better"', 1))
    the_only_kind(folder, "visits/value/v1.avsc", "changed after its release")
    assert add_to_lock(folder) == []  # the lock is no way round
    the_only_kind(folder, "changed after its release")


def test_a_released_schema_may_not_go(tmp_path: Path):
    folder = made_up.write(tmp_path, schemas=[made_up.schema_v1(), made_up.schema_v1()])
    (folder / "visits/value/v2.avsc").unlink()
    assert any("v2.avsc: released, but gone" in problem for problem in check_contracts(folder))


def test_a_new_schema_must_be_released(tmp_path: Path):
    the_only_kind(made_up.write(tmp_path, lock=False), "contracts lock")


def test_examples_are_judged(tmp_path: Path):
    folder = made_up.write(tmp_path)
    examples = folder / "visits/examples/v1"
    good = json.loads((examples / "valid/seen.json").read_text())
    (examples / "valid/wrong.json").write_text(json.dumps({**good, "kind": "gone"}))
    (examples / "invalid/right.json").write_text(json.dumps({"reason": "missing:day", "event": good}))
    (examples / "invalid/unwritable.json").write_text(json.dumps({"reason": "x", "event": {**good, "count": "many"}}))
    what_to_do = "; correct the example or the contract"
    assert [problem.removesuffix(what_to_do) for problem in check_contracts(folder)] == [
        "visits/examples/v1/valid/wrong.json: with v1, should be accepted, but is not_allowed:kind",
        "visits/examples/v1/invalid/right.json: with v1, should be missing:day, but is accepted",
        "visits/examples/v1/invalid/unwritable.json: cannot be written with v1: "
        "not encodable: field count is missing or of another type (ValueError)",
    ]


def test_examples_there_must_be(tmp_path: Path):
    folder = made_up.write(tmp_path)
    shutil.rmtree(folder / "visits/examples")
    the_only_kind(folder, "needs at least one .json file")


def test_an_example_that_cannot_be_read_is_named(tmp_path: Path):
    folder = made_up.write(tmp_path)
    (folder / "visits/examples/v1/invalid/odd.json").write_text("{}")
    the_only_kind(folder, "odd.json", "not an example")


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("contract.yaml", "a: [", "cannot be read as YAML"),
        ("contract.yaml", "a: 1", "properties"),
        ("value/v1.avsc", "{", "cannot be read as JSON"),
        ("value/v1.avsc", '"string"', "Avro record"),
        ("value/first.avsc", "{}", "v1.avsc, v2.avsc"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, text: str, words: str):
    folder = made_up.write(tmp_path)
    (folder / "visits" / name).write_text(text)
    with pytest.raises(ContractError, match=words):
        load_contract(folder / "visits")
    assert any(words in problem for problem in check_contracts(folder))


def test_no_topics_is_a_problem(tmp_path: Path):
    the_only_kind(tmp_path, "no topic folder")


def test_a_folder_without_contract_is_a_problem(tmp_path: Path):
    folder = made_up.write(tmp_path)
    (folder / "visits/contract.yaml").unlink()
    the_only_kind(folder, "contract.yaml")


def test_every_topic_has_examples_of_each_verdict_and_they_carry_times_for_people():
    for folder in (PROJECT_ROOT / "schemas").glob("*/contract.yaml"):
        contract = load_contract(folder.parent)
        reasons = {example.reason for example in load_examples(folder.parent, contract)}
        assert None in reasons and len(reasons) > 1
        kinds = {e.event["kind"] for e in load_examples(folder.parent, contract) if e.reason is None}
        assert kinds <= contract.kinds
        assert yaml.safe_load(folder.read_text())["apiVersion"] == "v3.1.0"
