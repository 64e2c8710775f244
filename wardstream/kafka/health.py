"""Health checks of a broker, ours or another's: quick, and quiet on stderr."""

from __future__ import annotations

import logging
import socket

from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from wardstream.kafka.client import Admin
from wardstream.settings import Settings


def listens(addresses: str) -> bool:
    """Whether anything accepts a connection at one of these host:port, comma-separated; at most a second for each."""
    for address in addresses.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except (OSError, ValueError):
            continue
        return True
    return False


def kafka_answers(settings: Settings) -> bool:
    """Whether a broker answers for its metadata within two seconds."""
    found = _metadata(settings)
    return found is not None and bool(found.brokers)


def cluster_id(settings: Settings) -> str | None:
    """The id of the cluster whose broker answers there within two seconds; None where none does."""
    found = _metadata(settings)
    return None if found is None else str(found.cluster_id)


def _metadata(settings: Settings) -> ClusterMetadata | None:
    if not listens(settings.kafka):
        return None  # the client library would report each refused connection on stderr
    quiet = logging.getLogger("wardstream.kafka.health")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        return Admin(settings, logger=quiet).list_topics(timeout=2)
    except KafkaException:
        return None
