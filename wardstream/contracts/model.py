"""The contracts as Python objects: what each topic carries, read from schemas/<topic>/ and nothing else.

A contract is the pair of value/v1.avsc, v2.avsc … (the wire: names, types, order) and contract.yaml in the Open
Data Contract Standard v3.1 (the meaning: key, required, allowed values, ranges, retention). Here both are read
into one frozen `Contract`. What every event begins with stands once, in schemas/envelope.yaml, and is taken in by
`- $ref: ../envelope.yaml` among the properties. Whether the two agree is `wardstream.contracts.check`'s business, and
reading a message by them that of `codec` and `validate`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wardstream.contracts.sources import Sources, SourcesError, load_sources
from wardstream.contracts.yaml_text import load_yaml

if TYPE_CHECKING:
    import pyarrow as pa

Schema = dict[str, Any]
"""A parsed .avsc: the JSON object as it stands in the file."""

_DAY_MS = 86_400_000
_VERSION_FILE = re.compile(r"v([1-9][0-9]*)\.avsc")

# One line a type that a contract may use: short name -> (Arrow, PostgreSQL) of the staging column. Record, array
# and map arrive in staging as their canonical JSON; the commit SQL of the topic takes it apart.
_STAGING = {
    "string": ("utf8", "text"),
    "int": ("int32", "integer"),
    "long": ("int64", "bigint"),
    "double": ("float64", "double precision"),
    "float": ("float32", "real"),
    "boolean": ("bool", "boolean"),
    "timestamp-micros": ("timestamp-micros", "timestamptz"),
    "date": ("date32", "date"),
    "bytes": ("binary", "bytea"),
    "record": ("utf8", "text"),
    "array": ("utf8", "text"),
    "map": ("utf8", "text"),
}
SUPPORTED_TYPES = frozenset(_STAGING)
JSON_TYPES = frozenset({"record", "array", "map"})
VERSION_ORDER = ("recorded_at", "source_seq", "event_id", "content_hash")
"""Of the versions of a thing, the greatest wins; ties cannot be, since the hash is part of it."""


IDENTIFIER = "identifier"
"""The tag of a property that is an id: it is compared as `contracts.sources` says."""


class ContractError(ValueError):
    """A file under schemas/ that cannot be read as a contract; the message names the file and what to change."""


def short_type(avro: Any) -> str:
    """One word for an Avro type without its null: the logical type where there is one, else the type's name."""
    if isinstance(avro, str):
        return avro
    if isinstance(avro, dict):
        inner = avro.get("logicalType") or avro.get("type")
        return short_type(inner) if isinstance(inner, dict) else str(inner)
    return "union"


def split_null(avro: Any) -> tuple[Any, bool]:
    """The type without null, and whether null was there: ["null", "string"] -> ("string", True)."""
    if not isinstance(avro, list):
        return avro, False
    rest = [branch for branch in avro if branch != "null"]
    return (rest[0] if len(rest) == 1 else rest), len(rest) < len(avro)


@dataclass(frozen=True)
class Field:
    """One top-level field of the latest version of a topic's schema."""

    name: str
    avro: Any
    """The Avro type without null, as in the .avsc."""
    nullable: bool

    @property
    def type(self) -> str:
        """The type in one word, such as `string`, `double`, `timestamp-micros` (UTC), `date` or `record`."""
        return short_type(self.avro)

    @property
    def is_json(self) -> bool:
        """Whether the staging column carries the value as canonical JSON text."""
        return self.type in JSON_TYPES

    @property
    def postgres_type(self) -> str:
        """PostgreSQL type of the staging column; ContractError for a type that staging does not know."""
        return self._staging[1]

    @property
    def arrow_type(self) -> pa.DataType:
        """Arrow type of the staging column; timestamps are microseconds in UTC."""
        import pyarrow as pa  # 0.2 s that a command which never looks at Arrow should not pay

        name = self._staging[0]
        return pa.timestamp("us", tz="UTC") if name == "timestamp-micros" else pa.type_for_alias(name)

    @property
    def _staging(self) -> tuple[str, str]:
        if self.type not in _STAGING:
            raise ContractError(
                f"field {self.name}: type {self.type} has no staging column; run `wardstream contracts check`"
            )
        return _STAGING[self.type]


@dataclass(frozen=True, eq=False)
class Contract:
    """Everything the code needs to know about one topic. The document itself stays reachable for what is rare."""

    topic: str
    versions: Mapping[int, Schema]
    document: Mapping[str, Any]
    """contract.yaml as parsed, with what it refers to in place."""
    sources: Sources = field(default_factory=Sources)
    """Who sends, and whose ids each sender uses; the same for every topic."""

    @property
    def subject(self) -> str:
        """The registry's name for the schemas of the topic's values."""
        return f"{self.topic}-value"

    @property
    def latest_version(self) -> int:
        """The greatest version number."""
        return max(self.versions)

    @property
    def latest(self) -> Schema:
        """The schema of the greatest version."""
        return self.versions[self.latest_version]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The top-level fields of the latest version in wire order."""
        pairs = ((field["name"], split_null(field["type"])) for field in self.latest["fields"])
        return tuple(Field(name, avro, nullable) for name, (avro, nullable) in pairs)

    @cached_property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The properties of contract.yaml by name."""
        return {prop["name"]: prop for prop in self.document["schema"][0]["properties"]}

    @cached_property
    def descriptions(self) -> Mapping[str, str]:
        """What each property means, on one line, by name."""
        return {name: " ".join(prop["description"].split()) for name, prop in self.properties.items()}

    @cached_property
    def key(self) -> str:
        """The business key: the one property with primaryKey."""
        keys = [name for name, prop in self.properties.items() if prop.get("primaryKey")]
        if len(keys) != 1:
            raise ContractError(
                f"{self.topic}/contract.yaml: exactly one property needs `primaryKey: true`, found {keys}"
            )
        return keys[0]

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the fields that every event must carry with a value."""
        return tuple(name for name, prop in self.properties.items() if prop.get("required"))

    @cached_property
    def allowed(self) -> Mapping[str, frozenset[Any]]:
        """Field name -> its allowed values, from the `invalidValues` rules."""
        return {
            name: frozenset(rule["arguments"]["validValues"])
            for name, prop in self.properties.items()
            for rule in prop.get("quality", [])
            if rule.get("metric") == "invalidValues"
        }

    @property
    def kinds(self) -> frozenset[str]:
        """The allowed kinds of this topic's events."""
        return self.allowed.get("kind", frozenset())

    @cached_property
    def required_for(self) -> Mapping[str, tuple[str, ...]]:
        """Kind -> names of the fields that this kind needs besides `required`."""
        return {kind: tuple(names) for kind, names in self.custom("requiredFor", {}).items()}

    @cached_property
    def identifiers(self) -> tuple[str, ...]:
        """Names of the fields that are ids: the business key, and every property with the tag `identifier`."""
        tagged = {name for name, prop in self.properties.items() if IDENTIFIER in prop.get("tags", [])}
        return tuple(one.name for one in self.fields if one.name in tagged | {self.key})

    @property
    def core_tables(self) -> tuple[str, ...]:
        """The tables of schema core that are computed from this topic's facts; sql/folds has a file for each."""
        return tuple(self.custom("coreTables", ()))

    @property
    def partitions(self) -> int | None:
        """Partitions of the topic where the contract wants a number of its own; else settings.topic_partitions."""
        value = self.custom("partitions", None)
        return None if value is None else int(value)

    @cached_property
    def retention_ms(self) -> int:
        """How long Kafka keeps the topic's events, in milliseconds."""
        for sla in self.document.get("slaProperties", []):
            if sla.get("property") == "retention" and sla.get("unit") == "d":
                return int(sla["value"] * _DAY_MS)
        raise ContractError(f"{self.topic}/contract.yaml: slaProperties needs `retention` with a value and `unit: d`")

    @cached_property
    def freshness_seconds(self) -> float:
        """How long an event may wait in Kafka before somebody is to look; far more than the ordinary latency."""
        for sla in self.document.get("slaProperties", []):
            if sla.get("property") == "freshness" and sla.get("unit") == "s":
                value = sla.get("value")
                if isinstance(value, int | float) and value > 0:
                    return float(value)
        raise ContractError(
            f"{self.topic}/contract.yaml: slaProperties needs `freshness` with a value above 0 and `unit: s`"
        )

    def custom(self, name: str, default: Any) -> Any:
        """The value of a top-level custom property, or the default."""
        for entry in self.document.get("customProperties", []):
            if entry.get("property") == name:
                return entry.get("value")
        return default


def load_contracts(schemas_dir: Path) -> dict[str, Contract]:
    """Topic -> contract for every folder with a contract.yaml, by name of the topic. ContractError names the file."""
    files = sorted(schemas_dir.glob("*/contract.yaml"))
    if not files:
        raise ContractError(
            f"no <topic>/contract.yaml under {schemas_dir}; set WARDSTREAM_SCHEMAS_DIR to the schemas folder"
        )
    sources = _sources(schemas_dir)
    return {file.parent.name: load_contract(file.parent, sources) for file in files}


def load_contract(folder: Path, sources: Sources | None = None) -> Contract:
    """The contract of one topic's folder, with the sources of the folder above it unless they are given.

    ContractError where a file is missing or is not what it should be.
    """
    sources = _sources(folder.parent) if sources is None else sources
    file = folder / "contract.yaml"
    try:
        document = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{file}: cannot be read as YAML: {error}") from error
    try:
        properties = document["schema"][0]["properties"] = _with_references(file, document["schema"][0]["properties"])
        names = [prop["name"] for prop in properties]
    except (KeyError, IndexError, TypeError) as error:
        raise ContractError(f"{file}: needs one entry in `schema` whose `properties` each have a `name`") from error
    if len(names) != len(set(names)):
        raise ContractError(f"{file}: a property is named twice")
    return Contract(topic=folder.name, versions=_load_versions(folder / "value"), document=document, sources=sources)


def _sources(schemas_dir: Path) -> Sources:
    try:
        return load_sources(schemas_dir)
    except SourcesError as error:
        raise ContractError(str(error)) from None


def _with_references(file: Path, properties: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The properties with each `$ref` replaced by what its file lists; a later one of the same name adds to that."""
    found: list[dict[str, Any]] = []
    listed: dict[str, int] = {}
    for prop in properties:
        if "$ref" in prop:
            for other in _referred(file, prop["$ref"]):
                listed[other["name"]] = len(found)
                found.append(other)
        elif (place := listed.pop(prop["name"], None)) is not None:
            found[place] = {**found[place], **prop}
        else:
            found.append(prop)
    return found


def _referred(file: Path, path: str) -> list[dict[str, Any]]:
    try:
        properties = load_yaml((file.parent / path).read_text(encoding="utf-8"))
        if isinstance(properties, list) and all("name" in prop for prop in properties):
            return properties
    except (OSError, yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise ContractError(f"{file}: `$ref: {path}` cannot be read: {error}") from error
    raise ContractError(f"{file}: `$ref: {path}` must be a list of properties, each with a `name`")


def _load_versions(folder: Path) -> dict[int, Schema]:
    versions: dict[int, Schema] = {}
    for file in folder.glob("*.avsc"):
        match = _VERSION_FILE.fullmatch(file.name)
        if not match:
            raise ContractError(f"{file}: schema files are named v1.avsc, v2.avsc and so on")
        try:
            schema = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ContractError(f"{file}: cannot be read as JSON: {error}") from error
        if not isinstance(schema, dict) or schema.get("type") != "record" or not schema.get("fields"):
            raise ContractError(f"{file}: the top level must be an Avro record with fields")
        versions[int(match[1])] = schema
    if not versions:
        raise ContractError(f"{folder}: no v1.avsc; a topic needs at least version 1 of its schema")
    return dict(sorted(versions.items()))
