"""Peer: Spark Structured Streaming as its documentation shows it. from_avro, JDBC into a staging table, one upsert.

Like Wardstream's stream it runs on this machine, and its first batch, in which the JVM warms up, is not counted.
"""

from __future__ import annotations

import json
import tempfile
import time
from typing import Any

import psycopg
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.functions import col, expr

from benchmarks.peers.job import Job, Result, Table, answer, job


def session(todo: Job, scratch: str) -> SparkSession:
    """A local one, on both cores."""
    return (
        SparkSession.builder.appName("benchmark-peer")
        .master("local[2]")
        .config("spark.jars", todo.options["jars"])
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", "-Xss16m")
        .config("spark.local.dir", scratch)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )


def load(spark: SparkSession, todo: Job, table: Table, scratch: str) -> list[tuple[float, int]]:
    """One topic to its end; when each batch was committed, and how many rows it had."""
    login = psycopg.conninfo.conninfo_to_dict(todo.database)
    url = f"jdbc:postgresql://{login['host']}:{login['port']}/{login['dbname']}?reWriteBatchedInserts=true"
    options = {"user": str(login["user"]), "password": str(login["password"]), "batchsize": "10000"}
    options["driver"] = "org.postgresql.Driver"  # of a jar that the JVM was given after its start
    staged, done = f"{table.name}_staged", []
    with psycopg.connect(todo.database, autocommit=True) as connection:
        connection.execute(f"CREATE UNLOGGED TABLE {staged} (LIKE {table.name})")

        def upsert(batch: DataFrame, number: int) -> None:
            connection.execute(f"TRUNCATE {staged}")
            batch.write.jdbc(url, staged, "append", options)
            rows = connection.execute(f"SELECT count(*) FROM {staged}").fetchone()
            connection.execute(table.upsert_from(staged))
            done.append((time.perf_counter(), rows[0] if rows else 0))

        source: Any = (
            spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", todo.kafka)
            .option("kafka.isolation.level", "read_committed")
            .option("subscribe", table.topic)
            .option("startingOffsets", json.dumps({table.topic: {"0": table.start}}))
            .option("maxOffsetsPerTrigger", todo.batch)
            .load()
        )
        body = expr("substring(value, 6, length(value) - 5)")
        events = (
            source.where(col("offset") < table.end)
            .select(from_avro(body, json.dumps(table.avro)).alias("e"))
            .select("e.*")
        )
        writer = events.writeStream.foreachBatch(upsert).option("checkpointLocation", f"{scratch}/{table.topic}")
        query = writer.trigger(availableNow=True).start()
        query.awaitTermination()
        connection.execute(f"DROP TABLE {staged}")
    return [(at, rows) for at, rows in done if rows]


def run(todo: Job) -> Result:
    """From the first commit of each topic to its last; of a single batch, from the start."""
    events, seconds, cpu = 0, 0.0, time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        spark = session(todo, scratch)
        spark.sparkContext.setLogLevel("ERROR")
        for table in todo.tables:
            began = time.perf_counter()
            done = load(spark, todo, table, scratch)
            later = done[1:] or done
            events += sum(rows for _, rows in later)
            seconds += later[-1][0] - (done[0][0] if len(done) > 1 else began)
        spark.stop()
    return Result(events, seconds, time.process_time() - cpu)


if __name__ == "__main__":
    answer(run(job()))
