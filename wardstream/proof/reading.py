"""The topics read again with a plain consumer, in bounded chunks, up to the offsets that the ledger says are done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa
from confluent_kafka import KafkaError, Message, TopicPartition

from wardstream.kafka.client import Trouble, consumer, not_allowed
from wardstream.settings import Settings
from wardstream.stream.decode import MESSAGE

CHUNK = 20_000
AHEAD = 8_192  # kB that are fetched before they are asked for; at the end of a piece they are thrown away
SILENCE_SECONDS = 60.0


class TopicUnreadableError(Exception):
    """The broker stopped answering, or refused to hand out messages."""


def read_partition(settings: Settings, topic: str, partition: int, start: int, end: int) -> Iterator[pa.Table]:
    """Messages of [start, end) as tables of MESSAGE, at most CHUNK rows each; committed transactions only.

    TopicUnreadableError after SILENCE_SECONDS without progress.
    """
    if start >= end:
        return
    trouble = Trouble(settings)
    options = {"isolation.level": "read_committed", "queued.max.messages.kbytes": AHEAD, "auto.offset.reset": "error"}
    reader = consumer(settings, "verify", trouble, **options)
    try:
        reader.assign([TopicPartition(topic, partition, start)])
        chunk: list[Message] = []
        heard, done = time.monotonic(), False
        while not done:
            for message in reader.consume(num_messages=1_000, timeout=0.2):
                heard = time.monotonic()
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        said = not_allowed(settings, error, "Read", f"topic {topic}") or error.name()
                        raise TopicUnreadableError(f"topic {topic} partition {partition}: {said}")
                    done = True
                elif message.offset() < end:
                    chunk.append(message)
                    done = done or message.offset() == end - 1
                else:
                    done = True
            refused = trouble.refused(heard)
            if refused is not None:
                raise TopicUnreadableError(str(refused))
            if time.monotonic() - heard > SILENCE_SECONDS:
                raise TopicUnreadableError(f"topic {topic} partition {partition}: no message for {SILENCE_SECONDS} s")
            if chunk and (done or len(chunk) >= CHUNK):
                yield _table(topic, partition, chunk)
                chunk = []
    finally:
        reader.close()


def _table(topic: str, partition: int, chunk: list[Message]) -> pa.Table:
    rows = len(chunk)
    columns = [
        [topic] * rows,
        [partition] * rows,
        [message.offset() for message in chunk],
        [message.timestamp()[1] * 1000 for message in chunk],
        [message.key() for message in chunk],
        [message.value() for message in chunk],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, MESSAGE, strict=True)], schema=MESSAGE)
