"""Judging what is plainly good in columns, by Arrow: the fast way beside `decode.Judge`, in the driver.

A message that is decoded, hashed, validated and identified here has exactly the event, hash and authority that `Judge`
gives. Whatever is not plainly good goes to `Judge`, which alone says why something is refused. So nothing here needs a
reason, and what is rare or hard to say in columns is left to `Judge`: texts that JSON would have to escape, ids that
would be compared in another form, schemas with nested values, ids of schemas that were registered after the start.

    decode       by the writer's schema, in Rust; a piece with a message that cannot be read is halved
    strict       encoding the values again gives the same bytes: no trailing bytes, no odd numbers; texts are UTF-8
    hash         of the canonical JSON (`contracts.canonical`), put together from the columns
    rules        those of `contracts.validate`, each as one condition
    identity     the authority by the file of sources

`verify` never comes here, so that what was stored by this module is checked by the other judge.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from wardstream.contracts.avro_tree import UnsafeSchemaError, expand
from wardstream.contracts.model import Contract, short_type
from wardstream.contracts.sources import WHITE_SPACE
from wardstream.contracts.validate import CLOCK_AHEAD_US, Validator
from wardstream.registry.client import WriterSchema
from wardstream.stream.decode import MESSAGE, Judge, event_column, event_type, judge_batches, judged_schema

log = logging.getLogger(__name__)

HEADER = 5
LONGEST = 2**31 - 1
FEW = 100
"""Of fewer messages `Judge` alone is quicker: columns cost the same for one message and for a hundred."""
PIECE = 10_000
_ESCAPED = r'["\\\x00-\x1f]'  # what JSON has to escape
_LONGS = range(-(2**63), 2**63)
# The types that are judged here, and how each is written.
_WIRE = {
    **{name: name for name in ("string", "int", "long", "double", "boolean")},
    **{"date": "int", "timestamp-micros": "long"},
}
_ARROW = {"string": pa.string(), "int": pa.int32(), "long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}


class NotPlain(Exception):
    """A version of a topic that only `Judge` can judge."""


@dataclass(frozen=True)
class _Field:
    name: str
    wire: str
    """Its type as written, without logical type and null."""
    nullable: bool
    type: str
    default: Any


@dataclass
class FastJudge:
    """Judges tables of messages, in any thread. It learns ids from the judge's source once, when it is made."""

    judge: Judge
    few: int = FEW
    _versions: list[_Version] = field(init=False)

    def __post_init__(self) -> None:
        self._schema = judged_schema(self.judge.contracts)
        self._slowly = judge_batches(self.judge)
        self._versions = list(_versions(self.judge))

    def __call__(self, messages: pa.Table) -> pa.Table:
        """A table of `judged_schema`, in no order. RegistryUnavailableError; JudgeFailedError."""
        judged = [one for batch in messages.cast(MESSAGE).to_batches(PIECE) for one in self._pieces(batch)]
        return pa.Table.from_batches(judged, self._schema)

    def plainly_good(self, messages: pa.RecordBatch) -> list[tuple[pa.Array, pa.RecordBatch]]:
        """Places of messages that are plainly good, and what is said of them, by version."""
        return [found for version in self._versions for found in version(messages)]

    def _fast(self, messages: pa.RecordBatch) -> list[tuple[pa.Array, pa.RecordBatch]]:
        try:
            return self.plainly_good(messages)
        except Exception as error:  # noqa: BLE001 - no message may stop the stream; and the text can quote a value
            log.warning("judging in columns failed (%s): %s messages one by one", type(error).__name__, len(messages))
            return []

    def _pieces(self, messages: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        done = self._fast(messages) if messages.num_rows >= self.few else []
        for places, said in done:
            mine = messages if len(places) == messages.num_rows else messages.take(places)
            columns = {name: mine[name] for name in MESSAGE.names}
            columns |= {name: said[name] for name in said.schema.names}
            rows = len(places)
            yield pa.RecordBatch.from_arrays(
                [columns[f.name] if f.name in columns else pa.nulls(rows, f.type) for f in self._schema],
                schema=self._schema,
            )
        if sum(len(places) for places, _ in done) < messages.num_rows:
            good = pa.concat_arrays([places for places, _ in done]) if done else pa.array([], pa.int64())
            left = messages.filter(pc.invert(pc.is_in(_places(messages.num_rows), good)))
            yield from self._slowly([left])


def _places(count: int) -> pa.Array:
    return pa.arange(0, count)


def _versions(judge: Judge) -> Iterator[_Version]:
    for topic, contract in judge.contracts.items():
        same: dict[int, list[int]] = {}
        written: dict[int, WriterSchema] = {}
        for schema_id, schema in judge.source.known(topic).items():
            if schema.is_deployed(contract):
                same.setdefault(schema.fingerprint, []).append(schema_id)
                written[schema.fingerprint] = schema
        for meaning, ids in same.items():
            try:
                yield _Version(contract, ids, meaning, written[meaning].schema)
            except NotPlain:
                continue


class _Version:
    """The ids of one topic that mean the same, and the columns of their events."""

    def __init__(self, contract: Contract, ids: Iterable[int], meaning: int, schema: Any) -> None:
        self._contract = contract
        self._meaning = meaning
        self._heads = pa.array([bytes(1) + one.to_bytes(4, "big", signed=True) for one in ids], pa.binary())
        self._ids = pa.array(list(ids), pa.int32())
        self._fields = _fields(schema)
        self._types = {one.name: one.type for one in self._fields}
        self._rules = Validator(contract)
        self._check()
        # Named by place: the wire has no names, and so no name can be one that a decoder does not like.
        fields = [
            {"name": f"f{place}", "type": ["null", one.wire] if one.nullable else one.wire}
            for place, one in enumerate(self._fields)
        ]
        self._avro = json.dumps({"type": "record", "name": "event", "fields": fields})

    def _check(self) -> None:
        """NotPlain where a rule or a type is one that no condition below says exactly."""
        contract, types = self._contract, self._types
        if any(one.type not in _WIRE or types.get(one.name, one.type) != one.type for one in contract.fields):
            raise NotPlain
        if any(one.default is not None and one.type == "double" for one in self._fields):
            raise NotPlain  # equal numbers can be different texts
        if {"recorded_at", "source", "kind"} - types.keys():
            raise NotPlain
        for name, allowed in contract.allowed.items():
            kind = {"string": str, "int": int, "long": int}.get(types.get(name, "string"))
            if kind is None or any(type(value) is not kind for value in allowed):
                raise NotPlain
        for name, *bounds in self._rules.ranges:
            if types.get(name) == "double" and any(float(bound) != bound for bound in bounds):
                raise NotPlain

    def __call__(self, messages: pa.RecordBatch) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        """Places of the messages that are plainly good, and verdict and event of each."""
        heads = pc.binary_slice(messages["value"], 0, HEADER).cast(pa.binary())
        mine = pc.and_(pc.equal(messages["topic"], self._contract.topic), pc.is_in(heads, self._heads))
        places = _places(messages.num_rows).filter(pc.fill_null(mine, False))
        if not len(places):
            return
        bodies = pc.binary_slice(messages["value"].take(places), HEADER, LONGEST)  # without an end Arrow refuses
        readable, decoded = self._decoded(bodies.to_pylist())
        places = places.take(readable)
        good, json_ = self._good(decoded, bodies.take(readable), messages["broker_time"].take(places))
        kept = places.filter(good)
        if len(kept):
            if len(kept) < len(places):  # Arrow would copy all of it otherwise, too
                decoded, json_ = decoded.filter(good), json_.filter(good)
            ids = self._ids.take(pc.index_in(heads.take(kept), self._heads))
            yield kept, self._said(decoded, json_, ids)

    def _decoded(self, bodies: list[bytes]) -> tuple[pa.Array, pa.RecordBatch]:
        """Which bodies can be read, and their events."""
        names = [f"f{place}" for place, _ in enumerate(self._fields)]
        kinds = [_ARROW[one.wire] for one in self._fields]
        places: list[int] = []
        found = [pa.RecordBatch.from_arrays([pa.array([], kind) for kind in kinds], names)]
        todo = [range(len(bodies))]
        while todo:
            piece = todo.pop()
            try:
                read = pyruhvro.deserialize_array(bodies[piece.start : piece.stop], self._avro)
                arrays = [array.cast(kind) for array, kind in zip(read.columns, kinds, strict=True)]
                for array in arrays:
                    array.validate(full=True)  # that texts are UTF-8
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - what hostile bytes do to a decoder; a panic in Rust is no Exception
                half = len(piece) // 2
                todo += [piece[half:], piece[:half]] if half else []
            else:
                places += piece
                found.append(pa.RecordBatch.from_arrays(arrays, names))
        return pa.array(places, pa.int64()), pa.concat_batches(found)

    def _good(self, decoded: pa.RecordBatch, bodies: pa.Array, broker_time: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Whether each event is plainly good, and its canonical JSON."""
        values = self._values(decoded)
        json_ = self._canonical(values)
        conditions = [*self._strict(decoded, bodies, values), *self._same_ids(values)]
        conditions += self._rules_hold(values, broker_time)
        return reduce(pc.and_, (pc.fill_null(one, False) for one in conditions)), json_

    def _values(self, decoded: pa.RecordBatch) -> dict[str, pa.Array]:
        return {one.name: decoded[place] for place, one in enumerate(self._fields)}

    def _strict(self, decoded: pa.RecordBatch, bodies: pa.Array, values: Mapping[str, pa.Array]) -> Iterator[pa.Array]:
        """The bytes are the one encoding of these values, and the JSON needs no escapes."""
        (again,) = pyruhvro.serialize_record_batch(decoded, self._avro, 1)
        yield pc.equal(again.cast(pa.binary()), bodies.cast(pa.binary()))
        texts = [values[one.name] for one in self._fields if one.type == "string"]
        together = pc.binary_join_element_wise(*texts, "", null_handling="skip")
        yield pc.invert(pc.match_substring_regex(together, _ESCAPED))

    def _canonical(self, values: Mapping[str, pa.Array]) -> pa.Array:
        """The JSON of `contracts.canonical`, for texts that need no escape."""
        parts = []
        for one in sorted(self._fields, key=attrgetter("name")):
            value = values[one.name]
            if one.default is not None:
                value = pc.if_else(
                    pc.equal(value, pa.scalar(one.default, value.type)), pa.scalar(None, value.type), value
                )
            if one.type == "double":
                text = pa.array([None if number is None else repr(number) for number in value.to_pylist()], pa.string())
            else:
                text = value.cast(pa.string())
            quote = '"' if one.type == "string" else ""
            before = f"{json.dumps(one.name, ensure_ascii=False)}:{quote}"
            # null where the value is null, and then left out below
            parts.append(pc.binary_join_element_wise(before, text, quote, ""))
        inner = pc.binary_join_element_wise(*parts, ",", null_handling="skip")
        return pc.binary_join_element_wise("{", inner, "}", "")

    def _same_ids(self, values: Mapping[str, pa.Array]) -> Iterator[pa.Array]:
        """No id would be compared in another form than it was sent in, and the source has nothing around it."""
        sources, ids = self._contract.sources, [n for n in self._contract.identifiers if n in values]
        for name in (*ids, "source"):
            same = pc.equal(pc.utf8_trim(values[name], WHITE_SPACE), values[name])
            yield pc.fill_null(same, True)
        if sources.authorities:
            minds = _by_value(
                values["source"], lambda it: not sources.ignores_case(sources.authority_of(it)), pa.bool_()
            )
            for name in ids:
                yield pc.fill_null(pc.or_(minds, pc.invert(pc.match_substring_regex(values[name], "[A-Z]"))), True)

    def _rules_hold(self, values: Mapping[str, pa.Array], broker_time: pa.Array) -> Iterator[pa.Array]:
        rules, rows = self._rules, len(broker_time)
        no = pa.repeat(False, rows)

        def there(name: str) -> pa.Array:
            return pc.is_valid(values[name]) if name in values else no

        for name in rules.required:
            yield there(name)
        for name, least, most, _ in rules.lengths:
            if name in values:
                length = pc.utf8_length(values[name])
                fits = pc.greater_equal(length, least)
                yield pc.fill_null(fits if most is None else pc.and_(fits, pc.less_equal(length, most)), True)
        for name, allowed in rules.allowed:
            if name in values:
                value = values[name]
                yield pc.or_(pc.is_null(value), pc.is_in(value, pa.array(sorted(allowed), value.type)))
        for kind, names in rules.required_for.items():
            others = pc.not_equal(values["kind"], kind)
            for name in names:
                yield pc.fill_null(pc.or_(others, there(name)), True)
        for one in self._fields:
            if one.type == "double":
                yield pc.fill_null(pc.is_finite(values[one.name]), True)
        for name, low, high in rules.ranges:
            if name in values:
                yield pc.fill_null(_within(values[name], low, high, no), True)
        historical = _by_value(values["source"], self._contract.sources.is_historical, pa.bool_())
        latest = pc.add(broker_time.cast(pa.int64()), CLOCK_AHEAD_US)
        yield pc.or_(historical, pc.less_equal(values["recorded_at"], latest))

    def _said(self, decoded: pa.RecordBatch, json_: pa.Array, ids: pa.Array) -> pa.RecordBatch:
        """Verdict and event of each; what is null for every good event is left out."""
        values, rows = self._values(decoded), decoded.num_rows
        sources = self._contract.sources
        kind = event_type(self._contract)
        event = [values[f.name].cast(f.type) if f.name in values else pa.nulls(rows, f.type) for f in kind]
        digests = [hashlib.sha256(one).digest() for one in json_.cast(pa.binary()).to_pylist()]
        said = {
            "schema_id": ids,
            "fingerprint": pa.repeat(pa.scalar(self._meaning, pa.int64()), rows),
            "content_hash": pa.array(digests, pa.binary()),
            "authority": _by_value(values["source"], sources.authority_of, pa.string()),
            event_column(self._contract.topic): pa.StructArray.from_arrays(event, fields=list(kind)),
        }
        return pa.RecordBatch.from_pydict(said)


def _fields(schema: Any) -> tuple[_Field, ...]:
    try:
        tree = expand(schema)
    except (UnsafeSchemaError, RecursionError):
        raise NotPlain from None
    fields = []
    for one in tree["fields"]:
        kind, nullable = one["type"], isinstance(one["type"], list)
        if nullable:
            if len(kind) != 2 or kind[0]["type"] != "null":
                raise NotPlain
            kind = kind[1]
        if _WIRE.get(short_type(kind)) != kind["type"]:
            raise NotPlain
        fields.append(_Field(one["name"], kind["type"], nullable, short_type(kind), one.get("default")))
    return tuple(fields)


def _by_value(texts: pa.Array, of: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """A function of each text, asked once for each that is another; null for null."""
    known = texts.dictionary_encode()
    return pa.array([of(one) for one in known.dictionary.to_pylist()], kind).take(known.indices)


def _within(value: pa.Array, low: float, high: float, no: pa.Array) -> pa.Array:
    """Whether low <= value <= high, as Python compares them; null for null."""
    if pa.types.is_floating(value.type):
        return pc.and_(pc.greater_equal(value, float(low)), pc.less_equal(value, float(high)))
    least = _LONGS[0] if low < _LONGS[0] else math.ceil(low)
    most = _LONGS[-1] if high > _LONGS[-1] else math.floor(high)
    if least not in _LONGS or most not in _LONGS:
        return no
    wide = value.cast(pa.int64())
    return pc.and_(pc.greater_equal(wide, least), pc.less_equal(wide, most))
