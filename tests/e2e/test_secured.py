"""The whole path on other people's servers: TLS, client certificates, logins, and no right but those that are listed.

docs/kafka-rights.md lists what STREAM, SET_UP and PUBLISHER have here; what is wrong is said in one line, soon.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from pydantic import SecretStr

from tests.e2e import secured
from tests.e2e.hospital import Hospital, wait_for
from tests.e2e.secured import Right, without
from tests.integration.stack.conftest import free_ports, own_settings
from wardstream import stack
from wardstream.airflow import platform_setup as setup
from wardstream.contracts.model import load_contracts
from wardstream.kafka.broker import Broker
from wardstream.kafka.client import Admin, KafkaRefused
from wardstream.kafka.publish import DeliveryFailed, Publisher, lost_right
from wardstream.kafka.topics import TopicError, create_topics
from wardstream.proof.reading import TopicUnreadableError, read_partition
from wardstream.registry.client import RegistryLoginError, RegistryUnavailableError, SchemaSource
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.sources.sample.events import events as sample
from wardstream.stack import jars, manager, paths
from wardstream.stack.parts import stream

PASSWORDS = {"admin": "admin-4b1d", "stream": 'str"eam\\-91c7', "setup": "setup-55e0", "publisher": "publisher-c2a8"}
REGISTRY_PASSWORD = "reg:istry@/%-3d6e"
TOPICS = tuple(sorted(load_contracts(PROJECT_ROOT / "schemas")))

STREAM: list[Right] = [
    *(("TOPIC", topic, right) for topic in TOPICS for right in ("READ", "DESCRIBE_CONFIGS")),
    ("GROUP", "wardstream*", "READ"),
]
SET_UP: list[Right] = [("TOPIC", topic, right) for topic in TOPICS for right in ("CREATE", "ALTER", "ALTER_CONFIGS")]
PUBLISHER: list[Right] = [("TOPIC", topic, "WRITE") for topic in TOPICS]


class World:
    """The servers, and the settings of each user."""

    def __init__(self, base: Settings, folder: Path, kafka_port: int, proxy_port: int) -> None:
        self.base = base
        at = {
            "kafka_bootstrap_servers": f"127.0.0.1:{kafka_port}",
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": str(folder / "ca.pem"),
            "kafka_certificate_file": str(folder / "client.pem"),
            "kafka_key_file": str(folder / "client.key"),
            "kafka_key_password": SecretStr(secured.KEY_PASSWORD),
            "schema_registry_url": (
                f"https://clinic:{quote(REGISTRY_PASSWORD, safe='')}@127.0.0.1:{proxy_port}/apis/ccompat/v7"
            ),
            "registry_ca_file": str(folder / "ca.pem"),
        }
        self.by_user = {
            user: base.model_copy(update={**at, "kafka_user": user, "kafka_password": SecretStr(password)})
            for user, password in PASSWORDS.items()
        }

    def __getattr__(self, user: str) -> Settings:
        return self.by_user[user]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("secured")
    base = own_settings(tmp_path_factory.mktemp("ward"))
    kafka_port, controller_port, proxy_port = free_ports(3)
    secured.certificates(folder)
    behind = secured.Behind(base.registry, "clinic", REGISTRY_PASSWORD)
    made = World(base, folder, kafka_port, proxy_port)
    with ExitStack() as running:
        jars.fetch(base, lambda _: None)
        running.callback(paths.remove, base)
        running.callback(stack.stop, base)
        stack.start_part(base, "postgres")
        stack.start_part(base, "registry")
        running.enter_context(secured.proxy(folder, proxy_port, behind))
        running.enter_context(secured.broker(base, folder, kafka_port, controller_port, PASSWORDS))
        wait_for("the broker", lambda: _answers(made.admin))
        for user, rights in {"stream": STREAM, "setup": SET_UP, "publisher": PUBLISHER}.items():
            secured.grant(made.admin, user, rights)
        setup.apply_migrations(made.setup)
        setup.apply_contract_topics(made.setup, lambda _: None)
        setup.apply_schemas(made.setup)
        yield made
        stack.stop_part(made.stream, "stream")  # without a broker that would take a minute


def _answers(settings: Settings) -> bool:
    try:
        return bool(Admin(settings).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def test_the_whole_path(world: World) -> None:
    """Set up, publish, stream, verify; then every place that people or logs see, searched for what is secret."""
    assert setup.apply_contract_topics(world.setup, lambda _: None) == []
    assert setup.apply_schemas(world.setup) == []
    sender, ward = Hospital(world.publisher), Hospital(world.stream)
    sender.must("replay", "sample")
    stack.start_part(world.stream, "stream")
    ward.caught_up()
    said = [ward.must("verify"), ward.must("status"), ward.cli("status", "--json").stdout, ward.must("env")]
    assert "verified: nothing lost, nothing twice" in said[0]

    shown = wait_for("Kafka's tools to see the ledger", lambda: _group(world.admin) == _ledger(ward))
    assert shown

    said += [file.read_text(errors="replace") for file in (world.base.state_dir / "logs").rglob("*") if file.is_file()]
    said += [str(ward.rows(f"SELECT * FROM ops.{table}")) for table in ("streams", "stream_control", "alerts")]
    said += [_command(process) for process in _stream_processes(ward)]
    said += [repr(world.stream)]
    secrets = [*PASSWORDS.values(), REGISTRY_PASSWORD, quote(REGISTRY_PASSWORD, safe=""), secured.KEY_PASSWORD]
    assert [secret for secret in [*secrets, "PRIVATE KEY", "clinic:"] for text in said if secret in text] == []


def _group(admin_settings: Settings) -> dict[tuple[str, int], int]:
    admin = Admin(admin_settings)
    [future] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("wardstream")]).values()
    return {(at.topic, at.partition): at.offset for at in future.result(timeout=20).topic_partitions}


def _ledger(ward: Hospital) -> dict[tuple[str, int], int]:
    return {(t, p): o for t, p, o in ward.rows("SELECT topic, partition, next_offset FROM ops.ledger")}


def _stream_processes(ward: Hospital) -> list[psutil.Process]:
    process = psutil.Process(stack.pids(ward.settings)["stream"])
    return [process, *process.children(recursive=True)]


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie: Spark runs small commands that end at once
        return " ".join(process.cmdline())
    return ""


def _wrong(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka_password": SecretStr("wrong-0000")})


def test_a_wrong_password_is_one_line_and_soon(world: World) -> None:
    refused = "refuses the login of user stream by SCRAM-SHA-512; check WARDSTREAM_KAFKA_USER"
    begun = time.monotonic()
    with pytest.raises(KafkaRefused, match=refused):
        Broker(_wrong(world.stream), TOPICS).extents()
    with pytest.raises(TopicError, match=refused):
        create_topics(_wrong(world.stream))
    with pytest.raises(TopicUnreadableError, match=refused):
        list(read_partition(_wrong(world.stream), "labs", 0, 0, 1))
    with pytest.raises(KafkaRefused, match=refused):
        Broker(_wrong(world.stream), TOPICS).first_message(("labs", 0), 0)
    assert time.monotonic() - begun < 60
    begun = time.monotonic()
    done = Hospital(_wrong(world.publisher)).cli("replay", "sample", "--limit", "10")
    assert done.returncode == 1 and time.monotonic() - begun < 30
    assert "refuses the login of user publisher by SCRAM-SHA-512" in done.stderr
    assert "wrong-0000" not in done.stderr and "Traceback" not in done.stderr


def test_a_stream_that_may_not_log_in_says_so_where_it_is_looked_for(world: World) -> None:
    stack.stop_part(world.stream, "stream")
    ward = Hospital(world.stream)
    manager.start(_wrong(world.stream), "stream", stream.PARTS[0].launch(_wrong(world.stream)))
    said = wait_for("the reason", lambda: _reason(ward, "refuses the login of user stream"))
    assert said[0] == "waiting"
    stack.stop_part(world.stream, "stream")
    stack.start_part(world.stream, "stream")
    ward.verified()


def _reason(ward: Hospital, text: str) -> tuple[str, str] | None:
    rows = ward.rows("SELECT state, blocked_by FROM ops.streams")
    return rows[0] if rows and text in str(rows[0][1]) else None


def test_a_wrong_authority_is_no_time_out(world: World, tmp_path: Path) -> None:
    secured.certificates(tmp_path)
    other = str(tmp_path / "ca.pem")
    with pytest.raises(KafkaRefused, match=r"no TLS connection to Kafka .*certificate.*KAFKA_CA_FILE"):
        Broker(world.stream.model_copy(update={"kafka_ca_file": other}), TOPICS).extents()
    with pytest.raises(KafkaRefused, match="the settings for Kafka cannot be used"):
        Broker(world.stream.model_copy(update={"kafka_ca_file": "/nowhere.pem"}), TOPICS)
    with pytest.raises(RegistryUnavailableError, match=r"SSLCertVerificationError"):
        SchemaSource(world.stream.model_copy(update={"registry_ca_file": other}), 1.0).lookup(1, "labs")


def test_a_registry_that_refuses_the_login(world: World) -> None:
    url = world.stream.schema_registry_url.replace("clinic:", "clinic:not")
    wrong = world.stream.model_copy(update={"schema_registry_url": url})
    begun = time.monotonic()
    with pytest.raises(
        RegistryLoginError, match="HTTP 401, user clinic is refused; check WARDSTREAM_REGISTRY_USER"
    ) as error:
        SchemaSource(wrong).lookup(1, "labs")
    assert time.monotonic() - begun < 5 and "not" + REGISTRY_PASSWORD not in str(error.value)
    stranger = world.stream.model_copy(update={"schema_registry_url": world.stream.registry})
    with pytest.raises(RegistryLoginError, match="HTTP 401, a request without a user is refused"):
        SchemaSource(stranger).lookup(1, "labs")
    apart = {"registry_user": "clinic", "registry_password": SecretStr(REGISTRY_PASSWORD)}
    SchemaSource(stranger.model_copy(update=apart)).learn(TOPICS, 5.0)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (("TOPIC", "labs", "READ"), "user stream lacks the right Describe on topic labs"),
        (("TOPIC", "labs", "DESCRIBE_CONFIGS"), "user stream lacks the right DescribeConfigs on topic labs"),
    ],
)
def test_a_right_that_the_stream_lacks_is_named_with_its_topic(world: World, right: Right, said: str) -> None:
    ward = Hospital(world.stream)
    stack.stop_part(world.stream, "stream")
    with without(world.admin, "stream", right):
        manager.start(world.stream, "stream", stream.PARTS[0].launch(world.stream))
        reason = wait_for("the reason", lambda: _reason(ward, said))
        assert reason[0] == "waiting" and "docs/kafka-rights.md" in reason[1]
    wait_for("it to go on by itself", lambda: ward.rows("SELECT state FROM ops.streams")[0][0] == "running")
    ward.verified()


def test_other_rights_that_are_missing_are_named(world: World) -> None:
    with pytest.raises(TopicError, match="user stream lacks the right Create on topic admissions"):
        create_topics(world.stream)
    a_lab = next(event for topic, event in sample() if topic == "labs")
    none = pytest.raises(DeliveryFailed, match="user stream lacks the right Write on topic labs")
    with none, Publisher(world.stream, timeout_seconds=20) as publisher:
        publisher.send("labs", a_lab)
    assert "user stream lacks the right Write on topic labs" in lost_right(world.stream, ["labs"])
    assert "the producer ended" in lost_right(world.publisher, ["labs"])
    with without(world.admin, "publisher", ("TOPIC", "labs", "WRITE")):
        some = pytest.raises(DeliveryFailed, match="user publisher lacks the right Write on topic labs")
        with some, Publisher(world.publisher, timeout_seconds=20) as publisher:
            publisher.send("labs", a_lab)
    with pytest.raises(TopicUnreadableError, match="user publisher lacks the right Read on topic labs"):
        list(read_partition(world.publisher, "labs", 0, 0, 1))
    elsewhere = world.stream.model_copy(update={"kafka_group": "another-team"})
    with pytest.raises(KafkaRefused, match="user stream lacks the right Read on consumer group another-team"):
        Broker(elsewhere, TOPICS).show_progress({("labs", 0): 1})


@pytest.mark.campaign
def test_a_group_that_may_not_be_shown_is_a_warning_once_and_stops_nothing(world: World) -> None:
    ward = Hospital(world.stream)
    stack.stop_part(world.stream, "stream")
    log = world.base.state_dir / "logs" / "stream.log"
    before = log.stat().st_size if log.exists() else 0
    hidden = world.stream.model_copy(update={"kafka_group": "another-team"})
    stack.start_part(hidden, "stream")
    for limit in ("50", "100"):
        Hospital(world.publisher).must("replay", "sample", "--limit", limit)
        ward.caught_up()
        time.sleep(5)
    with log.open() as text:
        text.seek(before)
        assert len([line for line in text if "do not see the ledger as group another-team" in line]) == 1
    stack.stop_part(world.stream, "stream")
    stack.start_part(world.stream, "stream")
    ward.verified()


def test_a_topic_with_the_senders_clock_blocks_the_stream_until_it_is_mended(world: World) -> None:
    """`verify` says it as well, and names the same command, which anybody with the right may type."""
    ward = Hospital(world.stream)
    secured.configure(world.admin, "labs", "message.timestamp.type", "CreateTime")
    assert "FINDING: message.timestamp.type of topic labs is not LogAppendTime" in ward.cli("verify").stdout
    stack.stop_part(world.stream, "stream")
    manager.start(world.stream, "stream", stream.PARTS[0].launch(world.stream))
    said = wait_for("the reason", lambda: _reason(ward, "message.timestamp.type of topic labs is not LogAppendTime"))
    assert said[0] == "blocked" and "`wardstream contracts topics --mend`" in said[1]
    assert "labs" in Hospital(world.setup).must("contracts", "topics", "--mend")
    wait_for("it to go on by itself", lambda: ward.rows("SELECT state FROM ops.streams")[0][0] == "running")
    ward.verified()
