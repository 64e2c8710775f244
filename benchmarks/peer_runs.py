"""Runs the peers: tables in schema `bench`, a job, a process in an environment of its own, and what it did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psycopg import sql

from benchmarks.messages import KEYS
from benchmarks.own_stack import OwnStack
from benchmarks.peers.job import Job, Result, Table
from benchmarks.publish import Extent
from wardstream.contracts.avro_tree import strip_logical
from wardstream.contracts.model import load_contracts, split_null
from wardstream.database.connection import connect
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import environments
from wardstream.stack.env import stream_environment
from wardstream.stack.part import Part

SECONDS = 3600.0
MODULES = {
    "consumer_fastavro": ("consumer", {"decoder": "fastavro"}),
    "consumer_rust": ("consumer", {"decoder": "rust"}),
    "postgres_alone": ("postgres_alone", {}),
    "spark_jdbc": ("spark_jdbc", {}),
    "tutorial": ("tutorial", {}),
}
FEW = ("tutorial",)
"""These are so slow that they get the first messages only."""
OF_PROJECT = ("spark_jdbc",)
"""These need Spark, which is in Wardstream's own environment."""
TYPES = {
    "string": "text",
    "long": "bigint",
    "int": "integer",
    "double": "double precision",
    "boolean": "boolean",
    "timestamp-micros": "timestamptz",
    "date": "date",
}


class PeerFailed(RuntimeError):
    """A peer ended with an error, or did not store what it read."""


class Environment(Part):
    """The packages of peers and plots, installed as those of a part of the stack are."""

    name = "benchmarks"
    requirements = Path(__file__).with_name("requirements.txt")


def install(settings: Settings, say: Callable[[str], None]) -> str:
    """Make the environment at the first use; its interpreter."""
    environments.install(settings, Environment(), say)
    return environments.python(settings, Environment())


def run(stack: OwnStack, name: str, extents: Sequence[Extent], few: int, batch: int) -> Result:
    """One peer over these messages, into empty tables that go afterwards; PeerFailed where rows are missing."""
    module, options = MODULES[name]
    chosen = first_of(extents, few) if name in FEW else list(extents)
    tables = [_table(stack.settings, name, extent) for extent in chosen]
    _make(stack.settings, tables)
    stack.checkpoint()
    jars = {"jars": stream_environment(stack.settings)["WARDSTREAM_SPARK_JARS"]} if name in OF_PROJECT else {}
    job = Job(stack.settings.kafka, stack.settings.owner_url, batch, tuple(tables), {**options, **jars})
    try:
        result = _process(stack.settings, name, module, job)
        for extent, table in zip(chosen, tables, strict=True):
            rows = stack.rows(f"SELECT count(*) FROM {table.name}")[0][0]
            if extent.keys and rows != extent.keys:
                raise PeerFailed(f"{name}: {table.name} has {rows} rows, and the messages {extent.keys} keys")
    finally:
        _drop(stack.settings)
    return result


def first_of(extents: Sequence[Extent], count: int) -> list[Extent]:
    """The first messages of each topic, `count` of all, in the same shares; keys are known where all differ."""
    total = sum(extent.count for extent in extents)
    found = []
    for extent in extents:
        some = min(extent.count, max(1, extent.count * count // total))
        keys = some if extent.keys == extent.count else 0
        found.append(Extent(extent.topic, extent.start, extent.start + some, keys))
    return found


def columns_of(avro: Any) -> dict[str, str]:
    """PostgreSQL's types of a record's fields."""
    found = {}
    for field in avro["fields"]:
        kind, _ = split_null(field["type"])
        name = kind if isinstance(kind, str) else kind.get("logicalType", kind["type"])
        found[field["name"]] = TYPES[name]
    return found


def _table(settings: Settings, peer: str, extent: Extent) -> Table:
    avro = load_contracts(settings.schemas_dir)[extent.topic].latest
    name = f"bench.{peer}_{extent.topic}"
    plain = strip_logical(avro)
    return Table(extent.topic, extent.start, extent.end, name, KEYS[extent.topic], columns_of(avro), dict(avro), plain)


def _make(settings: Settings, tables: Sequence[Table]) -> None:
    with connect(settings.owner_url, "benchmarks") as conn:
        conn.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        conn.execute("CREATE SCHEMA bench")
        for table in tables:
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.columns.items()
            )
            create = sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))")
            named = sql.Identifier(*table.name.split("."))
            conn.execute(create.format(named, columns, sql.Identifier(table.key)))


def _drop(settings: Settings) -> None:
    with connect(settings.owner_url, "benchmarks") as conn:
        conn.execute("DROP SCHEMA IF EXISTS bench CASCADE")


def _process(settings: Settings, name: str, module: str, job: Job) -> Result:
    ours = name in OF_PROJECT
    python = sys.executable if ours else environments.python(settings, Environment())
    env = {**os.environ, **stream_environment(settings)} if ours else dict(os.environ)
    env |= {"PYSPARK_PYTHON": python} if ours else {}
    if not ours:
        env.pop("PYTHONPATH", None)  # the clone is the folder it starts in; of its environment nothing is meant
    # in a group of its own, which run() ends with it: a JVM is a child of the peer
    with subprocess.Popen(
        [python, "-m", f"benchmarks.peers.{module}"],
        cwd=PROJECT_ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(job.as_json(), timeout=SECONDS)
        except BaseException:
            _end_group(process.pid)
            raise
    if process.returncode:
        raise PeerFailed(f"{name}: exit code {process.returncode}\n{what_was_wrong(err)}")
    return Result(**json.loads(out.splitlines()[-1]))


def what_was_wrong(said: str) -> str:
    """Of what a process said, the lines that name an error, and the last one; Spark's plans are pages."""
    lines = [line[:300] for line in said.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line or "Exception" in line or "ERROR" in line]
    return "\n".join(dict.fromkeys([*named[-6:], *lines[-1:]]))


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
