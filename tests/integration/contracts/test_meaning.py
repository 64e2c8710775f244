"""Whether schema ids mean what they meant, asked of a real registry for a batch that is decoded and not committed."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests.integration.stack.conftest import free_ports
from wardstream.contracts.model import Contract
from wardstream.database.connection import Connection, connect
from wardstream.registry.client import SchemaSource, schema_id
from wardstream.settings import Settings
from wardstream.stream.commit import BrokerChanged
from wardstream.stream.decode import Sorted
from wardstream.stream.schema_ids import Meanings

LOST = 4711
NOTHING = pa.table({"reason": pa.array([], pa.string()), "schema_id": pa.array([], pa.int32()), "topic": []})


def refused(*messages: tuple[str, int | None, str]) -> Sorted:
    """A batch of refused messages: reason, schema id, topic."""
    reasons, ids, topics = zip(*messages, strict=True)
    return Sorted(
        {}, pa.table({"reason": reasons, "schema_id": pa.array(ids, pa.int32()), "topic": topics}), frozenset(), NOTHING
    )


@pytest.fixture
def met(settings: Settings) -> Iterator[Connection]:
    """A session as the owner; what it says was met is forgotten afterwards."""
    with connect(settings.owner_url, "test") as conn:
        yield conn
        conn.execute("TRUNCATE ops.schema_ids")


def test_an_id_that_was_met_is_not_refused_as_unknown(settings: Settings, met: Connection):
    """As when an executor that never saw it asks a registry that has lost it."""
    batch = refused(("bad_avro", None, "labs"), ("unknown_schema", LOST, "labs"))
    meanings = Meanings(settings)
    meanings.check(batch)
    met.execute("INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, 'patients', 1)", [LOST])
    meanings.check(batch)  # by messages of another topic: in labs it is still unknown
    met.execute("INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, 'labs', 1)", [LOST])
    with pytest.raises(BrokerChanged, match=f"schema id {LOST} was met in messages of topic labs, and the registry no"):
        meanings.check(batch)


def test_each_batch_is_compared_with_the_registry_of_now(settings: Settings, contracts: dict[str, Contract]):
    labs = contracts["labs"]
    number = schema_id(settings, labs.subject, labs.latest)
    right = SchemaSource(settings).lookup(number, "labs").fingerprint
    meanings = Meanings(settings)
    meanings.check(Sorted({}, NOTHING, frozenset({(number, "labs", right)}), NOTHING))
    with pytest.raises(BrokerChanged, match=f"schema id {number} of topic labs no longer means"):
        meanings.check(Sorted({}, NOTHING, frozenset({(number, "labs", right + 1)}), NOTHING))


def test_before_a_start_every_id_is_asked_for(settings: Settings, contracts: dict[str, Contract], met: Connection):
    labs = contracts["labs"]
    number = schema_id(settings, labs.subject, labs.latest)
    right = SchemaSource(settings).lookup(number, "labs").fingerprint
    met.execute("INSERT INTO ops.schema_ids (schema_id, topic, fingerprint) VALUES (%s, 'labs', %s)", [number, right])
    source = Meanings(settings).check_known(contracts)
    assert source.lookup(number, "labs").schema == labs.latest
    met.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint + 1")
    with pytest.raises(BrokerChanged, match=f"schema id {number} of topic labs no longer means"):
        Meanings(settings).check_known(contracts)


def test_a_registry_that_is_away_keeps_no_decoded_batch_waiting(settings: Settings, caplog: pytest.LogCaptureFixture):
    away = settings.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    meanings = Meanings(away)
    batch = Sorted({}, NOTHING, frozenset({(1, "labs", 1)}), NOTHING)
    for _ in range(3):
        meanings.check(batch)
    assert len([line for line in caplog.messages if "is not known" in line]) == 1, "said once"


def test_a_registry_that_is_back_is_asked_at_once(settings: Settings, contracts: dict[str, Contract]):
    """It may be back with other data: a batch decoded by what was known may then mean something else."""
    labs = contracts["labs"]
    number = schema_id(settings, labs.subject, labs.latest)
    right = SchemaSource(settings).lookup(number, "labs").fingerprint
    asked = settings.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    meanings = Meanings(asked)
    wrong = Sorted({}, NOTHING, frozenset({(number, "labs", right + 1)}), NOTHING)
    meanings.check(wrong)
    asked.schema_registry_url = settings.registry
    with pytest.raises(BrokerChanged, match="no longer means"):
        meanings.check(wrong)
