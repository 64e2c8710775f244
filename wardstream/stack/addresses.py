"""Addresses in the settings: whether one is that of an embedded server, and how to show one without its password."""

from __future__ import annotations

from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def is_embedded(address: str, port: int) -> bool:
    """Whether an address (URL, or host:port) is that of a server of ours."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        return parts.hostname in ("127.0.0.1", "localhost") and parts.port == port
    except ValueError:  # several brokers have no one port, and ours is one
        return False


def database_address(url: str) -> str:
    """Hosts and ports of a PostgreSQL address."""
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:
        return "DATABASE_URL cannot be read"
    hosts, numbers = (
        str(said.get("host") or said.get("hostaddr") or "").split(","),
        str(said.get("port") or "5432").split(","),
    )
    return ",".join(f"{host or '(socket)'}:{numbers[min(i, len(numbers) - 1)]}" for i, host in enumerate(hosts))
