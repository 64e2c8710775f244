"""All settings of Wardstream in one object, read from the environment (see .env.example).

Every part of the code sees servers only as URLs from here; only `wardstream.stack` knows whether they are
embedded processes or somebody's cluster. Nothing here opens a file or a connection, except for reading what the
embedded stack keeps in the state folder: passwords, and the ports and optional parts it was started with last.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from wardstream.timezones import iana_zone

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The clone; without one, the folder that the package is installed in."""
IN_A_CLONE = (PROJECT_ROOT / "schemas").is_dir()
FILES = PROJECT_ROOT if IN_A_CLONE else PROJECT_ROOT / "wardstream" / "home"
"""Where the contracts, SQL and DAGs that Wardstream ships lie (setup.py puts them into the package)."""


def _state_dir() -> Path:
    return PROJECT_ROOT / ".wardstream" if IN_A_CLONE else Path("~/.local/state/wardstream")


def _short_dir() -> Path:
    # PostgreSQL refuses to run as root: its files then go where an unprivileged user reaches them. /var/lib and not
    # /var/tmp, because data left alone for a month in /var/tmp is swept away on many systems.
    return Path("/var/lib") if os.geteuid() == 0 else Path("/var/tmp")  # noqa: S108 - a folder of its own is made in it


AIRFLOW_USER = "admin"
AIRFLOW_SECRET = "airflow_admin"  # noqa: S105 - the name of the file with the password


class AddressError(ValueError):
    """The address of a database cannot be read; the message names the variable and shows nothing of the address."""


def _readable(variable: str, url: str) -> str:
    """The address as it is. Asked here, since psycopg's own error would quote what it trips over, say of a password."""
    if not url:
        return url
    from psycopg import ProgrammingError  # late: a DAG file is parsed without it
    from psycopg.conninfo import conninfo_to_dict

    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:
        said = {"host": "@"}
    if "@" in str(said.get("host") or "") or not str(said.get("port") or "0").replace(",", "").isdigit():
        raise AddressError(
            f"{variable}: this is no address of PostgreSQL; within a password write @ as %40, / as %2F, : as %3A and"
            " % as %25"
        )
    return url


def memory_bytes(text: str) -> int:
    """A size as Spark writes one: 512m, 3g; a number alone is MiB."""
    found = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise ValueError(f"{text} is no size, such as 512m or 3g")
    return int(found[1]) << 10 * (1 + "kmgt".index(found[2] or "m"))


def _a_size(text: str) -> str:
    memory_bytes(text)
    return text


def _absolute(text: str) -> str:
    return text and str(Path(text).expanduser().resolve())


Size = Annotated[str, AfterValidator(_a_size)]
File = Annotated[str, AfterValidator(_absolute)]
"""The path of a file, or nothing."""


class PortsOfParts(PydanticBaseSettingsSource):
    """WARDSTREAM_X_PORT for a port that is no field here: a part of the stack may bring one (`Part.own_ports`)."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all come at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """By name."""
        fields = self.settings_cls.model_fields
        ports = {}
        for variable, value in self._variables.items():
            name = variable.lower().removeprefix("wardstream_")
            ours = variable.startswith("WARDSTREAM_") and name.endswith("_port") and name not in fields
            if ours and "://" not in (value or ""):  # as Kubernetes names the services of a namespace
                ports[name] = value
        return {"part_ports": ports}


class LastStart(PydanticBaseSettingsSource):
    """The ports and optional parts that the stack of the state folder was started with last, where nothing else says.

    A port that was given to one `wardstream up` alone so holds for the commands after it: at its default there may be
    the server of another stack.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all come at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """By field; a file that cannot be read counts as none: whoever may not look is told so by the first command."""
        state_dir = self.current_state.get("state_dir", _state_dir())
        found: dict[str, Any] = {}
        files: list[Path] = []
        with contextlib.suppress(OSError):
            files = sorted((Path(state_dir).expanduser() / "ports").glob("*.json"))
        for file in files:
            with contextlib.suppress(OSError, ValueError, TypeError):
                found |= dict(json.loads(file.read_text()))
        ports = {name: port for name, port in found.items() if name.endswith("_port") and port in range(65_536)}
        fields = self.settings_cls.model_fields
        said = {name: port for name, port in ports.items() if name in fields}
        said["part_ports"] = {name: port for name, port in ports.items() if name not in fields}
        with contextlib.suppress(OSError):
            said["WARDSTREAM_WITH"] = (Path(state_dir).expanduser() / "with.txt").read_text().strip()
        return said


def _limits(text: str) -> dict[str, int]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {part.strip(): memory_bytes(size) for part, _, size in pairs}


class Folders(BaseSettings):
    """Where things lie."""

    state_dir: Path = Field(default_factory=_state_dir, description="All state of the embedded stack.")
    cache_dir: Path = Field(default=Path("~/.cache/wardstream"), description="Downloads, shared by clones.")
    short_dir: Path = Field(default_factory=_short_dir, description="For what cannot lie in a deep or private folder.")
    schemas_dir: Path = Field(default=FILES / "schemas", description="One folder a topic: its contract.")
    sql_dir: Path = Field(default=FILES / "sql", description="Migrations, commit and fold SQL.")
    dags_dir: Path = Field(default=FILES / "dags", description="Airflow's DAG files.")

    @field_validator("state_dir", "cache_dir", "short_dir", "schemas_dir", "sql_dir", "dags_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def scratch_dir(self) -> Path:
        """For what a stream may lose: Spark's checkpoints and shuffle files."""
        return self.state_dir / "scratch"


class EmbeddedStack(BaseSettings):
    """What `wardstream up` starts here. Ports are on loopback."""

    part_ports: dict[str, int] = Field(default={}, description="Of parts that bring ports of their own, by name.")
    with_parts: str = Field(default="", validation_alias="WARDSTREAM_WITH", description="Optional parts, by comma.")
    memory_limits: str = Field(default="", description="PART=SIZE, by comma; 0: none. Over it a part is restarted.")
    maven_repository: str = Field(default="", description="Base URL of a mirror that serves the same artifacts.")

    @field_validator("memory_limits")
    @classmethod
    def _limits(cls, value: str) -> str:
        _limits(value)
        return value

    @property
    def optional_parts(self) -> set[str]:
        """The optional parts that were asked for."""
        return {name.strip() for name in self.with_parts.split(",")} - {"", "none"}

    @property
    def memory_limit_by_part(self) -> dict[str, int]:
        """Bytes, of the parts whose limit is set."""
        return _limits(self.memory_limits)


class Kafka(BaseSettings):
    """Kafka: the embedded broker, or one elsewhere, how to log in there, and what its topics get."""

    kafka_bootstrap_servers: str = Field(default="", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="TLS, a login, both, or neither."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_user: str = Field(default="", validate_default=True)
    kafka_password: SecretStr = SecretStr("")
    kafka_ca_file: File = Field(default="", description="PEM; empty: the certificates that the system trusts.")
    kafka_certificate_file: File = Field(default="", description="PEM; only where the broker asks for one.")
    kafka_key_file: File = Field(default="", description="The certificate's private key, PEM.")
    kafka_key_password: SecretStr = SecretStr("")
    kafka_group: str = Field(default="wardstream", min_length=1, description="Shows the ledger to Kafka's tools.")
    topic_partitions: int = Field(default=1, ge=1, description="Of a new topic whose contract gives no number.")
    topic_replication: int = Field(default=0, ge=0, description="Of a new topic; 0: the broker's default.")
    topic_min_insync_replicas: int = Field(default=0, ge=0, description="Of a new topic; 0: the broker's default.")

    @field_validator("kafka_security_protocol")
    @classmethod
    def _of_another_kafka(cls, value: str, info: ValidationInfo) -> str:
        if value != "PLAINTEXT" and not info.data.get("kafka_bootstrap_servers"):
            raise ValueError("the embedded broker has neither TLS nor logins; set KAFKA_BOOTSTRAP_SERVERS as well")
        return value

    @field_validator("kafka_user")
    @classmethod
    def _named_where_it_logs_in(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("kafka_security_protocol", "").startswith("SASL"):
            raise ValueError("WARDSTREAM_KAFKA_SECURITY_PROTOCOL asks for a login, which needs a user")
        return value

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.kafka_port}"


class Registry(BaseSettings):
    """The schema registry: the embedded one, or one elsewhere, whose URL may hold user and password."""

    schema_registry_url: str = Field(default="", validation_alias="SCHEMA_REGISTRY_URL", repr=False)
    registry_port: int = 18081
    registry_management_port: int = 18082
    registry_user: str = ""
    registry_password: SecretStr = SecretStr("")
    registry_ca_file: File = Field(default="", description="PEM; empty: the certificates that the system trusts.")

    @property
    def registry(self) -> str:
        """Base URL of the Confluent-compatible registry API, without user, password and trailing slash."""
        if not self.schema_registry_url:
            return f"http://127.0.0.1:{self.registry_port}/apis/ccompat/v7"
        parts = urlsplit(self.schema_registry_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")

    @property
    def registry_login(self) -> tuple[str, SecretStr] | None:
        """User and password for the registry: the settings of their own, else those within its URL."""
        if self.registry_user:
            return self.registry_user, self.registry_password
        userinfo, at, _ = urlsplit(self.schema_registry_url).netloc.rpartition("@")
        user, _, password = userinfo.partition(":")
        return (unquote(user), SecretStr(unquote(password))) if at else None


class Database(Folders):
    """PostgreSQL: the embedded one, or addresses of one elsewhere, one for each role."""

    database_url: str = Field(default="", validation_alias="DATABASE_URL", description="Role wardstream_writer.")
    owner_database_url: str = Field(default="", description="Role wardstream_owner; migrations, verify, rebuild.")
    database_name: str = "wardstream"
    postgres_port: int = 15432

    def password(self, role: str) -> str:
        """The generated password of an embedded role; FileNotFoundError before the first `wardstream up`."""
        return (self.state_dir / "secrets" / role).read_text().strip()

    def _embedded_url(self, role: str) -> str:
        return f"postgresql://{role}:{self.password(role)}@127.0.0.1:{self.postgres_port}/{self.database_name}"

    @property
    def writer_url(self) -> str:
        """PostgreSQL as the writer: what the stream uses."""
        return _readable("DATABASE_URL", self.database_url) or self._embedded_url("wardstream_writer")

    @property
    def owner_url(self) -> str:
        """PostgreSQL as the owner of the schemas: migrations, verify, rebuild."""
        chosen = _readable("WARDSTREAM_OWNER_DATABASE_URL", self.owner_database_url)
        return chosen or self._embedded_url("wardstream_owner")

    @property
    def bi_url(self) -> str:
        """PostgreSQL as the read-only BI user, who sees schema mart alone."""
        return self._embedded_url("wardstream_bi")


class Hospital(BaseSettings):
    """The default facility's zone, and what holds in all of them; others are in schemas/sources.yaml."""

    facility_timezone: Annotated[str, AfterValidator(iana_zone)] = Field(
        default="America/New_York", description="Of the default facility; used for days and hours only."
    )
    same_day_stay_days: int = Field(default=0, ge=0, le=1, description="Length of a stay that ends the day it began.")

    @property
    def zone(self) -> ZoneInfo:
        """The default facility's time zone."""
        return ZoneInfo(self.facility_timezone)


class Stream(BaseSettings):
    """The stream, and the port on which it shows its metrics."""

    stream_split: bool = Field(
        default=True, description="One streaming query a topic: what waits in one holds up no other. Else one for all."
    )
    stream_max_offsets: int = Field(default=50_000, ge=1, description="Most events in one batch; bounds memory.")
    stream_driver_memory: Size = "1g"
    spark_master: str = Field(default="local[2]", description="Where the stream's tasks run.")
    stream_takeover_seconds: float = Field(default=15.0, gt=0, description="A heartbeat older than this is dead.")
    spark_jars: str = Field(default="", description="Jars for Spark, comma-separated; the embedded stack fills it in.")
    stream_stall_seconds: float = Field(
        default=300.0, gt=0, description="Spark has events and hands over none for so long: the stream starts anew."
    )
    metrics_port: int = Field(default=18083, ge=0, le=65535, description="The stream's, for Prometheus; 0: none.")


class Airflow(BaseSettings):
    """Airflow, and what its DAGs do."""

    airflow_port: int = 18080
    airflow: bool = Field(default=True, description="Whether the embedded stack has Airflow.")
    daily_schedule: str = Field(default="*/15 * * * *", description="When stale days are built; cron, UTC.")
    daily_driver_memory: Size = Field(default="1g", description="Heap of the Spark job that builds them.")
    daily_statement_seconds: int = Field(default=600, ge=1, description="Longest statement of that job in PostgreSQL.")

    @property
    def airflow_url(self) -> str:
        """The UI, and the base of the REST API."""
        return f"http://127.0.0.1:{self.airflow_port}"


class Alerts(BaseSettings):
    """Alerts; nothing is sent where neither a webhook nor an address is set."""

    alert_webhook_url: str = Field(default="", description="Gets each alert as JSON by POST.")
    alert_email_to: str = Field(default="", description="Addresses, comma-separated.")
    alert_email_from: str = "wardstream@localhost"
    smtp_host: str = "localhost"
    smtp_port: int = 25
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = False
    alert_quarantine_rate: float = Field(default=0.01, gt=0, le=1, description="Share of an hour's messages.")
    alert_quarantine_hours: float = Field(default=24.0, gt=0, description="A message may wait in quarantine so long.")
    alert_silent_hours: float = Field(default=6.0, gt=0, description="No sender is called silent before so long.")


class Settings(Alerts, Airflow, Stream, Hospital, Database, Registry, Kafka, EmbeddedStack, Folders):
    """Settings, one environment variable each (prefix WARDSTREAM_ except for the four servers' usual names)."""

    model_config = SettingsConfigDict(
        env_prefix="WARDSTREAM_",
        env_file=PROJECT_ROOT / ".env" if IN_A_CLONE else ".env",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # it may be a password
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First what is given, then the environment, then `.env`, then the last start."""
        file = getattr(dotenv_settings, "env_file", None)
        of_file = PortsOfParts(settings_cls, dotenv_values(file) if file else {})
        of_environment = PortsOfParts(settings_cls, os.environ)
        last = LastStart(settings_cls)
        return init_settings, of_environment, env_settings, of_file, dotenv_settings, last


@functools.lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
