"""Files of events: what is read, and that a fault is named by line and field, never by value."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
from wardstream.settings import Settings
from wardstream.sources.event_file import check

SCHEMAS = Settings().schemas_dir
CONTRACTS = load_contracts(SCHEMAS)
LABS = CONTRACTS["labs"]
VALUE = "Somebody's value"
GOOD: dict[str, Any] = json.loads((SCHEMAS / "labs" / "examples" / "v1" / "valid" / "resulted.json").read_text())


def line(**changes: Any) -> str:
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value != "leave out"})


def faults(text: str) -> list[str]:
    return [str(fault) for fault in check(text, LABS).faults]


@pytest.mark.parametrize("topic", sorted(CONTRACTS))
def test_every_valid_example_of_the_latest_version_may_be_sent(topic: str) -> None:
    contract = CONTRACTS[topic]
    examples = [e for e in load_examples(SCHEMAS / topic, contract) if e.version == contract.latest_version]
    valid = [example for example in examples if example.reason is None]
    found = check("\n".join(example.file.read_text() for example in valid), contract)
    assert found.faults == [] and found.events == [example.event for example in valid]


@pytest.mark.parametrize("topic", sorted(CONTRACTS))
def test_every_invalid_example_is_refused_for_its_reason(topic: str) -> None:
    contract = CONTRACTS[topic]
    for example in load_examples(SCHEMAS / topic, contract):
        if example.version == contract.latest_version and example.reason not in (None, "clock_ahead"):
            event = json.loads(example.file.read_text())["event"]
            (fault,) = check(json.dumps(event), contract).faults
            rule, _, name = str(example.reason).partition(":")
            assert str(fault) == f"line 1: {name}: {rule} (the contract)", example.file


def test_lines_an_array_and_events_over_several_lines_are_the_same() -> None:
    three = [GOOD, {**GOOD, "event_id": "b"}, {**GOOD, "event_id": "c"}]
    forms = [
        "\n".join(map(json.dumps, three)) + "\n",
        "\ufeff" + "\r\n\r\n".join(map(json.dumps, three)),
        json.dumps(three),
        " \n" + json.dumps(three, indent=2) + "\n",
        "\n".join(json.dumps(event, indent=2) for event in three),
    ]
    events = [check(form, LABS).events for form in forms]
    assert len(events[0]) == 3 and all(of_one == events[0] for of_one in events)


@pytest.mark.parametrize(("text", "said"), [
    (line(kind=VALUE), "kind: not_allowed (the contract)"),
    (line(patient_id="leave out"), "field patient_id is missing or of another type"),
    (line(value_number=VALUE), "field value_number is missing or of another type"),
    (line(recorded_at="yesterday"), "recorded_at: not a value of its type; times are ISO 8601 with a zone"),
    (line(recorded_at="2026-03-02T09:00:00"), "recorded_at: not a value of its type"),
    (line(pateint_id=VALUE), "pateint_id: not in the schema (version 1)"),
    (line(**{VALUE: 1}), "(no field name): not in the schema"),
    (line(recorded_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat()), "recorded_at: clock_ahead (the contract)"),
    (json.dumps(VALUE), "not an event: a JSON object is wanted"),
    ('{"patient_id": ' + VALUE, "no JSON: Expecting value (column 16)"),
    ('{"value_number": ' + "9" * 5000 + "}", "no JSON: too long a number"),
    ("[" * 100_000, "no JSON: nested too deeply"),
])  # fmt: skip
def test_a_fault_names_line_and_field(text: str, said: str) -> None:
    found = check(f"{line()}\n\n{text}\n{line()}" if not text.startswith("[") else text, LABS)
    (fault,) = found.faults
    assert fault.line == (1 if text.startswith("[") else 3)
    assert fault.said.startswith(said) and VALUE not in str(fault)


def test_after_a_line_that_is_no_json_the_next_one_is_read() -> None:
    assert [one.split(":")[0] for one in faults(f"{line()}\nbroken\n{line()}\nbroken")] == ["line 2", "line 4"]
    assert len(check(f"{line()}\nbroken\n{line()}", LABS).events) == 2


@pytest.mark.parametrize("text", ["[", f"[{line()}", f"[{line()},\n", f"[{line()}] {line()}", f"[{line()},\nbroken]"])
def test_an_array_that_does_not_end_well_is_a_fault(text: str) -> None:
    assert len(faults(text)) == 1


@pytest.mark.parametrize("text", ["", "\n \n", "[]", " [ ]\n"])
def test_a_file_without_events_has_none(text: str, tmp_path: Path) -> None:
    assert check(text, LABS).events == [] and faults(text) == []
