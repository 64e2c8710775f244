"""What a peer is told to do and what it answers; shared by all of them, and by `benchmarks.peer_runs`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """One topic's offsets [start, end) of partition 0, and the table they go to."""

    topic: str
    start: int
    end: int
    name: str
    """With its schema, quoted where it must be."""
    key: str
    columns: dict[str, str]
    """PostgreSQL's type by name, in the order of the schema."""
    avro: dict[str, Any]
    """The writer's schema."""
    plain_avro: dict[str, Any]
    """The same without logical types: times are integers, which is quicker to decode."""

    @property
    def count(self) -> int:
        """Messages."""
        return self.end - self.start

    def listed(self) -> str:
        """The columns, for SQL."""
        return ", ".join(f'"{column}"' for column in self.columns)

    def on_conflict(self) -> str:
        """The end of an INSERT that makes an upsert of it."""
        others = ", ".join(f'"{column}" = excluded."{column}"' for column in self.columns if column != self.key)
        return f'ON CONFLICT ("{self.key}") DO UPDATE SET {others}'

    def upsert_from(self, staged: str) -> str:
        """From a table of rows that may hold a key twice, the one written last."""
        return (
            f'INSERT INTO {self.name} ({self.listed()}) SELECT DISTINCT ON ("{self.key}") {self.listed()} FROM {staged}'
            f' ORDER BY "{self.key}", recorded_at DESC {self.on_conflict()}'
        )


@dataclass(frozen=True)
class Job:
    """All that a peer has to know."""

    kafka: str
    database: str
    batch: int
    tables: tuple[Table, ...]
    options: dict[str, str]

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return sum(table.count for table in self.tables)

    def as_json(self) -> str:
        """For the peer's standard input: the arguments of a process can be read by anybody, and this has a password."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Result:
    """What a peer did: events, in how many seconds, with how much CPU of its own process."""

    events: int
    seconds: float
    cpu_seconds: float


def read_job(text: str) -> Job:
    """A job from JSON."""
    said = json.loads(text)
    return Job(**{**said, "tables": tuple(Table(**table) for table in said["tables"])})


def job() -> Job:
    """The job of this process."""
    return read_job(sys.stdin.read())


def answer(result: Result) -> None:
    """The last line of standard output."""
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
