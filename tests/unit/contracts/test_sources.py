"""schemas/sources.yaml, and the form in which ids are compared."""

import sys
import unicodedata

import pytest

from tests.unit.contracts import made_up
from wardstream.contracts.check import check_contracts
from wardstream.contracts.identity import Identifier
from wardstream.contracts.model import ContractError, load_contracts
from wardstream.contracts.sources import WHITE_SPACE, Sources, SourcesError, load_sources
from wardstream.settings import PROJECT_ROOT

FILE = """
default_authority: hospital
sources:
  adt: {}
  lab: {}
  shared: {authority: hospital}
  other lab: {authority: other, historical: true}
  east lab: {facility: east}
authorities:
  other: {ignore_case: true}
facilities:
  east: {timezone: Asia/Tokyo}
"""


@pytest.fixture
def sources(tmp_path) -> Sources:
    (tmp_path / "sources.yaml").write_text(FILE)
    return load_sources(tmp_path)


def test_white_space_is_all_that_unicode_knows():
    # Python also counts the four information separators, which Unicode's property leaves out
    separators = "\x1c\x1d\x1e\x1f"
    found = {chr(n) for n in range(sys.maxunicode + 1) if chr(n).isspace()} - set(separators)
    assert set(WHITE_SPACE) == found and len(WHITE_SPACE) == len(found)
    assert all(unicodedata.category(c) in ("Cc", "Zs", "Zl", "Zp") for c in WHITE_SPACE)


@pytest.mark.parametrize(
    ("source", "authority", "historical"),
    [
        ("adt", "hospital", False),
        ("lab", "hospital", False),
        ("shared", "hospital", False),
        ("other lab", "other", True),
        (" other lab\u2003", "other", True),
        ("nobody", "nobody", False),
        (" nobody\n", "nobody", False),
        ("Adt", "Adt", False),
    ],
)
def test_whose_ids_a_source_uses(sources, source, authority, historical):
    assert sources.authority_of(source) == authority
    assert sources.is_historical(source) is historical


@pytest.mark.parametrize(
    ("authority", "sent", "compared"),
    [
        ("hospital", "1001", "1001"),
        ("hospital", "\u00a01001\t", "1001"),
        ("hospital", "10 01", "10 01"),
        ("hospital", "aB", "aB"),
        ("hospital", "\u200b1", "\u200b1"),  # no white space, and so part of the id
        ("other", " aBÄ\u0130", "abÄ\u0130"),  # the letters A to Z, and no others
    ],
)
def test_ids_are_compared_without_white_space_and_case_only_where_it_is_said(sources, authority, sent, compared):
    assert sources.compared(authority, sent) == compared
    assert sources.compared(authority, compared) == compared


def test_without_a_file_every_source_is_its_own_authority(tmp_path):
    nothing = load_sources(tmp_path)
    assert nothing.authority_of("adt") == "adt" and not nothing.is_historical("adt")
    assert nothing.facility_of("adt") == "main" and nothing.zones("UTC") == {"main": "UTC"}


@pytest.mark.parametrize(
    ("source", "facility"),
    [("east lab", "east"), (" east lab\n", "east"), ("adt", "main"), ("other lab", "main"), ("nobody", "main")],
)
def test_where_a_source_is(sources, source, facility):
    assert sources.facility_of(source) == facility
    assert sources.zones("Europe/Berlin") == {"main": "Europe/Berlin", "east": "Asia/Tokyo"}


def test_the_default_facility_may_have_another_name(tmp_path):
    (tmp_path / "sources.yaml").write_text("default_facility: centre\nsources: {adt: {facility: centre}, lab: {}}")
    sources = load_sources(tmp_path)
    assert {sources.facility_of(name) for name in ("adt", "lab", "nobody")} == {"centre"}
    assert sources.zones("UTC") == {"centre": "UTC"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: {adt: {autority: x}}", "sources.adt.autority"),
        ("sources: {' adt': {}}", "no white space around"),
        ("sources: {adt: {historical: perhaps}}", "sources.adt.historical"),
        ("default_authority: ''", "default_authority"),
        ("sources: [adt", "cannot be read as YAML"),
        ("more: 1", "more"),
        ("sources: {adt: {facility: east}}", "sources.adt.facility: east is not among facilities"),
        ("facilities: {east: {timezone: Mars/Base}}", "facilities.east.timezone: .*no time zone of the IANA database"),
        ("facilities: {east: {timezone: Asia}}", "facilities.east.timezone: .*no time zone of the IANA database"),
        ("facilities: {east: {}}", "facilities.east.timezone"),
        ("facilities: {main: {timezone: UTC}}", "facilities.main: .*WARDSTREAM_FACILITY_TIMEZONE"),
    ],
)
def test_a_fault_is_named_with_its_file(tmp_path, text, said):
    (tmp_path / "sources.yaml").write_text(text)
    with pytest.raises(SourcesError, match=said) as fault:
        load_sources(tmp_path)
    assert str(fault.value).startswith(str(tmp_path / "sources.yaml"))


def test_a_fault_is_a_fault_of_the_contracts(tmp_path):
    schemas = made_up.write(tmp_path)
    (schemas / "sources.yaml").write_text("sources: {adt: {autority: x}}")
    assert any("sources.adt.autority" in problem for problem in check_contracts(schemas))
    with pytest.raises(ContractError, match=r"sources\.yaml: sources\.adt\.autority"):
        load_contracts(schemas)


def test_the_old_place_of_historical_sources_is_named(tmp_path):
    document = made_up.document()
    document["customProperties"].append({"property": "historicalSources", "value": ["old"]})
    (problem,) = check_contracts(made_up.write(tmp_path, document))
    assert "schemas/sources.yaml" in problem


def test_an_event_keeps_what_was_sent_beside_what_is_compared():
    identifier = Identifier(load_contracts(PROJECT_ROOT / "schemas")["labs"])
    event = {"source": "x", "patient_id": "P1", "encounter_id": None, "lab_result_id": " 7\u2003", "test_code": " NA "}
    found = identifier(event)
    assert (found.authority, found.as_sent) == ("x", '{"lab_result_id": " 7\u2003"}')
    assert event["lab_result_id"] == "7" and event["test_code"] == " NA ", "a code is no id"
    assert identifier(event).as_sent is None, "nothing is left to change"


def test_an_event_of_a_version_before_an_id_came_has_none():
    identifier = Identifier(load_contracts(PROJECT_ROOT / "schemas")["labs"])
    event = {"source": "x", "patient_id": "P1 ", "lab_result_id": "7"}
    assert identifier(event).as_sent == '{"patient_id": "P1 "}'
    assert event == {"source": "x", "patient_id": "P1", "lab_result_id": "7"}
