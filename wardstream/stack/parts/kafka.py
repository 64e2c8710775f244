"""One Kafka node, broker and controller in one JVM (KRaft), on loopback: for one machine, not for a cluster.

Replication is 1, so acknowledged events outlive the death of any process, but not the loss of the disk.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from pathlib import Path

from wardstream.kafka.health import cluster_id, kafka_answers
from wardstream.settings import Settings
from wardstream.stack import jars, java
from wardstream.stack.addresses import is_embedded
from wardstream.stack.errors import StackError, no_space, says_no_space
from wardstream.stack.part import Launch, Part
from wardstream.stack.paths import folder

HEAP = "-Xmx384m"

PROPERTIES = """# generated at every start by wardstream.stack.parts.kafka; change it there
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}
auto.create.topics.enable=false

# one node: nobody to replicate to, and few partitions to open at a start
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# after kill -9 the old session has to run out before the broker may register again: 5 s instead of 11
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
controlled.shutdown.max.retries=1
# no empty metadata record twice a second: they are for followers
metadata.max.idle.interval.ms=0

# small, for a laptop
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
"""

LOGGING = """# generated at every start by wardstream.stack.parts.kafka
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
logger.network.name = kafka.network
logger.network.level = info
"""


def home(settings: Settings) -> Path:
    """The folder of the log segments and the generated configuration."""
    return folder(settings, "kafka")


def properties(settings: Settings, data: Path) -> str:
    """The text of server.properties."""
    return PROPERTIES.format(
        port=settings.kafka_port,
        controller_port=settings.kafka_controller_port,
        data=str(data).replace("\\", "\\\\"),
    )


def prepare(settings: Settings) -> None:
    """Format the storage if that was never done, and write the configuration; the broker must not be running."""
    place = home(settings)
    (place / "log4j2.properties").write_text(LOGGING)
    data = place / "data"
    if not data.exists():
        fresh = place / "data.part"  # renamed when complete: an interrupted format never looks like a broker's data
        shutil.rmtree(fresh, ignore_errors=True)
        (place / "format.properties").write_text(properties(settings, fresh))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*_java(settings), "kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}"]
        command += ["-c", str(place / "format.properties")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            if says_no_space(result.stderr + result.stdout):
                raise no_space("kafka", str(place))
            last = (result.stderr or result.stdout).strip()[-500:]
            raise StackError("kafka", f"formatting failed: {last}", "df -h; wardstream up")
        fresh.rename(data)
    (place / "server.properties").write_text(properties(settings, data))


def _java(settings: Settings) -> list[str]:
    config = home(settings) / "log4j2.properties"
    flags = [HEAP, "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={config}"]
    return [*java.command(settings), *flags, "-cp", jars.classpath(settings, "kafka")]


def check_ours(settings: Settings) -> None:
    """Raise StackError where the embedded broker's address is answered by another one.

    That is the Kafka of a second stack on this machine: what is meant for this one must not go there. Nothing is said
    of a broker that does not answer, nor of one that settings name.
    """
    if settings.kafka_bootstrap_servers:
        return
    theirs = cluster_id(settings)
    if theirs is None:
        return
    try:
        said = (settings.state_dir / "kafka" / "data" / "meta.properties").read_text()
    except FileNotFoundError:
        said = ""
    if f"cluster.id={theirs}" not in said.split():
        why = f"port {settings.kafka_port} belongs to the Kafka of another stack than that of {settings.state_dir}"
        raise StackError("kafka", why, "wardstream up")


class Kafka(Part):
    """The broker."""

    name = server = "kafka"
    ports = ("kafka_port", "kafka_controller_port")
    needs = ("jars",)
    jars = ("kafka",)
    stop_seconds = 30
    follows_settings = False

    def is_embedded(self, settings: Settings) -> bool:
        """Whether its address is the embedded one."""
        return is_embedded(settings.kafka, settings.kafka_port)

    def elsewhere(self, settings: Settings) -> str | None:
        """The brokers that the settings name."""
        return None if self.is_embedded(settings) else settings.kafka

    def answers_elsewhere(self, settings: Settings) -> bool:
        """Whether one of them answers."""
        return kafka_answers(settings)

    def version(self) -> str:
        """Kafka's."""
        return jars.version_of("kafka", "kafka_2.13")

    def prepare(self, settings: Settings) -> None:
        """Storage and configuration."""
        prepare(settings)

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        place = home(settings)
        return Launch([*_java(settings), "kafka.Kafka", str(place / "server.properties")], cwd=place)

    def ready(self, settings: Settings) -> bool:
        """Whether the broker answers for its metadata."""
        return kafka_answers(settings)

    def connections(self, settings: Settings) -> dict[str, str]:
        """Its address."""
        return {"KAFKA_BOOTSTRAP_SERVERS": settings.kafka}


PARTS = [Kafka()]
