"""Versions and subjects deleted in a real registry, softly and for good: read on, and one finding a subject says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.e2e.hospital import Hospital
from tests.e2e.test_broker_faults import call
from tests.integration.contracts.test_meaning import NOTHING
from wardstream.contracts.model import Contract
from wardstream.database.connection import connect
from wardstream.registry.client import COMPATIBILITY, SchemaSource, register_all, schema_id
from wardstream.settings import Settings
from wardstream.stream.decode import Sorted
from wardstream.stream.held import HeldTopic, still_held
from wardstream.stream.schema_ids import Meanings, learn
from wardstream.watch.registry_look import look

SOFTLY, FOR_GOOD = [""], ["", "?permanent=true"]
SUBJECT = "labs-value"


@pytest.fixture
def met(settings: Settings, contracts: dict[str, Contract]) -> Iterator[tuple[int, int]]:
    """Schema id and meaning of labs, met in messages; forgotten and registered again afterwards."""
    register_all(settings)
    number = schema_id(settings, SUBJECT, contracts["labs"].latest)
    meaning = SchemaSource(settings).lookup(number, "labs").fingerprint
    insert = "INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, 'labs', %s)"
    with connect(settings.owner_url, "test") as conn:
        conn.execute(insert, [number, meaning])
        yield number, meaning
        conn.execute("TRUNCATE ops.schema_ids")
    register_all(settings)


def delete(settings: Settings, what: str, how: list[str]) -> None:
    registry = Hospital(settings)
    path = f"/subjects/{SUBJECT}"
    if what == "version":
        path += f"/versions/{call(registry, 'GET', f'{path}/versions')[-1]}"
    for query in how:
        call(registry, "DELETE", path + query)


@pytest.mark.parametrize("how", [SOFTLY, FOR_GOOD], ids=["softly", "for good"])
@pytest.mark.parametrize("what", ["version", "subject"])
def test_what_was_deleted_and_was_met_is_read_on(
    settings: Settings, contracts: dict[str, Contract], met: tuple[int, int], what: str, how: list[str]
) -> None:
    number, meaning = met
    assert look(settings).found == []
    delete(settings, what, how)
    source = Meanings(settings).check_known(contracts)
    assert source.lookup(number, "labs").schema == contracts["labs"].latest
    Meanings(settings).check(Sorted({}, NOTHING, frozenset({(number, "labs", meaning)}), NOTHING))
    found = {finding.code for finding in look(settings).found if finding.red}
    assert found == {f"registry:{SUBJECT}"}


def test_softly_deleted_and_never_met_is_read_on(settings: Settings, contracts: dict[str, Contract]) -> None:
    number = schema_id(settings, SUBJECT, contracts["labs"].latest)
    delete(settings, "subject", SOFTLY)
    try:
        assert SchemaSource(settings).lookup(number, "labs").is_deployed(contracts["labs"])
    finally:
        register_all(settings)


def test_a_lost_id_of_a_version_that_is_not_deployed_refuses_nobody(
    settings: Settings, contracts: dict[str, Contract], met: tuple[int, int]
) -> None:
    """The topic is held up, as with any version that is not deployed."""
    number, _ = met
    delete(settings, "subject", FOR_GOOD)
    with connect(settings.owner_url, "test") as conn:
        conn.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint + 1")
    learnt = learn(settings, contracts)
    assert not learnt.source.lookup(number, "labs").is_deployed(contracts["labs"])


def test_a_held_topic_waits_while_its_version_is_registered_and_not_deployed(
    settings: Settings, contracts: dict[str, Contract], met: tuple[int, int]
) -> None:
    number, _ = met
    held, ids = {"labs": HeldTopic("T", number, "2026-03-02T08:15:00+00:00")}, {"labs": "T", "patients": "U"}
    deployed, former = contracts, {**contracts, "labs": replace(contracts["labs"], versions={})}

    def left(ids: dict[str, str], contracts: dict[str, Contract]) -> dict[str, HeldTopic]:
        return still_held(held, ids, contracts, SchemaSource(settings))

    assert left(ids, former) == held
    assert left(ids, deployed) == {}
    assert left({**ids, "labs": "made again"}, former) == {}
    assert left({"patients": "U"}, former) == {}, "the topic is no longer there"
    delete(settings, "subject", FOR_GOOD)
    assert left(ids, former) == {}, "its messages are refused like any with an unknown id"


def test_an_overridden_compatibility_is_one_finding_and_makes_no_dag_red(settings: Settings) -> None:
    register_all(settings)
    call(Hospital(settings), "PUT", f"/config/{SUBJECT}", {"compatibility": "NONE"})
    (found,) = look(settings).found
    assert found.code == f"compatibility:{SUBJECT}" and "NONE" in found.said and not found.red
    register_all(settings, mend=True)
    assert look(settings).found == []
    assert COMPATIBILITY not in str(look(settings))


def test_without_the_registry_nothing_is_known(settings: Settings) -> None:
    away = settings.model_copy(update={"schema_registry_url": "http://127.0.0.1:9"})
    assert look(away).unknown and not look(away).found
