"""Each rule of a contract refuses what it should, by its name, and lets the edge through."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contracts import made_up
from tests.unit.contracts.strategies import events
from wardstream.contracts.model import Contract, ContractError, load_contract
from wardstream.contracts.validate import CLOCK_AHEAD_US, Validator

BROKER = 1_772_439_300_000_001
DAY_US = 86_400_000_000


def contract_of(folder: Path, document: dict[str, Any] | None = None) -> Contract:
    return load_contract(made_up.write(folder, document) / "visits")


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Validator:
    return Validator(contract_of(tmp_path_factory.mktemp("topic")))


YEAR_1800, YEAR_2300 = -5_364_662_400_000_000, 10_413_792_000_000_000
REFUSED = [
    ({"visit_id": None}, "missing:visit_id"),
    ({"patient_id": None}, "missing:patient_id"),
    ({"day": None}, "missing:day"),  # requiredFor seen
    ({"event_id": ""}, "empty:event_id"),
    ({"visit_id": "x" * 201}, "too_long:visit_id"),
    ({"kind": "gone"}, "not_allowed:kind"),
    ({"kind": "seen\0"}, "not_allowed:kind"),
    ({"event_time": YEAR_1800 - 1}, "out_of_range:event_time"),
    ({"event_time": YEAR_2300}, "out_of_range:event_time"),
    ({"recorded_at": YEAR_2300}, "out_of_range:recorded_at"),
    ({"count": -1}, "out_of_range:count"),
    ({"count": 100}, "out_of_range:count"),
    ({"day": 2**31 - 1}, "out_of_range:day"),
    ({"visit_id": "a\0b"}, "nul_in_text:visit_id"),
    ({"tags": ["fine", "\0"]}, "nul_in_text:tags"),
    ({"scores": {"\0": 1.0}}, "nul_in_text:scores"),
    ({"address": {"street": "\0", "since": None, "height": None}}, "nul_in_text:address"),
    ({"address": {"street": "s", "since": None, "height": math.nan}}, "not_finite:address"),
    ({"scores": {"a": math.inf}}, "not_finite:scores"),
    ({"recorded_at": BROKER + CLOCK_AHEAD_US + 1}, "clock_ahead"),
]
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"kind": "cancelled", "day": None},
    {"visit_id": "x" * 200},
    {"event_time": YEAR_1800},
    {"event_time": YEAR_2300 - 1},
    {"count": 0},
    {"count": 99},
    {"count": None, "address": None, "tags": None, "scores": None},
    {"tags": [], "scores": {}},
    {"recorded_at": BROKER + CLOCK_AHEAD_US},
    {"recorded_at": BROKER + 200 * 365 * DAY_US, "source": "old"},
]


@pytest.mark.parametrize("change, reason", REFUSED)
def test_refused(validator: Validator, change: dict[str, Any], reason: str):
    assert validator(made_up.event(**change), BROKER) == reason


@pytest.mark.parametrize("change", ACCEPTED)
def test_accepted(validator: Validator, change: dict[str, Any]):
    assert validator(made_up.event(**change), BROKER) is None


def test_doubles_must_be_finite(tmp_path: Path):
    schema, document = made_up.schema_v1(), made_up.document()
    schema["fields"].append(made_up.optional("value", "double"))
    bounds = {"minimum": -1.5, "maximum": 1.5}
    listed = document["schema"][0]["properties"]
    listed.append(made_up.property_of("value", "number", "double", logicalTypeOptions=bounds))
    rules = Validator(load_contract(made_up.write(tmp_path, document, [schema]) / "visits"))
    verdicts = {value: rules(made_up.event(value=value), BROKER) for value in (math.nan, -math.inf, 1.6, 1.5, -1.5)}
    assert list(verdicts.values()) == ["not_finite:value", "not_finite:value", "out_of_range:value", None, None]


def test_times_without_bounds_stay_within_what_python_and_postgresql_show(tmp_path: Path):
    document = made_up.document()
    for name in ("event_time", "day"):
        del made_up.property_named(document, name)["logicalTypeOptions"]
    rules = Validator(contract_of(tmp_path, document))
    assert rules(made_up.event(event_time=2**63 - 1), BROKER) == "out_of_range:event_time"
    assert rules(made_up.event(day=-(2**31)), BROKER) == "out_of_range:day"
    assert rules(made_up.event(event_time=YEAR_2300), BROKER) is None


def test_a_text_shorter_than_its_least_length(tmp_path: Path):
    document = made_up.document()
    made_up.property_named(document, "visit_id")["logicalTypeOptions"]["minLength"] = 3
    assert Validator(contract_of(tmp_path, document))(made_up.event(visit_id="ab"), BROKER) == "too_short:visit_id"


@pytest.mark.parametrize("bound", ["2020-01-01T00:00:00", "yesterday", 5])
def test_a_bound_that_is_no_time_is_a_fault_of_the_contract(tmp_path: Path, bound: Any):
    document = made_up.document()
    made_up.property_named(document, "event_time")["logicalTypeOptions"] = {"minimum": bound}
    with pytest.raises(ContractError, match="property event_time"):
        Validator(contract_of(tmp_path, document))


@given(events(made_up.schema_v1()), st.integers(-(2**63), 2**63 - 1))
def test_any_event_gets_a_verdict_that_names_a_field_and_no_value(
    validator: Validator, event: dict[str, Any], broker_time: int
):
    reason = validator(event, broker_time)
    assert reason == validator(dict(event), broker_time)
    if reason not in (None, "clock_ahead"):
        rule, _, name = str(reason).partition(":")
        assert name in event
        assert rule in {"missing", "empty", "too_long", "not_allowed", "out_of_range", "nul_in_text", "not_finite"}
