"""Ports, locks, steps, and what is printed."""

import json
import shlex
import socket
import subprocess
import threading
import time

import pytest

from wardstream.settings import Settings
from wardstream.stack import config, env, jars, manager, parts, paths, up
from wardstream.stack.errors import StackError
from wardstream.stack.steps import Step, run_steps, wait_until


def test_a_busy_port_is_named_with_the_setting_that_moves_it(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = settings.model_copy(update={"kafka_controller_port": taken.getsockname()[1]})
        with pytest.raises(StackError) as caught:
            up.check_ports(busy, ["kafka"])
    assert caught.value.part == "kafka"
    assert f"port {busy.kafka_controller_port} is in use by process" in caught.value.why
    assert "WARDSTREAM_KAFKA_CONTROLLER_PORT=" in caught.value.what_to_type


def test_all_busy_ports_are_named_at_once_with_a_line_that_moves_them(settings, monkeypatch):
    monkeypatch.setattr(up, "_is_free", lambda port: port not in (19092, 20092, 18081))
    busy = settings.model_copy(update={"kafka_port": 19092, "registry_port": 18081, "registry_management_port": 1})
    with pytest.raises(StackError) as caught:
        up.check_ports(busy, ["postgres", "kafka", "registry"])
    assert "kafka: port 19092 is in use" in str(caught.value) and "registry: port 18081 is in use" in str(caught.value)
    assert caught.value.what_to_type.startswith(
        "WARDSTREAM_KAFKA_PORT=21092 WARDSTREAM_REGISTRY_PORT=19081 wardstream up"
    )


def test_the_ports_of_the_last_start_hold_unless_something_says_otherwise(make_settings, settings, monkeypatch):
    moved = settings.model_copy(update={"kafka_port": 4711, "registry_port": 4712, "metrics_port": 4713})
    for part in ("kafka", "registry", "stream"):
        manager._remember(moved, part)
    monkeypatch.setenv("WARDSTREAM_REGISTRY_PORT", "4714")
    again = make_settings(state_dir=settings.state_dir, metrics_port=0)
    assert (again.kafka_port, again.registry_port, again.metrics_port) == (4711, 4714, 0)
    assert again.kafka_controller_port == settings.kafka_controller_port
    assert again.postgres_port == settings.postgres_port
    assert make_settings(state_dir=settings.state_dir / "another").kafka_port == settings.kafka_port
    (settings.state_dir / "ports" / "kafka.json").write_text('{"kafka_por')
    assert make_settings(state_dir=settings.state_dir).kafka_port == settings.kafka_port


def test_a_shell_with_another_path_has_not_changed_the_settings(settings):
    def launch(**env: str) -> parts.Launch:
        return parts.Launch(["true"], settings.state_dir, env)

    file = config.launch_file(settings, "scheduler")
    file.write_text(json.dumps(manager._spec(settings, "scheduler", launch(PATH="/bin", A="1"))))
    assert manager.same_launch(settings, "scheduler", launch(PATH="/venv/bin:/bin", A="1"))
    assert not manager.same_launch(settings, "scheduler", launch(PATH="/bin", A="2"))
    assert not manager.same_launch(settings, "scheduler", launch(PATH="/bin", A="1", B="2"))


def test_every_port_setting_belongs_to_a_part(settings):
    known = {name for part in parts.PARTS for name in parts.ports(settings, part)}
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
    line = env.export_lines({"DATABASE_URL": value})[0]
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
