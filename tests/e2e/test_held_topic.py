"""A registered schema that is not deployed holds up its own topic: the others go on, and nothing of it is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.e2e.hospital import Hospital, wait_for
from tests.e2e.test_broker_faults import call, state
from tests.e2e.test_made_up_topic import FILES, TOPIC, deploy, extended, publish_examples
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
from wardstream.proof.verify import verify
from wardstream.watch.findings import findings_now

__all__ = ["extended"]  # the fixture

MESSAGES = 30


@pytest.fixture
def tomorrow(extended: Hospital, tmp_path: Path) -> Path:
    """The folder of schemas as it will be once v2 is deployed."""
    shutil.copytree(extended.settings.schemas_dir, tmp_path / "schemas")
    shutil.copytree(FILES / "v2" / "schemas", tmp_path / "schemas", dirs_exist_ok=True)
    return tmp_path / "schemas"


def send_v2(hospital: Hospital, schemas: Path) -> int:
    """Register v2 as a sender would who is too early, and send with it; returns the schema id."""
    contract = load_contracts(schemas)[TOPIC]
    text = (schemas / TOPIC / "value" / "v2.avsc").read_text()
    number = int(call(hospital, "POST", f"/subjects/{contract.subject}/versions", {"schema": text})["id"])
    example = next(e for e in load_examples(schemas / TOPIC, contract) if e.version == 2 and e.reason is None)
    encoder = Encoder(contract.versions[2], number)
    producer = Producer({"bootstrap.servers": hospital.settings.kafka})
    for each in range(MESSAGES):
        event = {**example.event, "event_id": f"early-{each}", "survey_id": f"early-{each}"}
        producer.produce(TOPIC, encoder.encode(event), key=b"P-1")
    assert producer.flush(30) == 0
    return number


def others_done(hospital: Hospital) -> bool:
    topics = [topic for topic in load_contracts(hospital.settings.schemas_dir) if topic != TOPIC]
    return all(hospital.next_offset(topic) == hospital.extent(topic).end > 0 for topic in topics)


def test_a_schema_that_is_not_deployed_holds_up_its_own_topic(extended: Hospital, tomorrow: Path) -> None:
    deploy(extended, "v1")
    publish_examples(extended, 1)
    before = extended.next_offset(TOPIC)
    number = send_v2(extended, tomorrow)
    wait_for("the topic to be held", lambda: extended.rows("SELECT held FROM ops.streams") != [({},)])
    wait_for("the stream to run without it", lambda: state(extended)[0] == "running")
    extended.must("replay", "sample")
    wait_for("the others to be committed", lambda: others_done(extended))
    assert extended.next_offset(TOPIC) == before and extended.extent(TOPIC).end == before + MESSAGES
    assert extended.rows("SELECT fruitless_starts FROM ops.streams") == [(0,)]

    wait_for("how many wait", lambda: f"{MESSAGES} events wait" in str(findings_now(extended.settings)))
    (found,) = findings_now(extended.settings)
    assert found.code == f"held:{TOPIC}" and f"schema id {number}" in found.said and "deploy" in found.remedy
    (finding,) = verify(extended.settings, wait_seconds=60).findings
    assert f"topic {TOPIC} is held up" in finding and f"schema id {number}" in finding and "30 events" in finding
    shown = extended.cli("status").stdout
    assert f"held:{TOPIC}" in shown and f"schema id {number}" in " ".join(shown.split())
    assert f"topic {TOPIC} is held up" in extended.must("stream", "drain")
    assert f"topic {TOPIC} is held up" in extended.must("stream", "start")

    deploy(extended, "v2")
    tallies = {tally.topic: tally for tally in extended.verified().tallies}
    assert extended.next_offset(TOPIC) == before + MESSAGES
    assert tallies[TOPIC].received == before + MESSAGES
    early = "SELECT count(*) FROM core.bed_surveys WHERE survey_id LIKE 'early-%' AND mattress = 'foam'"
    assert extended.rows(early) == [(MESSAGES,)]
    assert f"held:{TOPIC}" not in {found.code for found in findings_now(extended.settings)}
