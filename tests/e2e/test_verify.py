"""verify is a proof only if it can fail: whatever is changed behind its back, it exits 1 and names the place."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from tests.e2e.hospital import Hospital
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
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
    *("history.labs", "core.lab_results", "core.encounters", "ops.sources"),
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
