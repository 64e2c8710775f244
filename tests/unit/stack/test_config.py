"""What is generated for the servers and their manager."""

import configparser
import stat
import subprocess
from pathlib import Path

from wardstream.settings import Settings
from wardstream.stack import config, java, parts, paths
from wardstream.stack.parts import kafka, registry


def _parsed(settings: Settings) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(config.manager_config(settings))
    return parser


def _names(settings: Settings) -> list[str]:
    return [part.name for part in parts.embedded(settings)]


def test_no_part_starts_by_itself_and_every_one_comes_back(settings):
    parser = _parsed(settings)
    for part in [part.name for part in parts.PARTS]:
        section = parser[f"program:{part}"]
        assert section["autostart"] == "false"
        assert section["autorestart"] == ("unexpected" if part == "stream" else "true")


def test_only_the_fenced_exit_code_keeps_the_stream_down(settings):
    section = _parsed(settings)["program:stream"]
    assert section["exitcodes"] == "75"
    assert section["startsecs"] == "0"  # otherwise an early 75 would count as a failed start, and be repeated
    assert section["stopsignal"] == "TERM" and section["stopasgroup"] == "false"


def test_percent_signs_are_escaped(settings):
    section = _parsed(settings)["program:kafka"]
    assert "state %%d" in section["command"]
    assert "%%%%d" in section["stdout_logfile"], "supervisord expands it twice"


def test_a_long_state_folder_gets_a_short_socket(make_settings, tmp_path):
    deep = tmp_path / ("x" * 100)
    short = make_settings(state_dir=tmp_path / "s", short_dir=Path("/var/tmp"))
    long = make_settings(state_dir=deep, short_dir=Path("/var/tmp"))
    assert len(str(paths.socket_file(long))) <= paths.SOCKET_PATH_LIMIT
    assert paths.socket_file(long).is_relative_to("/var/tmp")
    if len(str(tmp_path)) < 60:
        assert paths.socket_file(short).is_relative_to(tmp_path)


def test_kafka_listens_on_loopback_alone(settings):
    lines = dict(
        line.split("=", 1) for line in kafka.properties(settings, settings.state_dir).splitlines() if "=" in line
    )
    for listener in (lines["listeners"] + "," + lines["advertised.listeners"]).split(","):
        assert listener.split("://")[1].startswith("127.0.0.1:")
    assert lines["auto.create.topics.enable"] == "false"


def test_the_registry_listens_on_loopback_alone(settings):
    secret = paths.folder(settings, "secrets", 0o700) / "wardstream_registry"
    secret.write_text("geheim\n")
    env = registry.environment(settings)
    assert env["QUARKUS_HTTP_HOST"] == env["QUARKUS_MANAGEMENT_HOST"] == "127.0.0.1"
    assert env["APICURIO_DATASOURCE_PASSWORD"] == "geheim"


def test_the_java_wrapper_drops_one_flag_and_nothing_else(settings, tmp_path):
    home = java.java_home(settings)
    wrapper = home / "bin" / "java"
    assert wrapper.stat().st_mode & stat.S_IXUSR
    shown = tmp_path / "show"
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    text = wrapper.read_text().replace(str(java.executable()), str(shown))
    (tmp_path / "java").write_text(text)
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "--add-modules=java.sql", ""]
    out = subprocess.run(["sh", tmp_path / "java", *arguments], capture_output=True, text=True, check=True).stdout
    assert out == "-Xmx1g\n-Da=b c\n--add-modules=java.sql\n\n"
    assert java.java_home(settings) == home  # again: nothing to do


def test_parts_run_here_unless_their_address_is_elsewhere(make_settings, settings, tmp_path):
    servers = ["postgres", "kafka", "registry", "stream"]
    assert _names(settings) == [*servers, "api-server", "scheduler", "dag-processor"]
    assert _names(settings.model_copy(update={"airflow": False})) == servers
    elsewhere = make_settings(
        state_dir=tmp_path,
        kafka_bootstrap_servers="broker.internal:9092",
        schema_registry_url="http://registry.internal:8081",
        database_url="postgresql://w:x@db.internal/wardstream",
        owner_database_url="postgresql://o:x@db.internal/wardstream",
    )
    assert _names(elsewhere) == ["stream"]


def test_the_addresses_that_env_prints_still_mean_the_embedded_servers(settings):
    again = settings.model_copy(
        update={
            "kafka_bootstrap_servers": settings.kafka,
            "schema_registry_url": settings.registry,
            "database_url": f"postgresql://w:x@127.0.0.1:{settings.postgres_port}/wardstream",
            "owner_database_url": f"postgresql://o:x@127.0.0.1:{settings.postgres_port}/wardstream",
        }
    )
    assert _names(again) == _names(settings)
