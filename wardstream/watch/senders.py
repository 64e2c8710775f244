"""A sender that has fallen silent, by its own rhythm: while another one sends to the topic, nothing else shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wardstream.database.connection import beside, connect
from wardstream.settings import Settings
from wardstream.stream.turn import STREAM
from wardstream.watch.finding import Finding, Look

SOURCE = "senders"
RUNBOOK = "a-sender-is-silent.md"


def look(settings: Settings) -> Look:
    """One finding for each sender and topic; over when it sends again."""
    asked = {"hours": settings.alert_silent_hours, "stream": STREAM}
    with connect(settings.writer_url, "wardstream alerts") as conn:
        rows = conn.execute(beside(__file__, "silent_senders"), asked).fetchall()
    found = [(_silent(topic, source, last_at, pause), known) for topic, source, last_at, pause, known in rows]
    # While the stream stands still nobody knows what has been sent: nothing is told, and nothing is over.
    unknown = {one.code for one, known in found if not known}
    return Look(SOURCE, [one for one, known in found if known], hidden=unknown.__contains__)


def _silent(topic: str, source: str, last_at: datetime, pause: timedelta) -> Finding:
    said = (
        f"topic {topic}: nothing from sender {source} since {last_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC;"
        f" of late it paused for {_long(pause)} at most"
    )
    remedy = f"ask who runs {source}; `wardstream quarantine list {topic}` shows whether its messages are refused"
    return Finding(f"silent:{topic}/{source}", said, last_at, RUNBOOK, remedy, red=False)


def _long(pause: timedelta) -> str:
    hours = pause.total_seconds() / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
