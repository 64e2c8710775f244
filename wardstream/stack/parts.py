"""What the process manager has to know of a part: its name, ports, and the command that runs it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from wardstream.settings import Settings

AIRFLOW_PARTS = ("api-server", "scheduler", "dag-processor")
PARTS = ("postgres", "kafka", "registry", "stream", *AIRFLOW_PARTS)
PORTS = {
    "postgres": ("postgres_port",),
    "kafka": ("kafka_port", "kafka_controller_port"),
    "registry": ("registry_port", "registry_management_port"),
    "stream": ("metrics_port",),
    "api-server": ("airflow_port",),
}
"""The settings that are ports of a part."""


@dataclass(frozen=True)
class Launch:
    """A command to run in the foreground: what `launch.py` turns itself into."""

    argv: list[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None
    """uid and gid to run under; None: ours."""
    orphan_signal: signal.Signals = signal.SIGTERM
    """Sent by the kernel when the process manager dies."""
    nice: int = 0
    """How much it steps back when there is more to do than processors, with all that it starts; 0 to 19."""


class Server(Protocol):
    """What a part's module has; `prepare(settings)` as well where something must be there before it starts."""

    def version(self) -> str:
        """The pinned version."""

    def launch(self, settings: Settings) -> Launch:
        """Its command."""

    def ready(self, settings: Settings) -> bool:
        """Whether it works now."""


def is_embedded(address: str, port: int) -> bool:
    """Whether an address (URL, or host:port) is that of a server of ours."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        return parts.hostname in ("127.0.0.1", "localhost") and parts.port == port
    except ValueError:  # several brokers have no one port, and ours is one
        return False


def embedded_parts(settings: Settings) -> list[str]:
    """The parts that run here: those whose address is the embedded one, whether it was set (`env`) or left empty."""
    registry = is_embedded(settings.registry, settings.registry_port)
    urls = (settings.database_url, settings.owner_database_url)
    database = not all(url and not is_embedded(url, settings.postgres_port) for url in urls)
    postgres = database or registry  # the registry keeps its schemas in PostgreSQL
    chosen = {
        "postgres": postgres,
        "kafka": is_embedded(settings.kafka, settings.kafka_port),
        "registry": registry,
        "stream": True,
        **dict.fromkeys(AIRFLOW_PARTS, settings.airflow and postgres),
    }
    return [part for part in PARTS if chosen[part]]


def elsewhere(settings: Settings) -> dict[str, str]:
    """The servers that do not run here, with host and port of each: never a user's name or a password."""
    found = {}
    if settings.database_url and not is_embedded(settings.database_url, settings.postgres_port):
        found["database"] = _database_address(settings.database_url)
    if not is_embedded(settings.kafka, settings.kafka_port):
        found["kafka"] = settings.kafka
    if not is_embedded(settings.registry, settings.registry_port):
        found["registry"] = urlsplit(settings.registry).netloc.rpartition("@")[2]
    return found


def _database_address(url: str) -> str:
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:
        return "DATABASE_URL cannot be read"
    hosts, numbers = (
        str(said.get("host") or said.get("hostaddr") or "").split(","),
        str(said.get("port") or "5432").split(","),
    )
    return ",".join(f"{host or '(socket)'}:{numbers[min(i, len(numbers) - 1)]}" for i, host in enumerate(hosts))


def ports(settings: Settings, part: str) -> dict[str, int]:
    """The ports of a part, by the environment variable that sets each; the first is the one to show, 0 is none."""
    chosen = {f"WARDSTREAM_{name.upper()}": getattr(settings, name) for name in PORTS.get(part, ())}
    return {variable: port for variable, port in chosen.items() if port}
