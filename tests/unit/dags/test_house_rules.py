"""What every DAG file has to be: quick to parse, the same each time, without a server, and explained to its users."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wardstream.airflow.pages import slug
from wardstream.settings import PROJECT_ROOT

DAGS = PROJECT_ROOT / "dags"
FILES = sorted(DAGS.glob("*.py"))
PARSE = """
import json, sys, time
import airflow.sdk
import airflow.providers.apache.spark.operators.spark_submit
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
before = set(sys.modules)
begun = time.process_time()
bag = DagBag(dag_folder=sys.argv[1])
seconds = time.process_time() - begun
loaded = set(sys.modules) - before
again = DagBag(dag_folder=sys.argv[1])
print("ANSWER" + json.dumps({
    "errors": {str(k): v for k, v in bag.import_errors.items()},
    "dags": {id: DagSerialization.to_dict(dag) for id, dag in bag.dags.items()},
    "again": {id: DagSerialization.to_dict(dag) for id, dag in again.dags.items()},
    "loaded": sorted(loaded), "seconds": seconds,
}, default=str))
"""
HEAVY = {
    "pyspark",
    "psycopg",
    "confluent_kafka",
    "pyarrow",
    "pandas",
    "requests",
    "fastavro",
    "wardstream.database.connection",
}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All files parsed twice, in a process whose servers do not exist and that may open no connection."""
    home = tmp_path_factory.mktemp("airflow")
    nobody = "postgresql://nobody@127.0.0.1:1/nothing"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "false",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/nothing",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "WARDSTREAM_STATE_DIR": str(home / "no-state"),
        "DATABASE_URL": nobody,
        "WARDSTREAM_OWNER_DATABASE_URL": nobody,
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(DAGS)], capture_output=True, text=True, env=environment, cwd=home, check=False
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    assert answers, done.stdout[-2000:] + done.stderr[-4000:]
    assert not (home / "no-state").exists()  # parsing makes no file
    return dict(json.loads(answers[0].removeprefix("ANSWER")))


def test_each_file_is_one_dag_of_its_name(parsed: dict[str, Any]):
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == [file.stem for file in FILES]


def test_parsing_twice_gives_the_same(parsed: dict[str, Any]):
    assert parsed["dags"] == parsed["again"]


def test_parsing_loads_no_client_of_a_server(parsed: dict[str, Any]):
    roots = {name.split(".")[0] for name in parsed["loaded"]}
    assert not HEAVY & (roots | set(parsed["loaded"]))


def test_parsing_takes_next_to_no_time(parsed: dict[str, Any]):
    assert parsed["seconds"] < len(FILES)  # seconds of this process alone, so a busy machine does not count


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_explains_itself_and_keeps_the_rules(parsed: dict[str, Any], file: Path):
    dag = parsed["dags"][file.stem]["dag"]
    words = ("**Owner**", "**Schedule**", "**Parameter", "**May it be re-run?**", "**When it fails**", "docs/runbooks/")
    assert [word for word in words if word not in dag["doc_md"]] == []
    assert 20 < len(dag["description"]) < 100
    assert "`docs/" not in dag["doc_md"] and re.search(r"\]\(/wardstream/docs/runbooks/[a-z-]+\.md\)", dag["doc_md"])
    assert dag["max_active_runs"] == 1 and dag["catchup"] is False
    assert "wardstream" in dag["tags"] and len(dag["tags"]) == 2
    assert dag["has_on_failure_callback"] and dag["has_on_success_callback"]
    assert len(file.read_text().splitlines()) <= 120
    for task in dag["tasks"]:
        assert task["__var"].get("retries", 0) <= 2 and task["__var"]["owner"] == "wardstream"
        assert 0 < task["__var"]["execution_timeout"] < dag["dagrun_timeout"], "what hangs must end, and say so"


def test_assets_are_of_this_tree_and_schedule_nothing(parsed: dict[str, Any]):
    dags = {dag_id: of_one["dag"] for dag_id, of_one in parsed["dags"].items()}
    said = {
        f"{dag_id}.{task['__var']['task_id']}": json.dumps(task)
        for dag_id, dag in dags.items()
        for task in dag["tasks"]
    }
    touched = {name: set(re.findall(r'"name": "((?:kafka|core|mart)\.\w+)"', text)) for name, text in said.items()}
    stream, build = touched.pop("kafka_to_postgres_dag.verify"), touched.pop("spark_processing_dag.build")
    assert {"kafka.labs", "core.lab_results", "core.movements"} <= stream and {
        "core.lab_results",
        "mart.daily_labs",
    } <= build
    assert not any(touched.values())
    assert not any("asset" in json.dumps(dag["timetable"]).lower() for dag in dags.values())


def test_every_link_of_the_pages_is_there():
    """Between files of docs, anchors included; what lies outside of it is not served by Airflow and not looked for."""
    for file in sorted((PROJECT_ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", file.read_text()):
            name, _, anchor = target.partition("#")
            there = (file.parent / name).resolve() if name else file
            assert there.exists(), f"{file.name}: {target}"
            if anchor and there.suffix == ".md":
                headings = re.findall(r"^#+ +(.+)$", there.read_text(), re.MULTILINE)
                assert anchor in {slug(heading.replace("`", "")) for heading in headings}, f"{file.name}: {target}"


def test_every_runbook_that_a_dag_or_an_alert_names_is_there():
    names = set()
    sources = [*FILES, *(PROJECT_ROOT / "wardstream").rglob("*.py"), *(PROJECT_ROOT / "docs").rglob("*.md")]
    for source in sources:
        for part in source.read_text().split("docs/runbooks/")[1:]:
            name = part.split(".md")[0]
            if "/" not in name and " " not in name and "{" not in name and "\n" not in name and name:
                names.add(name)
    for source in sources:  # findings and alerts name the page alone
        if source.suffix == ".py":
            names |= set(re.findall(r'"([a-z-]+)\.md"', source.read_text()))
    missing = sorted(name for name in names if not (PROJECT_ROOT / "docs" / "runbooks" / f"{name}.md").is_file())
    assert missing == []
