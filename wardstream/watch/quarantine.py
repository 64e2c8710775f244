"""What waits in quarantine for somebody's decision: counted, told apart by sender, and discarded by a person.

Nothing is ever deleted from ops.quarantine: a row is the account of its offset, and verify counts it. Discarding says
that nothing more is to be done about a message. The values of messages are decoded for the name of the sending system
alone, which the contracts class as internal; nothing else of them leaves this module.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord, Decoder, split
from wardstream.contracts.model import Contract
from wardstream.database.connection import Connection, beside, connect, scalar
from wardstream.settings import Settings

MOST = 10_000
"""So many messages of a topic are counted, the oldest ones."""
DECODED = 200
"""So many messages of a topic are decoded for their senders, the newest ones."""
SHOWN = 5
# The identifier of a system, not a text that was put into the wrong field.
_SYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,39}")
OTHER = "(no name of a system)"


class QuarantineError(ValueError):
    """What was asked for names nothing in quarantine."""


@dataclass(frozen=True)
class Waiting:
    """Messages of one topic, refused for one reason under one schema id, that nobody has decided about."""

    topic: str
    reason: str
    schema_id: int | None
    messages: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Sender:
    """A sending system, its messages, and by how many seconds its clock was ahead where they were refused for that."""

    name: str
    messages: int
    ahead: float | None

    def __str__(self) -> str:
        if self.ahead is None:
            return f"{self.name} ({self.messages})"
        hours, minutes = divmod(round(self.ahead / 60), 60)
        clock = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        return f"{self.name} ({self.messages}, its clock is {clock} ahead)"


@dataclass(frozen=True)
class Chosen:
    """Which messages of a topic are meant; None: all."""

    topic: str
    reason: str | None = None
    before: datetime | None = None
    partition: int | None = None
    offsets: tuple[int, int] | None = None


def waiting(conn: Connection, topic: str | None = None) -> list[Waiting]:
    """All of it, by topic; the most frequent reason first."""
    return [Waiting(*row) for row in conn.execute(beside(__file__, "quarantine_open"), {"topic": topic, "most": MOST})]


def senders(conn: Connection, contract: Contract) -> list[Sender]:
    """Who sent what is in quarantine, of the newest messages that can be decoded with a schema that is deployed."""
    deployed = {fingerprint(schema): schema for schema in contract.versions.values()}
    decoders: dict[int, Decoder] = {}
    counts: Counter[str] = Counter()
    ahead: dict[str, list[float]] = {}
    asked = {"topic": contract.topic, "most": DECODED}
    for value, reason, broker_time, meaning in conn.execute(beside(__file__, "quarantine_values"), asked):
        if meaning not in deployed:
            continue
        try:
            if meaning not in decoders:
                decoders[meaning] = Decoder(deployed[meaning])
            event = decoders[meaning].decode(split(value)[1])
        except BadRecord:
            continue
        source = event.get("source")
        name = source if isinstance(source, str) and _SYSTEM.fullmatch(source) else OTHER
        counts[name] += 1
        if reason == "clock_ahead":
            ahead.setdefault(name, []).append(event["recorded_at"] / 1e6 - broker_time.timestamp())
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [Sender(name, number, median(ahead[name]) if name in ahead else None) for name, number in ordered]


def described(conn: Connection, contract: Contract | None, rows: list[Waiting]) -> str:
    """Reasons, schema ids and senders of a topic's messages in words, each with its count."""
    reasons: Counter[str] = Counter()
    schemas: Counter[str] = Counter()
    for row in rows:
        reasons[row.reason] += row.messages
        schemas["none" if row.schema_id is None else str(row.schema_id)] += row.messages
    parts = [f"reasons: {_listed(reasons)}", f"schema ids: {_listed(schemas)}"]
    sent = senders(conn, contract) if contract is not None else []
    if sent:
        of = f" of the newest {DECODED}" if sum(reasons.values()) > DECODED else ""
        parts.append(f"senders{of}: {', '.join(map(str, sent[:SHOWN]))}" + (", …" if len(sent) > SHOWN else ""))
    return "; ".join(parts)


def _listed(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{name} ({number})" for name, number in ordered[:SHOWN]]
    return ", ".join(shown) + (", …" if len(counts) > SHOWN else "")


def discard(settings: Settings, chosen: Chosen, by: str, note: str) -> int:
    """Mark the chosen messages; how many were not marked before.

    As the owner: for the stream's own role, quarantine is append-only.
    """
    with connect(settings.owner_url, "wardstream quarantine") as conn, conn.transaction():
        partitions = [
            p
            for (p,) in conn.execute(
                "SELECT DISTINCT partition FROM ops.quarantine WHERE topic = %s ORDER BY partition", [chosen.topic]
            )
        ]
        if not partitions:
            raise QuarantineError(
                f"no message of topic {chosen.topic} is in quarantine; `wardstream quarantine list` shows what is"
            )
        if chosen.offsets and chosen.partition is None and len(partitions) > 1:
            raise QuarantineError(
                f"topic {chosen.topic} has messages of partitions {', '.join(map(str, partitions))} in quarantine;"
                " --offsets needs --partition"
            )
        first, last = chosen.offsets or (None, None)
        asked = {
            **{"topic": chosen.topic, "reason": chosen.reason, "before": chosen.before, "partition": chosen.partition},
            **{"first": first, "last": last, "by": by, "note": note},
        }
        return conn.execute(beside(__file__, "discard"), asked).rowcount


def all_attended(conn: Connection, topic: str) -> bool:
    """Whether nothing of this topic waits in quarantine."""
    query = "SELECT NOT EXISTS (SELECT FROM ops.quarantine WHERE topic = %s AND discarded_at IS NULL)"
    return bool(scalar(conn, query, [topic]))
