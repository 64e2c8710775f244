"""The job as a process: by `wardstream daily`, by spark-submit as Airflow has it, and when its starter is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyspark
import pytest

from tests.e2e.hospital import wait_for
from tests.integration.commit.facts import lab
from tests.integration.daily.clinic import Clinic
from tests.integration.daily.test_which_days import MARCH, a_week
from wardstream.daily.jvm import jdbc_jars
from wardstream.settings import PROJECT_ROOT
from wardstream.stack.env import stream_environment

JOB = PROJECT_ROOT / "spark_jobs" / "daily.py"


def how(clinic: Clinic, **more: Any) -> dict[str, Any]:
    """Where and with what environment the job runs."""
    settings = clinic.settings.model_copy(update=more)
    values = {**os.environ, **stream_environment(settings), "PYSPARK_PYTHON": sys.executable}
    values.pop("PYSPARK_GATEWAY_PORT", None)
    values.pop("PYSPARK_GATEWAY_SECRET", None)
    return {"cwd": PROJECT_ROOT, "env": values, "text": True}


def submit(clinic: Clinic, *words: str) -> list[str]:
    """spark-submit of the wheel, with what Airflow's operator gives it."""
    program = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    jars = jdbc_jars(stream_environment(clinic.settings)["WARDSTREAM_SPARK_JARS"])
    return [str(program), "--master", "local[2]", "--driver-memory", "600m", "--jars", jars, str(JOB), *words]


def test_by_the_command_line(clinic):
    a_week(clinic)
    clinic.commit(*(lab(f"k{n}", "resulted", 10 + 24 * n, lab_result_id=f"K{n}") for n in range(4)))
    command = [sys.executable, "-m", "wardstream.cli", "daily", "--first", "2026-03-03", "--last", "2026-03-04"]
    nowhere = [*command, "--facility", "nowhere"]
    refused = subprocess.run(nowhere, **how(clinic), capture_output=True, timeout=60, check=False)
    assert refused.returncode == 1 and "there is no facility nowhere; there are: main" in refused.stderr
    command += ["--facility", "main"]
    done = subprocess.run(command, **how(clinic), capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "mart.daily_labs: 2 days built, 4 rows" in done.stderr
    assert clinic.stale("daily_labs") == [MARCH[1], MARCH[4]]
    (ours,) = clinic.settings.scratch_dir.glob("*daily-*")
    assert ours.name.startswith(f"daily-{os.getpid()}-")
    refused = subprocess.run([*command[:4], "--all-days"], **how(clinic), capture_output=True, timeout=60, check=False)
    assert refused.returncode == 2 and "--first and --last" in refused.stderr


# As the DAG does it: tests/integration/dags/test_spark_processing.py.
@pytest.mark.campaign
def test_by_spark_submit(clinic):
    a_week(clinic)
    clinic.forget_builds()
    done = subprocess.run(submit(clinic), **how(clinic), capture_output=True, timeout=300, check=False)
    said = done.stdout + done.stderr  # the JVM passes Python's words on, all to its standard output
    assert done.returncode == 0, said
    assert "mart.daily_admissions: 4 days built" in said
    assert clinic.stale("daily_labs") == [] and clinic.rows("daily_diagnoses")
    password = clinic.settings.password("wardstream_writer")
    assert password not in said
    ours = [line for line in said.splitlines() if "wardstream.daily" in line]
    assert ours and not any(name in line for line in ours for name in ("P1", "P2", "E1", "E2"))


def descendants(pid: int) -> list[int]:
    """All processes below one, as they are now."""
    found: list[int] = []
    for line in subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        child, parent = map(int, line.split())
        if parent == pid:
            found += [child, *descendants(child)]
    return found


def named(pid: int, name: str) -> bool:
    """Whether the name of a process begins so."""
    return alive(pid) and Path(f"/proc/{pid}/comm").read_text().startswith(name)


def alive(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def slow_sql(clinic, tmp_path):
    """sql/ with a definition that keeps Spark at work for an hour."""
    shutil.copytree(clinic.settings.sql_dir, tmp_path / "sql")
    path = tmp_path / "sql" / "marts" / "daily_labs" / "reads" / "lab_results.sql"
    text = path.read_text()
    path.write_text(
        text.replace("WHERE status <> 'cancelled'", "WHERE status <> 'cancelled' AND pg_sleep(3600) IS NOT NULL")
    )
    return tmp_path / "sql"


def waiting(clinic: Clinic) -> bool:
    """Whether a read of the job is at its slow query."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wardstream daily read'"
    query += " AND wait_event = 'PgSleep'"
    return bool(clinic.bench.rows(query)[0][0])


STARTER = """
import subprocess, sys
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""


@pytest.mark.parametrize(
    "victim", ["jvm", *(pytest.param(one, marks=pytest.mark.campaign) for one in ("starter", "python"))]
)
def test_kill_9_leaves_no_process_and_no_half_built_day(clinic, slow_sql, victim):
    """A task of Airflow starts spark-submit, a JVM, which starts Python: whichever is killed, all end in seconds."""
    a_week(clinic)
    clinic.commit(lab("late", "resulted", 35, 200, lab_result_id="L9", test_code="NA"))
    rows = clinic.rows("daily_labs")
    starter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STARTER), *submit(clinic)], **how(clinic, sql_dir=slow_sql)
    )
    try:
        wait_for("the job to read", lambda: waiting(clinic))
        everybody = descendants(starter.pid)
        jvm, python = (next(pid for pid in everybody if named(pid, name)) for name in ("java", "python"))
        os.kill({"starter": starter.pid, "jvm": jvm, "python": python}[victim], signal.SIGKILL)
        wait_for("all processes to end", lambda: not any(map(alive, everybody)), 30)
    finally:
        starter.kill()
        starter.wait(30)
    wait_for("its sessions to end", lambda: not waiting(clinic), 30)
    assert clinic.rows("daily_labs") == rows
    assert clinic.stale("daily_labs") == [MARCH[2]]
    clinic.build()
    assert clinic.stale("daily_labs") == []
