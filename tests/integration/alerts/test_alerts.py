"""One message when it begins, by a webhook and a mail server that are real, and what happens when one is away."""

import logging
import multiprocessing
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import psycopg
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.alerts.conftest import Mailbox, Row, Webhook, serving_mail
from tests.integration.stack.conftest import free_ports
from wardstream.settings import Settings
from wardstream.watch.alerts import close_alert, open_alert, send_waiting

KEY = "dag:some_dag"
WHAT = "DAG some_dag failed in task build, run r1"
SINCE = datetime(2026, 3, 8, 6, 59, 30, tzinfo=UTC)  # a minute before New York's clocks go forward
RUNBOOK = "a-dag-failed.md"


def _open(settings: Settings, key: str = KEY, what: str = WHAT) -> bool:
    return open_alert(settings, key, what, SINCE, RUNBOOK)


def test_both_channels_say_what_since_when_and_which_runbook(told: Settings, webhook: Webhook, mailbox: Mailbox):
    assert _open(told)
    [posted], [mail] = webhook.got, mailbox.got
    assert {name: posted[name] for name in ("key", "what", "since", "runbook", "source")} == {
        "key": KEY,
        "what": WHAT,
        "since": "2026-03-08T06:59:30+00:00",
        "runbook": RUNBOOK,
        "source": "wardstream",
    }
    assert posted["text"].splitlines() == [
        WHAT,
        "Since: 2026-03-08 06:59:30 UTC (2026-03-08 01:59:30 EST, America/New_York)",
        "What to do: docs/runbooks/a-dag-failed.md",
    ]
    assert mail.get_content().splitlines() == posted["text"].splitlines()
    assert mail["Subject"] == f"[wardstream] {WHAT}"
    assert mail["To"] == "on-call@example.org, ward-it@example.org"
    assert mail["From"] == "wardstream@example.org"


def test_it_is_said_once_while_it_is_open_and_anew_after_it_was_closed(
    told: Settings, webhook: Webhook, mailbox: Mailbox, row: Row
):
    assert [_open(told), _open(told), _open(told, what="DAG some_dag failed in task report, run r2")] == [
        True,
        False,
        False,
    ]
    assert len(webhook.got) == len(mailbox.got) == 1
    assert row(KEY)["what"] == WHAT  # what people were told
    assert close_alert(told, KEY) and not close_alert(told, KEY)
    assert row(KEY)["closed_at"] is not None
    assert _open(told, what="DAG some_dag failed in task report, run r9")
    assert [(posted["what"][-2:], posted["state"]) for posted in webhook.got] == [
        ("r1", "open"),
        ("r1", "resolved"),
        ("r9", "open"),
    ]
    assert len(mailbox.got) == 3
    assert close_alert(told, KEY)  # the second end is told like the first
    assert [posted["state"] for posted in webhook.got][3:] == ["resolved"] and len(mailbox.got) == 4


def test_when_it_is_over_this_is_said_with_how_long_it_took(told: Settings, webhook: Webhook, mailbox: Mailbox):
    began = datetime.now(UTC) - timedelta(hours=3, minutes=12)
    open_alert(told, KEY, WHAT, began, RUNBOOK, remedy="`wardstream up`")
    assert webhook.got[0]["text"].splitlines()[2:] == [
        "What to do: `wardstream up`",
        "More: docs/runbooks/a-dag-failed.md",
    ]
    close_alert(told, KEY)
    [opened, over], mails = webhook.got, mailbox.got
    assert (opened["state"], opened["until"]) == ("open", None) and over["state"] == "resolved"
    assert over["since"] == opened["since"] and over["until"] > over["since"]
    first, second = over["text"].splitlines()
    assert first == f"Resolved: {WHAT}" and second.startswith(f"Lasted: 3 h 12 min, from {began:%Y-%m-%d %H:%M:%S} UTC")
    assert mails[1]["Subject"] == f"[wardstream] Resolved: {WHAT}"
    assert send_waiting(told) == [] and len(webhook.got) == 2


def test_that_it_is_over_is_told_at_least_once_to_those_who_know_that_it_began(
    told: Settings, webhook: Webhook, mailbox: Mailbox
):
    mailbox.answer = "451 later"
    assert _open(told)  # the webhook took it, the mail server did not
    webhook.status = 503
    close_alert(told, KEY)
    mailbox.answer = "250 taken"
    assert send_waiting(told) == [] and not mailbox.got
    webhook.status = 200
    assert send_waiting(told) == [KEY] and send_waiting(told) == []
    assert [posted["state"] for posted in webhook.got] == ["open", "resolved"]


def test_what_begins_again_before_its_end_was_told_is_open(told: Settings, webhook: Webhook):
    assert _open(told)
    webhook.status = 503
    close_alert(told, KEY)
    webhook.status = 200
    assert _open(told) and send_waiting(told) == []
    assert [posted["state"] for posted in webhook.got] == ["open", "open"]


def test_that_it_was_over_long_ago_is_no_news(told: Settings, webhook: Webhook, mailbox: Mailbox):
    assert _open(told)
    webhook.status, mailbox.answer = 503, "451 later"
    close_alert(told, KEY)
    webhook.status, mailbox.answer = 200, "250 taken"
    with psycopg.connect(told.owner_url, autocommit=True) as conn:
        conn.execute("UPDATE ops.alerts SET closed_at = now() - interval '25 hours'")
    assert send_waiting(told) == [] and len(webhook.got) == len(mailbox.got) == 1


def test_the_migration_tells_nobody_of_what_was_over_long_ago(told: Settings, webhook: Webhook, mailbox: Mailbox):
    _open(told)
    with psycopg.connect(told.owner_url, autocommit=True) as conn:
        folder = told.sql_dir / "migrations"
        conn.execute((folder / "0023.alerts-by-finding.rollback.sql").read_bytes())
        conn.execute("UPDATE ops.alerts SET closed_at = now()")
        conn.execute("INSERT INTO ops.alerts VALUES ('dag:stream_reconcile_dag', 'x', 'y', now(), now(), NULL, now())")
        conn.execute((folder / "0023.alerts-by-finding.sql").read_bytes())
    assert send_waiting(told) == [] and len(webhook.got) == len(mailbox.got) == 1


def test_two_keys_are_two_messages(told: Settings, webhook: Webhook):
    assert _open(told, "quarantine:labs") and _open(told, "quarantine:admissions")
    close_alert(told, "quarantine:labs")
    assert not _open(told, "quarantine:admissions")
    opened = [posted["key"] for posted in webhook.got if posted["state"] == "open"]
    assert opened == ["quarantine:labs", "quarantine:admissions"]


def test_with_no_channel_it_is_remembered_and_nothing_is_sent(quiet: Settings, row: Row):
    assert not _open(quiet)
    assert row(KEY)["closed_at"] is row(KEY)["sent_webhook_at"] is row(KEY)["sent_email_at"] is None


def test_a_channel_that_failed_is_tried_again_and_the_other_is_not_repeated(
    told: Settings, webhook: Webhook, mailbox: Mailbox, row: Row, caplog: pytest.LogCaptureFixture
):
    webhook.status, mailbox.answer = 503, "250 taken"
    with caplog.at_level(logging.WARNING):
        assert _open(told)  # the mail went out
    assert "webhook did not take it (HTTPError 503)" in caplog.text
    assert "t0ken" not in caplog.text
    assert (len(webhook.got), len(mailbox.got)) == (0, 1)
    assert row(KEY)["sent_webhook_at"] is None and row(KEY)["sent_email_at"] is not None
    webhook.status = 200
    assert _open(told) and not _open(told)
    assert (len(webhook.got), len(mailbox.got)) == (1, 1)


def test_a_mail_server_that_is_away_or_refuses_is_tried_again_later(
    told: Settings, webhook: Webhook, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
):
    away = told.model_copy(update={"smtp_port": free_ports(1)[0]})
    assert _open(away)
    assert "e-mail did not take it (ConnectionRefusedError" in caplog.text
    mailbox.answer = "554 not you"
    assert send_waiting(told) == []
    assert "e-mail did not take it (SMTPDataError 554)" in caplog.text
    mailbox.answer = "250 taken"
    assert send_waiting(told) == [KEY] and send_waiting(told) == []
    assert (len(webhook.got), len(mailbox.got)) == (1, 1)


def test_a_redirected_webhook_is_not_taken_for_one_that_took_the_message(
    told: Settings, webhook: Webhook, row: Row, caplog: pytest.LogCaptureFixture
):
    """A redirection of a POST becomes a GET without the message, and any page would answer it with 200."""
    webhook.status, webhook.location = 302, webhook.url
    assert _open(told)  # the mail went out
    assert "webhook did not take it (HTTPError 302)" in caplog.text
    assert row(KEY)["sent_webhook_at"] is None


def test_what_was_closed_before_it_could_be_sent_is_not_sent(told: Settings, webhook: Webhook, mailbox: Mailbox):
    webhook.status, mailbox.answer = 500, "451 later"
    assert not _open(told)
    close_alert(told, KEY)
    webhook.status, mailbox.answer = 200, "250 taken"
    assert send_waiting(told) == [] and not webhook.got and not mailbox.got


@pytest.mark.parametrize("address", ["file:///etc/hostname", "hooks.example.org", "http://127.0.0.1:1/"])
def test_an_address_that_cannot_work_is_a_warning_and_no_error(
    quiet: Settings, address: str, caplog: pytest.LogCaptureFixture
):
    assert not _open(quiet.model_copy(update={"alert_webhook_url": address}))
    assert "webhook did not take it" in caplog.text and address not in caplog.text


def test_several_lines_make_one_subject(told: Settings, mailbox: Mailbox):
    _open(told, what="The stream is not as asked for\nsecond line: lag")
    [mail] = mailbox.got
    assert mail["Subject"] == "[wardstream] The stream is not as asked for"
    assert "second line: lag" in mail.get_content()


def test_the_mail_server_may_want_a_login(told: Settings):
    seen = []

    def authenticate(*arguments: object) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        seen.append((login.login, login.password))
        return AuthResult(success=login.password == b"s3cret", handled=False)

    with serving_mail(authenticator=authenticate, auth_required=True, auth_require_tls=False) as mailbox:
        login = {"smtp_port": mailbox.port, "smtp_user": "ward", "alert_webhook_url": ""}
        right, wrong = (type(told.smtp_password)(word) for word in ("s3cret", "guess"))
        assert not _open(told.model_copy(update={**login, "smtp_password": wrong}))
        assert _open(told.model_copy(update={**login, "smtp_password": right}))
        assert len(mailbox.got) == 1
    assert seen[-1] == (b"ward", b"s3cret")


def test_starttls_is_asked_for_and_a_server_without_it_gets_nothing(
    told: Settings, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
):
    _open(told.model_copy(update={"smtp_starttls": True}))
    assert mailbox.got == [] and "SMTPNotSupportedError" in caplog.text


def _certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail server of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file = folder / "mail.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem),
    )
    return file


def test_a_mail_server_with_a_certificate_gets_it_encrypted_if_the_certificate_is_trusted(
    told: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    file = _certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    with serving_mail(tls_context=context, require_starttls=True) as mailbox:
        encrypted = told.model_copy(update={"smtp_port": mailbox.port, "smtp_starttls": True, "alert_webhook_url": ""})
        assert not _open(encrypted)
        assert "SSLCertVerificationError" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert _open(encrypted) and len(mailbox.got) == 1


def _in_a_process(settings: Settings, begin: object, sent: object) -> None:
    begin.wait()  # type: ignore[attr-defined]
    sent.put(_open(settings))  # type: ignore[attr-defined]


def test_of_callers_at_once_one_sends(told: Settings, webhook: Webhook, mailbox: Mailbox):
    webhook.slow_seconds = 0.3
    context = multiprocessing.get_context("spawn")
    begin, sent = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_in_a_process, args=(told, begin, sent)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = [sent.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert (len(webhook.got), len(mailbox.got)) == (1, 1)
    assert any(answers)


def test_the_bi_role_sees_no_alert(told: Settings):
    with psycopg.connect(told.bi_url) as bi, pytest.raises(psycopg.errors.InsufficientPrivilege):
        bi.execute("SELECT * FROM ops.alerts")
