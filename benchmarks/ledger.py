"""What the ledger says of the benchmark's events: when each range of offsets was committed, and what it cost.

A row of ops.ledger_ranges is written by the commit that stores its events, so the time PostgreSQL keeps of that
transaction (track_commit_timestamp) is the moment from which the events can be read. `committed_at` in it is the
transaction's start.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.own_stack import OwnStack
from benchmarks.publish import Extent, Paced

RANGES = """
SELECT r.start_offset, r.end_offset, r.received, r.stored, r.duplicate, r.quarantined, r.commit_seq,
       extract(epoch FROM r.committed_at)::float8,
       extract(epoch FROM pg_xact_commit_timestamp(r.xmin))::float8
FROM ops.ledger_ranges r JOIN ops.ledger l USING (topic_id, partition)
WHERE l.topic = %s AND r.partition = 0 AND r.end_offset > %s AND r.start_offset < %s ORDER BY r.start_offset
"""
REACHED = "SELECT topic, max(next_offset) FROM ops.ledger WHERE partition = 0 GROUP BY topic"
LOOK_SECONDS = 0.2


class TooSlow(RuntimeError):
    """The stream did not commit in the time that was given."""


@dataclass(frozen=True)
class Range:
    """Events of one topic that one transaction committed; times in seconds since 1970."""

    start: int
    end: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    commit_seq: int
    began: float
    committed: float


@dataclass(frozen=True)
class Steady:
    """Speed between the first commit and the last; starting up lies before it."""

    events: int
    seconds: float
    commit_us_per_event: float
    """In which a transaction was open, of all commits; where two were, while one was staged, the time counts once."""

    @property
    def events_per_second(self) -> float:
        """0 where there was one commit only."""
        return self.events / self.seconds if self.seconds else 0.0


def ranges(stack: OwnStack, topic: str, start: int, end: int) -> list[Range]:
    """The committed ranges that hold offsets [start, end)."""
    return [Range(*row) for row in stack.rows(RANGES, topic, start, end)]


def is_reached(stack: OwnStack, extents: Iterable[Extent]) -> bool:
    """Whether all the offsets are committed."""
    reached = dict(stack.rows(REACHED))
    return all(reached.get(extent.topic, 0) >= extent.end for extent in extents)


def wait_for(stack: OwnStack, extents: Sequence[Extent], seconds: float) -> None:
    """Wait until all the offsets are committed."""
    _wait(lambda: is_reached(stack, extents), seconds, f"not all of {extents} is committed")


def wait_for_first(stack: OwnStack, extents: Sequence[Extent], seconds: float) -> None:
    """Wait until any of the offsets is committed."""

    def begun() -> bool:
        reached = dict(stack.rows(REACHED))
        return any(reached.get(extent.topic, 0) > extent.start for extent in extents)

    _wait(begun, seconds, f"nothing of {extents} is committed")


def _wait(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TooSlow(f"after {seconds:.0f} s {otherwise}")
        time.sleep(LOOK_SECONDS)


def steady(found: Sequence[Range]) -> Steady:
    """Speed of a backlog's ranges, of one topic or of several."""
    first = min(one.committed for one in found)
    last = max(one.committed for one in found)
    later = sum(one.received for one in found if one.committed > first)
    events = sum(one.received for one in found)
    return Steady(later, last - first, 1e6 * seconds_of(found) / events)


def seconds_of(found: Sequence[Range]) -> float:
    """Seconds in which a transaction of these was open; several topics can share one, and a batch is staged while the
    one before is committed."""
    seconds = end = 0.0
    for began, committed in sorted((one.began, one.committed) for one in found):
        seconds += max(0.0, committed - max(began, end))
        end = max(end, committed)
    return seconds


def latencies(found: Sequence[Range], paced: Paced, after: float = 0.0) -> list[float]:
    """Milliseconds from produce() to commit of each event, without those of the first `after` seconds.

    ValueError for an event that lies in no range.
    """
    starts = [one.start for one in found]
    begin = min(at for _, at in paced.produced) + after
    result = []
    for offset, at in paced.produced:
        place = bisect.bisect_right(starts, offset) - 1
        if place < 0 or offset >= found[place].end:
            raise ValueError(f"offset {offset} of {paced.topic} is in no range of the ledger")
        if at >= begin:
            result.append(1e3 * (found[place].committed - at))
    return result


def waiting_at_end(found: Sequence[Range], paced: Paced) -> int:
    """How many events were not committed when the last one was produced."""
    end = max(at for _, at in paced.produced)
    late = [one for one in found if one.committed > end]
    return sum(any(one.start <= offset < one.end for one in late) for offset, _ in paced.produced)
