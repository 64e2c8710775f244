"""The schema registry: Apicurio, which speaks Confluent's API, with its schemas in a PostgreSQL database of its own."""

from __future__ import annotations

from wardstream.registry.health import registry_answers
from wardstream.settings import Settings
from wardstream.stack import jars, java
from wardstream.stack.parts import Launch
from wardstream.stack.paths import folder
from wardstream.stack.postgres import REGISTRY_DATABASE

HEAP = "-Xmx256m"


def version() -> str:
    """The pinned version of the registry."""
    return jars.read_list("registry")[0].version


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


def launch(settings: Settings) -> Launch:
    """The registry's command."""
    jar = str(jars.registry_home(settings) / "quarkus-run.jar")
    argv = [*java.command(settings), HEAP, "-XX:+UseSerialGC", "-Djava.awt.headless=true", "-jar", jar]
    return Launch(argv, cwd=folder(settings, "registry"), env=environment(settings))


def ready(settings: Settings) -> bool:
    """Whether the registry lists its subjects, which takes its database."""
    return registry_answers(settings)
