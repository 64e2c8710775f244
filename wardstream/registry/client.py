"""The schema registry: registering what is checked in, and looking up what a message was written with.

Speaks the Confluent API (Apicurio's ccompat v7 serves it too) over plain HTTP. Two failures are kept apart with care:
the registry says that an id does not exist (a fault of the message: `BadRecord`), and the registry does not answer
(`RegistryUnavailableError`: wait, and never blame the message).
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord
from wardstream.contracts.model import Schema, load_contracts
from wardstream.settings import Settings

COMPATIBILITY = "FULL_TRANSITIVE"
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}
_ATTEMPT_SECONDS = 5.0
_UNKNOWN_SECONDS = 2.0
"""How long a 404 is remembered: one bad id in a flood must not cost a request a message, yet an id registered a
moment later must be found."""


class RegistryUnavailableError(RuntimeError):
    """The registry did not answer, or answered that it cannot; says nothing about any message."""


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

    compatibility_before: str
    schemas: tuple[Registered, ...]

    @property
    def changed(self) -> bool:
        """Whether anything had to be set or registered."""
        return self.compatibility_before != COMPATIBILITY or any(schema.new for schema in self.schemas)


@dataclass(frozen=True)
class WriterSchema:
    """The schema that a message was written with."""

    schema: Schema
    fingerprint: int
    """Of its meaning (see `avro_tree.fingerprint`), a signed 64-bit integer."""


def register_all(settings: Settings, patience_seconds: float = 20.0) -> Registration:
    """Set compatibility FULL_TRANSITIVE, then register every version of every contract in order; repeatable.

    RegistryUnavailableError after `patience_seconds` without an answer; RegistryRefusedError for a schema that the
    registry finds incompatible with what it has.
    """
    client = _Client(settings.registry, patience_seconds)
    # Before the first subject: the registry's own default is NONE, and what got in under NONE stays in.
    before = str(client.get("/config").get("compatibilityLevel"))
    if before != COMPATIBILITY:
        client.call("PUT", "/config", {"compatibility": COMPATIBILITY})
    schemas = [
        _register(client, contract.subject, version, schema)
        for contract in load_contracts(settings.schemas_dir).values()
        for version, schema in contract.versions.items()
    ]
    return Registration(before, tuple(schemas))


def schema_id(registry_url: str, subject: str, schema: Schema, patience_seconds: float = 20.0) -> int:
    """The registry's id of a registered schema. RegistryRefusedError, with what to type, where it is not there."""
    found = _find(_Client(registry_url, patience_seconds), subject, schema)
    if found is None:
        raise RegistryRefusedError(
            f"{subject}: this schema is not in the registry; run `wardstream contracts register`"
        )
    return found


def _register(client: _Client, subject: str, version: int, schema: Schema) -> Registered:
    found = _find(client, subject, schema)
    if found is not None:
        return Registered(subject, version, found, new=False)
    try:
        answer = client.call("POST", f"/subjects/{quote(subject, safe='')}/versions", _body(schema))
    except RegistryRefusedError as error:
        raise RegistryRefusedError(
            f"{subject}: v{version}.avsc was refused as incompatible with the versions in the registry ({error}); "
            "run `wardstream contracts check`, and for a change that must break make a new topic"
        ) from error
    return Registered(subject, version, int(answer["id"]), new=True)


def _find(client: _Client, subject: str, schema: Schema) -> int | None:
    try:
        return int(client.call("POST", f"/subjects/{quote(subject, safe='')}", _body(schema))["id"])
    except _NotFoundError:
        return None


def _body(schema: Schema) -> dict[str, str]:
    return {"schema": json.dumps(schema), "schemaType": "AVRO"}


@dataclass
class SchemaSource:
    """Schemas by id, each asked for once. What it knows travels with it: Spark unpickles it anew for every task."""

    registry_url: str
    patience_seconds: float = 20.0
    _known: dict[tuple[int, str], WriterSchema] = field(default_factory=dict, init=False, repr=False, compare=False)
    _unknown: dict[tuple[int, str], float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_unknown": {}}

    def learn(self, topics: Iterable[str], patience_seconds: float) -> None:
        """Every version that the registry has of these topics' schemas, so that nobody has to ask for them later.

        RegistryUnavailableError after `patience_seconds` without an answer.
        """
        client = _Client(self.registry_url, patience_seconds)
        for topic in topics:
            versions = f"/subjects/{quote(f'{topic}-value', safe='')}/versions"
            with contextlib.suppress(_NotFoundError):  # not registered yet, or taken away this moment
                for version in client.get(versions):
                    answer = client.get(f"{versions}/{version}")
                    found = _writer_schema(answer)
                    if found is not None:
                        self._known[int(answer["id"]), topic] = found

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
        client = _Client(self.registry_url, self.patience_seconds)
        answer = client.get(f"/schemas/ids/{schema_id}")
        uses = client.get(f"/schemas/ids/{schema_id}/versions")
        return _writer_schema(answer) if subject in {use.get("subject") for use in uses} else None

    def _remember_unknown(self, key: tuple[int, str]) -> None:
        now = time.monotonic()
        if len(self._unknown) > 10_000:  # a flood of different ids must not grow for ever
            self._unknown.clear()
        self._unknown[key] = now + _UNKNOWN_SECONDS


def _writer_schema(answer: dict[str, Any]) -> WriterSchema | None:
    if answer.get("schemaType", "AVRO") != "AVRO":
        return None
    schema = json.loads(answer["schema"])
    return WriterSchema(schema, fingerprint(schema)) if isinstance(schema, dict) else None


def _unknown(schema_id: int, topic: str) -> BadRecord:
    return BadRecord("unknown_schema", f"id {schema_id} is not a schema of subject {topic}-value")


class _Client:
    """One registry; every call is tried again until the patience ends, unless the registry gave a clear answer."""

    def __init__(self, url: str, patience_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._patience = patience_seconds
        self._attempt_seconds = min(_ATTEMPT_SECONDS, patience_seconds)

    def get(self, path: str) -> Any:
        return self.call("GET", path, None)

    def call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        retrying: Callable[..., Any] = Retrying(
            retry=retry_if_exception_type(RegistryUnavailableError),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        return retrying(self._once, method, path, body)

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method, headers=_HEADERS)  # noqa: S310 - our setting
        where = f"{method} {path} at the schema registry ({self._url})"
        try:
            with urllib.request.urlopen(request, timeout=self._attempt_seconds) as answer:  # noqa: S310 - our setting
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    if _is_registry_answer(error):
                        raise _NotFoundError(path) from error
                    raise RegistryUnavailableError(
                        f"{where}: 404, but not from a registry; is the URL right?"
                    ) from error
                if error.code in (409, 422):
                    raise RegistryRefusedError(f"HTTP {error.code}") from error
            raise RegistryUnavailableError(f"{where}: HTTP {error.code}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise RegistryUnavailableError(
                f"{where}: {_kind(error)}; is it running (`wardstream status`), and is SCHEMA_REGISTRY_URL right?"
            ) from error


def _kind(error: Exception) -> str:
    """The kind of trouble; where urllib wraps it, what it wraps: ConnectionRefusedError says more than URLError."""
    inner = getattr(error, "reason", None)
    return type(inner if isinstance(inner, Exception) else error).__name__


def _is_registry_answer(error: urllib.error.HTTPError) -> bool:
    """Whether a 404 is the registry's own verdict: it comes as JSON with an error_code of 404xx.

    A proxy in front of a starting registry, or a wrong path in the URL, also says 404, which must quarantine nothing.
    """
    try:
        return int(json.load(error)["error_code"]) // 100 == 404
    except (OSError, HTTPException, ValueError, TypeError, KeyError):
        return False
