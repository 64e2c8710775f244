"""That a schema id means what it first meant: asked of the registry, compared with ops.schema_ids.

Every message names its schema by an id. A registry that was wiped or restored can give a known id another meaning, or
none: then old messages would be misread, or refused as unknown although they are good. Both must stop the stream.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pyarrow.compute as pc

from wardstream.contracts.codec import BadRecord
from wardstream.database.connection import connect
from wardstream.registry.client import RegistryUnavailableError, SchemaSource
from wardstream.settings import Settings
from wardstream.stream.commit import Batch, BrokerChanged
from wardstream.stream.decode import Sorted

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
IMPATIENCE_SECONDS = 0.2  # once it did not answer, until it does: batches of known ids must not each wait for it
Known = dict[tuple[int, str], int]  # fingerprint of the schema's meaning, by id and topic


class Meanings:
    """Asks the registry anew each time: executors are told at the start what ids mean, and so cannot know."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patience = PATIENCE_SECONDS

    def check_known(self, topics: Iterable[str]) -> SchemaSource:
        """Every id that was ever met; BrokerChanged where one means something else, RegistryUnavailableError.

        Returns all that the registry has for these topics, so that the stream can do without it from then on.
        """
        source = SchemaSource(self._settings)
        source.learn(topics, PATIENCE_SECONDS)
        _compare(source, self._known())
        return source

    def check(self, found: Batch | Sorted) -> None:
        """The ids of a batch that is decoded and not yet committed.

        BrokerChanged where one means something else by now, or where a known one was refused as unknown. A registry
        that does not answer gives no id a new meaning, and so keeps no batch waiting that could be decoded.
        """
        refused = found.rejects.filter(pc.equal(found.rejects["reason"], "unknown_schema"))
        if refused.num_rows:
            ids = set(zip(refused["schema_id"].to_pylist(), refused["topic"].to_pylist(), strict=True))
            for schema_id, topic in sorted(ids & self._known().keys()):
                raise BrokerChanged(_gone(schema_id, topic))
        now = SchemaSource(self._settings, self._patience)
        try:
            _compare(now, {(schema_id, topic): fingerprint for schema_id, topic, fingerprint in found.schema_ids})
        except RegistryUnavailableError as error:
            if self._patience == PATIENCE_SECONDS:
                log.warning("whether schema ids mean what they meant is not known: %s", error)
            self._patience = IMPATIENCE_SECONDS
        else:
            self._patience = PATIENCE_SECONDS

    def _known(self) -> Known:
        with connect(self._settings.writer_url, "wardstream meaning") as conn:
            rows = conn.execute("SELECT schema_id, topic, fingerprint FROM ops.schema_ids").fetchall()
        return {(schema_id, topic): fingerprint for schema_id, topic, fingerprint in rows}


def _compare(source: SchemaSource, known: Known) -> None:
    for (schema_id, topic), fingerprint in sorted(known.items()):
        try:
            now = source.lookup(schema_id, topic).fingerprint
        except BadRecord:
            raise BrokerChanged(_gone(schema_id, topic)) from None
        if now != fingerprint:
            raise BrokerChanged(f"schema id {schema_id} of topic {topic} no longer means what it first meant")


def _gone(schema_id: int, topic: str) -> str:
    return f"schema id {schema_id} was met in messages of topic {topic}, and the registry no longer has it there"
