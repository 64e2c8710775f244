"""Peer and limit: PostgreSQL alone. The rows are read and decoded beforehand; measured are COPY and upsert, a batch a
transaction."""

from __future__ import annotations

import time

import psycopg

from benchmarks.peers.job import Job, Result, answer, job
from benchmarks.peers.reading import batches, by_topic, consumer, copy, rust_decoder, stage


def run(todo: Job) -> Result:
    """From the first COPY to the last commit."""
    tables = {table.topic: table for table in todo.tables}
    decoders = {topic: rust_decoder(table) for topic, table in tables.items()}
    reader = consumer(todo)
    prepared = [
        [(topic, decoders[topic](values)) for topic, values in by_topic(messages).items()]
        for messages in batches(todo, reader)
    ]
    reader.close()
    with psycopg.connect(todo.database) as connection:
        staged = stage(connection, todo)
        began, cpu = time.perf_counter(), time.process_time()
        for batch in prepared:
            with connection.cursor() as cursor:
                for topic, rows in batch:
                    copy(cursor, staged[topic], tables[topic], rows)
                    cursor.execute(tables[topic].upsert_from(staged[topic]))
            connection.commit()
        seconds = time.perf_counter() - began
    events = sum(rows.num_rows for batch in prepared for _, rows in batch)
    return Result(events, seconds, time.process_time() - cpu)


if __name__ == "__main__":
    answer(run(job()))
