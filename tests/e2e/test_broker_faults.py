"""Kafka or the registry is not what it was: the right data, or a clear stop that one command ends.

In `make test` are those that take seconds; the others, those with the stream stopped and those that wait for long are
`make proof`. What is found and accepted of lost offsets: tests/integration/contracts/test_gaps.py.
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.e2e.hospital import Hospital, wait_for
from tests.e2e.test_kills import held_at_the_end_of_a_commit
from wardstream import stack
from wardstream.kafka.topics import create_topics
from wardstream.proof.verify import verify
from wardstream.stack import manager, parts
from wardstream.stack.parts import kafka
from wardstream.stream import gaps
from wardstream.stream.control import findings

STREAM = ["running", pytest.param("stopped", marks=pytest.mark.campaign)]
RUNBOOK = "docs/runbooks/the-stream-is-blocked.md"


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    """The hospital with the sample in it."""
    hospital.empty()
    hospital.must("replay", "sample")
    hospital.verified()
    return hospital


@pytest.fixture(scope="module")
def digest(ward: Hospital) -> dict[str, str]:
    return ward.digest()


def admin(ward: Hospital) -> AdminClient:
    return AdminClient({"bootstrap.servers": ward.settings.kafka})


def ask(ward: Hospital, what: str, *arguments: Any) -> None:
    """One request of Kafka's admin client, to its end."""
    client = admin(ward)  # the answers die with the client
    for future in getattr(client, what)(*arguments).values():
        future.result()


def state(ward: Hospital) -> tuple[str, str]:
    return ward.rows("SELECT state, coalesce(blocked_by, '') FROM ops.streams")[0]


def blocked(ward: Hospital, word: str) -> str:
    """Wait until the stream is blocked by something that has this word; what it is, as its row of ops.streams says."""

    def why() -> str | None:
        now, by = state(ward)
        return by if now == "blocked" and word in by else None

    return str(wait_for(f"the stream to be blocked by {word}", why))


def running(ward: Hospital) -> None:
    wait_for("the stream to run", lambda: state(ward)[0] == "running")


def is_said_everywhere(ward: Hospital, word: str) -> None:
    """The command that asks for a start gives up at once and says why; so does what the two-minute DAG looks at."""
    asked = ward.cli("stream", "start")
    assert asked.returncode == 1 and word in asked.stderr and RUNBOOK in asked.stderr
    assert [finding.code for finding in findings(ward.settings)] == ["blocked"]
    started = ward.cli("up")
    assert started.returncode == 1 and word in started.stderr and RUNBOOK in started.stderr
    assert word in " ".join(ward.cli("status").stdout.split())
    pid = stack.pids(ward.settings)["stream"]
    assert not psutil.Process(pid).children(recursive=True), "a blocked stream has no JVM"
    time.sleep(5)
    assert stack.pids(ward.settings)["stream"] == pid, "it waits, and is not started again and again"


def accept(ward: Hospital) -> str:
    """Accept what is lost, as a user does; returns what the command showed first."""
    shown = ward.cli("stream", "accept-gap")
    assert shown.returncode == 1 and "say why with --reason" in shown.stderr
    assert "accepted" in ward.must("stream", "accept-gap", "--reason", "a test took it away", "--yes")
    running(ward)
    assert "nothing is lost" in ward.must("stream", "accept-gap")
    return shown.stdout


@pytest.fixture
def stopped(ward: Hospital, request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the fault comes while the stream is stopped; it runs again afterwards."""
    is_stopped = request.param == "stopped"
    if is_stopped:
        ward.must("stream", "stop")
    yield is_stopped
    ward.must("stream", "start")


@pytest.mark.parametrize("stopped", STREAM, indirect=True)
def test_a_partition_is_added(ward: Hospital, digest: dict[str, str], stopped: bool) -> None:
    there = len(admin(ward).list_topics("labs").topics["labs"].partitions)
    ask(ward, "create_partitions", [NewPartitions("labs", there + 1)])
    generation = ward.rows("SELECT generation FROM ops.streams")
    ward.must("replay", "sample")
    if stopped:
        ward.must("stream", "start")
    tallies = [tally for tally in ward.verified().tallies if tally.topic == "labs"]
    assert len(tallies) == there + 1 and all(tally.received for tally in tallies)
    assert ward.digest() == digest
    if not stopped:
        assert ward.rows("SELECT generation FROM ops.streams") == generation, "it went on without a new start"


@pytest.mark.parametrize("stopped", STREAM, indirect=True)
def test_a_topic_is_made_again_with_more_messages_than_before(
    ward: Hospital, digest: dict[str, str], stopped: bool
) -> None:
    committed = ward.rows("SELECT max(next_offset) FROM ops.ledger WHERE topic = 'diagnoses'")[0][0]
    ask(ward, "delete_topics", ["diagnoses"])
    wait_for("the topic to go", lambda: "diagnoses" not in admin(ward).list_topics(timeout=15).topics)
    create_topics(ward.settings)
    while ward.extent("diagnoses").end <= committed:
        ward.must("replay", "sample")
    if stopped:
        ward.must("stream", "start", "--no-wait")
    said = blocked(ward, "recreated")
    assert f"topic diagnoses partition 0: committed up to offset {committed} of topic id" in said
    is_said_everywhere(ward, "recreated")
    with pytest.raises(gaps.Changed):
        gaps.accept(ward.settings, [], "seen when nothing was lost", "a test")
    assert f"committed up to offset {committed}" in accept(ward)
    report = ward.verified()
    assert any("topic diagnoses" in note and f"from offset {committed} on: accepted" in note for note in report.notes)
    assert [(t.topic, t.next_offset) for t in report.tallies if t.former][-1] == ("diagnoses", committed)
    assert ward.digest() == digest


@pytest.mark.campaign
@pytest.mark.parametrize("stopped", ["running", "stopped"], indirect=True)
def test_offsets_are_lost_before_they_are_read(ward: Hospital, stopped: bool) -> None:
    def lose() -> tuple[int, int]:
        ward.must("replay", "sample", "--seed", "2" if stopped else "3")
        start, end = ward.next_offset("patients"), ward.extent("patients").end
        assert end > start + 20
        ask(ward, "delete_records", [TopicPartition("patients", 0, end - 5)])
        return start, end - 5

    if stopped:
        start, end = lose()
        ward.must("stream", "start", "--no-wait")
    else:
        replay = ward.begin("replay", "sample", "--pace", "20")  # so that there is a commit to be held
        try:
            with held_at_the_end_of_a_commit(ward):
                start, end = lose()
        finally:
            replay.kill()
            replay.communicate()
    said = blocked(ward, "are lost")
    start = ward.next_offset("patients")  # the held commit may have moved it
    assert (
        f"topic patients partition 0: committed up to offset {start}" in said and f"{start} to {end} are lost" in said
    )
    is_said_everywhere(ward, "are lost")
    accept(ward)
    report = ward.verified()
    assert (
        f"topic patients partition 0 offsets {start} to {end}: accepted as lost (a test took it away)" in report.notes
    )
    gaps = ward.rows("SELECT start_offset, end_offset, accepted_by FROM ops.gaps WHERE topic = 'patients' ORDER BY 1")
    assert gaps[-1][:2] == (start, end) and "@" in gaps[-1][2]


@pytest.mark.campaign
def test_kafkas_data_is_put_back_to_an_older_state(ward: Hospital, tmp_path: Path) -> None:
    """Same topic ids, shorter logs: what was committed stays, and the offsets are used a second time."""
    data = kafka.home(ward.settings) / "data"
    stack.stop_part(ward.settings, "kafka")
    shutil.copytree(data, tmp_path / "backup")
    stack.start_part(ward.settings, "kafka")
    ward.must("replay", "sample", "--seed", "9")
    ward.verified()
    digest, received = ward.digest(), sum(tally.received for tally in ward.verified().tallies)
    stack.stop_part(ward.settings, "kafka")
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    stack.start_part(ward.settings, "kafka")
    blocked(ward, "restored to an older state")
    accept(ward)
    report = ward.verified()
    assert sum(tally.received for tally in report.tallies if tally.former) == received
    former = ward.rows("SELECT sum(stored + duplicate + quarantined) FROM ops.verified WHERE topic_id LIKE '%~%'")
    assert former == [(received,)], "what was verified of the former logs goes on being compared"
    assert ward.digest() == digest
    ward.must("replay", "sample", "--seed", "9")
    ward.verified()
    assert ward.digest() == digest


def test_the_registry_is_away_while_the_stream_runs(ward: Hospital) -> None:
    """It was told all schemas at its start, and goes on; a replay that has begun does so, too."""
    generation = ward.rows("SELECT generation, (SELECT count(*) FROM ops.quarantine) FROM ops.streams")
    before = ward.committed()
    replay = ward.begin("replay", "sample", "--pace", "300")
    try:
        wait_for("events of all topics", lambda: ward.committed() > before + 1000)
        stack.stop_part(ward.settings, "registry")
        away = ward.published()
        wait_for("commits without the registry", lambda: ward.committed() > away + 300)
    finally:
        replay.kill()
        replay.communicate()
        stack.start_part(ward.settings, "registry")
    ward.verified()
    assert ward.rows("SELECT generation, (SELECT count(*) FROM ops.quarantine) FROM ops.streams") == generation


@pytest.mark.campaign
def test_the_registry_is_away(ward: Hospital) -> None:
    """Messages wait; none is blamed."""
    quarantined = ward.rows("SELECT count(*) FROM ops.quarantine")
    stack.stop_part(ward.settings, "registry")
    try:
        stack.stop_part(ward.settings, "stream")
        manager.start(ward.settings, "stream", parts.named("stream").launch(ward.settings))
        wait_for("the stream to wait for the registry", lambda: state(ward)[0] == "waiting")
        assert "RegistryUnavailableError" in state(ward)[1]
        time.sleep(30)
        assert state(ward)[0] == "waiting"
    finally:
        stack.start_part(ward.settings, "registry")
    running(ward)
    ward.must("replay", "sample")
    ward.verified()
    assert ward.rows("SELECT count(*) FROM ops.quarantine") == quarantined
    assert ward.rows("SELECT fruitless_starts FROM ops.streams") == [(0,)], "or batches would be small from now on"


@pytest.mark.campaign
def test_the_registry_goes_away_before_the_stream_asked_for_a_new_schema_id(ward: Hospital) -> None:
    """The batch that needs it fails, and none of its messages is blamed."""
    quarantined = ward.rows("SELECT count(*) FROM ops.quarantine")
    replay = ward.begin("replay", "sample", "--pace", "20")  # so that there is a commit to be held
    try:
        with held_at_the_end_of_a_commit(ward):
            new = registered_again(ward, "labs")
            write_again(ward, "labs", new)
            stack.stop_part(ward.settings, "registry")
    finally:
        replay.kill()
        replay.communicate()
    try:
        wait_for("the stream to wait for the registry", lambda: state(ward)[0] == "waiting")
        assert "RegistryUnavailableError" in state(ward)[1]
        time.sleep(30)
        assert state(ward)[0] == "waiting"
    finally:
        stack.start_part(ward.settings, "registry")
    running(ward)
    ward.verified()
    assert ward.rows("SELECT count(*) FROM ops.schema_ids WHERE schema_id = %s", new) == [(1,)]
    assert ward.rows("SELECT count(*) FROM ops.quarantine") == quarantined


@pytest.mark.campaign
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_the_broker_is_away_for_a_minute(ward: Hospital, stopped: bool) -> None:
    """A replay that is under way waits as the stream does; nobody has to do anything."""
    ward.must("replay", "sample", "--seed", "11")
    ward.verified()
    digest, before = ward.digest(), ward.committed()
    replay = None
    if stopped:
        ward.must("stream", "stop")
    else:
        replay = ward.begin("replay", "sample", "--seed", "11", "--pace", "100")
        wait_for("the stream to be at work", lambda: ward.committed() > before)
    stack.stop_part(ward.settings, "kafka")
    try:
        if stopped:
            ward.must("stream", "start", "--no-wait")
            wait_for("the stream to wait for Kafka", lambda: state(ward)[0] == "waiting")
        time.sleep(60)
    finally:
        stack.start_part(ward.settings, "kafka")
    running(ward)
    if replay:
        said = replay.communicate(timeout=300)[0]
        assert replay.returncode == 0, said
    else:
        ward.must("replay", "sample", "--seed", "11")
    ward.verified()
    assert ward.digest() == digest and ward.committed() > before
    assert ward.rows("SELECT fruitless_starts FROM ops.streams") == [(0,)]


@pytest.mark.campaign
def test_a_schema_id_that_means_something_else_stops_the_stream(ward: Hospital) -> None:
    with ward.connect() as conn:
        conn.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint + 1 WHERE topic = 'labs'")
    before = ward.next_offset("labs")
    ward.must("replay", "sample")
    assert "of topic labs no longer means what it first meant" in blocked(ward, "schema id")
    assert ward.next_offset("labs") == before
    with ward.connect() as conn:
        conn.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint - 1 WHERE topic = 'labs'")
    running(ward)
    ward.verified()


def test_a_schema_id_that_the_registry_lost_is_read_on(ward: Hospital) -> None:
    """Deleted for good, as a restart and a new batch find it; verify has a note, and no finding a message."""
    quarantined = ward.rows("SELECT count(*) FROM ops.quarantine")
    number = ward.rows("SELECT schema_id FROM ops.schema_ids WHERE topic = 'patients'")[0][0]
    for query in ("", "?permanent=true"):
        call(ward, "DELETE", f"/subjects/patients-value{query}")
    write_again(ward, "patients", number)
    ward.must("stream", "restart")
    write_again(ward, "patients", number)
    lost = f"schema id {number} was met in messages of topic patients, and the registry no longer has it there"
    assert [note for note in ward.verified().notes if lost in note]
    assert ward.rows("SELECT count(*) FROM ops.quarantine") == quarantined

    with ward.connect() as conn:  # as if the version that means the same had been removed
        conn.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint + 1 WHERE topic = 'patients'")
    (found,) = verify(ward.settings, 10, full=True).findings  # what was verified before is not read again otherwise
    assert f"committed messages carry schema id {number}, a version that schemas/patients/value no longer has" in found
    with ward.connect() as conn:
        conn.execute("UPDATE ops.schema_ids SET fingerprint = fingerprint - 1 WHERE topic = 'patients'")

    assert "registry:patients-value" in ward.cli("status").stdout
    ward.must("contracts", "register")
    assert "registry:patients-value" not in ward.cli("status").stdout
    ward.must("replay", "sample")
    ward.verified()


def call(ward: Hospital, method: str, path: str, body: Any = None) -> Any:
    data, kind = json.dumps(body).encode() if body else None, {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(ward.settings.registry + path, data, kind, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def registered_again(ward: Hospital, topic: str) -> int:
    """The id of the topic's schema with a property of a test's own: another id (not so with `doc`), the same bytes."""
    latest = call(ward, "GET", f"/subjects/{topic}-value/versions/latest")
    body = {"schema": json.dumps({**json.loads(latest["schema"]), "note": "as a test has it"})}
    new = int(call(ward, "POST", f"/subjects/{topic}-value/versions", body)["id"])
    assert new != latest["id"]
    return new


def write_again(ward: Hospital, topic: str, schema_id: int) -> None:
    """Write the oldest message that a partition has once more, the same Avro under another schema id."""
    kafka_at = {"bootstrap.servers": ward.settings.kafka}
    consumer = Consumer({**kafka_at, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        message = wait_for("a message", lambda: consumer.poll(1.0))
    finally:
        consumer.close()
    value = message.value()
    producer = Producer(kafka_at)
    # a zero byte, the id in four bytes, then the record
    producer.produce(topic, value[:1] + schema_id.to_bytes(4, "big") + value[5:], message.key())
    assert producer.flush(30) == 0
