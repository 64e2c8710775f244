"""Topics that wait for a deployment: a message was written with a registered version that `schemas/` here lacks.

Such a topic is taken out of the stream's query, the others go on. ops.streams.held has it from then on, also while no
driver runs; each start looks whether it is to be read again. `docs/decisions/0022…` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardstream.contracts.codec import BadRecord
from wardstream.database.connection import Connection, scalar
from wardstream.stream.turn import STREAM

if TYPE_CHECKING:
    from wardstream.contracts.model import Contract
    from wardstream.registry.client import SchemaSource


HELD_RUNBOOK = "docs/runbooks/a-topic-is-held-up.md"


class AllHeld(Exception):
    """No topic can be read before a version of its schema is deployed."""


@dataclass(frozen=True)
class HeldTopic:
    """One topic that waits. `lag`: its events that are not committed, by partition; `since`: ISO 8601, UTC."""

    topic_id: str
    schema_id: int
    since: str
    lag: Mapping[str, int] = field(default_factory=dict)


def read_held(column: Mapping[str, Any] | None) -> dict[str, HeldTopic]:
    """What ops.streams.held has, by topic."""
    return {topic: HeldTopic(**one) for topic, one in (column or {}).items()}


def held_now(conn: Connection, stream: str = STREAM) -> dict[str, HeldTopic]:
    """The topics that wait now, as the stream's last driver said."""
    return read_held(scalar(conn, "SELECT held FROM ops.streams WHERE stream = %s", [stream]))


def why(topic: str, held: HeldTopic) -> str:
    """What keeps the topic from being read, in words."""
    waiting = sum(held.lag.values())
    return (
        f"topic {topic} is held up: messages carry schema id {held.schema_id}, which the registry has and"
        f" schemas/{topic}/value has not" + (f"; {waiting} events wait" if waiting else "")
    )


def still_held(
    held: Mapping[str, HeldTopic], ids: Mapping[str, str], contracts: Mapping[str, Contract], source: SchemaSource
) -> dict[str, HeldTopic]:
    """Those that cannot be read now, either; `ids` are Kafka's ids of the topics. RegistryUnavailableError.

    No longer held: one whose version is deployed by now; one that was recreated; one whose id the registry no longer
    knows, so that the message is refused like any other with an unknown id.
    """
    return {
        topic: one
        for topic, one in held.items()
        if ids.get(topic) == one.topic_id and not _can_be_judged(topic, one, contracts[topic], source)
    }


def _can_be_judged(topic: str, held: HeldTopic, contract: Contract, source: SchemaSource) -> bool:
    try:
        return source.lookup(held.schema_id, topic).is_deployed(contract)
    except BadRecord:
        return True
