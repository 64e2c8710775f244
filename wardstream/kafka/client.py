"""The one place that makes Kafka clients: admin, consumer, producer, and the options of Spark's Kafka source.

Where the broker is and how to log in comes from the settings. A refused login and a broken TLS connection are told by
librdkafka only to its error callback, while calls wait until they time out; here they end the call, in words. A missing
right is named with the user, what it is for, and the right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization

from wardstream.settings import Settings

T = TypeVar("T")

RIGHTS = "docs/kafka-rights.md"
LOGIN_SECONDS = 3.0
"""A broker that dies during a login looks as if it refused it: so long a refusal must stand uncontradicted."""
LATELY_SECONDS = 30.0
"""For how long a refusal explains silence; librdkafka tries again every few seconds."""
_SILENCE = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._MSG_TIMED_OUT)
_NOT_ALLOWED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_CHECK = "check WARDSTREAM_KAFKA_USER, WARDSTREAM_KAFKA_PASSWORD and WARDSTREAM_KAFKA_SASL_MECHANISM"
_CHECK_TLS = "check WARDSTREAM_KAFKA_SECURITY_PROTOCOL, WARDSTREAM_KAFKA_CA_FILE and the certificates"


class KafkaRefused(KafkaException):  # type: ignore[misc]
    """Kafka does not let us in, or not do this; the text says who, what, and where to put it right."""

    def __init__(self, error: KafkaError, text: str) -> None:
        super().__init__(error)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Trouble:
    """What a client's error callback heard last of its connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last: KafkaError | None = None
        self._since = 0.0
        self._refusal: KafkaError | None = None
        self._refused_at = 0.0

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # follows each of the others
            return
        if self._last is None or self._last.code() != error.code():
            self._since = time.monotonic()
        self._last = error
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self._refusal, self._refused_at = error, time.monotonic()

    def refused(self, waiting_since: float) -> KafkaRefused | None:
        """The refusal of a login that has stood long enough to be believed, for somebody who got nothing since then.

        Time by `time.monotonic`. A login that succeeds after all says nothing here, but then answers come.
        """
        is_login = self._last is not None and self._last.code() == KafkaError._AUTHENTICATION
        stands = time.monotonic() - max(self._since, waiting_since)
        return self._in_words() if is_login and stands >= LOGIN_SECONDS else None

    def explained(self, error: KafkaException) -> KafkaException:
        """The error, or what the connection said lately where the error is no more than silence."""
        return (self._in_words() if error.args[0].code() in _SILENCE else None) or error

    def _in_words(self) -> KafkaRefused | None:
        # a connection that closes after the refusal, and is tried again, says other things in between
        if self._refusal is None or time.monotonic() - self._refused_at > LATELY_SECONDS:
            return None
        at = f"Kafka ({self._settings.kafka})"
        if self._refusal.code() == KafkaError._SSL:
            return KafkaRefused(self._refusal, f"no TLS connection to {at}: {_reason(self._refusal)}; {_CHECK_TLS}")
        mechanism = self._settings.kafka_sasl_mechanism
        return KafkaRefused(self._refusal, f"{at} refuses the login of {who(self._settings)} by {mechanism}; {_CHECK}")


def _reason(error: KafkaError) -> str:
    """The part of librdkafka's text that says why, without broker ids, times and OpenSSL's file names."""
    return str(error.str()).rsplit("error:", 1)[-1].split(": ", 1)[-1].split(" (after")[0]


def who(settings: Settings) -> str:
    """The user that the broker sees, for an error."""
    named = settings.kafka_security_protocol.startswith("SASL")
    return f"user {settings.kafka_user}" if named else "this client"


def not_allowed(settings: Settings, error: KafkaError, right: str, on: str) -> KafkaRefused | None:
    """The error in words where a right is missing, such as `Describe` on `topic labs`."""
    if error.code() not in _NOT_ALLOWED:
        return None
    text = f"{who(settings)} lacks the right {right} on {on} at Kafka ({settings.kafka}); {RIGHTS} lists the rights"
    return KafkaRefused(error, text)


class Admin(AdminClient):  # type: ignore[misc]
    """An AdminClient whose answers are awaited with `answer`. Keep it while you wait: its futures die with it."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self._settings = settings
        self._trouble = Trouble(settings)
        quiet = {"socket.timeout.ms": 10_000, "error_cb": self._trouble}
        _made(settings, lambda: AdminClient.__init__(self, {**options_of(settings), **quiet}, **options))

    def answer(self, future: Future[T], right: str, on: str) -> T:
        """What a call of this client gives; KafkaException, KafkaRefused. It ends by the call's own request_timeout.

        `right` is what the call needs `on` something, for the error where it is missing.
        """
        begun = time.monotonic()
        while True:
            try:
                return future.result(timeout=0.1)
            except TimeoutError:
                self.poll(0)
                refused = self._trouble.refused(begun)
                if refused is not None:
                    raise refused from None
            except KafkaException as error:
                self.poll(0)  # what the connection said and nobody has heard yet
                missing = not_allowed(self._settings, error.args[0], right, on)
                raise missing or self._trouble.explained(error) from None


def consumer(settings: Settings, group: str, trouble: Trouble, **options: Any) -> Consumer:
    """A consumer that is told what to read: it commits nothing and is no member of its group."""
    ours = {"group.id": f"{settings.kafka_group}-{group}", "enable.auto.commit": False, "enable.partition.eof": True}
    return _made(settings, lambda: Consumer({**options_of(settings), **ours, "error_cb": trouble, **options}))


def producer(settings: Settings, on_error: Callable[[KafkaError], None], **options: Any) -> Producer:
    """A producer; what it may lose or double is the caller's choice of options."""
    return _made(settings, lambda: Producer({**options_of(settings), "error_cb": on_error, **options}))


def _made(settings: Settings, make: Callable[[], T]) -> T:
    """The client; KafkaRefused where it cannot use the settings, say for a file that is not there."""
    try:
        return make()
    except KafkaException as error:
        said = str(error.args[0].str()).split(": error:")[0]
        raise KafkaRefused(error.args[0], f"the settings for Kafka cannot be used: {said}; {_CHECK_TLS}") from None


def options_of(settings: Settings) -> dict[str, Any]:
    """Where Kafka is and how to log in, for confluent-kafka."""
    options = {
        "bootstrap.servers": settings.kafka,
        "client.id": "wardstream",
        "security.protocol": settings.kafka_security_protocol,
        "log_level": 2,  # what the library would print comes to us as exceptions
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["sasl.username"] = settings.kafka_user
        options["sasl.password"] = settings.kafka_password.get_secret_value()
    if settings.kafka_security_protocol.endswith("SSL"):
        files = {
            "ssl.ca.location": settings.kafka_ca_file,
            "ssl.certificate.location": settings.kafka_certificate_file,
            "ssl.key.location": settings.kafka_key_file,
            "ssl.key.password": settings.kafka_key_password.get_secret_value(),
        }
        options |= {name: value for name, value in files.items() if value}
    return options


def spark_options(settings: Settings) -> dict[str, str]:
    """The same for Spark's Kafka source, whose client is Java's; `REDACTED` keeps what is secret out of its logs."""
    options = {
        "kafka.bootstrap.servers": settings.kafka,
        "kafka.security.protocol": settings.kafka_security_protocol,
        "groupIdPrefix": f"{settings.kafka_group}-spark",
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        options["kafka.sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["kafka.sasl.jaas.config"] = _jaas(settings)
    if settings.kafka_security_protocol.endswith("SSL"):
        if settings.kafka_ca_file:
            options["kafka.ssl.truststore.type"] = "PEM"
            options["kafka.ssl.truststore.location"] = settings.kafka_ca_file
        if settings.kafka_certificate_file:
            options["kafka.ssl.keystore.type"] = "PEM"
            options["kafka.ssl.keystore.certificate.chain"] = Path(settings.kafka_certificate_file).read_text()
            options["kafka.ssl.keystore.key"] = _pkcs8(settings)
    return options


REDACTED = r"(?i)secret|password|token|access[.]?key|jaas|keystore"
"""Names of options that Spark must not show (spark.redaction.regex, spark.sql.redaction.options.regex)."""


def _jaas(settings: Settings) -> str:
    kind = "plain.PlainLoginModule" if settings.kafka_sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
    user, password = _quoted(settings.kafka_user), _quoted(settings.kafka_password.get_secret_value())
    return f"org.apache.kafka.common.security.{kind} required username={user} password={password};"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _pkcs8(settings: Settings) -> str:
    """The private key as Java reads it: PKCS #8, whatever PEM form the file has."""
    password = settings.kafka_key_password.get_secret_value().encode() or None
    key = serialization.load_pem_private_key(Path(settings.kafka_key_file).read_bytes(), password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
