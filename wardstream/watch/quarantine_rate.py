"""Messages that end in quarantine, by topic: too high a share of the last hour's, or any that wait for too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from wardstream.contracts.model import Contract, load_contracts
from wardstream.database.connection import Connection, beside, connect
from wardstream.settings import Settings
from wardstream.watch.alerts import tell
from wardstream.watch.finding import Finding, Look
from wardstream.watch.quarantine import MOST, all_attended, described, waiting

LEAST_RECEIVED = 20  # of fewer messages, one refused is already a high share
RUNBOOK = "a-message-is-in-quarantine.md"
LIST = "`wardstream quarantine list {topic}` shows reasons and senders"
DISCARD = '`wardstream quarantine discard {topic} --note "…"` once nothing more is to be done about them'


@dataclass(frozen=True)
class Rate:
    """What one topic received in the last hour."""

    topic: str
    received: int
    quarantined: int
    since: datetime | None
    """First commit within the hour that refused a message."""

    @property
    def share(self) -> float:
        """Refused among received; 0 where nothing was received."""
        return self.quarantined / self.received if self.received else 0.0

    @property
    def said(self) -> str:
        """In words."""
        return f"topic {self.topic}: {self.quarantined} of {self.received} messages ({self.share:.1%}) in quarantine"

    def too_high(self, limit: float) -> bool:
        """Whether too many were refused; of a topic with few messages only where all were."""
        return self.quarantined == self.received > 0 or (self.received >= LEAST_RECEIVED and self.share > limit)


def rates(settings: Settings) -> list[Rate]:
    """The last hour of every topic that the ledger knows."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        return _rates(conn)


def _rates(conn: Connection) -> list[Rate]:
    return [Rate(*row) for row in conn.execute(beside(__file__, "quarantine_rate"))]


def _too_many(conn: Connection, contracts: Mapping[str, Contract], rate: Rate, settings: Settings) -> Finding | None:
    if not rate.too_high(settings.alert_quarantine_rate) or rate.since is None:
        return None
    rows = waiting(conn, rate.topic)
    detail = f"; {described(conn, contracts.get(rate.topic), rows)}" if rows else ""
    limit = f"more than {settings.alert_quarantine_rate:.1%} is too many"
    return Finding(
        code=f"quarantine:{rate.topic}",
        said=f"{rate.said} in the last hour; {limit}{detail}",
        since=rate.since,
        runbook=RUNBOOK,
        remedy=LIST.format(topic=rate.topic),
    )


def _unattended(conn: Connection, contracts: Mapping[str, Contract], settings: Settings) -> list[Finding]:
    hours = settings.alert_quarantine_hours
    limit = datetime.now(UTC) - timedelta(hours=hours)
    found = []
    for topic, of_topic in groupby(waiting(conn), key=lambda row: row.topic):
        rows = list(of_topic)
        oldest = min(row.first for row in rows)
        if oldest >= limit:
            continue
        number = sum(row.messages for row in rows)
        count = f"{number} or more" if number >= MOST else str(number)
        said = (
            f"topic {topic}: {count} messages wait in quarantine, the oldest for longer than {hours:g} hours; "
            f"{described(conn, contracts.get(topic), rows)}"
        )
        code = f"quarantine_unattended:{topic}"
        found.append(Finding(code, said, oldest, RUNBOOK, DISCARD.format(topic=topic)))
    return found


def look(settings: Settings) -> Look:
    """Topics of whose messages too many were refused in the last hour, and topics whose refused ones wait too long."""
    contracts = load_contracts(settings.schemas_dir)
    with connect(settings.writer_url, "wardstream alerts") as conn:
        now = _rates(conn)
        high = [_too_many(conn, contracts, rate, settings) for rate in now]
        found = [*(one for one in high if one is not None), *_unattended(conn, contracts, settings)]
        # An hour in which nothing came does not show that the sender is right again; somebody's decision does.
        silent = {f"quarantine:{one.topic}" for one in now if not one.received and not all_attended(conn, one.topic)}
    return Look("quarantine", found, hidden=silent.__contains__)


def check_rates(settings: Settings) -> list[str]:
    """Open or close the alerts; each topic's rate and what waits too long in words, for a log."""
    found = look(settings)
    tell(settings, found)
    high = {one.code: f"{one.said}. What to do: docs/runbooks/{RUNBOOK}" for one in found.found}
    said = [high.pop(f"quarantine:{rate.topic}", f"{rate.said} in the last hour") for rate in rates(settings)]
    return [*said, *high.values()] or ["no topic is in the ledger yet: the stream has not run"]
