"""The schema registry: registering what is checked in, and looking up what a message was written with.

The client is confluent-kafka's; Apicurio's ccompat v7 serves it, too. Two failures are kept apart with care: the
registry says that an id does not exist (a fault of the message: `BadRecord`), and the registry does not answer
(`RegistryUnavailableError`: wait, and never blame the message).
"""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2 as httpx
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord
from wardstream.contracts.model import Contract, Schema, load_contracts
from wardstream.settings import Settings

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it has a line for each request

T = TypeVar("T")

COMPATIBILITY = "FULL_TRANSITIVE"
_ATTEMPT_SECONDS = 5.0
_UNKNOWN_SECONDS = 2.0
"""How long a 404 is remembered: one bad id in a flood must not cost a request a message, yet an id registered a
moment later must be found."""


class RegistryUnavailableError(RuntimeError):
    """The registry did not answer, or answered that it cannot; says nothing about any message."""


class RegistryLoginError(RegistryUnavailableError):
    """The registry does not let us in: no use in trying again at once, and still nobody's message is to blame."""


class RegistryRefusedError(RuntimeError):
    """The registry understood and said no, such as to an incompatible schema; the message says what to do."""


class _NotFoundError(Exception):
    """HTTP 404."""


@dataclass(frozen=True)
class Registered:
    """One schema of ours in the registry."""

    subject: str
    version: int
    """The number of its file (v1.avsc is 1)."""
    schema_id: int
    new: bool
    """Whether this call registered it."""


@dataclass(frozen=True)
class Registration:
    """What `register_all` found and did."""

    schemas: tuple[Registered, ...]
    levels_set: tuple[str, ...]
    """Subjects whose compatibility was set now: they had none of their own, or it was to be mended."""
    overridden: dict[str, str]
    """Subjects with another compatibility of their own, and which; it was left so."""

    @property
    def changed(self) -> bool:
        """Whether anything had to be set or registered."""
        return bool(self.levels_set) or any(schema.new for schema in self.schemas)

    @property
    def findings(self) -> list[str]:
        """What somebody should look at, in words."""
        return [
            f"subject {subject}: compatibility is {level} and not {COMPATIBILITY}, and was left so: a schema that"
            " breaks readers can get in. `wardstream contracts register --mend` sets it"
            for subject, level in self.overridden.items()
        ]


@dataclass(frozen=True)
class WriterSchema:
    """The schema that a message was written with."""

    schema: Schema
    fingerprint: int
    """Of its meaning (see `avro_tree.fingerprint`), a signed 64-bit integer."""

    def is_deployed(self, contract: Contract) -> bool:
        """Whether a version of the contract means the same."""
        return self.fingerprint in {fingerprint(schema) for schema in contract.versions.values()}


def register_all(settings: Settings, patience_seconds: float = 20.0, mend: bool = False) -> Registration:
    """Register every version of every contract in order, its subject under FULL_TRANSITIVE; repeatable.

    The registry may serve other teams as well: its global compatibility is neither read nor set. A subject that has
    another compatibility of its own keeps it unless `mend`. RegistryUnavailableError after `patience_seconds` without
    an answer; RegistryRefusedError for a schema that the registry finds incompatible with what it has.
    """
    client = _Client(Access.of(settings), patience_seconds)
    schemas: list[Registered] = []
    levels_set: list[str] = []
    overridden: dict[str, str] = {}
    for contract in load_contracts(settings.schemas_dir).values():
        # Before the first version: what got in under NONE stays in.
        level = _own_level(client, contract.subject)
        if level is None or (mend and level != COMPATIBILITY):
            client.set_level(contract.subject)
            levels_set.append(contract.subject)
        elif level != COMPATIBILITY:
            overridden[contract.subject] = level
        schemas += [
            _register(client, contract.subject, version, schema) for version, schema in contract.versions.items()
        ]
    return Registration(tuple(schemas), tuple(levels_set), overridden)


@dataclass(frozen=True)
class Subject:
    """A subject of ours as the registry has it now."""

    name: str
    level: str | None
    """Its own compatibility; None where it has none."""
    missing: tuple[int, ...]
    """Versions of the contract that are not, or no longer, registered."""


def subjects_now(settings: Settings, patience_seconds: float) -> list[Subject]:
    """What the registry has of our subjects; changes nothing. RegistryUnavailableError after that patience."""
    client = _Client(Access.of(settings), patience_seconds)
    return [
        Subject(
            contract.subject,
            _own_level(client, contract.subject),
            tuple(v for v, schema in contract.versions.items() if not client.has(contract.subject, schema)),
        )
        for contract in load_contracts(settings.schemas_dir).values()
    ]


def _own_level(client: _Client, subject: str) -> str | None:
    """The compatibility that a subject has of its own; None where it inherits the global one.

    Where it has none, Confluent's registry says 404 and Apicurio NONE: then what is in force is the global one.
    """
    try:
        own = client.level(subject)
        return None if own == "NONE" and client.level(subject, inherited=True) != own else own
    except _NotFoundError:
        return None


def schema_id(settings: Settings, subject: str, schema: Schema, patience_seconds: float = 20.0) -> int:
    """The registry's id of a registered schema. RegistryRefusedError, with what to type, where it is not there."""
    try:
        return _Client(Access.of(settings), patience_seconds).find(subject, schema)
    except _NotFoundError:
        raise RegistryRefusedError(
            f"{subject}: this schema is not in the registry; run `wardstream contracts register`"
        ) from None


def _register(client: _Client, subject: str, version: int, schema: Schema) -> Registered:
    try:
        return Registered(subject, version, client.find(subject, schema), new=False)
    except _NotFoundError:
        pass
    try:
        return Registered(subject, version, client.register(subject, schema), new=True)
    except RegistryRefusedError as error:
        raise RegistryRefusedError(
            f"{subject}: v{version}.avsc was refused as incompatible with the versions in the registry ({error}); "
            "run `wardstream contracts check`, and for a change that must break make a new topic"
        ) from error


@dataclass(frozen=True)
class Access:
    """Where the registry is and how to log in; can be pickled, and shows no password."""

    url: str
    login: tuple[str, SecretStr] | None
    ca_file: str

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """As the settings say."""
        return cls(settings.registry, settings.registry_login, settings.registry_ca_file)


@lru_cache(maxsize=8)
def open_client(access: Access, timeout_seconds: float) -> SchemaRegistryClient:
    """confluent-kafka's client, one a process: reading the trusted certificates takes 30 ms.

    It tries once, so that who calls it has the patience. OSError or ValueError where the settings cannot be used.
    """
    options: dict[str, Any] = {"url": access.url, "max.retries": 0, "timeout": timeout_seconds}
    if not access.url.startswith("https:"):
        options["ssl.ca.location"] = False  # no TLS, and no certificates to read
    elif trusted := access.ca_file or _systems_certificates():
        options["ssl.ca.location"] = trusted
    if access.login is not None:
        user, password = access.login
        options["basic.auth.user.info"] = f"{user}:{password.get_secret_value()}"
    return SchemaRegistryClient(options)


def _systems_certificates() -> str | None:
    """What this system trusts, a hospital's own authority perhaps among it; None: what Python's packages bring."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


class SchemaSource:
    """Schemas by id, each asked for once. What it knows travels with it: Spark unpickles it anew for every task."""

    def __init__(self, settings: Settings, patience_seconds: float = 20.0) -> None:
        self._access = Access.of(settings)
        self._patience = patience_seconds
        self._known: dict[tuple[int, str], WriterSchema] = {}
        self._unknown: dict[tuple[int, str], float] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_client"} | {"_unknown": {}}

    @cached_property
    def _client(self) -> _Client:
        return _Client(self._access, self._patience)

    def learn(self, topics: Iterable[str], patience_seconds: float) -> None:
        """Every version that the registry has of these topics' schemas, so that nobody has to ask for them later.

        RegistryUnavailableError after `patience_seconds` without an answer.
        """
        client = _Client(self._access, patience_seconds)
        for topic in topics:
            with contextlib.suppress(_NotFoundError):  # not registered yet, or taken away this moment
                for version in client.versions(f"{topic}-value"):
                    schema_id, found = client.version(f"{topic}-value", version)
                    if found is not None:
                        self._known[schema_id, topic] = found

    def teach(self, schema_id: int, topic: str, schema: WriterSchema) -> None:
        """From now on the id means this, whatever the registry says."""
        self._known[schema_id, topic] = schema

    def known(self, topic: str) -> dict[int, WriterSchema]:
        """The ids of a topic that are known without asking, and what they mean."""
        return {schema_id: schema for (schema_id, its_topic), schema in self._known.items() if its_topic == topic}

    def lookup(self, schema_id: int, topic: str) -> WriterSchema:
        """The schema behind an id, whether or not a deployed contract has that version.

        BadRecord `unknown_schema`: there is no such id, or it belongs to another topic's subject.
        RegistryUnavailableError: no answer within `patience_seconds`; ask again later.
        """
        key = (schema_id, topic)
        known = self._known.get(key)
        if known is not None:
            return known
        if schema_id < 0 or self._unknown.get(key, 0.0) > time.monotonic():
            raise _unknown(schema_id, topic)
        try:
            found = self._ask(schema_id, f"{topic}-value")
        except _NotFoundError:
            found = None
        if found is None:
            self._remember_unknown(key)
            raise _unknown(schema_id, topic)
        self._known[key] = found
        return found

    def _ask(self, schema_id: int, subject: str) -> WriterSchema | None:
        found = self._client.schema(schema_id)
        return found if subject in self._client.subjects(schema_id) else None

    def _remember_unknown(self, key: tuple[int, str]) -> None:
        now = time.monotonic()
        if len(self._unknown) > 10_000:  # a flood of different ids must not grow for ever
            self._unknown.clear()
        self._unknown[key] = now + _UNKNOWN_SECONDS


def _writer_schema(found: RegistrySchema | None) -> WriterSchema | None:
    if found is None or found.schema_str is None or (found.schema_type or "AVRO") != "AVRO":
        return None
    schema = json.loads(found.schema_str)
    return WriterSchema(schema, fingerprint(schema)) if isinstance(schema, dict) else None


def _unknown(schema_id: int, topic: str) -> BadRecord:
    return BadRecord("unknown_schema", f"id {schema_id} is not a schema of subject {topic}-value")


class _Client:
    """One registry; every call is tried again until the patience ends, unless the registry gave a clear answer."""

    def __init__(self, access: Access, patience_seconds: float) -> None:
        self._access = access
        self._patience = patience_seconds

    def level(self, subject: str, inherited: bool = False) -> str:
        """The subject's compatibility; _NotFoundError where it has none. `inherited`: that in force, whosever it is."""

        def ask(registry: SchemaRegistryClient) -> str:
            # Its get_compatibility does not take the parameter.
            asked = {"defaultToGlobal": "true" if inherited else "false"}
            return str(registry._rest_client.get(f"config/{_name(subject)}", asked)["compatibilityLevel"])

        return self._call("GET", f"/config/{_name(subject)}", ask)

    def set_level(self, subject: str) -> None:
        self._call("PUT", f"/config/{_name(subject)}", lambda r: r.set_compatibility(subject, COMPATIBILITY))

    def find(self, subject: str, schema: Schema) -> int:
        asked = RegistrySchema(json.dumps(schema), "AVRO")
        found = self._call("POST", f"/subjects/{_name(subject)}", lambda r: r.lookup_schema(subject, asked))
        return int(found.schema_id or 0)

    def has(self, subject: str, schema: Schema) -> bool:
        try:
            self.find(subject, schema)
        except _NotFoundError:
            return False
        return True

    def register(self, subject: str, schema: Schema) -> int:
        new = RegistrySchema(json.dumps(schema), "AVRO")
        path = f"/subjects/{_name(subject)}/versions"
        return int(self._call("POST", path, lambda r: r.register_schema(subject, new)))

    def versions(self, subject: str) -> list[int]:
        return self._call("GET", f"/subjects/{_name(subject)}/versions", lambda r: r.get_versions(subject))

    def version(self, subject: str, number: int) -> tuple[int, WriterSchema | None]:
        path = f"/subjects/{_name(subject)}/versions/{number}"
        found = self._call("GET", path, lambda r: r.get_version(subject, number))
        return int(found.schema_id or 0), _writer_schema(found.schema)

    def schema(self, schema_id: int) -> WriterSchema | None:
        return _writer_schema(self._call("GET", f"/schemas/ids/{schema_id}", lambda r: r.get_schema(schema_id)))

    def subjects(self, schema_id: int) -> set[str | None]:
        # One that was deleted softly is still what old messages were written with.
        path = f"/schemas/ids/{schema_id}/versions?deleted=true"
        uses = self._call("GET", path, lambda r: r.get_schema_versions(schema_id, deleted=True))
        return {use.subject for use in uses}

    def _call(self, method: str, path: str, ask: Callable[[SchemaRegistryClient], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        answer: T = retrying(self._once, f"{method} {path} at the schema registry ({self._access.url})", ask)
        return answer

    def _once(self, where: str, ask: Callable[[SchemaRegistryClient], T]) -> T:
        try:
            registry = open_client(self._access, min(_ATTEMPT_SECONDS, self._patience))
            registry.clear_caches()  # what an id means is asked of the registry of now, never of its client
            return ask(registry)
        except SchemaRegistryError as error:
            raise self._meaning(where, error) from None
        except httpx.HTTPError as error:
            raise RegistryUnavailableError(
                f"{where}: {_kind(error)}; is it running (`wardstream status`), and is SCHEMA_REGISTRY_URL right?"
            ) from None
        except OSError as error:
            raise RegistryLoginError(
                f"{where}: {type(error).__name__}; check the file of WARDSTREAM_REGISTRY_CA_FILE"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, httpx.InvalidURL) as error:
            raise RegistryUnavailableError(
                f"{where}: {type(error).__name__}; that was no registry's answer; is the URL right?"
            ) from None

    def _meaning(self, where: str, error: SchemaRegistryError) -> Exception:
        """What a status means: the text that came with it is a stranger's, and is not shown."""
        status = error.http_status_code
        if status in (401, 403):
            who = f"user {self._access.login[0]}" if self._access.login else "a request without a user"
            return RegistryLoginError(
                f"{where}: HTTP {status}, {who} is refused; check WARDSTREAM_REGISTRY_USER and"
                " WARDSTREAM_REGISTRY_PASSWORD"
            )
        # A proxy in front of a starting registry, or a wrong path in the URL, also says 404, which must quarantine
        # nothing: the registry's own verdict has an error_code of 404xx.
        if status == 404 and isinstance(error.error_code, int) and error.error_code // 100 == 404:
            return _NotFoundError(where)
        if status == 404:
            return RegistryUnavailableError(f"{where}: 404, but not from a registry; is the URL right?")
        if status in (409, 422):
            return RegistryRefusedError(f"HTTP {status}")
        return RegistryUnavailableError(f"{where}: HTTP {status}")


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, RegistryUnavailableError) and not isinstance(error, RegistryLoginError)


def _name(subject: str) -> str:
    return quote(subject, safe="")


def _kind(error: Exception) -> str:
    """The kind of trouble, the innermost: ConnectionRefusedError says more than ConnectError."""
    kind: BaseException = error
    while (inner := kind.__cause__ or kind.__context__) is not None:
        kind = inner
    said = getattr(kind, "verify_message", "")
    return f"{type(kind).__name__}{f' ({said})' if said else ''}"
