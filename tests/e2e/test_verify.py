"""verify is a proof only if it can fail: whatever is changed behind its back, it exits 1 and names the place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.e2e.hospital import Hospital, wait_for
from tests.integration.commit.test_history import add, edit
from wardstream import stack
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
from wardstream.database.migrate import migrate
from wardstream.proof import placing
from wardstream.proof.reading import read_partition
from wardstream.proof.report import Report
from wardstream.proof.verify import verify
from wardstream.registry.client import schema_id

ONE_LAB = '(SELECT min(lab_result_id) FROM history.labs WHERE "offset" > 10)'
ONE_OFFSET = f'(SELECT min("offset") FROM history.labs WHERE lab_result_id = {ONE_LAB})'


@pytest.fixture(scope="module")
def filled(hospital: Hospital) -> Iterator[Hospital]:
    """The sample twice (so that there are duplicates) and poison (so that there is quarantine)."""
    hospital.empty()
    hospital.must("replay", "sample")
    hospital.caught_up()  # so that there is more than one range
    hospital.must("replay", "sample", "--limit", "500")
    publish_poison(hospital)
    report = hospital.verified()
    for name in ("stored", "duplicate", "quarantined"):
        assert sum(getattr(tally, name) for tally in report.tallies) > 0, name
    yield hospital


POISON: dict[str, bytes | None] = {
    "no_value": None,
    "bad_magic": b"hello",
    "too_short": b"\0\0\0",
    "unknown_schema": b"\0\x7f\xff\xff\xff\x02",
    "bad_avro": b"\xff\xff\xff\xff\x0f",  # a string of 2^31 bytes, in seven bytes of message
}


def publish_poison(hospital: Hospital) -> None:
    """Messages that cannot be events, each with the reason under which it must be found."""
    settings = hospital.settings
    contract = load_contracts(settings.schemas_dir)["labs"]
    number = schema_id(settings, contract.subject, contract.latest)
    header = b"\0" + number.to_bytes(4, "big")
    example = next(load_examples(settings.schemas_dir / "labs", contract))
    good = Encoder(contract.latest, number).encode(example.event)
    messages = {**POISON, "bad_avro": header + (POISON["bad_avro"] or b""), "trailing_bytes": good + b"\0"}
    producer = Producer({"bootstrap.servers": settings.kafka})
    for value in messages.values():
        producer.produce("labs", value, key=b"p")
    assert producer.flush(30) == 0
    hospital.caught_up()
    found = hospital.rows("SELECT reason, value FROM ops.quarantine ORDER BY reason")
    assert found == sorted(messages.items(), key=lambda pair: pair[0])


FIRST_RANGE = (
    "(topic_id, start_offset) = (SELECT topic_id, min(start_offset) FROM ops.ledger_ranges"
    " WHERE topic_id = (SELECT topic_id FROM ops.ledger WHERE topic = 'labs') GROUP BY topic_id)"
)
ONE_DUPLICATE = '(topic_id, "offset") = (SELECT topic_id, "offset" FROM ops.duplicates ORDER BY 1, 2 LIMIT 1)'
AT_THE_LAB = r"topic labs partition 0 offset {offset}: "
AT_THE_POISON = r"topic labs partition 0 offset {poison}: "
AT_A_DUPLICATE = r"topic \w+ partition 0 offset \d+: "

# What is done behind its back, and where verify must see it.
CHANGES = {
    "value in history": (f"UPDATE history.labs SET value_number = 4711.5 WHERE lab_result_id = {ONE_LAB}", AT_THE_LAB),
    "key in history": (f"UPDATE history.labs SET event_id = 'changed' WHERE lab_result_id = {ONE_LAB}", AT_THE_LAB),
    "hash in history": (f"UPDATE history.labs SET content_hash = '\\x00' WHERE lab_result_id = {ONE_LAB}", AT_THE_LAB),
    "place in history": (f'UPDATE history.labs SET "offset" = 999999 WHERE lab_result_id = {ONE_LAB}', AT_THE_LAB),
    "fact under another topic": (
        "UPDATE history.labs SET topic_id = (SELECT topic_id FROM ops.ledger WHERE topic = 'patients')"
        f" WHERE lab_result_id = {ONE_LAB}",
        r"topic id \S+ partition 0 from offset {offset}: ",
    ),
    "ledger ahead": (
        "WITH r AS (UPDATE ops.ledger_ranges SET end_offset = end_offset + 100 WHERE (topic_id, end_offset) ="
        " (SELECT topic_id, next_offset FROM ops.ledger WHERE topic = 'labs'))"
        " UPDATE ops.ledger SET next_offset = next_offset + 100 WHERE topic = 'labs'",
        r"topic labs partition 0: committed up to offset \d+, but the broker has only \d+",
    ),
    "schema id in quarantine": ("UPDATE ops.quarantine SET schema_id = 77 WHERE reason = 'bad_avro'", AT_THE_POISON),
    "topic in history": (f"UPDATE history.labs SET topic_id = 'x' WHERE lab_result_id = {ONE_LAB}", r"topic id x "),
    "row of history added": (
        'INSERT INTO history.labs SELECT (jsonb_populate_record(h, \'{"topic_id": "x", "event_id": "x"}\')).*'
        f" FROM history.labs h WHERE lab_result_id = {ONE_LAB}",
        r"topic id x partition 0 from offset {offset}: ",
    ),
    "row of history deleted": (f"DELETE FROM history.labs WHERE lab_result_id = {ONE_LAB}", AT_THE_LAB),
    "value in core": (
        f"UPDATE core.lab_results SET value_number = 4711.5 WHERE lab_result_id = {ONE_LAB}",
        r"core.lab_results key {lab}/hospital: ",
    ),
    "key in core": (
        f"UPDATE core.lab_results SET lab_result_id = 'changed' WHERE lab_result_id = {ONE_LAB}",
        r"core.lab_results key changed/hospital: ",
    ),
    "row of core deleted": (
        f"DELETE FROM core.lab_results WHERE lab_result_id = {ONE_LAB}",
        r"core.lab_results key {lab}/hospital: ",
    ),
    "stay in core": (
        "UPDATE core.encounters SET ward_now = 'elsewhere'"
        " WHERE encounter_id = (SELECT min(encounter_id) FROM core.encounters)",
        r"core.encounters key \S+: ",
    ),
    "source forgotten": (
        "DELETE FROM ops.sources WHERE source = 'sample'",
        r"core\.\w+ source sample: ops\.sources does not know it",
    ),
    "value in quarantine": ("UPDATE ops.quarantine SET value = 'x' WHERE reason = 'bad_avro'", AT_THE_POISON),
    "key in quarantine": ("UPDATE ops.quarantine SET key = 'x' WHERE reason = 'bad_avro'", AT_THE_POISON),
    "row of quarantine deleted": ("DELETE FROM ops.quarantine WHERE reason = 'bad_avro'", AT_THE_POISON),
    "hash in duplicates": (f"UPDATE ops.duplicates SET content_hash = '\\x00' WHERE {ONE_DUPLICATE}", AT_A_DUPLICATE),
    "row of duplicates deleted": (f"DELETE FROM ops.duplicates WHERE {ONE_DUPLICATE}", AT_A_DUPLICATE),
    "range missing": (
        f"DELETE FROM ops.ledger_ranges WHERE {FIRST_RANGE}",
        r"topic labs partition 0 offsets 0 to \d+",
    ),
    "ranges overlap": (
        f"UPDATE ops.ledger_ranges SET end_offset = end_offset + 1 WHERE {FIRST_RANGE}",
        r"topic labs partition 0 offsets \d+ to \d+: two commits",
    ),
    "ledger restored": (
        "UPDATE ops.ledger SET next_offset = next_offset - 1 WHERE topic = 'labs'",
        r"topic labs partition 0: ",
    ),
}
TABLES = (
    *("history.labs", "history.diagnoses", "core.lab_results", "core.encounters", "ops.sources"),
    *("ops.quarantine", "ops.duplicates", "ops.ledger_ranges", "ops.ledger"),
)


@pytest.fixture
def restored(filled: Hospital) -> Iterator[Hospital]:
    """Every table as it was, after the test."""
    with filled.connect() as conn:
        for table in TABLES:
            conn.execute(f'CREATE TEMP TABLE "{table}" AS SELECT * FROM {table}')
        yield filled
        with conn.transaction():
            for table in TABLES:
                conn.execute(f"DELETE FROM {table}")
                conn.execute(f'INSERT INTO {table} SELECT * FROM "{table}"')


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named(restored: Hospital, name: str) -> None:
    change, where = CHANGES[name]
    ((lab, offset),) = restored.rows(f"SELECT {ONE_LAB}, {ONE_OFFSET}")
    ((poison,),) = restored.rows("SELECT \"offset\" FROM ops.quarantine WHERE reason = 'bad_avro'")
    with restored.connect() as conn:
        assert conn.execute(change).rowcount == 1
    report = verify(restored.settings, wait_seconds=0)
    pattern = where.format(lab=re.escape(lab), offset=offset, poison=poison)
    assert any(re.match(pattern, finding) for finding in report.findings), (pattern, report.findings)


def test_the_command_exits_1_and_rebuild_mends_core(restored: Hospital) -> None:
    digest = restored.digest()
    assert restored.cli("verify").returncode == 0
    with restored.connect() as conn:
        conn.execute("UPDATE core.lab_results SET value_number = 4711.5")
        conn.execute("DELETE FROM core.encounters")
    done = restored.cli("verify", "--wait", "0")
    assert done.returncode == 1
    assert "core.encounters key" in done.stdout
    restored.must("rebuild")
    assert restored.cli("verify").returncode == 0
    assert restored.digest() == digest


# Verified before, and not read again. Each change is one that hides: of history the hash column says what it said.
SEEN_BEFORE = r"topic {topic} partition 0 offsets \d+ to \d+: their rows are not those that were verified at "
COPY_OF_ONE_LAB = "(SELECT (jsonb_populate_record(h, {change})).* FROM history.labs h WHERE lab_result_id = {lab})"
HIDDEN = {
    "value in history": ("labs", CHANGES["value in history"][0], AT_THE_LAB),
    "hash in history": ("labs", CHANGES["hash in history"][0], AT_THE_LAB),
    "row of history deleted": ("labs", CHANGES["row of history deleted"][0], AT_THE_LAB),
    "row of history added": (
        "labs",
        "INSERT INTO history.labs " + COPY_OF_ONE_LAB.format(change='\'{"event_id": "added"}\'', lab=ONE_LAB),
        AT_THE_LAB + 'a row of "history"."labs" says so, but the message does not',
    ),
    "hash in duplicates": ("", CHANGES["hash in duplicates"][0], AT_A_DUPLICATE),
    "value in quarantine": ("labs", CHANGES["value in quarantine"][0], AT_THE_POISON),
    # what Kafka does not say can be compared with what it was alone
    "time of arrival": (
        "labs",
        f"UPDATE history.labs SET received_at = received_at - interval '1 day' WHERE lab_result_id = {ONE_LAB}",
        SEEN_BEFORE.format(topic="labs"),
    ),
    "reason in quarantine": (
        "labs",
        "UPDATE ops.quarantine SET reason = 'missing:kind' WHERE reason = 'bad_avro'",
        SEEN_BEFORE.format(topic="labs"),
    ),
}


def received(report: Report) -> int:
    """All messages of Kafka, in a report without findings."""
    return sum(tally.received for tally in report.tallies)


def ranges(hospital: Hospital) -> list[tuple[object, ...]]:
    """What verify has written down, without when."""
    columns = ", ".join(f"{name}, {name}_sum" for name in ("stored", "duplicate", "quarantined"))
    return hospital.rows(
        f"SELECT topic, v.partition, start_offset, end_offset, {columns}"
        " FROM ops.verified AS v JOIN ops.ledger USING (topic_id) ORDER BY 1, 2, 3"
    )


def test_what_was_verified_is_not_read_again(filled: Hospital) -> None:
    filled.verified()
    kept, again = ranges(filled), filled.verified()
    assert again.read == 0
    assert len(kept) == len([tally for tally in again.tallies if tally.received]), "one row a partition"
    filled.must("replay", "sample", "--limit", "7")
    filled.caught_up()
    assert filled.verified().read == 7
    assert filled.verified().read == 0
    assert len(ranges(filled)) == len(kept), "what follows is merged"


def test_full_reads_all_of_it(filled: Hospital) -> None:
    filled.verified()
    kept = ranges(filled)
    said = json.loads(filled.must("verify", "--full", "--json"))
    assert said["read"] == received(filled.verified()) > 1000
    assert ranges(filled) == kept


@pytest.mark.parametrize("name", HIDDEN)
def test_a_change_of_what_was_verified_before_is_named(restored: Hospital, name: str) -> None:
    topic, change, where = HIDDEN[name]
    restored.verified()
    ((lab, offset),) = restored.rows(f"SELECT {ONE_LAB}, {ONE_OFFSET}")
    ((poison,),) = restored.rows("SELECT \"offset\" FROM ops.quarantine WHERE reason = 'bad_avro'")
    with restored.connect() as conn:
        assert conn.execute(change).rowcount == 1
    reports = [verify(restored.settings, wait_seconds=0) for _ in range(2)]  # it does not get used to it
    pattern = where.format(lab=re.escape(lab), offset=offset, poison=poison)
    for report in reports:
        assert any(re.match(pattern, finding) for finding in report.findings), (pattern, report.findings)
        differs = SEEN_BEFORE.format(topic=topic or r"\w+")
        assert len([finding for finding in report.findings if re.match(differs, finding)]) == 1
        assert 0 < report.read < received(report), "the range that differs is read, and no other"


def test_what_is_as_it_was_again_need_not_be_read(filled: Hospital) -> None:
    """All of the changes above were undone."""
    assert filled.verified().read == 0


def test_a_range_with_a_finding_is_not_written_down(restored: Hospital) -> None:
    with restored.connect() as conn:
        conn.execute("DELETE FROM ops.verified")
        conn.execute(CHANGES["value in history"][0])
    assert verify(restored.settings, wait_seconds=0).findings
    assert {topic for topic, *_ in ranges(restored)} == set(load_contracts(restored.settings.schemas_dir)) - {"labs"}
    assert verify(restored.settings, wait_seconds=0).findings


def test_a_row_that_no_message_accounts_for_keeps_its_range_from_being_written_down(restored: Hospital) -> None:
    with restored.connect() as conn:
        conn.execute("DELETE FROM ops.verified")
        conn.execute(HIDDEN["row of history added"][1])
    assert verify(restored.settings, wait_seconds=0).findings
    assert "labs" not in {topic for topic, *_ in ranges(restored)}


def test_full_says_once_what_kafka_cannot(restored: Hospital) -> None:
    restored.verified()
    with restored.connect() as conn:
        conn.execute(HIDDEN["time of arrival"][1])
    assert verify(restored.settings, wait_seconds=0).findings
    (finding,) = verify(restored.settings, wait_seconds=0, full=True).findings
    assert re.match(SEEN_BEFORE.format(topic="labs"), finding)
    assert not verify(restored.settings, wait_seconds=0).findings, "each of its messages was compared"
    with restored.connect() as conn:
        conn.execute("DELETE FROM ops.verified")  # of the changed time


def test_sums_of_another_form_are_not_compared(filled: Hospital) -> None:
    filled.verified()
    kept = ranges(filled)
    with filled.connect() as conn:
        conn.execute("UPDATE ops.verified SET form = 'of a former major version', stored_sum = 0")
    report = filled.verified()
    assert report.read == received(report)
    assert ranges(filled) == kept


def test_processes_find_the_same(filled: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Pool(ProcessPoolExecutor):
        def __init__(self, processes: int, *more: Any) -> None:
            started.append(processes)
            super().__init__(processes, *more)

    filled.verified()
    kept = ranges(filled)
    monkeypatch.setattr(placing, "CHUNK", 300)
    monkeypatch.setattr(placing, "LONGEST", 1000)
    monkeypatch.setattr(placing, "ProcessPoolExecutor", Pool)
    report = verify(filled.settings, 0, full=True)
    assert (report.findings, report.read) == ([], received(report))
    assert started and min(started) == placing.cores()
    assert ranges(filled) == kept


def test_kafka_is_read_outside_of_any_transaction_and_beside_commits(
    filled: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No snapshot holds back vacuum meanwhile; what is committed meanwhile is for the next time."""
    open_ones = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wardstream verify' AND xact_start < now()"
    )
    seen: list[int] = []

    def watched(*where: Any) -> Iterator[pa.Table]:
        for messages in read_partition(*where):
            if not seen:
                filled.must("replay", "sample", "--limit", "5")
                filled.caught_up()
            seen.append(filled.rows(open_ones)[0][0])
            yield messages

    before = received(filled.verified())
    monkeypatch.setattr(placing, "CHUNK", 10**6)  # in this process
    monkeypatch.setattr(placing, "read_partition", watched)
    report = verify(filled.settings, 0, full=True)
    assert (report.findings, report.read, received(report)) == ([], before, before)
    assert len(seen) >= 4 and set(seen) == {0}
    assert filled.verified().read == 5


def test_what_kafka_no_longer_has_stays_proven(restored: Hospital) -> None:
    restored.verified()
    gone = restored.extent("diagnoses").start + 20
    admin = AdminClient({"bootstrap.servers": restored.settings.kafka})
    for future in admin.delete_records([TopicPartition("diagnoses", 0, gone)]).values():
        future.result()
    wait_for("the messages to go", lambda: restored.extent("diagnoses").start == gone)
    report = restored.verified()
    note = f"topic diagnoses partition 0: offsets before {gone} are no longer on the broker to compare with"
    assert f"{note}; of {gone} of them the rows are those of before" in report.notes
    assert report.read == 0

    first = '(SELECT min("offset") FROM history.diagnoses)'
    query = f"UPDATE history.diagnoses SET short_title = 'changed' WHERE \"offset\" = {first}"
    with restored.connect() as conn:
        assert conn.execute(query).rowcount == 1
    for full in (False, True, False):
        findings = verify(restored.settings, 0, full).findings
        assert any(re.match(SEEN_BEFORE.format(topic="diagnoses"), finding) for finding in findings)


@pytest.fixture
def changeable(filled: Hospital, tmp_path: Path) -> Iterator[Hospital]:
    """The same database under schemas of its own, without a stream."""
    stack.stop_part(filled.settings, "stream")
    schemas = shutil.copytree(filled.settings.schemas_dir, tmp_path / "schemas")
    yield Hospital(filled.settings.model_copy(update={"schemas_dir": schemas}))


def test_a_restated_topic_and_one_with_a_new_column_are_read_again(changeable: Hospital) -> None:
    settings = changeable.settings
    of_labs = next(tally.received for tally in changeable.verified().tallies if tally.topic == "labs")
    edit(settings, "labs", add("analyser", "string"), 2)
    migrate(settings)
    assert changeable.verified().read == of_labs
    assert changeable.verified().read == 0

    (settings.schemas_dir / "sources.yaml").write_text("sources: {sample: {authority: elsewhere}}\n")
    migrate(settings)
    assert changeable.rows("SELECT DISTINCT authority FROM history.labs") == [("elsewhere",)]
    report = changeable.verified()
    gone = changeable.extent("diagnoses").start
    assert report.read == received(report) - gone, "history of every topic says something else than it did"
    assert changeable.verified().read == 0
