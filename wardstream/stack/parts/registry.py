"""The schema registry: Apicurio, which speaks Confluent's API, with its schemas in a PostgreSQL database of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

from wardstream.registry.health import registry_answers
from wardstream.settings import Settings
from wardstream.stack import jars, java
from wardstream.stack.addresses import is_embedded
from wardstream.stack.part import Launch, Page, Part
from wardstream.stack.parts.postgres import REGISTRY_DATABASE
from wardstream.stack.paths import folder

# It is asked a few times an hour: the quick compiler alone halves what its start costs.
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


def environment(settings: Settings) -> dict[str, str]:
    """The registry's settings; the password goes by environment, which only our user can read."""
    return {
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "postgresql",
        "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://127.0.0.1:{settings.postgres_port}/{REGISTRY_DATABASE}",
        "APICURIO_DATASOURCE_USERNAME": "wardstream_registry",
        "APICURIO_DATASOURCE_PASSWORD": settings.password("wardstream_registry"),
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(settings.registry_port),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(settings.registry_management_port),
        "QUARKUS_LOG_CONSOLE_COLOR": "false",
        "QUARKUS_BANNER_ENABLED": "false",
    }


class Registry(Part):
    """The schema registry."""

    name = server = "registry"
    ports = ("registry_port", "registry_management_port")
    needs = ("jars", "postgres")
    jars = ("registry",)
    ready_seconds = 90.0
    follows_settings = False

    def is_embedded(self, settings: Settings) -> bool:
        """Whether its address is the embedded one."""
        return is_embedded(settings.registry, settings.registry_port)

    def elsewhere(self, settings: Settings) -> str | None:
        """The registry that the settings name."""
        return None if self.is_embedded(settings) else urlsplit(settings.registry).netloc.rpartition("@")[2]

    def answers_elsewhere(self, settings: Settings) -> bool:
        """Whether it lists its subjects."""
        return registry_answers(settings)

    def version(self) -> str:
        """Apicurio's."""
        return jars.read_list("registry")[0].version

    def prepare(self, settings: Settings) -> None:
        """Unpack it."""
        jars.unpack(settings, "registry")

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        jar = str(jars.unpacked(settings, "registry") / "quarkus-run.jar")
        argv = [*java.command(settings), *JVM, "-jar", jar]
        return Launch(argv, cwd=folder(settings, "registry"), env=environment(settings))

    def ready(self, settings: Settings) -> bool:
        """Whether the registry lists its subjects, which takes its database."""
        return registry_answers(settings)

    def page(self, settings: Settings) -> Page:
        """What it holds, as JSON."""
        return Page("the schemas", f"{settings.registry}/subjects")

    def connections(self, settings: Settings) -> dict[str, str]:
        """Its address; one with a password stays where it was set, since a shell's would win over that."""
        return {} if "@" in settings.schema_registry_url else {"SCHEMA_REGISTRY_URL": settings.registry}


PARTS = [Registry()]
