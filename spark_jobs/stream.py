"""The stream: all topics from Kafka to PostgreSQL, exactly once.

    settings -> wait until it should run
             -> read Kafka -> collect -> judge (decode, hash, validate) -> commit, with the ledger, in one transaction

It may wait for days, so what Spark needs is imported after that. `wardstream stream …` says whether it should run.
Its metrics are served all that time (`wardstream/watch/metrics.py`).

Where a batch begins and ends is Spark's plan, read from its offset log; what is done is said by ops.ledger alone.
Spark's checkpoint is scratch: a new one at every start, started from the ledger. SIGTERM lets the batch finish.
Exit codes: 0 asked to stop (the process manager starts the next, which waits), 75 another driver has the stream (not
to be restarted), 1 anything else (restart).
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

import psycopg

from wardstream.database.connection import PoolerBetween
from wardstream.logs import configure_logging, keep_values_out
from wardstream.settings import AddressError, Settings, get_settings
from wardstream.stream.turn import STREAM, ControlMissing, stop_on_signals, wait_for_turn
from wardstream.watch import metrics

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

    from wardstream.stream.driver import Driver
    from wardstream.stream.start import Start

log = logging.getLogger(__name__)
LOCAL_FILES_JAR = "hadoop-bare-naked-local-fs"
LOCAL_FILES = "com.globalmentor.apache.hadoop.fs.NakedLocalFileSystem"
CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"


def session(settings: Settings) -> SparkSession:
    """A local Spark that listens on loopback only, speaks UTC and keeps its scratch in the state folder."""
    from pyspark.sql import SparkSession

    from wardstream.kafka.client import REDACTED

    temporary = settings.scratch_dir / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    # A JVM that has run out of memory once may live on without doing anything; one that ends is started again.
    java_options = (
        f'-Xss16m -XX:+ExitOnOutOfMemoryError -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir="{temporary}"'
    )
    spark = (
        SparkSession.builder.appName("wardstream-stream")
        .master(settings.spark_master)
        .config("spark.jars", settings.spark_jars)
        .config("spark.ui.enabled", "false")
        .config("spark.redaction.regex", REDACTED)
        .config("spark.sql.redaction.options.regex", REDACTED)
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", settings.stream_driver_memory)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", java_options)
        .config("spark.local.dir", str(settings.scratch_dir))
        .config("spark.sql.warehouse.dir", str(settings.scratch_dir / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.adaptive.enabled", "false")  # streaming has none, and would warn
        # After nothing new was found, it asks Kafka again so much later; 10 ms would cost 15 CPU seconds a minute.
        .config("spark.sql.streaming.pollingDelay", "500ms")
        # Spark's log of batches is scratch: no checksum beside each file, and no symbolic links looked up.
        .config("spark.sql.streaming.checkpointFileManagerClass", CHECKPOINT_FILES)
        .config(map=local_files(settings))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
        # A batch is a result of some megabytes: above this size it would go through the block manager, copied twice.
        .config("spark.task.maxDirectResultSize", "100m")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("WARN")
    keep_values_out(spark)  # the driver says what failed
    return spark


def local_files(settings: Settings) -> dict[str, str]:
    """Files without Hadoop's own way, which starts a `chmod` for each that it makes: four processes a batch.

    Nothing where WARDSTREAM_SPARK_JARS names jars without this one.
    """
    jar = next((path for path in settings.spark_jars.split(",") if LOCAL_FILES_JAR in path), None)
    if jar is None:
        return {}
    # in the class path, because Spark looks at files before it has loaded spark.jars
    return {"spark.driver.extraClassPath": jar, "spark.hadoop.fs.file.impl": LOCAL_FILES}


def read(spark: SparkSession, settings: Settings, start: Start) -> DataFrame:
    """Kafka records of the start's topics from exactly its offsets; data lost on the broker stops the stream."""
    from wardstream.kafka.client import spark_options

    return (
        spark.readStream.format("kafka")
        .options(**spark_options(settings))
        .option("kafka.isolation.level", "read_committed")
        .option("subscribe", ",".join(start.topics))
        .option("startingOffsets", start.starting_offsets)
        .option("maxOffsetsPerTrigger", start.max_offsets)
        .option("failOnDataLoss", "true")
        .load()
    )


def messages(records: DataFrame) -> DataFrame:
    """The columns that a judgement needs; `timestamp` is the broker's LogAppendTime."""
    return records.withColumnRenamed("timestamp", "broker_time").select(
        "topic", "partition", "offset", "broker_time", "key", "value"
    )


def start_query(spark: SparkSession, settings: Settings, start: Start, driver: Driver) -> StreamingQuery:
    """One streaming query over the start's topics, each batch handed to the driver's commit."""
    return (
        messages(read(spark, settings, start))
        .writeStream.queryName(f"wardstream-{'-'.join(start.topics)}")
        .option("checkpointLocation", str(start.checkpoint))
        .foreachBatch(lambda batch, batch_id: driver.process(start, batch.toArrow, batch_id))
        .start()
    )


def memory(settings: Settings) -> dict[str, int]:
    """Bytes by part of the stack on this machine; imported when first asked, for a process that may never be."""
    from wardstream.stack.memory import memory_by_part

    return memory_by_part(settings)


def main() -> int:
    """Wait until the stream should run, then run it until it should not; returns the exit code."""
    settings = get_settings()
    configure_logging()
    stop = threading.Event()
    stop_on_signals(stop)
    metrics.serve(settings, memory)
    try:
        turn = wait_for_turn(settings, STREAM, stop)
    except (
        *(AddressError, ControlMissing, PoolerBetween),
        *(psycopg.OperationalError, psycopg.errors.UndefinedTable),
    ) as reason:
        log.error("cannot start: %s: %s", type(reason).__name__, reason)
        return 1
    if turn is None:
        return 0

    from wardstream.stream.driver import run

    return run(settings, turn, stop, lambda: session(settings), start_query)


if __name__ == "__main__":
    sys.exit(main())
