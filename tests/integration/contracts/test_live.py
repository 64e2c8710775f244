"""Contracts and publisher against a real Kafka and a real registry: what their own tests can only pretend."""

import copy
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Message, TopicPartition
from confluent_kafka.admin import ConfigResource

from tests.unit.contracts import made_up
from wardstream import stack
from wardstream.contracts.codec import BadRecord, Decoder, split
from wardstream.contracts.model import Contract
from wardstream.kafka.broker import Broker, TopicMissing
from wardstream.kafka.client import Admin
from wardstream.kafka.publish import Publisher
from wardstream.kafka.topics import create_topics
from wardstream.registry.client import RegistryRefusedError, SchemaSource, register_all, schema_id
from wardstream.settings import Settings
from wardstream.sources.sample import events as sample


def test_registering_again_changes_nothing(settings: Settings, contracts: dict[str, Contract]):
    result = register_all(settings)
    assert not result.changed
    assert not result.findings, "each subject is under FULL_TRANSITIVE"
    assert {schema.subject for schema in result.schemas} == {contract.subject for contract in contracts.values()}


def test_schemas_come_back_as_they_are_and_only_for_their_topic(settings: Settings, contracts: dict[str, Contract]):
    source = SchemaSource(settings)
    for topic, contract in contracts.items():
        number = schema_id(settings, contract.subject, contract.latest)
        assert source.lookup(number, topic).schema == contract.latest
        for other in contracts.keys() - {topic}:
            with pytest.raises(BadRecord, match="unknown_schema"):
                source.lookup(number, other)
    for number in (0, -1, 2**31 - 1):
        with pytest.raises(BadRecord, match="unknown_schema"):
            source.lookup(number, "labs")


def test_the_registry_refuses_what_is_incompatible(settings: Settings, tmp_path: Path):
    good = made_up.write(tmp_path / "good", schemas=[made_up.schema_v1(), made_up.schema_v2()])
    mine = settings.model_copy(update={"schemas_dir": good})
    assert [schema.new for schema in register_all(mine).schemas] == [True, True]
    third = copy.deepcopy(made_up.schema_v2())
    third["fields"][-1]["type"] = ["null", "long"]
    bad = made_up.write(tmp_path / "bad", schemas=[made_up.schema_v1(), made_up.schema_v2(), third])
    with pytest.raises(RegistryRefusedError, match=r"visits-value: v3\.avsc was refused"):
        register_all(settings.model_copy(update={"schemas_dir": bad}))


def test_topics_are_as_the_contracts_say(settings: Settings, tmp_path: Path):
    document = made_up.document()
    document["schema"][0]["physicalName"] = "made_up"
    folder = made_up.write(tmp_path, document)
    (folder / "visits").rename(folder / "made_up")
    assert yaml.safe_load((folder / "made_up" / "contract.yaml").read_text())["name"] == "Visits"
    mine = settings.model_copy(update={"schemas_dir": folder})
    assert create_topics(mine) == {"made_up": True}
    assert create_topics(mine) == {"made_up": False}
    admin = Admin(mine)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "made_up")
    config = admin.describe_configs([resource])[resource].result(timeout=10)
    assert config["message.timestamp.type"].value == "LogAppendTime"
    assert config["retention.ms"].value == "172800000"
    assert len(admin.list_topics("made_up", timeout=10).topics["made_up"].partitions) == 3
    broker = Broker(mine, ["made_up", "labs"])
    first = broker.topic_ids()
    assert {len(identity) for identity in first.values()} == {22}
    admin.delete_topics(["made_up"])["made_up"].result(timeout=10)
    while topic_exists(mine, "made_up"):  # the controller has deleted it, the broker hears of it a moment later
        time.sleep(0.05)
    assert create_topics(mine) == {"made_up": True}
    second = broker.topic_ids()
    assert second["labs"] == first["labs"]
    assert second["made_up"] != first["made_up"]
    with pytest.raises(TopicMissing, match="topic nowhere"):
        Broker(mine, ["nowhere"]).topic_ids()


def test_a_topic_that_is_missing_hides_no_other(settings: Settings, contracts: dict[str, Contract]):
    there = Broker(settings, contracts).extents()
    assert {extent.topic for extent in there} == set(contracts)
    broker = Broker(settings, [*contracts, "nowhere"])
    assert broker.extents(missing_ok=True) == there
    with pytest.raises(TopicMissing, match="topic nowhere"):
        broker.extents()
    assert Broker(settings, ["nowhere"]).extents(missing_ok=True) == []


def topic_exists(settings: Settings, topic: str) -> bool:
    try:
        return bool(Broker(settings, [topic]).topic_ids())
    except TopicMissing:
        return False


def read_all(settings: Settings, topics: list[str]) -> list[Message]:
    """All messages of partition 0 of the topics, up to the ends of now."""
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "none", "enable.auto.commit": False})
    found: list[Message] = []
    try:
        for topic in topics:
            at = TopicPartition(topic, 0, 0)
            low, high = consumer.get_watermark_offsets(at, timeout=20)
            consumer.assign([at])
            expected = len(found) + high - low
            while len(found) < expected:
                batch = consumer.consume(min(1000, expected - len(found)), timeout=20)
                assert batch, f"{topic}: nothing for 20 s"
                assert all(message.error() is None for message in batch)
                found += batch
    finally:
        consumer.close()
    return found


def test_published_events_are_read_back_once_each_over_a_killed_broker(
    settings: Settings, contracts: dict[str, Contract]
):
    facts = sample.events()[:3000]
    broker = stack.pids(settings)["kafka"]
    # In the middle of the three seconds that the pace gives the publishing.
    killer = threading.Timer(1.0, os.kill, (broker, signal.SIGKILL))
    with Publisher(settings, pace=1000) as publisher:
        killer.start()
        for topic, event in facts:
            publisher.send(topic, event)
    killer.join()
    assert stack.pids(settings)["kafka"] != broker
    assert publisher.delivered.total() == len(facts)

    messages = read_all(settings, sorted(contracts))
    decoders = {topic: Decoder(contract.latest) for topic, contract in contracts.items()}
    ids = []
    for message in messages:
        event = decoders[message.topic()].decode(split(message.value())[1])
        assert message.key() == event["patient_id"].encode()
        kind, broker_time = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert broker_time * 1000 > event["recorded_at"]
        ids.append(event["event_id"])
    assert sorted(ids) == sorted(event["event_id"] for _, event in facts)
