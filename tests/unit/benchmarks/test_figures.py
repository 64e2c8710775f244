"""Medians, quantiles, targets, references and comparisons: what the benchmark concludes from what it measured."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import machine, ratios, reference
from benchmarks.compare import compare
from benchmarks.figures import Figures, quantile

NUMBERS = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(NUMBERS, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_enough_values_do_not_exceed(values, share):
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)
    assert found in values


def test_quantiles_of_a_hundred():
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]


def test_no_values_have_no_quantile():
    with pytest.raises(ValueError, match="needs values"):
        quantile([], 0.5)


def test_a_figure_is_the_median_of_its_repetitions_and_one_unit():
    figures = Figures()
    for value in (3.0, 1.0, 200.0):
        figures.add("a", value, "ms", "lower")
    assert figures.as_dict() == {"a": {"median": 3.0, "unit": "ms", "better": "lower", "values": [3.0, 1.0, 200.0]}}
    with pytest.raises(ValueError, match="a is ms"):
        figures.add("a", 1.0, "s", "lower")


def target(medians: dict[str, float], name: str) -> dict[str, Any]:
    return next(each for each in ratios.evaluate(medians) if each["name"] == name)


def test_a_ratio_to_a_peer_holds_from_its_must_on_and_its_aim_is_another_thing():
    at = {"backlog_labs.consumer_fastavro.events_per_second": 10_000.0}
    name = "labs backlog / plain consumer"
    stream = "backlog_labs.stream.events_per_second"
    low, must, aim = (target({**at, stream: rate}, name) for rate in (11_900.0, 12_000.0, 20_000.0))
    assert [each["value"] for each in (low, must, aim)] == [1.19, 1.2, 2.0]
    assert [each["holds"] for each in (low, must, aim)] == [False, True, True]
    assert [each["reaches_aim"] for each in (low, must, aim)] == [False, False, True]


def test_a_cost_holds_up_to_its_must():
    medians = {"growth.100000.us_per_event": 10.0, "growth.10000000.us_per_event": 14.0}
    assert target(medians, "cost per event at 10 M / 0.1 M rows")["holds"] is True
    medians["growth.10000000.us_per_event"] = 14.1
    assert target(medians, "cost per event at 10 M / 0.1 M rows")["holds"] is False


def test_the_commit_is_measured_against_postgresql_alone():
    medians = {
        "backlog_labs.stream.commit_us_per_event": 25.0,
        "backlog_labs.postgres_alone.events_per_second": 100_000.0,
    }
    assert target(medians, "commit per event / PostgreSQL alone")["value"] == 2.5


def test_what_was_not_measured_neither_holds_nor_fails():
    assert {each["holds"] for each in ratios.evaluate({})} == {None}
    assert {each["value"] for each in ratios.evaluate({})} == {None}


def report(figures: dict[str, tuple[float, str]], **changes: Any) -> dict[str, Any]:
    said = {name: {"median": value, "unit": "x", "better": better} for name, (value, better) in figures.items()}
    return {"figures": said, "void": [], "machine": {"class": "one"}, "form": "short", **changes}


def test_a_comparison_names_what_got_worse_and_better_whichever_way_is_better():
    before = report({"rate": (100, "higher"), "time": (100, "lower"), "speed": (100, "higher"), "cost": (100, "lower")})
    after = report({"rate": (80, "higher"), "time": (125, "lower"), "speed": (120, "higher"), "cost": (80, "lower")})
    found = compare(before, after)
    assert [line.split(":")[0] for line in found.worse] == ["rate", "time"]
    assert [line.split(":")[0] for line in found.better] == ["cost", "speed"]
    assert found.worse[0] == "rate: 100 -> 80 x (-20%)"


def test_within_the_tolerance_nothing_changed_and_neutral_figures_never_do():
    before = report({"rate": (100, "higher"), "time": (100, "lower"), "events": (100, "neither")})
    after = report({"rate": (91, "higher"), "time": (110, "lower"), "events": (1, "neither")})
    assert (compare(before, after).worse, compare(before, after).better) == ([], [])
    assert compare(before, after, 0.05).worse != []


def test_from_nothing_to_something_is_a_change():
    before, after = (report({"waiting": (value, "lower")}) for value in (0, 5))
    assert compare(before, after).worse and compare(after, before).better
    assert not compare(before, before).worse


def test_figures_that_one_report_lacks_are_named_and_other_circumstances_are_doubts():
    before = report({"a": (1, "lower")})
    after = report({"b": (1, "lower")}, void=["busy"], machine={"class": "two"}, form="long")
    found = compare(before, after)
    assert found.missing == ["a: only before", "b: only after"]
    assert len(found.doubts) == 3


PEER, STREAM = "backlog_labs.consumer_rust.events_per_second", "backlog_labs.stream.events_per_second"
PUBLISHER = "backlog_labs.publisher.events_per_second"


def test_a_peer_far_below_its_reference_makes_the_run_void_and_what_is_ours_does_not(tmp_path):
    file = tmp_path / "reference.json"
    calm = report({PEER: (100, "higher"), STREAM: (100, "higher"), PUBLISHER: (100, "higher")})
    assert reference.keep(calm, file) == "one, short form"
    known = reference.load(file)
    assert reference.faults(
        report({PEER: (85, "higher"), STREAM: (10, "higher"), PUBLISHER: (1, "higher")}), known
    ) == ([], "")
    found, _ = reference.faults(report({PEER: (84.9, "higher"), STREAM: (100, "higher")}), known)
    assert len(found) == 1 and PEER in found[0]


def test_without_a_reference_of_its_class_a_run_counts_and_says_so(tmp_path):
    known = reference.load(tmp_path / "none.json")
    found, note = reference.faults(report({PEER: (1, "higher")}), known)
    assert found == [] and "no reference for one, short form" in note


def test_a_new_reference_leaves_those_of_other_classes(tmp_path):
    file = tmp_path / "reference.json"
    reference.keep(report({PEER: (1, "higher")}), file)
    reference.keep(report({PEER: (2, "higher")}, form="long"), file)
    assert reference.load(file) == {"one, short form": {PEER: 1}, "one, long form": {PEER: 2}}


def test_a_loaded_machine_is_named_by_its_loop_and_by_its_load():
    assert machine.warnings("labs", 0.10, 0.11, 0.10, 0.5) == []
    assert len(machine.warnings("labs", 0.10, 0.14, 0.10, 0.5)) == 1
    assert len(machine.warnings("labs", 0.10, 0.10, 0.10, 10_000.0)) == 1
