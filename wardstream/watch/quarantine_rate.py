"""The share of messages that end in quarantine, by topic, over the last hour; too high a share is an alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wardstream.database.connection import beside, connect
from wardstream.settings import Settings
from wardstream.watch.alerts import close_alert, open_alert

LEAST_RECEIVED = 20  # of fewer messages, one refused is already a high share
RUNBOOK = "a-message-is-in-quarantine.md"


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


def rates(settings: Settings) -> list[Rate]:
    """The last hour of every topic that the ledger knows."""
    text = beside(__file__, "quarantine_rate")
    with connect(settings.writer_url, "wardstream alerts") as conn:
        return [Rate(*row) for row in conn.execute(text)]


def check_rates(settings: Settings) -> list[str]:
    """Open or close each topic's alert; the rates in words, for a log."""
    said = []
    for rate in rates(settings):
        key = f"quarantine:{rate.topic}"
        high = rate.received >= LEAST_RECEIVED and rate.share > settings.alert_quarantine_rate
        if high and rate.since is not None:
            what = f"{rate.said} in the last hour; more than {settings.alert_quarantine_rate:.1%} is too many"
            open_alert(settings, key, what, rate.since, RUNBOOK)
            said.append(f"{what}. What to do: docs/runbooks/{RUNBOOK}")
        else:
            close_alert(settings, key)
            said.append(f"{rate.said} in the last hour")
    return said or ["no topic is in the ledger yet: the stream has not run"]
