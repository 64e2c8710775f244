"""A database that an earlier release filled is taken over: nothing lost, nothing changed, and the stream goes on.

Each release leaves a dump of its database in upgrade_corpus/ (README.md there): the sample, some of it sent twice, and
messages that were refused. It is restored into an empty database, and Kafka gets the very messages it came from:
history holds each field of an event, quarantine the bytes. What a new cluster and a new registry cannot give again,
ids and the times of appending, is put into the restored database before this version sees it.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from psycopg import sql
from psycopg.rows import dict_row

from tests.e2e.hospital import Hospital
from wardstream import stack
from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import Encoder
from wardstream.contracts.model import load_contracts
from wardstream.kafka.broker import Broker
from wardstream.kafka.topics import create_topics
from wardstream.registry.client import register_all, schema_id
from wardstream.stack.parts import postgres

CORPUS = Path(__file__).parent / "upgrade_corpus"
RELEASES = sorted(file.name.removesuffix(".sql.gz") for file in CORPUS.glob("*.sql.gz"))
FILES = (
    "SELECT relname, pg_relation_filenode(oid) FROM pg_class"
    " WHERE relnamespace = 'history'::regnamespace AND relkind = 'r'"
)
APPLIED = "SELECT migration_id, applied_at_utc FROM public._yoyo_migration"

Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True)
class Sent:
    """A message's bytes."""

    key: bytes | None
    value: bytes | None


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """A release with a dump in the corpus."""
    return str(request.param)


@pytest.fixture
def restored(hospital: Hospital, release: str, tmp_path: Path) -> Iterator[Hospital]:
    """The release's database, not migrated, and the messages it was filled from in Kafka; no stream runs."""
    stack.stop_part(hospital.settings, "stream")
    hospital.drop_everything()
    with postgres.connect(hospital.settings) as admin:
        name = sql.Identifier(hospital.settings.database_name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
    postgres.bootstrap(hospital.settings)
    dump = tmp_path / "dump.sql"
    dump.write_bytes(gzip.decompress((CORPUS / f"{release}.sql.gz").read_bytes()))
    hospital.must("psql", "--owner", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(dump))
    create_topics(hospital.settings)
    register_all(hospital.settings)
    put_into_place(hospital)
    yield hospital


def put_into_place(hospital: Hospital) -> None:
    """Send the messages again, and tell the restored database which topics, schemas and times these are now."""
    schemas = schemas_now(hospital)
    messages = messages_of(hospital, schemas)
    times = publish(hospital, messages)
    topics = sorted({topic for topic, _ in messages})
    topic_ids = Broker(hospital.settings, topics).topic_ids()
    with hospital.connect() as conn, conn.transaction():
        then: dict[str, str] = dict(conn.execute("SELECT DISTINCT topic, topic_id FROM ops.ledger").fetchall())
        with_ids = conn.execute(
            "SELECT table_schema, table_name FROM information_schema.columns"
            " WHERE column_name = 'topic_id' AND table_schema IN ('history', 'ops')"
        ).fetchall()
        for table in with_ids:
            for topic in topics:
                update = sql.SQL("UPDATE {} SET topic_id = %s WHERE topic_id = %s").format(sql.Identifier(*table))
                conn.execute(update, [topic_ids[topic], then[topic]])
        for topic in topics:
            numbers = [(old, now) for (old, of), (now, _) in schemas.items() if of == topic]
            # all at once, because an id of then can be another schema's id now
            renumber = sql.SQL(
                "UPDATE {} AS t SET schema_id = n.now FROM unnest(%s::int[], %s::int[]) AS n (old, now)"
                " WHERE t.schema_id = n.old"
            )
            parameters = [[old for old, _ in numbers], [now for _, now in numbers]]
            conn.execute(renumber.format(sql.Identifier("history", topic)), parameters)
            conn.execute(
                renumber.format(sql.Identifier("ops", "schema_ids")) + sql.SQL(" AND topic = %s"), [*parameters, topic]
            )
        for (topic, partition), appended in times.items():
            at = [topic, partition]
            conn.execute("UPDATE ops.ledger SET newest = %s WHERE topic = %s AND partition = %s", [max(appended), *at])
            conn.execute(
                "UPDATE ops.quarantine AS q SET broker_time = a.time"
                " FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS a (time, number)"
                ' WHERE q.topic = %s AND q.partition = %s AND q."offset" = a.number - 1',
                [appended, *at],
            )


def schemas_now(hospital: Hospital) -> dict[tuple[int, str], tuple[int, Encoder]]:
    """(Schema id of then, topic) -> the id it has now, and an encoder with that version of the schema."""
    contracts = load_contracts(hospital.settings.schemas_dir)
    found = {}
    for number, topic, meaning in hospital.rows("SELECT schema_id, topic, fingerprint FROM ops.schema_ids"):
        contract = contracts[topic]
        schema = next(schema for schema in contract.versions.values() if fingerprint(schema) == meaning)
        now = schema_id(hospital.settings, contract.subject, schema)
        found[number, topic] = now, Encoder(schema, now)
    return found


def messages_of(hospital: Hospital, schemas: dict[tuple[int, str], tuple[int, Encoder]]) -> dict[Place, list[Sent]]:
    """Every message that the database knows, in the order of offsets, which begin at 0 and leave none out."""
    found: dict[Place, dict[int, Sent]] = {}
    with hospital.connect() as conn, conn.cursor(row_factory=dict_row) as cursor:
        for topic in sorted({topic for _, topic in schemas}):
            facts = {}
            cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("history", topic)))
            for row in cursor.fetchall():
                encoder = schemas[row["schema_id"], topic][1]
                sent = Sent(row["patient_id"].encode(), encoder.encode(event_of(row)))
                facts[row["recorded_at"], row["event_id"], row["content_hash"]] = sent
                found.setdefault((topic, row["partition"]), {})[row["offset"]] = sent
            cursor.execute("SELECT * FROM ops.duplicates WHERE topic = %s", [topic])
            for row in cursor.fetchall():
                fact = facts[row["recorded_at"], row["event_id"], row["content_hash"]]
                found.setdefault((topic, row["partition"]), {})[row["offset"]] = fact
        cursor.execute("SELECT * FROM ops.quarantine")
        for row in cursor.fetchall():
            found.setdefault((row["topic"], row["partition"]), {})[row["offset"]] = Sent(row["key"], row["value"])
        ledger = cursor.execute("SELECT topic, partition, next_offset FROM ops.ledger").fetchall()
    ends = {(row["topic"], row["partition"]): row["next_offset"] for row in ledger}
    assert {place: list(range(end)) for place, end in ends.items()} == {p: sorted(m) for p, m in found.items()}
    return {place: [sent for _, sent in sorted(by_offset.items())] for place, by_offset in found.items()}


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    """The event that a row of history was; what says where it was found is not part of it."""
    found = {"authority", "ids_as_sent", "content_hash", "topic_id", "partition", "offset", "schema_id", "received_at"}
    return {name: value for name, value in row.items() if name not in found}


def publish(hospital: Hospital, messages: dict[Place, list[Sent]]) -> dict[Place, list[datetime]]:
    """Send the messages into empty topics, so that each has the offset it had; when the broker appended each."""
    times: dict[Place, list[datetime]] = {place: [] for place in messages}
    wrong: list[str] = []

    def acknowledged(error: object, message: Message) -> None:
        appended = times[message.topic(), message.partition()]
        if error or message.offset() != len(appended):
            wrong.append(f"{message.topic()} offset {message.offset()}: {error}")
        appended.append(datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC))

    producer = Producer({"bootstrap.servers": hospital.settings.kafka, "enable.idempotence": True})
    for (topic, partition), sent in messages.items():
        for one in sent:
            producer.produce(topic, one.value, one.key, partition, acknowledged)
            producer.poll(0)
    assert producer.flush(60) == 0
    assert not wrong, wrong[:5]
    return times


def columns_of_marts(hospital: Hospital) -> dict[str, list[str]]:
    """`schema.table` -> its columns in order, for every table and view of core and mart."""
    query = (
        "SELECT table_schema || '.' || table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema IN ('core', 'mart') GROUP BY 1"
    )
    return dict(hospital.rows(query))


def contents(hospital: Hospital, columns: dict[str, list[str]]) -> dict[str, str]:
    """A hash of these columns of each table and view: a later version may have more, beside them or between them."""
    found = {}
    with hospital.connect() as conn:
        for name, chosen in columns.items():
            query = sql.SQL('SELECT t::text FROM (SELECT {} FROM {}) AS t ORDER BY t::text COLLATE "C"').format(
                sql.SQL(", ").join(map(sql.Identifier, chosen)), sql.Identifier(*name.split("."))
            )
            found[name] = hashlib.sha256("\n".join(row for (row,) in conn.execute(query)).encode()).hexdigest()
    return found


def test_a_database_of_an_earlier_release_is_taken_over(restored: Hospital, release: str) -> None:
    lines = (CORPUS / f"{release}.digest.txt").read_text().splitlines()
    then = {name: found for found, name in (line.split() for line in lines)}
    assert restored.digest() == then  # the dump is whole
    columns, applied = columns_of_marts(restored), restored.rows(APPLIED)
    assert columns.keys() == then.keys()
    before, files = contents(restored, columns), restored.rows(FILES)

    restored.must("up")

    assert set(applied) <= set(restored.rows(APPLIED))  # no migration ran a second time
    assert contents(restored, columns) == before
    assert set(files) <= set(restored.rows(FILES)), "history is extended, not written anew"
    now, columns_now = restored.digest(), columns_of_marts(restored)
    same = [name for name in then if columns_now[name] == columns[name]]
    assert {name: now[name] for name in same} == {name: then[name] for name in same}
    tallies = restored.verified().tallies
    for what in ("stored", "duplicate", "quarantined"):
        assert sum(getattr(tally, what) for tally in tallies) > 0, what


def test_the_stream_goes_on_where_the_earlier_release_ended(restored: Hospital) -> None:
    restored.must("up")
    restored.verified()
    before = restored.digest()
    repeated = {
        (topic, partition): messages[:1]
        for (topic, partition), messages in messages_of(restored, schemas_now(restored)).items()
    }
    duplicates = "SELECT count(*) FROM ops.duplicates"
    first = restored.rows(duplicates)[0][0]
    producer = Producer({"bootstrap.servers": restored.settings.kafka})
    for (topic, partition), messages in repeated.items():
        for one in messages:
            producer.produce(topic, one.value, one.key, partition)
    assert producer.flush(60) == 0
    restored.verified()
    assert restored.rows(duplicates)[0][0] == first + len(repeated)
    assert restored.digest() == before
