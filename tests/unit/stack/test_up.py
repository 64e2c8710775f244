"""Ports, locks, steps, and what is printed."""

import json
import shlex
import socket
import subprocess
import threading
import time

import pytest
from pydantic import ValidationError

from wardstream.settings import AddressError, Settings
from wardstream.stack import access, env, jars, manager, parts, paths, up
from wardstream.stack.errors import StackError
from wardstream.stack.part import Launch
from wardstream.stack.parts import postgres
from wardstream.stack.steps import Step, run_steps, wait_until


def test_a_busy_port_is_named_with_the_setting_that_moves_it(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = settings.model_copy(update={"kafka_controller_port": taken.getsockname()[1]})
        with pytest.raises(StackError) as caught:
            up.check_ports(busy, [parts.named("kafka")])
    assert caught.value.part == "kafka"
    assert f"port {busy.kafka_controller_port} is in use by process" in caught.value.why
    assert "WARDSTREAM_KAFKA_CONTROLLER_PORT=" in caught.value.what_to_type


def test_all_busy_ports_are_named_at_once_with_a_line_that_moves_them(settings, monkeypatch):
    monkeypatch.setattr(up, "_is_free", lambda port: port not in (19092, 20092, 18081))
    busy = settings.model_copy(update={"kafka_port": 19092, "registry_port": 18081, "registry_management_port": 1})
    with pytest.raises(StackError) as caught:
        up.check_ports(busy, [parts.named(name) for name in ("postgres", "kafka", "registry")])
    assert "kafka: port 19092 is in use" in str(caught.value) and "registry: port 18081 is in use" in str(caught.value)
    assert caught.value.what_to_type.startswith(
        "WARDSTREAM_KAFKA_PORT=21092 WARDSTREAM_REGISTRY_PORT=19081 wardstream up"
    )


def test_where_no_port_above_is_free_one_below_is_named(settings, monkeypatch):
    monkeypatch.setattr(up, "_is_free", lambda port: port == 62900)
    with pytest.raises(StackError, match="WARDSTREAM_POSTGRES_PORT=62900 wardstream up"):
        up.check_ports(settings.model_copy(update={"postgres_port": 64900}), [parts.named("postgres")])
    monkeypatch.setattr(up, "_is_free", lambda _: False)
    with pytest.raises(StackError, match="WARDSTREAM_POSTGRES_PORT=PORT wardstream up"):
        up.check_ports(settings, [parts.named("postgres")])


def test_the_ports_of_the_last_start_hold_unless_something_says_otherwise(make_settings, settings, monkeypatch):
    moved = settings.model_copy(update={"kafka_port": 4711, "registry_port": 4712, "metrics_port": 4713})
    for part in ("kafka", "registry", "stream"):
        manager._remember(moved, parts.named(part))
    monkeypatch.setenv("WARDSTREAM_REGISTRY_PORT", "4714")
    again = make_settings(state_dir=settings.state_dir, metrics_port=0)
    assert (again.kafka_port, again.registry_port, again.metrics_port) == (4711, 4714, 0)
    assert again.kafka_controller_port == settings.kafka_controller_port
    assert again.postgres_port == settings.postgres_port
    assert make_settings(state_dir=settings.state_dir / "another").kafka_port == settings.kafka_port
    for broken in ('{"kafka_por', "[1]", '{"kafka_port": 99999}', '{"kafka_port": "x"}'):
        (settings.state_dir / "ports" / "kafka.json").write_text(broken)
        assert make_settings(state_dir=settings.state_dir).kafka_port == settings.kafka_port
    manager._remember(settings.model_copy(update={"metrics_port": 0}), parts.named("stream"))
    assert make_settings(state_dir=settings.state_dir).metrics_port == 0, "none is a choice, too"


def test_a_shell_with_another_path_has_not_changed_the_settings(settings):
    def launch(**env: str) -> Launch:
        return Launch(["true"], settings.state_dir, env)

    file = paths.launch_file(settings, "scheduler")
    file.write_text(json.dumps(manager._spec(settings, parts.named("scheduler"), launch(PATH="/bin", A="1"))))
    assert manager.same_launch(settings, "scheduler", launch(PATH="/venv/bin:/bin", A="1"))
    assert manager.same_launch(settings, "scheduler", launch(PATH="/bin", A="1", WARDSTREAM_WITH="a part"))
    assert not manager.same_launch(settings, "scheduler", launch(PATH="/bin", A="2"))
    assert not manager.same_launch(settings, "scheduler", launch(PATH="/bin", A="1", B="2"))


def test_every_port_setting_belongs_to_a_part(settings):
    known = {name for part in parts.PARTS for name in part.port_variables(settings)}
    elsewhere = {"smtp_port"}  # a mail server's
    wanted = {name for name in Settings.model_fields if name.endswith("_port")} - elsewhere
    assert known == {f"WARDSTREAM_{name.upper()}" for name in wanted}


def test_two_commands_do_not_collide(tmp_path):
    with (
        paths.locked(tmp_path / "s", "up"),
        pytest.raises(StackError, match="another command"),
        paths.locked(tmp_path / "s", "up"),
    ):
        pass
    with paths.locked(tmp_path / "s", "up"):
        pass
    assert not list((tmp_path / "s").iterdir())  # no lock file


def test_exports_survive_a_shell():
    value = """p'a"s$s `w`\\o %r;d"""
    line = access.export_lines({"DATABASE_URL": value})[0]
    out = subprocess.run(["sh", "-c", f'{line}; printf %s "$DATABASE_URL"'], capture_output=True, text=True, check=True)
    assert out.stdout == value
    assert shlex.split(line)[1] == f"DATABASE_URL={value}"


def test_a_child_gets_the_same_settings(make_settings, settings, monkeypatch):
    changed = settings.model_copy(
        update={"kafka_port": 4711, "stream_split": True, "facility_timezone": "Europe/Berlin"}
    )
    for name, value in env.environment(changed).items():
        monkeypatch.setenv(name, value)
    child = make_settings()
    assert child.spark_jars.count(",") + 1 == len(jars.read_list("spark"))
    assert child.model_copy(update={"spark_jars": ""}) == changed


def test_secrets_do_not_reach_what_is_shown(settings):
    (paths.folder(settings, "secrets", 0o700) / "wardstream_writer").write_text("s3cret\n")
    text = env.redact("password s3cret, postgresql://u:other@127.0.0.1/x", settings)
    assert text == "password ***, postgresql://u:***@127.0.0.1/x"


def test_no_form_of_an_address_shows_its_password(settings):
    text = r"""host=db password='s3 cr\'et' dbname=w; host=db password = s3cret port=1; x:///?password=s3cret&port=1"""
    assert env.redact(text, settings) == (
        "host=db password=*** dbname=w; host=db password = *** port=1; x:///?password=***&port=1"
    )


def test_both_addresses_of_a_database_elsewhere_or_none(make_settings):
    there = "postgresql://u:s3cret@db.example.org/x"
    postgres.check_databases(make_settings())
    postgres.check_databases(make_settings(database_url=there, owner_database_url=there))
    for half in ({"database_url": there}, {"owner_database_url": there}):
        with pytest.raises(StackError, match="one of DATABASE_URL and WARDSTREAM_OWNER_DATABASE_URL") as caught:
            postgres.check_databases(make_settings(**half))
        assert "s3cret" not in str(caught.value)


def test_connection_settings_of_servers_elsewhere_need_no_secrets_of_ours(make_settings, tmp_path):
    url = "postgresql://u:p@db1:5433,db2:5434/x"
    theirs = make_settings(
        state_dir=tmp_path / "none",
        database_url=url,
        owner_database_url=url,
        kafka_bootstrap_servers="kafka:9092",
        schema_registry_url="http://registry/apis/ccompat/v7",
    )
    shown = access.shell_variables(theirs)
    assert shown["DATABASE_URL"] == url and "WARDSTREAM_BI_DATABASE_URL" not in shown
    assert "WARDSTREAM_AIRFLOW_URL" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3%cret@db/x",
        "postgresql://u:s3@cret@db/x",
        "postgresql://u:s3cret/7@db/x",
        "postgresql:/u:s3cret=@@",
        "s3cret",
        "host=db password=s3 cret",
    ],
)
def test_an_address_that_cannot_be_read_is_named_and_not_shown(make_settings, url):
    """psycopg's own errors quote what they trip over, which can be a piece of the password."""
    wrong = make_settings(database_url=url, owner_database_url=url)
    with pytest.raises(AddressError, match=r"^DATABASE_URL: this is no address") as writer:
        _ = wrong.writer_url
    with pytest.raises(AddressError, match=r"^WARDSTREAM_OWNER_DATABASE_URL: this is no address") as owner:
        _ = wrong.owner_url
    assert "cret" not in f"{writer.value} {owner.value}" and writer.value.__context__ is None


@pytest.mark.parametrize("url", ["postgresql://u:s3%40cret@db:5433,db2:5434/x", "host=db password='s3 cret'"])
def test_an_address_that_can_be_read_is_used_as_it_is(make_settings, url):
    assert make_settings(database_url=url).writer_url == url


def test_each_wrong_setting_is_one_line(make_settings, monkeypatch):
    monkeypatch.setenv("WARDSTREAM_FACILITY_TIMEZONE", "Europe/Bonn")
    monkeypatch.setenv("WARDSTREAM_KAFKA_PORT", "many")
    with pytest.raises(ValidationError) as caught:
        make_settings()
    assert [line.partition(":")[0] for line in env.faults_of_settings(caught.value)] == [
        "WARDSTREAM_KAFKA_PORT",
        "WARDSTREAM_FACILITY_TIMEZONE",
    ]


def test_an_address_from_before_a_reset_is_told_apart(make_settings, settings):
    secrets = paths.folder(settings, "secrets", 0o700)
    for role in ("wardstream_writer", "wardstream_owner"):
        (secrets / role).write_text("new\n")

    def check(url: str, owner_url: str = "") -> None:
        port = settings.postgres_port
        ours = {"database_url": url.format(port=port), "owner_database_url": owner_url.format(port=port)}
        postgres.check_passwords(make_settings(state_dir=settings.state_dir, postgres_port=port, **ours))

    def gone() -> None:
        for role in ("wardstream_writer", "wardstream_owner"):
            (secrets / role).unlink()

    check("")
    check("postgresql://wardstream_writer:new@127.0.0.1:{port}/wardstream")
    check("postgresql://their_own:old@127.0.0.1:{port}/wardstream", "postgresql://wardstream_owner:old@db:5432/x")
    old = "postgresql://wardstream_{}:old@127.0.0.1:{{port}}/wardstream"
    with pytest.raises(StackError, match="unset DATABASE_URL WARDSTREAM_OWNER_DATABASE_URL; wardstream up") as caught:
        check(old.format("writer"), old.format("owner"))
    assert "old" not in str(caught.value)
    gone()
    check("")
    with pytest.raises(StackError, match="unset DATABASE_URL; wardstream up"):
        check(old.format("writer"))


def test_what_to_type_can_be_typed(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    said = str(StackError("kafka", "it ended", "wardstream up"))
    assert said.endswith("bin/activate; wardstream up") and "what to type: . " in said
    assert str(StackError("kafka", "full", "df -h")).endswith("what to type: df -h")
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere/wardstream")
    assert str(StackError("kafka", "it ended", "wardstream up")).endswith("what to type: wardstream up")


def test_steps_wait_for_what_they_need_and_no_longer():
    order = []

    def step(name: str, needs: list[str], seconds: float = 0.0) -> Step:
        def run(_: threading.Event) -> str:
            time.sleep(seconds)
            order.append(name)
            return "ok"

        return Step(name, needs, run)

    said: list[str] = []
    run_steps([step("last", ["slow", "quick", "not there"]), step("slow", [], 0.2), step("quick", [])], said.append)
    assert order == ["quick", "slow", "last"] and len(said) == 3


def test_a_failing_step_ends_the_waiting_of_the_others():
    def fail(_: threading.Event) -> str:
        raise ValueError("broken\nat line 2")

    def wait_long(stop: threading.Event) -> str:
        wait_until(lambda: False, 60, stop)
        return "never"

    with pytest.raises(StackError, match=r"^bad: ValueError: broken\n  what to type: ") as caught:
        run_steps([Step("long", [], wait_long), Step("bad", [], fail), Step("after", ["bad"], fail)], lambda _: None)
    assert isinstance(caught.value.__cause__, ValueError)


def test_waiting_ends_at_the_deadline():
    assert wait_until(lambda: True, 5, threading.Event())
    assert not wait_until(lambda: False, 0.3, threading.Event())


def test_somebody_elses_folder_is_refused(settings, tmp_path):
    settings.state_dir.mkdir()
    (tmp_path / "elsewhere").mkdir()
    paths.outside_dir(settings).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError, match="belongs to somebody else"):
        paths.make_outside_dir(settings)
