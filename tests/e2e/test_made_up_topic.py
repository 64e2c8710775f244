"""A topic added as files only (made_up_topic/v1, then v2): from Kafka to core, under verify and digest, no Python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.e2e.hospital import Hospital
from wardstream import stack
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
from wardstream.registry.client import schema_id

TOPIC = "bed_surveys"
FILES = Path(__file__).parent / "made_up_topic"


@pytest.fixture(scope="module")
def extended(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """The hospital with schemas and SQL folders of its own, to which files can be added."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(hospital.settings.schemas_dir, folder / "schemas")
    shutil.copytree(hospital.settings.sql_dir, folder / "sql")
    hospital.empty()
    own = hospital.settings.model_copy(update={"schemas_dir": folder / "schemas", "sql_dir": folder / "sql"})
    extended = Hospital(own)
    yield extended
    stack.stop_part(own, "stream")
    extended.drop_everything()
    hospital.empty()


def deploy(hospital: Hospital, version: str) -> None:
    """Lay the files of a version over the folders, lock the schema, and do what `wardstream up` does."""
    shutil.copytree(FILES / version, hospital.settings.schemas_dir.parent, dirs_exist_ok=True)
    hospital.must("contracts", "lock")
    hospital.must("contracts", "check")
    stack.stop_part(hospital.settings, "stream")
    stack.start(hospital.settings)


def publish_examples(hospital: Hospital, version: int) -> None:
    """Every example of a version, written with that version's schema."""
    settings = hospital.settings
    contract = load_contracts(settings.schemas_dir)[TOPIC]
    schema = contract.versions[version]
    encoder = Encoder(schema, schema_id(settings, contract.subject, schema))
    producer = Producer({"bootstrap.servers": settings.kafka})
    for example in load_examples(settings.schemas_dir / TOPIC, contract):
        if example.version == version:
            producer.produce(TOPIC, encoder.encode(example.event), key=b"P-1")
    assert producer.flush(30) == 0
    hospital.caught_up()


@pytest.mark.campaign
def test_v1_then_v2(extended: Hospital) -> None:
    deploy(extended, "v1")
    publish_examples(extended, 1)
    columns = "survey_id, room, bed_number, surveyed_on::text, note"
    assert extended.rows(f"SELECT {columns} FROM core.bed_surveys") == [("S-1", "12", 2, "2026-03-02", "quiet")]
    assert extended.rows("SELECT topic, reason FROM ops.quarantine") == [(TOPIC, "missing:survey_id")]
    extended.verified()
    before = extended.digest()
    assert f"core.{TOPIC}" in before

    deploy(extended, "v2")
    assert extended.digest()[f"core.{TOPIC}"] != before[f"core.{TOPIC}"], "the new column is part of the digest"
    publish_examples(extended, 2)
    assert extended.rows(f"SELECT {columns}, mattress FROM core.bed_surveys") == [
        ("S-1", "12", 2, "2026-03-02", "quiet", "foam")
    ]
    publish_examples(extended, 1)  # a sender that still writes v1: the same fact again, a duplicate
    assert extended.rows("SELECT mattress FROM core.bed_surveys") == [("foam",)]
    tallies = {tally.topic: tally for tally in extended.verified().tallies}
    assert (tallies[TOPIC].stored, tallies[TOPIC].duplicate, tallies[TOPIC].quarantined) == (2, 1, 3)

    with extended.connect() as conn:
        conn.execute("UPDATE history.bed_surveys SET bed = '{\"room\": \"13\"}' WHERE event_id = 'ex-survey-1'")
    done = extended.cli("verify", "--wait", "0")
    assert done.returncode == 1
    assert f"topic {TOPIC} partition 0 offset" in done.stdout
