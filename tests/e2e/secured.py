"""A Kafka with TLS, client certificates, SCRAM logins and rights, and a registry behind TLS and Basic auth.

The broker is the embedded stack's Kafka with another server.properties, in a process of the test; the registry is the
embedded one with a small proxy before it. All certificates are made here.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from wardstream.kafka.client import Admin
from wardstream.settings import Settings
from wardstream.stack import jars, java

KEY_PASSWORD = "key-password-7f3a"

PROPERTIES = """
process.roles=broker,controller
node.id=1
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
inter.broker.listener.name=SASL_SSL
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
log.cleaner.dedupe.buffer.size=8388608
group.initial.rebalance.delay.ms=0

ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.sasl_ssl.ssl.client.auth=required

# SCRAM's users are in the metadata log, which the controller needs a login for: it has PLAIN
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} required username="broker" password="b" user_broker="b";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required username="broker" password="b";

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:broker;User:admin
"""


def certificates(folder: Path) -> None:
    """ca.pem; server.pem (key and certificate); client.pem, and client.key in the old form, with a password."""
    authority_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    authority = _certificate("Test authority", authority_key, None, None)
    (folder / "ca.pem").write_bytes(_pem(authority))
    for name in ("server", "client"):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issued = _certificate(name, key, authority, authority_key)
        if name == "server":
            plain = serialization.NoEncryption()
            private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
            (folder / "server.pem").write_bytes(private + _pem(issued))
        else:
            (folder / "client.pem").write_bytes(_pem(issued))
            locked = serialization.BestAvailableEncryption(KEY_PASSWORD.encode())
            old = serialization.PrivateFormat.TraditionalOpenSSL
            (folder / "client.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, old, locked))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    name: str, key: rsa.RSAPrivateKey, issuer: x509.Certificate | None, issuer_key: rsa.RSAPrivateKey | None
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(here), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


@contextmanager
def broker(base: Settings, folder: Path, port: int, controller_port: int, users: dict[str, str]) -> Iterator[None]:
    """A running broker with these SCRAM users; `admin` among them may do all, the others nothing yet."""
    modules = "org.apache.kafka.common.security"
    text = PROPERTIES.format(
        port=port,
        controller_port=controller_port,
        data=folder / "data",
        folder=folder,
        plain=f"{modules}.plain.PlainLoginModule",
        scram=f"{modules}.scram.ScramLoginModule",
    )
    (folder / "server.properties").write_text(text)
    (folder / "log4j2.properties").write_text(
        "status=error\nappender.o.type=Console\nappender.o.name=o\nappender.o.layout.type=PatternLayout\n"
        "appender.o.layout.pattern=%d %p %m (%c{1})%n\nrootLogger.level=warn\nrootLogger.appenderRef.o.ref=o\n"
    )
    logging = f"-Dlog4j2.configurationFile={folder}/log4j2.properties"
    command = [*java.command(base), "-Xmx384m", logging, "-cp", jars.classpath(base, "kafka")]
    properties = str(folder / "server.properties")
    cluster = base64.urlsafe_b64encode(b"secured cluster!").decode().rstrip("=")
    scram = [f"--add-scram=SCRAM-SHA-512=[name={u},password={p}]" for u, p in {**users, "broker": "b"}.items()]
    form = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}", "-c", properties, *scram]
    subprocess.run([*command, *form], check=True, capture_output=True)
    with (folder / "broker.log").open("w") as log:
        process = subprocess.Popen([*command, "kafka.Kafka", properties], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


Right = tuple[str, str, str]  # kind of resource, its name (a prefix where it ends with *), operation


def grant(admin_settings: Settings, user: str, rights: list[Right]) -> None:
    """Allow a user this."""
    admin = Admin(admin_settings)
    for future in admin.create_acls([_binding(user, right) for right in rights]).values():
        future.result(timeout=20)


@contextmanager
def without(admin_settings: Settings, user: str, right: Right) -> Iterator[None]:
    """A user who lacks one right for a while."""
    admin = Admin(admin_settings)
    one = _binding(user, right, AclBindingFilter)
    [deleted] = [future.result(timeout=20) for future in admin.delete_acls([one]).values()]
    assert len(deleted) == 1, f"{user} did not have {right}"
    try:
        yield
    finally:
        grant(admin_settings, user, [right])


def _binding(user: str, right: Right, kind_of: type = AclBinding) -> AclBinding:
    kind, name, operation = right
    pattern = ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL
    return kind_of(
        ResourceType[kind],
        name.rstrip("*"),
        pattern,
        f"User:{user}",
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )


@dataclass(frozen=True)
class Behind:
    """What the proxy lets through, and to where."""

    registry: str
    user: str
    password: str


@contextmanager
def proxy(folder: Path, port: int, behind: Behind) -> Iterator[None]:
    """TLS and Basic auth before a registry."""
    expected = "Basic " + base64.b64encode(f"{behind.user}:{behind.password}".encode()).decode()
    target = urlsplit(behind.registry)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != expected:
                self._answer(401, b'{"error_code": 401, "message": "who are you?"}')
                return
            there = http.client.HTTPConnection(str(target.hostname), target.port, timeout=30)
            kept = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
            there.request(self.command, self.path, body or None, kept)
            answer = there.getresponse()
            self._answer(answer.status, answer.read())
            there.close()

        do_GET = do_POST = do_PUT = do_DELETE = _forward

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: object, client_address: object) -> None:
            # the handshake in the connection's own thread: one that never speaks must not hold up the others
            super().finish_request(context.wrap_socket(request, server_side=True), client_address)  # type: ignore[arg-type]

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a handshake that a client refused, which is its test

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def configure(admin_settings: Settings, topic: str, name: str, value: str) -> None:
    """Set one thing of a topic, as its administrator does."""
    admin = Admin(admin_settings)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    asked = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(asked).values():
        future.result(timeout=20)
