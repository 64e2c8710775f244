"""Lag: events that Kafka has and the ledger has not; one way to count it, for the driver, `status` and the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from wardstream.database.connection import Connection, connect
from wardstream.settings import Settings

if TYPE_CHECKING:
    from wardstream.kafka.broker import Extent

Lag = dict[str, dict[str, int]]  # events not yet committed, by topic and partition
Ledger = dict[tuple[str, int], int]  # the first offset not committed, by topic id and partition


def read_ledger(conn: Connection) -> Ledger:
    """Ledger as this session sees it."""
    return {(i, p): o for i, p, o in conn.execute("SELECT topic_id, partition, next_offset FROM ops.ledger")}


def lag_of(extents: Iterable[Extent], ledger: Mapping[tuple[str, int], int]) -> Lag:
    """What is left of these partitions; one that the ledger does not have yet is left whole."""
    lag: Lag = {}
    for e in extents:
        lag.setdefault(e.topic, {})[str(e.partition)] = max(0, e.end - ledger.get((e.topic_id, e.partition), e.start))
    return lag


def total(lag: Lag | None) -> int | None:
    """Events over all partitions; None where the lag is not known."""
    return sum(sum(partitions.values()) for partitions in lag.values()) if lag else None


def lag_now(settings: Settings) -> Lag:
    """Asked of Kafka and the ledger now, for while no driver measures it; KafkaException where Kafka is away.

    A topic that is not on the broker is left out.
    """
    from wardstream.contracts.model import load_contracts
    from wardstream.kafka.broker import Broker

    with connect(settings.writer_url, "wardstream status") as conn:
        ledger = read_ledger(conn)
    broker = Broker(settings, load_contracts(settings.schemas_dir))
    return lag_of(broker.extents(missing_ok=True), ledger)
