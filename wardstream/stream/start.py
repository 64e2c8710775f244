"""Where a stream begins: the ledger's offsets, checked against what the broker has now.

Spark's checkpoint is never a source of truth; `Start.planned` only reads from it what Spark has planned for a batch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from wardstream.database.connection import Connection
from wardstream.database.locks import lock_commits
from wardstream.kafka.broker import Broker, Extent, Partition
from wardstream.stream.commit import BrokerChanged, Slice
from wardstream.stream.gaps import losses
from wardstream.stream.lag import read_ledger

BLOCKED_RUNBOOK = "docs/runbooks/the-stream-is-blocked.md"


@dataclass(frozen=True)
class Start:
    """One query's topics, their ids, the first offset of each partition, Spark's scratch folder, and the most
    events of a batch."""

    topics: tuple[str, ...]
    topic_ids: Mapping[str, str]
    offsets: Mapping[Partition, int]
    checkpoint: Path
    max_offsets: int = 50_000

    @property
    def starting_offsets(self) -> str:
        """Spark's startingOffsets: JSON that names every partition."""
        return json.dumps({t: {str(p): o for (at, p), o in self.offsets.items() if at == t} for t in self.topics})

    def planned(self, batch_id: int, broker: Broker) -> list[Slice]:
        """The slices Spark planned for a batch, from its offset log; an unmoved partition has none.

        A partition that appeared since the batch before starts where the broker's log begins.
        """
        ends = self._logged(batch_id)
        starts = self._logged(batch_id - 1) if batch_id else dict(self.offsets)
        if ends.keys() - starts.keys():
            begins = {(e.topic, e.partition): e.start for e in broker.extents()}
            starts |= {at: begins[at] for at in ends.keys() - starts.keys()}
        return [
            Slice(topic, self.topic_ids[topic], partition, starts[topic, partition], end)
            for (topic, partition), end in sorted(ends.items())
            if end > starts[topic, partition]
        ]

    def _logged(self, batch_id: int) -> dict[Partition, int]:
        # The log's third line is the end of the one source: {topic: {partition: offset}}.
        lines = (self.checkpoint / "offsets" / str(batch_id)).read_text().splitlines()
        return {(t, int(p)): int(o) for t, partitions in json.loads(lines[2]).items() for p, o in partitions.items()}


def open_ledger(conn: Connection, extents: list[Extent], over: Set[Partition] = frozenset()) -> dict[Partition, int]:
    """The first offset to read of every partition the broker lists; new partitions enter the ledger.

    Raises BrokerChanged where a topic was recreated, where the ledger's offset is not within the broker's log, and
    for the partitions of `over` (`gaps.written_over`): something is lost, and only a person may decide to go on.
    """
    with conn.transaction():
        lock_commits(conn)
        for extent in extents:
            conn.execute(
                "INSERT INTO ops.ledger (topic_id, partition, topic, next_offset) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [extent.topic_id, extent.partition, extent.topic, extent.start],
            )
        lost = losses(conn, extents, over)
        if lost:
            raise BrokerChanged("; ".join(map(str, lost)) + f"; see {BLOCKED_RUNBOOK}")
        ledger = read_ledger(conn)
    return {(e.topic, e.partition): ledger[e.topic_id, e.partition] for e in extents}


def check_drain(drain_to: Mapping[str, Mapping[str, int]] | None, extents: list[Extent]) -> None:
    """BrokerChanged where a drain was asked for up to what the broker no longer has: it could never be done.

    As with a topic that was recreated since, or whose data was restored to an older state.
    """
    ends = {(e.topic_id, e.partition): e.end for e in extents}
    wanted = {(i, int(p)): end for i, partitions in (drain_to or {}).items() for p, end in partitions.items()}
    gone = [f"topic id {i} partition {p} offset {end}" for (i, p), end in wanted.items() if ends.get((i, p), -1) < end]
    if gone:
        raise BrokerChanged(
            f"a drain was asked for up to {', '.join(sorted(gone))}, which the broker no longer has: ask again with"
            " `wardstream stream drain` or `wardstream stream start`"
        )


def fresh_folder(folder: Path) -> Path:
    """An empty folder at this path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
