"""Versions and subjects deleted in a real registry, softly and for good: messages are read on, and one finding says it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.contracts.test_meaning import NOTHING
from wardstream.contracts.model import Contract
from wardstream.database.connection import connect
from wardstream.registry.client import SchemaSource, register_all, schema_id
from wardstream.settings import Settings
from wardstream.stream.decode import Sorted
from wardstream.stream.schema_ids import Meanings, learn

SOFTLY, FOR_GOOD = [""], ["", "?permanent=true"]


def call(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    data, kind = json.dumps(body).encode() if body else None, {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(settings.registry + path, data, kind, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def met(settings: Settings, contracts: dict[str, Contract]) -> Iterator[tuple[int, int]]:
    """Schema id and meaning of labs, met in messages; registered again and forgotten afterwards."""
    labs = contracts["labs"]
    number = schema_id(settings, labs.subject, labs.latest)
    meaning = SchemaSource(settings).lookup(number, "labs").fingerprint
    with connect(settings.owner_url, "test") as conn:
        conn.execute(
            "INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, 'labs', %s)", [number, meaning]
        )
        yield number, meaning
        conn.execute("TRUNCATE ops.schema_ids")
    register_all(settings)


@pytest.mark.parametrize("how", [SOFTLY, FOR_GOOD], ids=["softly", "for good"])
@pytest.mark.parametrize("what", ["/subjects/labs-value", "/subjects/labs-value/versions/1"])
def test_a_deleted_schema_that_was_met_is_read_on(
    settings: Settings, contracts: dict[str, Contract], met: tuple[int, int], what: str, how: list[str]
) -> None:
    number, meaning = met
    for query in how:
        call(settings, "DELETE", what + query)
    source = Meanings(settings).check_known(contracts)
    assert source.lookup(number, "labs").schema == contracts["labs"].latest
    Meanings(settings).check(Sorted({}, NOTHING, frozenset({(number, "labs", meaning)}), NOTHING))
    learnt = learn(settings, contracts)
    assert not learnt.changed
    print(learnt.gone)
