"""Peer: a plain consumer, tuned. Large batches, Avro to Arrow, binary COPY, one upsert, then Kafka's offsets.

At least once into one table with a primary key: no history, no rules, no ledger. Option `decoder`: fastavro or rust.
"""

from __future__ import annotations

import time

import psycopg
from confluent_kafka import TopicPartition

from benchmarks.peers.job import Job, Result, answer, job
from benchmarks.peers.reading import DECODERS, batches, by_topic, consumer, copy, stage


def run(todo: Job) -> Result:
    """From the first fetch to the last commit."""
    tables = {table.topic: table for table in todo.tables}
    decoders = {topic: DECODERS[todo.options["decoder"]](table) for topic, table in tables.items()}
    with psycopg.connect(todo.database) as connection:
        staged = stage(connection, todo)
        began, cpu = time.perf_counter(), time.process_time()
        reader, events = consumer(todo), 0
        for messages in batches(todo, reader):
            with connection.cursor() as cursor:
                for topic, values in by_topic(messages).items():
                    copy(cursor, staged[topic], tables[topic], decoders[topic](values))
                    cursor.execute(tables[topic].upsert_from(staged[topic]))
            connection.commit()
            reached = {message.topic(): message.offset() + 1 for message in messages}
            offsets = [TopicPartition(topic, 0, offset) for topic, offset in reached.items()]
            reader.commit(offsets=offsets, asynchronous=False)
            events += len(messages)
        seconds = time.perf_counter() - began
        reader.close()
    return Result(events, seconds, time.process_time() - cpu)


if __name__ == "__main__":
    answer(run(job()))
