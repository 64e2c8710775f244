"""Whether a server answers at its address, ours or another's; quickly, and without a word on stderr."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata


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


def kafka_answers(bootstrap_servers: str) -> bool:
    """Whether a broker answers for its metadata within two seconds."""
    found = _metadata(bootstrap_servers)
    return found is not None and bool(found.brokers)


def cluster_id(bootstrap_servers: str) -> str | None:
    """The id of the cluster whose broker answers there within two seconds; None where none does."""
    found = _metadata(bootstrap_servers)
    return None if found is None else str(found.cluster_id)


def _metadata(bootstrap_servers: str) -> ClusterMetadata | None:
    if not listens(bootstrap_servers):
        return None  # the client library would report each refused connection on stderr
    quiet = logging.getLogger("wardstream.reach.kafka")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2}, logger=quiet)
        return admin.list_topics(timeout=2)
    except KafkaException:
        return None


def registry_answers(url: str) -> bool:
    """Whether the Confluent-compatible API at this base URL lists its subjects within two seconds."""
    loopback = urlsplit(url).hostname in ("127.0.0.1", "localhost")
    # loopback is reached directly, whatever proxy is set
    proxies = urllib.request.ProxyHandler({} if loopback else None)
    try:
        with urllib.request.build_opener(proxies).open(f"{url}/subjects", timeout=2) as answer:
            return isinstance(json.load(answer), list)
    except (urllib.error.URLError, HTTPException, OSError, ValueError):
        return False
