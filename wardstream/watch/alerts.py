"""Telling people: one message when something begins to be wrong, none while it stays so, one when it is over.

`ops.alerts` remembers what is open and which channel took which message. Two channels, each where its setting is filled
in: a webhook (JSON by POST) and e-mail. A channel that fails is logged and tried again at the next call, so a message
arrives at least once; it never stops or replaces what is reported. Messages say what, since when, what to type and
which runbook, and never hold patient data, so callers pass codes, counts and names of topics, senders and DAGs only.
What is wrong is not decided here (`wardstream.watch.findings`).
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import Any

from psycopg import sql

from wardstream.database.connection import Connection, beside, connect, scalar
from wardstream.settings import Settings
from wardstream.watch.finding import Look

log = logging.getLogger(__name__)

SEND_SECONDS = 10.0


@dataclass(frozen=True)
class Alert:
    """One message. `until`: when it was over; None while it is not."""

    key: str
    what: str
    runbook: str
    since: datetime
    remedy: str | None = None
    until: datetime | None = None

    @property
    def headline(self) -> str:
        """What is wrong, or that it is over."""
        return self.what if self.until is None else f"Resolved: {self.what}"

    def text(self, settings: Settings) -> str:
        """The whole message."""
        if self.until is not None:
            times = f"from {_clock(self.since, settings)} to {_clock(self.until, settings)}"
            return f"{self.headline}\nLasted: {_span(self.until - self.since)}, {times}"
        runbook = f"docs/runbooks/{self.runbook}"
        what_to_do = f"{self.remedy}\nMore: {runbook}" if self.remedy else runbook
        return f"{self.what}\nSince: {_clock(self.since, settings)}\nWhat to do: {what_to_do}"


def _clock(at: datetime, settings: Settings) -> str:
    """A time in UTC and on the facility's clock."""
    utc, local = at.astimezone(UTC), at.astimezone(settings.zone)
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC ({local:%Y-%m-%d %H:%M:%S %Z}, {settings.facility_timezone})"


def _span(length: timedelta) -> str:
    minutes = max(0, round(length.total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{minutes // 1440} days"


def open_alert(
    settings: Settings,
    key: str,
    what: str,
    since: datetime,
    runbook: str,
    remedy: str | None = None,
    source: str | None = None,
    seen_by: str | None = None,
) -> bool:
    """Remember that something is wrong and tell it once; whether a message went out now.

    Of several callers at once, on whatever host, one sends. psycopg.Error where PostgreSQL does not answer.
    """
    row = {
        **{"key": key, "what": what, "since": since, "runbook": PurePosixPath(runbook).name},
        **{"remedy": remedy, "source": source, "seen_by": seen_by},
    }
    with connect(settings.writer_url, "wardstream alerts") as conn:
        conn.execute(beside(__file__, "open_alert"), row)
        return _deliver(conn, settings, key)


def close_alert(settings: Settings, key: str) -> bool:
    """It is all right again: this is told once, and the next open_alert of this key anew. Whether it was open."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        statement = "UPDATE ops.alerts SET closed_at = clock_timestamp() WHERE key = %s AND closed_at IS NULL"
        was_open = conn.execute(statement, [key]).rowcount > 0
        if was_open:
            _deliver(conn, settings, key)
        return was_open


def tell(settings: Settings, look: Look, run: str | None = None) -> None:
    """One alert for each finding of a look; what it found before and is over is closed. `run`: who looked, in words."""
    for finding in look.found:
        what = f"{finding.said} ({finding.code})" + (f". {run}" if run else "")
        since = finding.since or datetime.now(UTC)
        open_alert(settings, finding.code, what, since, finding.runbook, finding.remedy, look.source, run)
    with connect(settings.writer_url, "wardstream alerts") as conn:
        statement = "SELECT key FROM ops.alerts WHERE source = %s AND closed_at IS NULL ORDER BY key"
        before = [str(key) for (key,) in conn.execute(statement, [look.source])]
    for key in before:
        if look.over(key):
            close_alert(settings, key)


def has_told(settings: Settings, run: str) -> bool:
    """Whether this run has told a finding that is open."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        statement = "SELECT EXISTS (SELECT FROM ops.alerts WHERE seen_by = %s AND closed_at IS NULL)"
        return bool(scalar(conn, statement, [run]))


def send_waiting(settings: Settings) -> list[str]:
    """Try the channels that failed; keys of the alerts for which a message went out now."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        keys = [str(key) for (key,) in conn.execute(beside(__file__, "waiting_alerts"))]
        return [key for key in keys if _deliver(conn, settings, key)]


def _deliver(conn: Connection, settings: Settings, key: str) -> bool:
    """Send what was not sent; each channel in a transaction that holds the alert's row against other callers."""
    channels: list[tuple[str, Callable[[Settings, Alert], None]]] = []
    if settings.alert_webhook_url:
        channels.append(("webhook", _post))
    if settings.alert_email_to:
        channels.append(("email", _mail))
    delivered = False
    for channel, send in channels:
        began, over = sql.Identifier(f"sent_{channel}_at"), sql.Identifier(f"resolved_{channel}_at")
        with conn.transaction():
            # Only who was told that it began is told that it is over.
            query = sql.SQL(
                "SELECT what, runbook, since, remedy, closed_at FROM ops.alerts WHERE key = %s AND CASE"
                " WHEN closed_at IS NULL THEN {began} IS NULL ELSE {began} IS NOT NULL AND {over} IS NULL END"
                " FOR UPDATE"
            ).format(began=began, over=over)
            row = conn.execute(query, [key]).fetchone()
            if row is None:
                continue
            alert = Alert(key, *row)
            if not _sent(settings, alert, send):
                continue
            done = sql.SQL("UPDATE ops.alerts SET {} = clock_timestamp() WHERE key = %s")
            conn.execute(done.format(began if alert.until is None else over), [key])
            delivered = True
    return delivered


def _sent(settings: Settings, alert: Alert, send: Callable[[Settings, Alert], None]) -> bool:
    """Send by one channel; a failure is a warning with its kind alone, since addresses can hold tokens."""
    try:
        send(settings, alert)
    except (OSError, HTTPException, smtplib.SMTPException, ValueError) as error:
        channel = "webhook" if send is _post else "e-mail"
        code = getattr(error, "code", None) or getattr(error, "smtp_code", None) or getattr(error, "errno", None)
        log.warning(
            "alert %s: the %s did not take it (%s%s); it is tried again at the next call",
            alert.key,
            channel,
            type(error).__name__,
            f" {code}" if code else "",
        )
        return False
    return True


def _post(settings: Settings, alert: Alert) -> None:
    url = settings.alert_webhook_url
    if not url.startswith(("http://", "https://")):
        raise ValueError("WARDSTREAM_ALERT_WEBHOOK_URL is no http address")
    body = {
        "text": alert.text(settings),  # the field that chat systems show
        "key": alert.key,
        "what": alert.what,
        "since": alert.since.astimezone(UTC).isoformat(),
        "runbook": alert.runbook,
        "remedy": alert.remedy,
        "state": "open" if alert.until is None else "resolved",
        "until": alert.until and alert.until.astimezone(UTC).isoformat(),
        "source": "wardstream",
    }
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        url, data=json.dumps(body).encode(), method="POST", headers={"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=SEND_SECONDS):
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Following one would send a GET without the message, and its answer would count as a message that went out."""

    def redirect_request(self, *_: Any) -> None:
        """None: the redirection is an HTTPError."""


def _mail(settings: Settings, alert: Alert) -> None:
    message = EmailMessage()
    first_line = alert.headline.splitlines()[0] if alert.what else alert.key
    message["Subject"] = f"[wardstream] {first_line[:150]}"
    message["From"] = settings.alert_email_from
    message["To"] = ", ".join(address.strip() for address in settings.alert_email_to.split(",") if address.strip())
    message.set_content(alert.text(settings))
    with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=SEND_SECONDS) as server:
        if settings.smtp_starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        server.send_message(message)
