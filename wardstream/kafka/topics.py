"""Kafka topics as the contracts want them: made where they are missing, their retention raised, the rest compared.

The broker may be shared and its administrators have their reasons: what an existing topic has otherwise is reported and
left, retention is never lowered, and partitions are only added where the contract asks for them. `mend` sets what the
stream cannot do without, when somebody asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from confluent_kafka.error import KafkaError

from wardstream.contracts.model import Contract, load_contracts
from wardstream.kafka.broker import BROKERS_CLOCK, CLOCK, MEND, Broker, TopicMissing
from wardstream.kafka.client import Admin, KafkaRefused
from wardstream.settings import Settings

_DAY_MS = 86_400_000
_RETENTION = "retention.ms"
_KEPT = {CLOCK: BROKERS_CLOCK, "cleanup.policy": "delete"}
"""What the stream cannot do without. LogAppendTime: the rule against clocks ahead compares with the broker's clock."""


class TopicError(RuntimeError):
    """Kafka would not make, describe or change a topic; the message names the topic, Kafka's error code and address."""


class TopicConflict(TopicError):
    """A topic is what its contract can never become, such as one with more partitions; trying again is no use."""


@dataclass(frozen=True)
class Difference:
    """Something of an existing topic that is not as we would have made it, and was left so."""

    topic: str
    text: str
    harmful: bool
    """The stream will not run on it, or loses messages by it."""

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.text}{f'; {MEND}' if self.harmful else ', left as it is'}"


@dataclass(frozen=True)
class Applied:
    """What `apply_topics` changed, in words, and what differs and was left."""

    changes: list[str]
    differences: list[Difference]


@dataclass(frozen=True)
class _There:
    """An existing topic as the broker has it."""

    partitions: int
    replication: int
    config: Mapping[str, str | None]


def create_topics(settings: Settings, timeout_seconds: float = 30.0) -> dict[str, bool]:
    """Make the topics of all contracts; topic -> whether it was made now. Repeatable; existing topics stay as they are.

    Returns when clients can see them. TopicError where Kafka refuses or does not answer within the timeout.
    """
    admin = Admin(settings)
    least = settings.topic_min_insync_replicas
    wanted = [
        NewTopic(
            contract.topic,
            num_partitions=contract.partitions or settings.topic_partitions,
            replication_factor=settings.topic_replication or -1,  # -1: as the broker's administrators chose
            config={
                **_KEPT,
                _RETENTION: str(contract.retention_ms),
                **({"min.insync.replicas": str(least)} if least else {}),
            },
        )
        for contract in load_contracts(settings.schemas_dir).values()
    ]
    created: dict[str, bool] = {}
    for topic, future in admin.create_topics(wanted, request_timeout=timeout_seconds).items():
        try:
            admin.answer(future, "Create", f"topic {topic}")
            created[topic] = True
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _error(settings, f"topic {topic} could not be made", error) from error
            created[topic] = False
    _await_visible(settings, [topic for topic, new in created.items() if new], timeout_seconds)
    return created


def apply_topics(settings: Settings, timeout_seconds: float = 10.0) -> Applied:
    """Make the topics that are missing, and bring the others to their contracts as far as that takes nothing away.

    Retention is raised, never lowered. Partitions are added where the contract names a number: TopicConflict, before
    anything is changed, where a topic has more than its contract says. What else differs is reported.
    """
    contracts = load_contracts(settings.schemas_dir)
    made = create_topics(settings, timeout_seconds)
    existing = {topic: contracts[topic] for topic, new in made.items() if not new}
    changes = [f"topic {topic}: made" for topic, new in made.items() if new]
    admin = Admin(settings)
    try:
        there = _describe(admin, existing, timeout_seconds)
        more = _partitions_to_add(there, existing)
        kept = {topic: contract.retention_ms for topic, contract in existing.items()}
        short = {topic: {_RETENTION: str(ms)} for topic, ms in kept.items() if _is_short(there[topic], ms)}
        changes += [
            f"topic {topic}: {_RETENTION} {_days(there[topic].config[_RETENTION])} -> {_days(config[_RETENTION])}"
            for topic, config in short.items()
        ]
        _alter(admin, short, timeout_seconds)
        asked = [NewPartitions(topic, wanted) for topic, (_, wanted) in more.items()]
        for topic, future in admin.create_partitions(asked, request_timeout=timeout_seconds).items() if asked else ():
            admin.answer(future, "Alter", f"topic {topic}")
    except KafkaException as error:
        raise _error(settings, "topics could not be compared with their contracts", error) from error
    changes += [f"topic {topic}: partitions {old} -> {new}" for topic, (old, new) in more.items()]
    return Applied(changes, _differences(settings, there))


def differences(settings: Settings, timeout_seconds: float = 10.0) -> list[Difference]:
    """What is not as we would have made it; changes nothing. TopicMissing, TopicError."""
    contracts = load_contracts(settings.schemas_dir)
    Broker(settings, contracts).topic_ids()
    try:
        return _differences(settings, _describe(Admin(settings), contracts, timeout_seconds))
    except KafkaException as error:
        raise _error(settings, "topics could not be compared with their contracts", error) from error


def mend(settings: Settings, timeout_seconds: float = 10.0) -> list[str]:
    """Set what the stream cannot do without, on the topics where it is otherwise; what was changed, in words."""
    contracts = load_contracts(settings.schemas_dir)
    Broker(settings, contracts).topic_ids()
    admin = Admin(settings)
    try:
        there = _describe(admin, contracts, timeout_seconds)
        wrong = {
            topic: {name: value for name, value in _KEPT.items() if found.config.get(name) != value}
            for topic, found in there.items()
        }
        _alter(admin, {topic: config for topic, config in wrong.items() if config}, timeout_seconds)
    except KafkaException as error:
        raise _error(settings, "topics could not be mended", error) from error
    return [
        f"topic {topic}: {name} {there[topic].config.get(name)} -> {value}"
        for topic, config in wrong.items()
        for name, value in config.items()
    ]


def _describe(admin: Admin, topics: Iterable[str], timeout: float) -> dict[str, _There]:
    named = list(topics)
    if not named:
        return {}
    described = admin.describe_topics(TopicCollection(named), request_timeout=timeout)
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in named]
    configs = {at.name: future for at, future in admin.describe_configs(asked, request_timeout=timeout).items()}
    found = {}
    for topic in named:
        partitions = admin.answer(described[topic], "Describe", f"topic {topic}").partitions
        config = admin.answer(configs[topic], "DescribeConfigs", f"topic {topic}")
        found[topic] = _There(
            len(partitions), len(partitions[0].replicas), {name: entry.value for name, entry in config.items()}
        )
    return found


def _partitions_to_add(there: Mapping[str, _There], contracts: Mapping[str, Contract]) -> dict[str, tuple[int, int]]:
    """Topic -> (partitions it has, partitions its contract wants), where the contract wants more."""
    more = {}
    for topic, contract in contracts.items():
        if contract.partitions is None or there[topic].partitions == contract.partitions:
            continue
        if there[topic].partitions > contract.partitions:
            raise TopicConflict(
                f"topic {topic} has {there[topic].partitions} partitions and its contract says {contract.partitions}; "
                f"Kafka cannot take partitions away: write {there[topic].partitions} into schemas/{topic}/contract.yaml"
            )
        more[topic] = (there[topic].partitions, contract.partitions)
    return more


def _is_short(there: _There, wanted: int) -> bool:
    """Whether the topic forgets earlier than its contract says; -1 never forgets."""
    has = int(there.config[_RETENTION] or -1)
    return has >= 0 and (wanted < 0 or has < wanted)


def _differences(settings: Settings, there: Mapping[str, _There]) -> list[Difference]:
    found = []
    for topic, at in sorted(there.items()):
        found += [
            Difference(topic, f"{name} is {at.config.get(name)} and not {value}", True)
            for name, value in _KEPT.items()
            if at.config.get(name) != value
        ]
        chosen = {
            "replication": (at.replication, settings.topic_replication, "WARDSTREAM_TOPIC_REPLICATION"),
            "min.insync.replicas": (
                *(int(at.config.get("min.insync.replicas") or 1), settings.topic_min_insync_replicas),
                "WARDSTREAM_TOPIC_MIN_INSYNC_REPLICAS",
            ),
        }
        found += [
            Difference(topic, f"{name} is {has}, and {setting} says {wanted}", False)
            for name, (has, wanted, setting) in chosen.items()
            if wanted and has != wanted
        ]
    return found


def _alter(admin: Admin, wanted: Mapping[str, Mapping[str, str]], timeout: float) -> None:
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
            ],
        )
        for topic, config in wanted.items()
    ]
    answers: Mapping[ConfigResource, Any] = (
        admin.incremental_alter_configs(resources, request_timeout=timeout) if resources else {}
    )
    for resource, future in answers.items():
        admin.answer(future, "AlterConfigs", f"topic {resource.name}")


def _days(value: str | None) -> str:
    """Retention in days where it is a whole number of them."""
    if value is not None and int(value) > 0 and int(value) % _DAY_MS == 0:
        return f"{int(value) // _DAY_MS} d"
    return str(value)


def _error(settings: Settings, what: str, error: KafkaException) -> TopicError:
    if isinstance(error, KafkaRefused):
        return TopicError(f"{what}: {error}")
    return TopicError(f"{what}: {error.args[0].name()} at Kafka ({settings.kafka})")


def _await_visible(settings: Settings, topics: list[str], timeout_seconds: float) -> None:
    """Wait until the broker that answers clients knows the new topics; the controller alone knew them at first."""
    deadline = time.monotonic() + timeout_seconds
    broker = Broker(settings, topics)
    while topics:
        try:
            broker.topic_ids()
            return
        except TopicMissing as error:
            if time.monotonic() > deadline:
                raise TopicError(f"{error}; it was made {timeout_seconds:g} s ago") from error
            time.sleep(0.05)
