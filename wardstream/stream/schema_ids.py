"""What a schema id means: asked of the registry, compared with what it meant when it was met first (ops.schema_ids).

Every message names its schema by an id. A registry that was wiped or restored can give a known id another meaning: then
messages would be misread, and the stream must stop. One that has lost a known id (a subject or version was deleted)
takes nothing away: what the id meant is known, and the deployed version that means the same reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord
from wardstream.contracts.model import Contract
from wardstream.database.connection import connect
from wardstream.registry.client import RegistryUnavailableError, SchemaSource, WriterSchema
from wardstream.settings import Settings
from wardstream.stream.commit import Batch, BrokerChanged
from wardstream.stream.decode import Sorted

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
IMPATIENCE_SECONDS = 0.2  # once it did not answer, until it does: batches of known ids must not each wait for it
Id = tuple[int, str]  # schema id and topic


@dataclass(frozen=True)
class Learnt:
    """What the registry has now. `source` reads the ids that are gone, or mean something else, by what they meant."""

    source: SchemaSource
    gone: tuple[Id, ...]
    changed: tuple[Id, ...]


def learn(settings: Settings, contracts: Mapping[str, Contract], patience_seconds: float = PATIENCE_SECONDS) -> Learnt:
    """All that the registry has for these topics, and every id that was ever met in them.

    RegistryUnavailableError after `patience_seconds` without an answer.
    """
    source = SchemaSource(settings, patience_seconds)
    source.learn(contracts, patience_seconds)
    lost: list[Id] = []
    other: list[Id] = []
    for (schema_id, topic), meant in sorted(known_ids(settings).items()):
        if topic not in contracts:
            continue
        try:
            if source.lookup(schema_id, topic).fingerprint == meant:
                continue
            other.append((schema_id, topic))
        except BadRecord:
            lost.append((schema_id, topic))
        source.teach(schema_id, topic, _as_it_was(meant, contracts[topic]))
    return Learnt(source, tuple(lost), tuple(other))


def known_ids(settings: Settings) -> dict[Id, int]:
    """What each id meant when it was met first: the fingerprint of its schema."""
    with connect(settings.writer_url, "wardstream meaning") as conn:
        rows = conn.execute("SELECT schema_id, topic, fingerprint FROM ops.schema_ids").fetchall()
    return {(schema_id, topic): meant for schema_id, topic, meant in rows}


def _as_it_was(meant: int, contract: Contract) -> WriterSchema:
    """The deployed version that means this. Without one the topic is held up, as with any version not deployed."""
    deployed = {fingerprint(schema): schema for schema in contract.versions.values()}
    return WriterSchema(deployed.get(meant, {}), meant)


class Meanings:
    """Asks the registry anew each time: judges are told at the start what ids mean, and so cannot know."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patience = PATIENCE_SECONDS

    def check_known(self, contracts: Mapping[str, Contract]) -> SchemaSource:
        """Every id that was ever met; BrokerChanged where one means something else, RegistryUnavailableError.

        Returns what a judge needs, so that the stream can do without the registry from then on.
        """
        learnt = learn(self._settings, contracts)
        for schema_id, topic in learnt.changed:
            raise BrokerChanged(changed(schema_id, topic))
        for schema_id, topic in learnt.gone:
            log.warning("%s; the deployed version that means the same is used", gone(schema_id, topic))
        return learnt.source

    def check(self, found: Batch | Sorted) -> None:
        """The ids of a batch that is decoded and not yet committed.

        BrokerChanged where one means something else by now, or where a known one was refused as unknown: the next
        start is told what it meant. A registry that does not answer gives no id a new meaning, and so keeps no batch
        waiting that could be decoded.
        """
        refused = found.rejects.filter(pc.equal(found.rejects["reason"], "unknown_schema"))
        if refused.num_rows:
            ids = set(zip(refused["schema_id"].to_pylist(), refused["topic"].to_pylist(), strict=True))
            for schema_id, topic in sorted(ids & known_ids(self._settings).keys()):
                raise BrokerChanged(gone(schema_id, topic))
        now = SchemaSource(self._settings, self._patience)
        try:
            for schema_id, topic, meant in sorted(found.schema_ids):
                if _means_something_else(now, schema_id, topic, meant):
                    raise BrokerChanged(changed(schema_id, topic))
        except RegistryUnavailableError as error:
            if self._patience == PATIENCE_SECONDS:
                log.warning("whether schema ids mean what they meant is not known: %s", error)
            self._patience = IMPATIENCE_SECONDS
        else:
            self._patience = PATIENCE_SECONDS


def _means_something_else(source: SchemaSource, schema_id: int, topic: str, meant: int) -> bool:
    """Whether the id has another meaning now; one that is gone has none."""
    try:
        return source.lookup(schema_id, topic).fingerprint != meant
    except BadRecord:
        return False


def changed(schema_id: int, topic: str) -> str:
    """That an id has another meaning now."""
    return f"schema id {schema_id} of topic {topic} no longer means what it first meant"


def gone(schema_id: int, topic: str) -> str:
    """That the registry has lost an id."""
    return f"schema id {schema_id} was met in messages of topic {topic}, and the registry no longer has it there"
