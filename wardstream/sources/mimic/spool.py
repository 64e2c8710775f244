"""Putting events in order without holding them in memory: a temporary SQLite file, sorted by the database.

Order is by time and, among equal times, by insertion; or by a shuffle that depends on a seed alone.
"""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from wardstream.contracts.codec import to_raw

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Spool:
    """Events waiting to be read in order. A context manager: its file goes when it ends."""

    def __init__(self, shuffle: int | None = None) -> None:
        """`shuffle`: a seed; events then come in an order that depends on it and on the order of insertion alone."""
        self._random = None if shuffle is None else random.Random(shuffle)  # noqa: S311 - an order, not a secret
        self._folder = tempfile.TemporaryDirectory(prefix="wardstream-spool-")
        self._database = sqlite3.connect(Path(self._folder.name) / "spool.sqlite")
        # The file is scratch: no journal, no fsync. Sorting spills to files as well.
        self._database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;"
            "CREATE TABLE spool (place, topic TEXT, body TEXT);"
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, topic: str, event: dict[str, Any]) -> None:
        """Keep one event; its `event_time` (aware) says its place."""
        place = to_raw(event["event_time"]) if self._random is None else self._random.random()
        self._database.execute("INSERT INTO spool VALUES (?, ?, ?)", (place, topic, json.dumps(event, default=_pack)))

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Topic and event, in order."""
        with closing(self._database.cursor()) as rows:
            for topic, body in rows.execute("SELECT topic, body FROM spool ORDER BY place, rowid"):
                yield topic, json.loads(body, object_hook=_unpack)


def _pack(value: Any) -> dict[str, int]:
    return {"time" if isinstance(value, datetime) else "day": to_raw(value)}


def _unpack(packed: dict[str, Any]) -> Any:
    # Events of our sources are flat, so a nested object is always a packed time or day.
    if packed.keys() == {"time"}:
        return _EPOCH + timedelta(microseconds=packed["time"])
    if packed.keys() == {"day"}:
        return date.fromordinal(date(1970, 1, 1).toordinal() + packed["day"])
    return packed
