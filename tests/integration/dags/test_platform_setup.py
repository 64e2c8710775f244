"""platform_setup_dag: on empty servers, again, and with each thing that can be wrong."""

import re
from pathlib import Path

import pytest
import requests
import yaml
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.integration.alerts.conftest import Webhook
from tests.integration.dags.conftest import Go, changed, execute
from tests.integration.stack.conftest import free_ports
from wardstream.contracts.model import load_contracts
from wardstream.kafka.client import Admin
from wardstream.kafka.topics import TopicConflict, apply_topics, differences, mend
from wardstream.registry.client import register_all
from wardstream.settings import Settings
from wardstream.stack.parts import postgres

DAG = "platform_setup_dag"
GREEN = dict.fromkeys(["migrate", "topics", "schemas", "checks", "summary"], "success")


def _empty(settings: Settings) -> None:
    """No topic and no schema on the servers, whatever ran before."""
    admin = Admin(settings)
    there = [topic for topic in admin.list_topics(timeout=10).topics if not topic.startswith("_")]
    for future in (admin.delete_topics(there, operation_timeout=15) if there else {}).values():
        future.result()
    for subject in requests.get(f"{settings.registry}/subjects", timeout=10).json():
        for permanent in ("false", "true"):
            requests.delete(f"{settings.registry}/subjects/{subject}?permanent={permanent}", timeout=10)
    requests.put(f"{settings.registry}/config", json={"compatibility": "NONE"}, timeout=10).raise_for_status()


def _set(settings: Settings, topic: str, name: str, value: str) -> None:
    """What an administrator does with kafka-configs."""
    admin = Admin(settings)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    asked = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(asked).values():
        future.result()


def _config(settings: Settings, topic: str, name: str) -> str:
    admin = Admin(settings)
    at = ConfigResource(ResourceType.TOPIC, topic)
    return str(admin.describe_configs([at])[at].result()[name].value)


def test_set_up_from_nothing_then_again_then_after_somebody_changed_a_topic(runner: Go, fresh: Settings, hook: Webhook):
    _empty(fresh)
    first = runner(DAG, fresh)
    assert (first.state, first.tasks) == ("success", GREEN)
    said = first.log
    assert re.search(r"changed: \d+", said) and "nothing to change" not in said
    assert "migration 0008.alerts: applied" in said
    for topic, contract in load_contracts(fresh.schemas_dir).items():
        assert f"topic {topic}: made" in said
        assert all(f"schema {contract.subject} v{version}: registered" in said for version in contract.versions)
        assert f"subject {contract.subject}: compatibility FULL_TRANSITIVE" in said
    assert requests.get(f"{fresh.registry}/config", timeout=10).json() == {"compatibilityLevel": "NONE"}, "not ours"

    again = runner(DAG, fresh)
    assert (again.state, again.tasks) == ("success", GREEN)
    assert len(again.lines("nothing to change")) == 1 and not again.lines("changed:")
    assert again.lines("the database has every migration") and again.lines("wardstream_bi logs in")

    _set(fresh, "labs", "retention.ms", "3600000")
    third = runner(DAG, fresh)
    assert third.state == "success"
    assert third.lines("topic labs: retention.ms 3600000 -> 365 d") and third.lines("changed: 1")
    assert runner(DAG, fresh).lines("nothing to change")
    assert hook.got == []


def test_a_registry_at_a_wrong_address_ends_its_task_with_one_clear_line(runner: Go, ready: Settings, hook: Webhook):
    address = f"http://127.0.0.1:{free_ports(1)[0]}/apis/ccompat/v7"
    run = runner(DAG, ready.model_copy(update={"schema_registry_url": address}))
    assert run.state == "failed"
    assert run.tasks == GREEN | {"schemas": "failed", "summary": "upstream_failed"}
    assert run.tries["schemas"] == 3  # it may be back in a moment
    [line] = set(re.findall(r"GET /config/\S+ at the schema registry.*?a-dag-failed\.md", run.log))
    assert line == (
        f"GET /config/admissions-value at the schema registry ({address}): ConnectionRefusedError; is it running "
        "(`wardstream status`), and is SCHEMA_REGISTRY_URL right? What to do: docs/runbooks/a-dag-failed.md"
    )
    [alert] = hook.got
    assert alert["key"] == f"dag:{DAG}" and "failed in task schemas" in alert["what"]
    assert alert["what"].endswith(f"/dags/{DAG}/runs/{run.run_id}")

    # it stays wrong: nobody is told twice; put right: the alert is closed, and the next one is told
    runner(DAG, ready.model_copy(update={"schema_registry_url": address}), tasks=_ONCE)
    assert len(hook.got) == 1
    assert runner(DAG, ready).state == "success"
    [(closed,)] = execute(ready, "SELECT closed_at IS NOT NULL FROM ops.alerts WHERE key = %s", f"dag:{DAG}")
    assert closed


def test_kafka_and_postgres_away_are_named_with_their_address(runner: Go, ready: Settings):
    kafka, database = free_ports(2)
    run = runner(DAG, ready.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{kafka}"}), tasks=_ONCE)
    assert run.tasks == GREEN | {"topics": "failed", "summary": "upstream_failed"}
    assert f"Kafka (127.0.0.1:{kafka})" in run.lines("could not be made")[-1]
    run = runner(DAG, ready.model_copy(update={"postgres_port": database}), tasks=_ONCE)
    assert run.tasks["migrate"] == "failed" and run.tasks["checks"] == "upstream_failed"
    assert f"{database}" in run.lines("PostgreSQL: ")[-1]


_ONCE = {name: {"retries": 0} for name in GREEN}


@pytest.mark.parametrize(
    ("break_it", "put_right", "said"),
    [
        ("GRANT SELECT ON core.patients TO wardstream_bi", None, "wardstream_bi has SELECT on core.patients"),
        ("GRANT SELECT (reason) ON ops.quarantine TO wardstream_bi", None, "wardstream_bi has SELECT on column reason"),
        ("REVOKE SELECT ON mart.labs FROM wardstream_bi", None, "wardstream_bi lacks SELECT on mart.labs"),
        ("GRANT DELETE ON history.labs TO wardstream_writer", None, "wardstream_writer has DELETE on history.labs"),
        (
            "REVOKE INSERT ON history.labs FROM wardstream_writer",
            None,
            "wardstream_writer lacks INSERT on history.labs",
        ),
        (
            "ALTER ROLE wardstream_bi NOLOGIN",
            "ALTER ROLE wardstream_bi LOGIN",
            "role wardstream_bi may not log in",
        ),
        (
            "ALTER ROLE wardstream_bi RENAME TO somebody_else",
            "ALTER ROLE somebody_else RENAME TO wardstream_bi",
            "role wardstream_bi does not exist",
        ),
        (
            "ALTER ROLE wardstream_bi SUPERUSER",
            "ALTER ROLE wardstream_bi NOSUPERUSER",
            "role wardstream_bi is a superuser",
        ),
        (
            "ALTER ROLE wardstream_writer SET synchronous_commit = off",
            "ALTER ROLE wardstream_writer RESET synchronous_commit",
            "off in PostgreSQL: synchronous_commit",
        ),
        (
            "ALTER ROLE wardstream_writer PASSWORD 'another'",
            "",
            "wardstream_writer cannot log in",
        ),
    ],
)
def test_a_check_that_fails_says_what_is_wrong(
    runner: Go, ready: Settings, break_it: str, put_right: str | None, said: str
):
    with postgres.connect(ready, ready.database_name) as conn:
        conn.execute(break_it.encode())
    try:
        run = runner(DAG, ready)
    finally:
        with postgres.connect(ready, ready.database_name) as conn:
            conn.execute((put_right or "SELECT").encode())
        postgres.bootstrap(ready)
    assert run.tasks["checks"] == "failed" and run.tasks["summary"] == "upstream_failed"
    assert run.tries["checks"] == 1  # trying again is of no use
    assert run.lines(said) and "docs/runbooks/a-dag-failed.md" in run.lines(said)[-1]


def _with_partitions(settings: Settings, folder: Path, topic: str, number: int) -> Settings:
    other = changed(settings, folder)
    file = folder / topic / "contract.yaml"
    document = yaml.safe_load(file.read_text())
    document.setdefault("customProperties", []).append({"property": "partitions", "value": number})
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return other


def _partitions(settings: Settings, topic: str) -> int:
    admin = Admin(settings)
    return len(admin.describe_topics(TopicCollection([topic]))[topic].result().partitions)


def test_partitions_are_added_and_never_taken_away(place: Settings, tmp_path: Path):
    apply_topics(place)
    more = _with_partitions(place, tmp_path / "more", "diagnoses", 3)
    [said] = apply_topics(more).changes
    assert said == "topic diagnoses: partitions 1 -> 3"
    assert _partitions(place, "diagnoses") == 3
    assert apply_topics(more).changes == apply_topics(place).changes == []  # a contract without a number leaves them
    fewer = _with_partitions(place, tmp_path / "fewer", "diagnoses", 2)
    with pytest.raises(TopicConflict, match="diagnoses has 3 partitions and its contract says 2"):
        apply_topics(fewer)
    assert _partitions(place, "diagnoses") == 3


@pytest.mark.parametrize("chosen", [str(730 * 86_400_000), "-1"])
def test_retention_that_was_raised_by_hand_stays(runner: Go, ready: Settings, chosen: str):
    runner(DAG, ready)
    _set(ready, "labs", "retention.ms", chosen)
    try:
        run = runner(DAG, ready)
        assert run.state == "success" and run.lines("nothing to change")
        assert _config(ready, "labs", "retention.ms") == chosen
    finally:
        _set(ready, "labs", "retention.ms", str(365 * 86_400_000))


def test_a_topic_with_the_senders_clock_is_reported_and_not_changed_until_somebody_asks(runner: Go, ready: Settings):
    runner(DAG, ready)
    _set(ready, "labs", "message.timestamp.type", "CreateTime")
    try:
        run = runner(DAG, ready)
        assert run.tasks["topics"] == "failed" and run.tries["topics"] == 1
        said = "topic labs: message.timestamp.type is CreateTime and not LogAppendTime; `wardstream contracts topics"
        assert run.lines(said)
        assert _config(ready, "labs", "message.timestamp.type") == "CreateTime"
        assert mend(ready) == ["topic labs: message.timestamp.type CreateTime -> LogAppendTime"]
        assert not mend(ready) and not differences(ready)
    finally:
        _set(ready, "labs", "message.timestamp.type", "LogAppendTime")


def test_topics_get_the_brokers_replication_and_what_was_chosen_otherwise_is_only_said(runner: Go, ready: Settings):
    runner(DAG, ready)
    other = ready.model_copy(update={"topic_replication": 3, "topic_min_insync_replicas": 2})
    run = runner(DAG, other)
    assert run.state == "success" and run.lines("nothing to change")
    assert run.lines("topic labs: replication is 1, and WARDSTREAM_TOPIC_REPLICATION says 3, left as it is")
    assert run.lines("topic labs: min.insync.replicas is 1, and WARDSTREAM_TOPIC_MIN_INSYNC_REPLICAS says 2")
    assert not differences(ready)


def test_a_registry_shared_with_another_team(runner: Go, ready: Settings):
    """Neither its global compatibility nor another team's subject is ours to set; an override on ours is reported."""
    _empty(ready)
    theirs = {"schema": '{"type": "record", "name": "Invoice", "fields": []}', "schemaType": "AVRO"}
    requests.post(f"{ready.registry}/subjects/invoices-value/versions", json=theirs, timeout=10).raise_for_status()
    _level(ready, "/invoices-value", "BACKWARD")
    _level(ready, "", "FORWARD")
    try:
        assert runner(DAG, ready).state == "success"
        assert _level(ready, "/invoices-value") == "BACKWARD" and _level(ready, "") == "FORWARD"
        assert _level(ready, "/labs-value") == "FULL_TRANSITIVE"

        _level(ready, "/labs-value", "NONE")
        run = runner(DAG, ready)
        assert run.tasks["schemas"] == "failed" and run.tries["schemas"] == 1
        assert run.lines("subject labs-value: compatibility is NONE and not FULL_TRANSITIVE")
        assert _level(ready, "/labs-value") == "NONE", "left as it is"
        assert not register_all(ready, mend=True).findings
        assert _level(ready, "/labs-value") == "FULL_TRANSITIVE"
    finally:
        _level(ready, "", "NONE")


def _level(settings: Settings, subject: str, level: str = "") -> str:
    """The compatibility that a subject has of its own (none: the global one), after setting it where one is given."""
    at = f"{settings.registry}/config{subject}"
    if level:
        requests.put(at, json={"compatibility": level}, timeout=10).raise_for_status()
    answer = requests.get(at, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["compatibilityLevel"])
