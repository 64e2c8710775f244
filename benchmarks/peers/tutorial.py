"""Peer: what tutorials show. One message at a time, fastavro, executemany of an upsert, offsets committed by a timer.

The timer may commit the offsets of events that are not in the database yet: a crash then loses them.
"""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import fastavro
import psycopg2

from benchmarks.peers.job import Job, Result, answer, job
from benchmarks.peers.reading import HEADER_BYTES, PATIENCE_SECONDS, consumer

ROWS = 500


def run(todo: Job) -> Result:
    """From the first poll to the last commit."""
    tables = {table.topic: table for table in todo.tables}
    schemas = {topic: fastavro.parse_schema(table.avro) for topic, table in tables.items()}
    statements = {
        topic: f"INSERT INTO {table.name} ({table.listed()}) VALUES ({', '.join('%s' for _ in table.columns)})"
        f" {table.on_conflict()}"
        for topic, table in tables.items()
    }
    connection = psycopg2.connect(todo.database)
    began, cpu = time.perf_counter(), time.process_time()
    reader = consumer(todo, **{"enable.auto.commit": True})
    rows: dict[str, list[tuple[Any, ...]]] = {topic: [] for topic in tables}
    events, last = 0, time.monotonic()
    while events < todo.count:
        message = reader.poll(1.0)
        if message is None and time.monotonic() - last > PATIENCE_SECONDS:
            raise TimeoutError(f"{events} of {todo.count} messages came")
        if message is None or message.error() or message.offset() >= tables[message.topic()].end:
            continue
        topic, last = message.topic(), time.monotonic()
        event: Any = fastavro.schemaless_reader(BytesIO(message.value()[HEADER_BYTES:]), schemas[topic], None)
        rows[topic].append(tuple(event[column] for column in tables[topic].columns))
        events += 1
        if events % ROWS == 0 or events == todo.count:
            with connection.cursor() as cursor:
                for name, values in rows.items():
                    if values:
                        cursor.executemany(statements[name], values)
                        values.clear()
            connection.commit()
    seconds = time.perf_counter() - began
    reader.close()
    connection.close()
    return Result(events, seconds, time.process_time() - cpu)


if __name__ == "__main__":
    answer(run(job()))
