"""A real webhook and a real mail server on this machine, and alerts that go to them."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller

from tests.integration.stack.conftest import free_ports
from wardstream.settings import Settings


@dataclass
class Webhook:
    """What was posted, and what is answered."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    location: str = ""
    slow_seconds: float = 0.0


@dataclass
class Mailbox:
    """What was mailed, and what the server says to it."""

    port: int = 0
    got: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 taken"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.got.append(message_from_bytes(envelope.content, policy=default))
        return self.answer


@contextlib.contextmanager
def serving_webhook() -> Iterator[Webhook]:
    """An HTTP server on a free port."""
    webhook = Webhook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(webhook.slow_seconds)
            if webhook.status < 400:
                webhook.got.append(body)
            self.send_response(webhook.status)
            if webhook.location:
                self.send_header("Location", webhook.location)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    webhook.url = f"http://127.0.0.1:{server.server_port}/hooks/t0ken"
    try:
        yield webhook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def serving_mail(**options: Any) -> Iterator[Mailbox]:
    """An SMTP server on a free port."""
    mailbox = Mailbox()
    [mailbox.port] = free_ports(1)
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **options)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with serving_webhook() as served:
        yield served


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with serving_mail() as served:
        yield served


@pytest.fixture
def quiet(database: Settings) -> Settings:
    """Settings without a channel, and no alert on record."""
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE ops.alerts")
    nothing = {"alert_webhook_url": "", "alert_email_to": "", "facility_timezone": "America/New_York"}
    return database.model_copy(update=nothing)


@pytest.fixture
def told(quiet: Settings, webhook: Webhook, mailbox: Mailbox) -> Settings:
    """Settings with both channels."""
    return quiet.model_copy(
        update={
            "alert_webhook_url": webhook.url,
            "alert_email_to": "on-call@example.org, ward-it@example.org",
            "alert_email_from": "wardstream@example.org",
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_user": "",
            "smtp_starttls": False,
        }
    )


Row = Callable[[str], dict[str, Any]]


@pytest.fixture
def row(quiet: Settings) -> Row:
    """Reads one alert's row."""

    def read(key: str) -> dict[str, Any]:
        with psycopg.connect(quiet.owner_url, row_factory=psycopg.rows.dict_row) as conn:
            found = conn.execute("SELECT * FROM ops.alerts WHERE key = %s", [key]).fetchone()
        assert found is not None
        return found

    return read
