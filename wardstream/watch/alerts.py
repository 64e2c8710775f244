"""Telling people: one message when something begins to be wrong, none while it stays so.

`ops.alerts` remembers what is open and which channel took the message. Two channels, each where its setting is filled
in: a webhook (JSON by POST) and e-mail. A channel that fails is logged and tried again at the next call, so a message
arrives at least once; it never stops or replaces what is reported. Messages say what, since when and which runbook,
and never hold patient data, so callers pass codes, counts and names of topics and DAGs only.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import Any

from psycopg import sql

from wardstream.database.connection import Connection, connect
from wardstream.settings import Settings

log = logging.getLogger(__name__)

SEND_SECONDS = 10.0
OPEN = """
INSERT INTO ops.alerts AS a (key, what, runbook, since, opened_at)
VALUES (%(key)s, %(what)s, %(runbook)s, %(since)s, clock_timestamp())
ON CONFLICT (key) DO UPDATE
SET what = excluded.what, runbook = excluded.runbook, since = excluded.since, opened_at = excluded.opened_at,
    closed_at = NULL, sent_webhook_at = NULL, sent_email_at = NULL
WHERE a.closed_at IS NOT NULL
"""


@dataclass(frozen=True)
class Alert:
    """One message."""

    key: str
    what: str
    runbook: str
    since: datetime

    def since_text(self, settings: Settings) -> str:
        """Since when, in UTC and on the facility's clock."""
        utc, local = self.since.astimezone(UTC), self.since.astimezone(settings.zone)
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC ({local:%Y-%m-%d %H:%M:%S %Z}, {settings.facility_timezone})"

    def text(self, settings: Settings) -> str:
        """The whole message."""
        return f"{self.what}\nSince: {self.since_text(settings)}\nWhat to do: docs/runbooks/{self.runbook}"


def open_alert(settings: Settings, key: str, what: str, since: datetime, runbook: str) -> bool:
    """Remember that something is wrong and tell it once; whether a message went out now.

    Of several callers at once, on whatever host, one sends. psycopg.Error where PostgreSQL does not answer.
    """
    row = {"key": key, "what": what, "since": since, "runbook": PurePosixPath(runbook).name}
    with connect(settings.writer_url, "wardstream alerts") as conn:
        conn.execute(OPEN, row)
        return _deliver(conn, settings, key)


def close_alert(settings: Settings, key: str) -> bool:
    """It is all right again: the next open_alert of this key is told anew. Whether it was open."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        statement = "UPDATE ops.alerts SET closed_at = clock_timestamp() WHERE key = %s AND closed_at IS NULL"
        return conn.execute(statement, [key]).rowcount > 0


def send_waiting(settings: Settings) -> list[str]:
    """Try the channels that failed for alerts that are still open; keys of those for which a message went out now."""
    with connect(settings.writer_url, "wardstream alerts") as conn:
        keys = [str(row[0]) for row in conn.execute("SELECT key FROM ops.alerts WHERE closed_at IS NULL ORDER BY key")]
        return [key for key in keys if _deliver(conn, settings, key)]


def _deliver(conn: Connection, settings: Settings, key: str) -> bool:
    """Send what was not sent; each channel in a transaction that holds the alert's row against other callers."""
    channels: list[tuple[str, Callable[[Settings, Alert], None]]] = []
    if settings.alert_webhook_url:
        channels.append(("sent_webhook_at", _post))
    if settings.alert_email_to:
        channels.append(("sent_email_at", _mail))
    delivered = False
    for column, send in channels:
        name = sql.Identifier(column)
        with conn.transaction():
            query = sql.SQL(
                "SELECT what, runbook, since FROM ops.alerts"
                " WHERE key = %s AND closed_at IS NULL AND {} IS NULL FOR UPDATE"
            ).format(name)
            row = conn.execute(query, [key]).fetchone()
            if row is None or not _sent(settings, Alert(key, *row), send):
                continue
            conn.execute(sql.SQL("UPDATE ops.alerts SET {} = clock_timestamp() WHERE key = %s").format(name), [key])
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
    first_line = alert.what.splitlines()[0] if alert.what else alert.key
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
