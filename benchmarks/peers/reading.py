"""What the peers that read Kafka share: a consumer with large fetches, decoders to Arrow, and the COPY."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import fastavro
import pgpq
import pyarrow as pa
from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks.peers.job import Job, Table

HEADER_BYTES = 5
ARROW = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
}
PATIENCE_SECONDS = 60.0
Decode = Callable[[list[bytes]], pa.Table]


def consumer(job: Job, **options: Any) -> Consumer:
    """One that is told where to read; its group is its own."""
    made = Consumer(
        {
            "bootstrap.servers": job.kafka,
            "group.id": f"benchmark-{time.time_ns()}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "queued.min.messages": 200_000,
            "queued.max.messages.kbytes": 128 * 1024,
            "fetch.message.max.bytes": 8 * 1024 * 1024,
            **options,
        }
    )
    made.assign([TopicPartition(table.topic, 0, table.start) for table in job.tables])
    return made


def batches(job: Job, reader: Consumer) -> Iterator[list[Message]]:
    """The job's messages, as many at a time as it says; TimeoutError where they stop coming."""
    left = {table.topic: table.end for table in job.tables}
    got, last = 0, time.monotonic()
    while got < job.count:
        some = reader.consume(min(job.batch, job.count - got), timeout=1.0)
        messages = [one for one in some if one.error() is None and one.offset() < left[one.topic()]]
        if messages:
            got, last = got + len(messages), time.monotonic()
            yield messages
        elif time.monotonic() - last > PATIENCE_SECONDS:
            raise TimeoutError(f"{got} of {job.count} messages came")


def by_topic(messages: list[Message]) -> dict[str, list[bytes]]:
    """The values of a batch."""
    found: dict[str, list[bytes]] = {}
    for message in messages:
        found.setdefault(message.topic(), []).append(message.value())
    return found


def fastavro_decoder(table: Table) -> Decode:
    """Event by event, in Python's most used Avro library."""
    schema, read = fastavro.parse_schema(table.plain_avro), fastavro.schemaless_reader

    def decode(values: list[bytes]) -> pa.Table:
        events = []
        for value in values:
            body = BytesIO(value)
            body.seek(HEADER_BYTES)
            events.append(read(body, schema, None))
        return pa.table(
            {name: pa.array([e[name] for e in events], ARROW[kind]) for name, kind in table.columns.items()}
        )

    return decode


def rust_decoder(table: Table) -> Decode:
    """A batch at once, from Avro to Arrow in Rust."""
    import pyruhvro

    schema = json.dumps(table.plain_avro)

    def decode(values: list[bytes]) -> pa.Table:
        rows = pa.record_batch(pyruhvro.deserialize_array([value[HEADER_BYTES:] for value in values], schema))
        return pa.table({name: rows[name].cast(ARROW[kind]) for name, kind in table.columns.items()})

    return decode


DECODERS = {"fastavro": fastavro_decoder, "rust": rust_decoder}


def copy(cursor: Any, staged: str, table: Table, rows: pa.Table) -> None:
    """Binary COPY of Arrow rows."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    with cursor.copy(f"COPY {staged} ({table.listed()}) FROM STDIN (FORMAT BINARY)") as target:
        target.write(encoder.write_header())
        for batch in rows.to_batches():
            target.write(encoder.write_batch(batch))
        target.write(encoder.finish())


def stage(connection: Any, job: Job) -> dict[str, str]:
    """A temporary table for each topic, emptied by each commit."""
    names = {table.topic: f"staged_{table.topic}" for table in job.tables}
    for table in job.tables:
        connection.execute(f"CREATE TEMP TABLE {names[table.topic]} (LIKE {table.name}) ON COMMIT DELETE ROWS")
    connection.commit()
    return names
