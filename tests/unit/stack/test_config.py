"""What is generated for the servers and their manager."""

import configparser
import os
import stat
import subprocess
from pathlib import Path

import pytest

from wardstream.settings import Settings
from wardstream.stack import class_archive, config, java, parts, paths
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


def given(settings: Settings, *arguments: str, **environ: str) -> list[str]:
    """What java gets when Spark calls the wrapper with these arguments."""
    wrapper = java.java_home(settings) / "bin" / "java"
    assert wrapper.stat().st_mode & stat.S_IXUSR
    shown, text = settings.state_dir / "show", wrapper.read_text()
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    changed = settings.state_dir / "changed"
    changed.write_text(text.replace(str(java.executable()), str(shown)))
    call = ["sh", str(changed), *arguments]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env={**os.environ, **environ})
    return str(done.stdout).split("\n")[:-1]


SUBMIT = "org.apache.spark.deploy.SparkSubmit"


@pytest.fixture
def cached(make_settings, tmp_path):
    """Settings with a cache of their own, in which nothing is."""
    return make_settings(state_dir=tmp_path / "state", cache_dir=tmp_path / "a cache")


def test_the_java_wrapper_drops_one_flag_and_nothing_else(cached):
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "--add-modules=java.sql", ""]
    assert given(cached, *arguments) == ["-Xmx1g", "-Da=b c", "--add-modules=java.sql", ""]
    before = java.java_home(cached)
    assert java.java_home(cached) == before  # again: nothing to do


def spark_call(main: str = SUBMIT) -> list[str]:
    jars = class_archive.JARS
    return ["-cp", f"/a conf:{jars}/slf4j-api-9.jar:{jars}/*", "-Xmx1g", main, "pyspark-shell"]


def test_without_an_archive_spark_is_called_as_it_would_be(cached):
    assert given(cached, *spark_call()) == spark_call()


def test_spark_has_its_classes_from_the_archive(cached):
    archive = class_archive.archive_of(cached)
    archive.folder.mkdir(parents=True)
    archive.spark.touch()
    shared, quiet, cp, path, *others = given(cached, *spark_call())
    assert shared == f"-XX:SharedArchiveFile={archive.java}:{archive.spark}" and quiet == "-Xlog:cds*=off"
    *jars, folder = path.split(":")
    assert (cp, folder, others) == ("-cp", "/a conf", spark_call()[2:])
    assert [Path(jar) for jar in jars] == class_archive.class_path()
    assert sorted(jars) == sorted(map(str, class_archive.JARS.glob("*.jar"))) and "slf4j-api" in jars[0]
    assert given(cached, "-cp", f"{class_archive.JARS}/*", "-version")[0] == "-cp", "Spark's JVMs alone"


def test_one_jvm_writes_the_archive_and_not_sparks_launcher(cached):
    to = {class_archive.WRITE_TO: "/some/where.jsa"}
    shared, write, *_ = given(cached, *spark_call(), **to)
    assert shared == f"-XX:SharedArchiveFile={class_archive.archive_of(cached).java}"
    assert write == "-XX:ArchiveClassesAtExit=/some/where.jsa"
    assert given(cached, *spark_call("org.apache.spark.launcher.Main"), SUBMIT, **to)[0] == "-cp"


def test_a_cache_that_cannot_be_written_is_a_warning(cached, caplog):
    cached.cache_dir.write_text("a file")
    assert class_archive.begin(cached) == {}
    assert "without an archive of its classes" in caplog.text


def test_archives_that_nobody_can_use_are_removed(cached, tmp_path):
    archive = class_archive.archive_of(cached)
    others = {"gone": tmp_path / "no such folder", "older": class_archive.JARS, "another": tmp_path}
    for name, jars in others.items():
        folder = archive.folder.parent / name
        folder.mkdir(parents=True)
        (folder / "jars.txt").write_text(str(jars))
    archive.folder.mkdir()
    (archive.folder / "fresh").write_text("classes")
    class_archive.end(cached, {class_archive.WRITE_TO: str(archive.folder / "fresh")})
    assert {one.name for one in archive.folder.parent.iterdir()} == {archive.folder.name, "another"}
    assert archive.spark.read_text() == "classes"
    class_archive.end(cached, {})


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
