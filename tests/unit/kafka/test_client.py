"""The client factory: it is the only one, and what it makes of the settings."""

import pickle
import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr, ValidationError

from wardstream.kafka import client
from wardstream.kafka.client import REDACTED, KafkaRefused, Trouble, options_of, spark_options
from wardstream.registry.client import Access, SchemaSource
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.access import shell_variables
from wardstream.stack.env import redact

OURS = "wardstream/kafka/client.py"
MAKES_A_CLIENT = {
    r"\b(Admin|AdminClient|Consumer|Producer|SerializingProducer|DeserializingConsumer)\(\{": OURS,
    r"\bfrom confluent_kafka import .*\b(Consumer|Producer)\b": OURS,
    r"\bAdminClient\b": OURS,
    r"kafka\.bootstrap\.servers|\"bootstrap\.servers\"": OURS,
    r"\bSchemaRegistryClient\(": "wardstream/registry/client.py",
}


@pytest.mark.parametrize("makes", MAKES_A_CLIENT)
def test_clients_are_made_in_one_place(makes: str):
    files = [path for folder in ("wardstream", "spark_jobs", "dags") for path in (PROJECT_ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(PROJECT_ROOT)) for path in files if re.search(makes, path.read_text())}
    assert found == {MAKES_A_CLIENT[makes]}


def secured(**changes: object) -> Settings:
    chosen = {
        "kafka_bootstrap_servers": "k1:9093,k2:9093",
        "kafka_security_protocol": "SASL_SSL",
        "kafka_user": "ward",
        "kafka_password": 'p"a\\ss',
        **changes,
    }
    return Settings(**chosen)  # type: ignore[arg-type]


def test_without_tls_and_login_nothing_is_said_of_either():
    plain = Settings(kafka_bootstrap_servers="k:9092")
    assert {name for name in options_of(plain) if name.startswith(("ssl", "sasl"))} == set()
    assert spark_options(plain).keys() == {"kafka.bootstrap.servers", "kafka.security.protocol", "groupIdPrefix"}


@pytest.mark.parametrize(("mechanism", "module"), [("PLAIN", "plain.Plain"), ("SCRAM-SHA-256", "scram.Scram")])
def test_a_login_for_both_libraries(mechanism: str, module: str):
    settings = secured(kafka_sasl_mechanism=mechanism, kafka_security_protocol="SASL_PLAINTEXT")
    ours = options_of(settings)
    assert (ours["sasl.mechanism"], ours["sasl.username"], ours["sasl.password"]) == (mechanism, "ward", 'p"a\\ss')
    sparks = spark_options(settings)
    assert sparks["kafka.sasl.mechanism"] == mechanism
    assert sparks["kafka.sasl.jaas.config"] == (
        f'org.apache.kafka.common.security.{module}LoginModule required username="ward" password="p\\"a\\\\ss";'
    )
    assert not any(name.startswith("ssl") for name in ours)


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_client_certificate_in_the_form_that_java_reads(tmp_path: Path, form: str):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    locked = serialization.BestAvailableEncryption(b"key-secret")
    kind = getattr(serialization.PrivateFormat, form)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, locked))
    (tmp_path / "cert.pem").write_text("certificate")
    settings = secured(
        kafka_ca_file=str(tmp_path / "ca.pem"),
        kafka_certificate_file=str(tmp_path / "cert.pem"),
        kafka_key_file=str(tmp_path / "key.pem"),
        kafka_key_password="key-secret",
    )
    ours = options_of(settings)
    assert ours["ssl.key.location"] == str(tmp_path / "key.pem") and ours["ssl.key.password"] == "key-secret"
    sparks = spark_options(settings)
    assert sparks["kafka.ssl.truststore.location"] == str(tmp_path / "ca.pem")
    assert sparks["kafka.ssl.keystore.certificate.chain"] == "certificate"
    assert sparks["kafka.ssl.keystore.key"].startswith("-----BEGIN PRIVATE KEY-----\n")


def test_spark_is_told_to_hide_every_secret_of_its_options(tmp_path: Path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    none = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
    (tmp_path / "key.pem").write_bytes(pem)
    here = str(tmp_path / "key.pem")
    options = spark_options(secured(kafka_key_file=here, kafka_certificate_file=here))
    secret = {name for name, value in options.items() if "PRIVATE KEY" in value or "p\\" in value}
    assert secret == {name for name in options if re.search(REDACTED, name)} - {"kafka.ssl.keystore.type"}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"kafka_security_protocol": "SSL"}, "set KAFKA_BOOTSTRAP_SERVERS"),
        ({"kafka_bootstrap_servers": "k:1", "kafka_security_protocol": "SASL_SSL"}, "needs a user"),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "SCRAM-SHA-512"),
    ],
)
def test_settings_that_cannot_work_are_refused(chosen: dict[str, str], said: str):
    with pytest.raises(ValidationError, match=said):
        Settings(**chosen)  # type: ignore[arg-type]


def test_only_a_refusal_that_stands_ends_a_wait(monkeypatch: pytest.MonkeyPatch):
    """A broker that dies during a login looks the same for a moment."""
    clock = 100.0
    monkeypatch.setattr("wardstream.kafka.client.time.monotonic", lambda: clock)
    trouble = Trouble(secured())
    silence = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    assert trouble.explained(silence) is silence
    trouble(KafkaError(KafkaError._AUTHENTICATION))
    trouble(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert trouble.refused(0.0) is None
    clock += client.LOGIN_SECONDS
    assert "refuses the login of user ward by SCRAM-SHA-512" in str(trouble.refused(0.0))
    assert trouble.refused(clock - 1) is None, "answers came since: the next login was not refused"
    assert isinstance(trouble.explained(silence), KafkaRefused)
    other = KafkaException(KafkaError(KafkaError.INVALID_CONFIG))
    assert trouble.explained(other) is other, "not silence: it says more than the connection"
    trouble(KafkaError(KafkaError._TRANSPORT))
    assert trouble.refused(0.0) is None, "tried again, for another reason"
    assert isinstance(trouble.explained(silence), KafkaRefused), "between two attempts"
    clock += client.LATELY_SECONDS + 1
    assert trouble.explained(silence) is silence


USERINFO = "https://clinic:s%40fe@registry.example/apis/ccompat/v7/"


def test_user_and_password_within_the_registrys_url_are_sent_and_never_shown():
    settings = Settings(schema_registry_url=USERINFO)
    assert settings.registry == "https://registry.example/apis/ccompat/v7"
    user, password = settings.registry_login or ("", SecretStr(""))
    assert (user, password.get_secret_value()) == ("clinic", "s@fe")
    access = Access.of(settings)
    assert pickle.loads(pickle.dumps(SchemaSource(settings)))._access == access
    for shown in (repr(settings), str(settings), repr(access), redact(f"at {USERINFO}", settings)):
        assert "s%40fe" not in shown and "s@fe" not in shown
    apart = settings.model_copy(update={"registry_user": "own", "registry_password": SecretStr("x")})
    assert apart.registry_login == ("own", SecretStr("x"))
    assert Settings(schema_registry_url="http://r:1/").registry_login is None


def test_what_env_prints_leaves_out_a_url_with_a_password(tmp_path: Path):
    """In a shell it would win over the one in .env, without its password."""
    servers = {"database_url": "postgresql://w@d/x", "owner_database_url": "postgresql://o@d/x"}
    where = {"state_dir": tmp_path, "spark_jars": "none", **servers}
    shown = shell_variables(Settings(schema_registry_url=USERINFO, **where))  # type: ignore[arg-type]
    assert "SCHEMA_REGISTRY_URL" not in shown and "s%40fe" not in str(shown)
    assert shell_variables(Settings(schema_registry_url="http://r:1", **where))["SCHEMA_REGISTRY_URL"] == "http://r:1"  # type: ignore[arg-type]


def test_redacted_text_has_no_password_of_the_settings():
    settings = secured(registry_password="registry-secret", smtp_password="mail-secret")
    assert redact('p"a\\ss registry-secret mail-secret', settings) == "*** *** ***"
