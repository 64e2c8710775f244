"""How `wardstream status` looks, and what it says of servers elsewhere."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from wardstream.stack import parts
from wardstream.stack.report import Report, Row
from wardstream.stack.show import ago, size, tables
from wardstream.watch.figures import Quarantined, Topic
from wardstream.watch.finding import Finding

MIB = 2**20
ROWS = [
    Row("postgres", "running", True, 1234567, 15432, "18.6.3", 100.0, 120 * MIB),
    Row("dag-processor", "restarting", False, None, None, "3.3.2"),
    Row("registry", "elsewhere", True, address="registry.example.org:8081"),
]
TOPICS = [
    Topic("admissions", 12, 25.3, 1.25, 0),
    Topic("labs", 1_234_567, 1111.1, 3600.0 * 5, 17),
    Topic("patients", None, 0.0, None, 0),
]
REPORT = Report(
    ROWS,
    TOPICS,
    [Quarantined("labs", "missing:lab_result_id", 17, datetime.now(UTC) - timedelta(hours=5))],
    False,
    2500 * MIB,
    None,
)


def printed(report: Report, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(tables(report))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def words(lines: list[str], first: str) -> str:
    [line] = [line for line in lines if line.split()[:1] == [first]]
    return " ".join(line.split())


@pytest.mark.parametrize("width", [80, 120])
def test_everything_is_readable_in_so_many_columns(width):
    lines = printed(REPORT, width)
    assert max(map(len, lines)) <= width and not [line for line in lines if "…" in line]
    assert words(lines, "postgres") == "postgres running yes 1234567 15432 18.6.3 120 MiB"
    assert words(lines, "dag-processor") == "dag-processor restarting no 3.3.2"
    of_parts, of_topics = (" ".join(line.split()) for line in lines if line.startswith("all"))
    assert of_parts == "all 2.44 GiB"
    assert words(lines, "admissions") == "admissions 12 25.3 1.2 s ago 0"
    assert "labs missing:lab_result_id 17 5 h ago" in [" ".join(line.split()) for line in lines]
    assert words(lines, "patients") == "patients unknown 0.0 never 0"
    assert of_topics == "all 1234579 1136.4 1.2 s ago 17"


def test_servers_elsewhere_are_named_in_whole():
    brokers = ",".join(f"kafka-{n}.hospital.example.org:9092" for n in range(3))
    lines = printed(replace(REPORT, parts=[*ROWS, Row("kafka", "elsewhere", False, address=brokers)]))
    assert max(map(len, lines)) <= 80
    assert words(lines, "registry") == "registry elsewhere yes" and words(lines, "kafka") == "kafka elsewhere no"
    assert "registry: registry.example.org:8081" in lines
    assert "kafka: " + brokers.replace(",", ", ") in " ".join(lines)


def test_no_topics_and_no_quarantine_are_no_tables():
    lines = printed(replace(REPORT, topics=[], quarantine=[]))
    assert not [line for line in lines if "events/s" in line or "quarantine" in line]


def test_the_reason_why_the_stream_does_not_begin_is_said():
    blocked = Row("stream", "blocked", False, 1)
    lines = printed(replace(REPORT, parts=[*ROWS, blocked], blocked_by="topic labs was recreated " * 5))
    said = " ".join(" ".join(lines).split())
    assert "the stream is blocked: topic labs was recreated topic labs" in said


def test_what_was_found_is_said_with_what_to_type():
    found = Finding("open_transaction:labs/0", "51 events " * 9, datetime.now(UTC), "x.md", "`abort --topic labs`")
    report = replace(REPORT, findings=[found])
    lines = printed(report)
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert "open_transaction:labs/0: 51 events" in said and "`abort --topic labs` docs/runbooks/x.md" in said
    assert report.as_dict()["findings"][0]["since"].endswith("+00:00")


def test_a_cut_count_says_so():
    assert not [line for line in printed(REPORT) if "newest" in line]
    assert [line for line in printed(replace(REPORT, quarantine_is_cut=True)) if "the newest 100000" in line]


def test_for_programs_it_is_plain_json():
    plain = json.loads(json.dumps(REPORT.as_dict()))
    assert list(plain) == [
        "parts",
        "topics",
        "quarantine",
        "quarantine_is_cut",
        "memory_bytes",
        "blocked_by",
        "findings",
    ]
    assert plain["parts"][0]["memory_bytes"] == 120 * MIB and plain["topics"][2]["lag"] is None
    assert datetime.fromisoformat(plain["quarantine"][0]["latest"]).utcoffset() == timedelta(0)


def test_one_part_that_is_not_well_is_enough():
    assert not REPORT.healthy
    assert replace(REPORT, parts=[ROWS[0], ROWS[2]]).healthy
    assert not replace(REPORT, parts=[ROWS[0], replace(ROWS[2], healthy=False)]).healthy


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((None, "never"), (0.04, "0.0 s ago"), (119.9, "119.9 s ago")),
        *((120, "2 min ago"), (7200, "2 h ago"), (172_800, "2 days ago")),
    ],
)
def test_ages(seconds, said):
    assert ago(seconds) == said


def test_sizes():
    assert [size(n) for n in (None, 0, MIB, 1023 * MIB, 1024 * MIB)] == ["", "", "1 MiB", "1023 MiB", "1.00 GiB"]


def test_a_server_elsewhere_is_named_without_its_password(make_settings):
    ours = make_settings()
    assert parts.elsewhere(ours) == {}
    theirs = make_settings(
        kafka_bootstrap_servers="k1:9092,k2:9092",
        schema_registry_url="https://me:s3cret@registry.example.org:8081/api",
        database_url="postgresql://writer:s3cret@db.example.org/wardstream",
        owner_database_url="postgresql://owner:s3cret@db.example.org/wardstream",
    )
    assert parts.elsewhere(theirs) == {
        "database": "db.example.org:5432",
        "kafka": "k1:9092,k2:9092",
        "registry": "registry.example.org:8081",
    }
    assert not {part.name for part in parts.embedded(theirs)} & {"postgres", "kafka", "registry"}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("host=db1,db2 port=6432 user=u password=s3cret", "db1:6432,db2:6432"),
        ("postgresql://u:s3cret@db1:1,db2:2/x", "db1:1,db2:2"),
        ("postgresql://u:s3cret@/x?host=/run/pg", "/run/pg:5432"),
        ("postgresql:/u:s3cret=@@", "DATABASE_URL cannot be read"),
    ],
)
def test_every_way_to_write_a_database(make_settings, url, address):
    assert parts.elsewhere(make_settings(database_url=url))["database"] == address
