"""Judging what is plainly good inside Spark's JVM, without Python: the fast way beside `decode.Judge`.

A message that is decoded, hashed, validated and identified here has exactly the event, hash and authority that `Judge`
gives. Whatever is not plainly good keeps its bytes and goes to `Judge`, which alone says why something is refused. So
nothing here needs a reason, and every expression may say "not plainly good" to what is rare or hard to say in
Spark: texts with a quote, a backslash or a control character, ids with white space around them, doubles that Java and
Python write differently, schemas with nested values, ids of schemas that were registered after the start.

    the id a message carries -> one group of ids that mean the same -> from_avro by that writer's schema
    strict       re-encoding gives the same bytes: no trailing bytes, no odd numbers; all text together is valid UTF-8
    hash         the canonical JSON (`contracts.canonical`), put together from the values, in its order of names
    rules        those of `contracts.validate`, each as one condition
    identity     the authority by the file of sources; ids as they are, since none that would change is plainly good

No expression here may raise, whatever the bytes are: an event of one sender would stop everybody's. `verify` never
comes here, so that what this module stored is checked by the other judge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, attrgetter
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro, to_avro
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType

from wardstream.contracts.avro_tree import UnsafeSchemaError, expand
from wardstream.contracts.model import Contract, Field, short_type
from wardstream.contracts.sources import WHITE_SPACE, Sources
from wardstream.contracts.validate import CLOCK_AHEAD_US, Validator
from wardstream.registry.client import SchemaSource, WriterSchema
from wardstream.stream.decode import MESSAGE, event_column, event_type

LONGEST = 8 * 1024 * 1024
"""Bytes that Avro in the JVM reserves at most for what a message claims; no broker here takes so large a message."""
AVRO_LIMITS = " ".join(
    f"-Dorg.apache.avro.limits.{what}.maxLength={LONGEST}" for what in ("string", "bytes", "collectionItems")
)

HEADER = 5
# What JSON would have to escape. Java's regular expressions and Python's mean the same by it.
_ESCAPED = r'["\\\x00-\x1f]'
_SPACE = "".join(f"\\u{ord(one):04x}" for one in WHITE_SPACE)
_SPACE_AROUND = f'"[{_SPACE}]|[{_SPACE}]"'  # of texts that are set in quotes, none of which has one itself
# Between these Java's Double.toString and Python's repr write the same digits, without an exponent.
_LEAST, _BELOW = 1e-3, 1e7
_LONGS = (-(2**63), 2**63 - 1)
_WIRE = {
    "string": "string",
    "int": "int",
    "date": "int",
    "long": "long",
    "timestamp-micros": "long",
    "double": "double",
    "boolean": "boolean",
}
"""The types that are judged here, and how each is written."""
_ZERO = {"string": "", "int": 0, "long": 0, "double": 0.0, "boolean": False}
_SPARK = {"long": "bigint"}


class NotNative(Exception):
    """A version of a topic that only `Judge` can judge."""


@dataclass(frozen=True)
class _Field:
    name: str
    avro: Any
    """As on the wire, without logical type and null."""
    nullable: bool
    type: str
    default: Any


@dataclass(frozen=True)
class Version:
    """Ids of one topic that mean the same, and how their bodies are read."""

    contract: Contract
    ids: tuple[int, ...]
    fingerprint: int
    fields: tuple[_Field, ...]

    @property
    def avro(self) -> str:
        """The writer's schema, with names that no letter case or reserved word can touch: f0, f1 and so on."""
        fields = [
            {"name": f"f{number}", "type": ["null", one.avro] if one.nullable else one.avro}
            for number, one in enumerate(self.fields)
        ]
        return json.dumps({"type": "record", "name": "event", "fields": fields})


def native_versions(contracts: Mapping[str, Contract], source: SchemaSource) -> list[Version]:
    """The deployed versions that the source knows now and that can be judged natively."""
    found = []
    for topic, contract in contracts.items():
        same: dict[int, list[int]] = {}
        written: dict[int, WriterSchema] = {}
        for schema_id, schema in source.known(topic).items():
            if schema.is_deployed(contract):
                same.setdefault(schema.fingerprint, []).append(schema_id)
                written[schema.fingerprint] = schema
        for meaning, ids in same.items():
            try:
                version = Version(contract, tuple(sorted(ids)), meaning, _fields(written[meaning].schema))
                _check(version)
            except NotNative:
                continue
            found.append(version)
    return found


def _fields(schema: Any) -> tuple[_Field, ...]:
    try:
        tree = expand(schema)
    except (UnsafeSchemaError, RecursionError):
        raise NotNative from None
    fields = []
    for field in tree["fields"]:
        kind, nullable = field["type"], False
        if isinstance(kind, list):
            if len(kind) != 2 or kind[0]["type"] != "null":
                raise NotNative
            kind, nullable = kind[1], True
        if _WIRE.get(short_type(kind)) != kind["type"]:
            raise NotNative
        fields.append(_Field(field["name"], kind["type"], nullable, short_type(kind), field.get("default")))
    return tuple(fields)


def _check(version: Version) -> None:
    """NotNative where a rule or a type is one that no condition below says exactly."""
    contract = version.contract
    there = {one.name: one for one in version.fields}
    if any(one.name in there and one.type != there[one.name].type for one in contract.fields):
        raise NotNative
    if any(one.type not in _WIRE for one in contract.fields):
        raise NotNative
    if any(one.default is not None and one.type == "double" for one in version.fields):
        raise NotNative  # equal numbers can be different texts
    for name in ("recorded_at", "source", "kind"):
        if name not in there:
            raise NotNative
    for name, allowed in contract.allowed.items():
        kind = {"string": str, "int": int, "long": int}.get(there[name].type) if name in there else str
        if kind is None or any(type(value) is not kind for value in allowed):
            raise NotNative
    for name, *bounds in Validator(contract).ranges:
        if name in there and there[name].type == "double" and any(float(bound) != bound for bound in bounds):
            raise NotNative


class NativeJudge:
    """The Spark columns for the topics of a stream, each built when it is first needed and used for every batch."""

    def __init__(self, contracts: Mapping[str, Contract], source: SchemaSource) -> None:
        self._contracts = contracts
        versions = native_versions(contracts, source)
        self._plain = [_Plain(number, version) for number, version in enumerate(versions)]
        self._columns: dict[frozenset[str], list[list[Column]]] = {}

    def __call__(self, messages: DataFrame, topics: Iterable[str]) -> DataFrame:
        """Messages of these topics with the columns of `judged_schema`, but for the events of other topics.

        Where content_hash is null, `Judge` is to be asked; else key and value are null.
        """
        # Planning a batch costs by the number of expressions, so that it has none of topics without a message.
        named = frozenset(topics)
        if named not in self._columns:
            self._columns[named] = self._steps([one for one in self._plain if one.topic in named], named)
        for columns in self._columns[named]:
            # Spark puts two projections into one only where that evaluates nothing twice.
            messages = messages.select(*columns)
        return messages

    def _steps(self, plain: Sequence[_Plain], topics: frozenset[str]) -> list[list[Column]]:
        """Columns of projections, each of which uses those of the one before."""

        def of_version(said: Callable[[_Plain], Column], kind: str | DataType = "string") -> Column:
            """What the version of a message says, null where it has none."""
            found = F.lit(None).cast(kind)
            for one in plain:
                found = F.when(one.mine, said(one)).otherwise(found)
            return found

        kept = [F.col(name) for name in MESSAGE.names]
        head = [*kept, *self._head(plain), F.expr(f"substring(value, {HEADER + 1})").alias("body")]
        known = [*kept, F.col("which"), F.col("schema_id"), F.col("body")]
        decoded = [*known, *(one.decoded.alias(one.name) for one in plain)]
        known += [F.col(one.name) for one in plain]
        texts = [
            *known,
            of_version(lambda one: one.canonical).alias("json"),
            of_version(lambda one: one.texts).alias("texts"),
            of_version(lambda one: one.quoted_ids).alias("ids"),
            of_version(lambda one: one.source).alias("source"),
        ]
        known += [F.col(name) for name in ("json", "source")]
        same = of_version(lambda one: one.holds(), "boolean") & self._as_in_python()
        good = [*known, F.coalesce(same, F.lit(False)).alias("good")]

        def of_good(column: Column) -> Column:
            return F.when(F.col("good"), column)

        result = [F.col(name) for name in ("topic", "partition", "offset", "broker_time")]
        result += [F.when(~F.col("good"), F.col(name)).alias(name) for name in ("key", "value")]
        result += [
            of_good(F.col("schema_id")).alias("schema_id"),
            of_good(of_version(lambda one: F.lit(one.version.fingerprint), "bigint")).alias("fingerprint"),
            of_good(F.unhex(F.sha2("json", 256))).alias("content_hash"),
            of_good(self._authority()).alias("authority"),
            F.lit(None).cast("string").alias("ids_as_sent"),
            F.lit(None).cast("string").alias("reason"),
        ]
        for topic in sorted(topics):
            event = F.lit(None).cast(from_arrow_type(event_type(self._contracts[topic])))
            for one in plain:
                if one.topic == topic:
                    event = F.when(one.mine & F.col("good"), one.event()).otherwise(event)
            result.append(event.alias(event_column(topic)))
        return [head, decoded, texts, good, result]

    def _head(self, plain: Iterable[_Plain]) -> Iterator[Column]:
        """Which version a message is of by its first bytes, and its schema id; null where it is of none."""
        first = F.substring("value", 1, HEADER)
        which = schema_id = F.lit(None).cast("int")
        for one in plain:
            for number in one.version.ids:
                mine = (F.col("topic") == one.topic) & (first == F.lit(bytes(1) + number.to_bytes(4, "big")))
                which, schema_id = F.when(mine, one.number).otherwise(which), F.when(mine, number).otherwise(schema_id)
        return iter((which.alias("which"), schema_id.alias("schema_id")))

    def _as_in_python(self) -> Column:
        """The JSON is the canonical one, and no id would be compared in another form than it was sent in."""
        ids, sources = F.col("ids"), self._sources
        held = F.is_valid_utf8("json") & ~F.col("texts").rlike(_ESCAPED)
        held &= ~ids.contains('" ') & ~ids.contains(' "')
        held &= (F.octet_length(ids) == F.length(ids)) | ~ids.rlike(_SPACE_AROUND)
        ignoring = [name for name, said in sources.authorities.items() if said.ignore_case]
        return held & (~self._authority().isin(ignoring) | ~ids.rlike("[A-Z]")) if ignoring else held

    def _authority(self) -> Column:
        """Whose ids they are: those of a source that is listed belong to whom the file says, else to itself."""
        listed = {name: self._sources.authority_of(name) for name in self._sources.sources}
        if not listed:
            return F.col("source")
        pairs = F.create_map(*(F.lit(text) for pair in listed.items() for text in pair))
        return F.coalesce(F.try_element_at(pairs, F.col("source")), F.col("source"))

    @property
    def _sources(self) -> Sources:
        return next(iter(self._contracts.values())).sources  # one file for all topics


class _Plain:
    """What is said of the messages of one version, whose event is in a column of its own."""

    def __init__(self, number: int, version: Version) -> None:
        self.number = number
        self.version = version
        self.topic = version.contract.topic
        self.name = f"event{number}"
        self.mine = F.col("which") == number
        self.decoded = F.when(self.mine, from_avro("body", version.avro, {"mode": "PERMISSIVE"}))
        self._contract = version.contract
        self._values = {one.name: F.col(self.name).getField(f"f{place}") for place, one in enumerate(version.fields)}
        self._types = {one.name: one.type for one in version.fields}
        self.source = self._values["source"]

    def holds(self) -> Column:
        """Whether the bytes are the one encoding of an event that breaks no rule; null is as good as no."""
        return reduce(and_, [*self._strict(), *self._rules()])

    @property
    def texts(self) -> Column:
        """All texts together."""
        return F.concat_ws("", *(self._values[name] for name, kind in self._types.items() if kind == "string"))

    @property
    def quoted_ids(self) -> Column:
        """The ids and the source, each in quotes."""
        names = [name for name in (*self._contract.identifiers, "source") if name in self._values]
        return F.concat(F.lit('"'), F.concat_ws('"', *(self._values[name] for name in names)), F.lit('"'))

    def event(self) -> Column:
        """The struct of the contract's latest fields."""
        return F.struct(*(self._as_stored(one).alias(one.name) for one in self._contract.fields))

    def _as_stored(self, field: Field) -> Column:
        value = self._values.get(field.name)
        if value is None:
            return F.lit(None).cast(from_arrow_type(field.arrow_type))
        # Both only change the type: no zone, no other calendar, no overflow.
        only_the_type = {"timestamp-micros": F.timestamp_micros, "date": F.date_from_unix_date}
        return only_the_type[field.type](value) if field.type in only_the_type else value

    @property
    def canonical(self) -> Column:
        """The JSON of `contracts.canonical`, for texts that need no escape."""
        parts = []
        for one in sorted(self.version.fields, key=attrgetter("name")):
            value = self._values[one.name]
            if one.default is not None:
                value = F.nullif(value, F.lit(one.default))
            name = json.dumps(one.name, ensure_ascii=False)
            # null where the value is null, and then left out by concat_ws
            if one.type == "string":
                parts.append(F.concat(F.lit(f'{name}:"'), value, F.lit('"')))
            else:
                parts.append(F.concat(F.lit(f"{name}:"), value.cast("string")))
        return F.concat(F.lit("{"), F.concat_ws(",", *parts), F.lit("}"))

    def _strict(self) -> Iterator[Column]:
        """The bytes are the one encoding of these values, and the JSON is the canonical one."""
        required = [one for one in self.version.fields if not one.nullable]
        for one in required:
            yield self._values[one.name].isNotNull()
        # Not null even where reading has failed: writing would raise.
        fields = []
        for place, one in enumerate(self.version.fields):
            value = self._values[one.name]
            if not one.nullable:
                value = F.coalesce(value, F.lit(_ZERO[one.avro]).cast(_SPARK.get(one.avro, one.avro)))
            fields.append(value.alias(f"f{place}"))
        yield to_avro(F.struct(*fields), self.version.avro) == F.col("body")
        for one in self.version.fields:
            if one.type == "double":
                value = self._values[one.name]
                size = F.abs(value)
                usual = (size >= _LEAST) & (size < _BELOW)
                # 0.0 and -0.0 are equal, and different facts
                yield value.isNull() | usual | (value.cast("string") == "0.0")

    def _rules(self) -> Iterator[Column]:
        rules = Validator(self._contract)
        values = self._values
        for name in rules.required:
            yield values[name].isNotNull() if name in values else F.lit(False)
        for name, least, most, _ in rules.lengths:
            if name in values:
                length = F.length(values[name])
                yield values[name].isNull() | ((length >= least) & (length <= (2**31 - 1 if most is None else most)))
        for name, allowed in rules.allowed:
            if name in values:
                yield values[name].isNull() | values[name].isin(sorted(allowed))
        for kind, names in rules.required_for.items():
            there = [values[name].isNotNull() if name in values else F.lit(False) for name in names]
            yield reduce(and_, there, values["kind"].isNull() | F.lit(True)) | (values["kind"] != kind)
        for name, low, high in rules.ranges:
            if name in values:
                yield values[name].isNull() | self._within(name, low, high)
        historical = [name for name, said in self._contract.sources.sources.items() if said.historical]
        latest = F.try_add(F.unix_micros("broker_time"), F.lit(CLOCK_AHEAD_US))
        yield (values["recorded_at"] <= latest) | values["source"].isin(historical)

    def _within(self, name: str, low: float, high: float) -> Column:
        value = self._values[name]
        if self._types[name] == "double":
            return (value >= F.lit(float(low))) & (value <= F.lit(float(high)))
        least = _LONGS[0] if low < _LONGS[0] else min(math.ceil(low), _LONGS[1] + 1)
        most = _LONGS[1] if high > _LONGS[1] else max(math.floor(high), _LONGS[0] - 1)
        return value.between(least, most) if least <= _LONGS[1] and most >= _LONGS[0] else F.lit(False)
