"""Health check of a schema registry, ours or another's."""

from __future__ import annotations

import httpx2 as httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from wardstream.registry.client import Access, open_client
from wardstream.settings import Settings


def registry_answers(settings: Settings) -> bool:
    """Whether the Confluent-compatible API lists its subjects within two seconds."""
    try:
        return isinstance(open_client(Access.of(settings), 2.0).get_subjects(), list)
    except (httpx.HTTPError, httpx.InvalidURL, SchemaRegistryError, OSError, ValueError):
        return False
