"""From Kafka records to judged events, message by message: Arrow batches in, Arrow batches out.

Each record is decoded by its writer's schema (looked up in the registry by the id it carries), hashed and validated;
then its ids take the form in which they are compared.
A message at fault leaves with a reason and no event. One whose schema is registered and not deployed here leaves with
NOT_DEPLOYED, which is no fault: its topic waits (`held`). A registry that does not answer fails the batch, so that
nobody's message is refused for it. The stream comes here for what `arrow_judge` does not find plainly good, `wardstream
verify` for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wardstream.contracts.canonical import Event
from wardstream.contracts.codec import BadRecord, Decoder, split
from wardstream.contracts.identity import Identifier
from wardstream.contracts.model import Contract
from wardstream.contracts.validate import Validator
from wardstream.registry.client import RegistryUnavailableError, SchemaSource
from wardstream.stream.plan import BESIDE

MICROS = pa.timestamp("us", tz="UTC")
MESSAGE = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("broker_time", MICROS),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
"""What is read from Kafka: the broker's LogAppendTime and the bytes as they are."""

VERDICT = [
    ("schema_id", pa.int32()),
    ("fingerprint", pa.int64()),
    ("content_hash", pa.binary()),
    ("authority", pa.string()),
    ("ids_as_sent", pa.string()),
    ("reason", pa.string()),
]


NOT_DEPLOYED = "not_deployed"
"""In the place of a reason: the schema is registered, and this deployment's contracts lack that version."""


class JudgeFailedError(Exception):
    """A defect of ours or a missing part of the environment, told without the text that could quote an event."""


@dataclass(frozen=True)
class Judged:
    """What became of one message: an event with its hash, or a reason why it is none."""

    schema_id: int | None = None
    fingerprint: int | None = None
    content_hash: bytes | None = None
    authority: str | None = None
    ids_as_sent: str | None = None
    reason: str | None = None
    event: Event | None = None


@dataclass
class Judge:
    """Decodes and validates messages of all topics. Can be pickled, with the schemas that its source knows."""

    contracts: Mapping[str, Contract]
    source: SchemaSource
    _decoders: dict[tuple[int, str], tuple[int, Decoder | None]] = field(default_factory=dict, repr=False)
    _validators: dict[str, Validator] = field(default_factory=dict, repr=False)
    _identifiers: dict[str, Identifier] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "contracts": self.contracts,
            "source": self.source,
            "_decoders": {},
            "_validators": {},
            "_identifiers": {},
        }

    def __call__(self, topic: str, value: bytes | None, broker_time_us: int) -> Judged:
        """Judge one message. RegistryUnavailableError says nothing about it: try again later."""
        schema_id = meaning = None
        try:
            schema_id, body = split(value)
            meaning, decoder = self._decoder(schema_id, topic)
            if decoder is None:
                return Judged(schema_id, meaning, reason=NOT_DEPLOYED)
            event = decoder.decode(body)
            digest = decoder.content_hash(event)
            reason = self._validator(topic)(event, broker_time_us)
        except BadRecord as fault:
            return Judged(schema_id, meaning, reason=fault.reason)
        if reason is not None:
            return Judged(schema_id, meaning, reason=reason)
        if decoder.json_fields:
            event.update(decoder.canonical.texts(event, decoder.json_fields))
        identity = self._identifier(topic)(event)
        return Judged(schema_id, meaning, digest, identity.authority, identity.as_sent, event=event)

    def _decoder(self, schema_id: int, topic: str) -> tuple[int, Decoder | None]:
        """What the id means, and what reads it; None where no deployed version means the same."""
        known = self._decoders.get((schema_id, topic))
        if known is None:
            written = self.source.lookup(schema_id, topic)
            decoder = Decoder(written.schema) if written.is_deployed(self.contracts[topic]) else None
            known = self._decoders[schema_id, topic] = (written.fingerprint, decoder)
        return known

    def _validator(self, topic: str) -> Validator:
        if topic not in self._validators:
            self._validators[topic] = Validator(self.contracts[topic])
        return self._validators[topic]

    def _identifier(self, topic: str) -> Identifier:
        if topic not in self._identifiers:
            self._identifiers[topic] = Identifier(self.contracts[topic])
        return self._identifiers[topic]


def event_type(contract: Contract) -> pa.StructType:
    """The Arrow struct of a topic's events: the fields of the latest version, all nullable."""
    return pa.struct([pa.field(f.name, f.arrow_type, nullable=True) for f in contract.fields])


def event_column(topic: str) -> str:
    """The name of the column that has the events of a topic."""
    return f"event_{topic}"


def judged_schema(contracts: Mapping[str, Contract]) -> pa.Schema:
    """Message, verdict, and one struct column a topic: null but for that topic's events."""
    events = [(event_column(topic), event_type(contract)) for topic, contract in contracts.items()]
    return pa.schema([*MESSAGE, *(pa.field(n, t) for n, t in VERDICT), *(pa.field(n, t) for n, t in events)])


def judge_batches(judge: Judge) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function of batches: those of MESSAGE in, those of `judged_schema` out."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        schema = judged_schema(judge.contracts)
        for batch in batches:
            try:
                yield _judge_batch(judge, schema, batch)
            except RegistryUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, its text must not get out
                # What ends a batch is logged, and the text of a conversion error can quote a value.
                raise JudgeFailedError(f"{type(error).__name__} within {_extent(batch)}") from None

    return run


def _extent(batch: pa.RecordBatch) -> str:
    first, last = (f"{batch['topic'][i]} {batch['partition'][i]}:{batch['offset'][i]}" for i in (0, -1))
    return f"topic, partition and offset {first} to {last}"


def _judge_batch(judge: Judge, schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    messages = batch.select(MESSAGE.names)
    topics = messages["topic"].to_pylist()
    times = messages["broker_time"].cast(pa.int64()).to_pylist()
    judged = [judge(*message) for message in zip(topics, messages["value"].to_pylist(), times, strict=True)]
    columns = list(messages.columns)
    columns += [pa.array([getattr(one, name) for one in judged], kind) for name, kind in VERDICT]
    for topic, contract in judge.contracts.items():
        mine = [one.event if at == topic else None for at, one in zip(topics, judged, strict=True)]
        columns.append(_struct(contract, mine))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _struct(contract: Contract, events: list[Event | None]) -> pa.Array:
    kind = event_type(contract)
    empty = pa.array([event is None for event in events], pa.bool_())
    fields = [
        pa.array([None if event is None else event.get(f.name) for event in events], f.arrow_type)
        for f in contract.fields
    ]
    return pa.StructArray.from_arrays(fields, fields=list(kind), mask=empty)


@dataclass(frozen=True)
class Sorted:
    """Judged messages in the form the commit takes: events by topic, rejects, schema ids met.

    `waiting`: topic, partition, offset and schema id of those that are NOT_DEPLOYED. They are in none of the others.
    """

    events: dict[str, pa.Table]
    rejects: pa.Table
    schema_ids: frozenset[tuple[int, str, int]]
    waiting: pa.Table


def sort_out(judged: pa.Table, contracts: Mapping[str, Contract], topic_ids: Mapping[str, str]) -> Sorted:
    """Split a table of `judged_schema` by verdict and topic, ordered by partition and offset."""
    judged = _in_order(judged)
    topics = pc.unique(judged["topic"])
    ids = pa.array([topic_ids[topic] for topic in topics.to_pylist()], pa.string())
    judged = judged.append_column("topic_id", ids.take(pc.index_in(judged["topic"], topics).combine_chunks()))
    waits = pc.fill_null(pc.equal(judged["reason"], NOT_DEPLOYED), False)
    waiting = judged.filter(waits).select(["topic", "topic_id", "partition", "offset", "schema_id"])
    judged = _those(judged, pc.invert(waits))
    good = pc.is_null(judged["reason"])
    events = {}
    for topic, contract in contracts.items():
        rows = _those(judged, pc.and_(good, pc.equal(judged["topic"], topic)))
        if rows.num_rows:
            events[topic] = _flat(rows, topic, contract)
    where = ["topic_id", "partition", "offset", "topic", "reason", "schema_id", "broker_time", "key", "value"]
    met = judged.select(["schema_id", "topic", "fingerprint"]).filter(pc.is_valid(judged["fingerprint"]))
    distinct = met.group_by(["schema_id", "topic", "fingerprint"]).aggregate([]).to_pylist()
    return Sorted(
        events,
        judged.filter(pc.invert(good)).select(where),
        frozenset((one["schema_id"], one["topic"], one["fingerprint"]) for one in distinct),
        waiting,
    )


def _in_order(judged: pa.Table) -> pa.Table:
    """By topic, partition and offset, as Kafka gives them nearly always."""
    order = pc.sort_indices(judged, [(name, "ascending") for name in ("topic", "partition", "offset")])
    return judged if order.equals(pa.arange(0, len(order)).cast(order.type)) else judged.take(order)


def _those(rows: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """The rows that are wanted; a filter would copy them where that is all of them, too."""
    return rows if pc.all(wanted).as_py() else rows.filter(wanted)


def _flat(rows: pa.Table, topic: str, contract: Contract) -> pa.Table:
    event = rows[event_column(topic)].combine_chunks()
    columns = {f.name: pc.struct_field(event, [i]) for i, f in enumerate(contract.fields)}
    return pa.table({**columns, **{name: rows[name] for name in (*BESIDE, "broker_time", "key", "value")}})
