"""A first day: docs/producers.md as it stands, a file that is sent, a look at the topics, and the way in for BI."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.e2e.hospital import Hospital
from wardstream.settings import PROJECT_ROOT
from wardstream.stack import jars
from wardstream.stack.access import shell_variables
from wardstream.stack.parts.postgres import binaries

PAGE = (PROJECT_ROOT / "docs" / "producers.md").read_text()
RESULT = "SELECT status, value_text FROM mart.labs WHERE lab_result_id = %s"
EXAMPLES = PROJECT_ROOT / "schemas" / "labs" / "examples" / "v1" / "valid"
SECRET = "Mrs-Example-of-Nowhere"


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    hospital.empty()
    return hospital


def block(language: str) -> str:
    """The page's one block of a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(code)


def as_a_sender(ward: Hospital, *command: str) -> str:
    """Run a program with the two addresses of `wardstream env`, and nothing else of Wardstream."""
    addresses = {n: v for n, v in shell_variables(ward.settings).items() if n.startswith(("KAFKA_", "SCHEMA_"))}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WARDSTREAM_")}
    done = subprocess.run(
        command, cwd=ward.settings.state_dir, env={**plain, **addresses}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A result in the shape of the examples."""
    now = datetime.now(UTC).isoformat()
    plain = {"event_time": now, "recorded_at": now, "source_seq": 0, "source": "first-day", "kind": "resulted"}
    mine = {
        "event_id": f"first-day-{number}",
        "patient_id": SECRET,
        "lab_result_id": f"F-{number}",
        "value_text": "5.5",
    }
    return {**plain, **mine, **changes}


def test_the_python_of_the_page_sends_a_result(ward: Hospital, tmp_path: Path) -> None:
    code = block("python")
    modules = {line.split()[1].split(".")[0] for line in code.splitlines() if re.match(r"(import|from) ", line)}
    assert modules - sys.stdlib_module_names == {"confluent_kafka", "fastavro"}
    file = tmp_path / "send_result.py"
    file.write_text(code)
    assert re.fullmatch(r"labs/0 offset \d+\n", as_a_sender(ward, sys.executable, "-P", str(file)))
    ward.verified()
    assert ward.rows(RESULT, "77120") == [("final", "4.1")]


def test_the_java_of_the_page_sends_a_result(ward: Hospital, tmp_path: Path) -> None:
    javac, java = shutil.which("javac"), shutil.which("java")
    if not javac or not java:
        pytest.skip("no javac on this machine (Debian: apt install default-jdk-headless)")
    import pyspark

    of_spark = Path(pyspark.__file__).parent / "jars"
    names = ("avro-1", "jackson-core-2", "jackson-databind", "jackson-annotations", "slf4j-api", "commons-compress")
    found = [jar for jar in of_spark.glob("*.jar") if jar.name.startswith(names)]
    found += [path for path in jars.spark_jars(ward.settings) if path.name.startswith("kafka-clients")]
    classes = ":".join(map(str, [tmp_path, *found]))
    (tmp_path / "SendResult.java").write_text(block("java"))
    as_a_sender(ward, javac, "-cp", classes, "-d", str(tmp_path), str(tmp_path / "SendResult.java"))
    assert re.search(r"^labs/0 offset \d+$", as_a_sender(ward, java, "-cp", classes, "SendResult"), re.MULTILINE)
    ward.verified()
    assert ward.rows(RESULT, "77121") == [("final", "139")]


def test_a_file_is_sent_whole_or_not_at_all(ward: Hospital, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    good, wrong = event(1), event(2, kind="guessed", value_text=SECRET)
    file.write_text(f"{json.dumps(good)}\n\n{json.dumps(wrong)}\n{{broken {SECRET}\n")
    before = ward.extent("labs").end
    done = ward.cli("send", "labs", str(file))
    assert done.returncode == 1 and "2 of 3 are wrong; nothing was sent" in done.stderr
    assert "line 3: kind: not_allowed" in done.stderr and "line 4: no JSON" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert ward.extent("labs").end == before

    said = ward.must("send", "labs", str(file), "--valid-only")
    assert said.splitlines() == [f"labs/0: 1 acknowledged, offset {before}", "1 events sent; 2 left out"]
    ward.verified()
    assert ward.rows(RESULT, "F-1") == [("final", "5.5")]


def test_the_examples_are_sent_from_standard_input(ward: Hospital) -> None:
    text = "[" + ",\n".join(file.read_text() for file in sorted(EXAMPLES.glob("*.json"))) + "]"
    values = {**os.environ, **ward._how()["env"]}
    command = [sys.executable, "-m", "wardstream.cli", "send", "labs", "-"]
    done = subprocess.run(command, input=text, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "4 events sent" in done.stdout, done.stderr
    ward.verified()
    assert ward.rows(RESULT, "L-5001") == []  # cancelled last
    done = ward.cli("send", "lab", "-")
    assert done.returncode == 1 and "there are admissions, diagnoses, labs, patients" in done.stderr


def test_topics_says_what_kafka_and_the_ledger_have(ward: Hospital) -> None:
    ward.caught_up()
    rows = {row["topic"]: row for row in json.loads(ward.must("topics", "--json"))["topics"]}
    extent = ward.extent("labs")
    labs = rows["labs"]
    assert (labs["begin"], labs["end"], labs["records"]) == (extent.start, extent.end, extent.end - extent.start)
    assert (labs["committed_to"], labs["lag"]) == (extent.end, 0)
    assert labs["retention_ms"] == 365 * 86_400_000
    assert sorted(rows) == ["admissions", "diagnoses", "labs", "patients"]
    assert "365 d" in ward.must("topics")

    ward.must("stream", "stop")
    producer = Producer({"bootstrap.servers": ward.settings.kafka})
    producer.produce("labs", b"no event")
    producer.flush(10)
    assert next(r for r in json.loads(ward.must("topics", "--json"))["topics"] if r["topic"] == "labs")["lag"] == 1
    ward.must("stream", "start")


def test_peek_masks_what_is_personal(ward: Hospital) -> None:
    text = json.dumps(event(3, value_text=f"{SECRET}-value", test_code=f"{SECRET}-code"))
    values = {**os.environ, **ward._how()["env"]}
    command = [sys.executable, "-m", "wardstream.cli", "send", "labs", "-"]
    assert subprocess.run(command, input=text, env=values, text=True, check=False).returncode == 0
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    late = subprocess.run(command, input=json.dumps(event(4, recorded_at=ahead)), env=values, text=True, check=False)
    assert late.returncode == 0

    producer = Producer({"bootstrap.servers": ward.settings.kafka})
    producer.produce("labs", SECRET.encode(), key=SECRET.encode())
    producer.flush(10)
    shown = ward.must("peek", "labs", "-n", "3")
    first, fields, _, _, last = shown.splitlines()
    assert first.startswith("labs/0 offset ") and first.endswith("key: patient_id  resulted")
    assert "event_id=first-day-3" in fields and "lab_result_id=F-3" in fields and "source=first-day" in fields
    assert "patient_id=***" in fields and "value_text=***" in fields and "test_code=***" in fields
    assert last.endswith("key: not patient_id  REFUSED bad_magic")
    assert SECRET not in shown and SECRET not in ward.must("peek", "labs", "-n", "3", "--json")
    assert len(ward.must("peek", "labs", "-n", "1000", "--json").splitlines()) == ward.extent("labs").end
    assert ward.must("peek", "diagnoses") == ""


def test_bi_gets_in_by_what_is_printed(ward: Hospital) -> None:
    said = ward.must("bi")
    access = json.loads(ward.must("bi", "--json"))
    for name, value in access.items():
        assert re.search(rf"^{name} +{re.escape(str(value))}$", said, re.MULTILINE)
    snippets = dict(re.findall(r"^# (.+)\n(.*(?:\n.+)*)", said, re.MULTILINE))
    assert list(snippets) == ["psql", "pandas", "Power BI", "ODBC"]

    path = f"{binaries(ward.settings)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", snippets["psql"]], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "midnight_census" in done.stdout, done.stderr

    ask = f"{snippets['pandas']}\nprint(list(days.columns))"
    assert "midnight_census" in as_a_sender(ward, sys.executable, "-c", ask)
    server = f"{access['host']}:{access['port']}"
    assert server in snippets["Power BI"] and f"Pwd={access['password']}" in snippets["ODBC"]
