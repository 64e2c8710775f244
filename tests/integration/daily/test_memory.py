"""Memory does not grow with core: the job, a process of its own with a small heap, builds more than fits into it.

The campaign builds 10 million results with 1 GB (`make proof`, or
.venv/bin/pytest -m campaign tests/integration/daily/test_memory.py -s, which prints what it took).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from tests.integration.daily.clinic import Clinic
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import stream_environment

TESTS = 200
FILL = """
INSERT INTO ops.sources VALUES ('made up', 'made up', false, 'main') ON CONFLICT DO NOTHING;
INSERT INTO core.lab_results
    (authority, lab_result_id, patient_id, status, observed_at, test_code, test_name, value_number, unit, flag,
    ordered_at, collected_at, reported_at, source)
SELECT
    'made up', 'R' || n, 'P' || n % 50000, 'final', at, 'T' || n % {tests}, 'Test ' || n % {tests},
    (n * 7919 % 100003) / 100.0,
    'mmol/L', CASE WHEN n % 9 = 0 THEN 'abnormal' END, at - interval '40 minutes', at - interval '10 minutes',
    at + make_interval(secs => n % 7200), 'made up'
FROM generate_series(1::bigint, {rows}) AS n
CROSS JOIN LATERAL (
    SELECT timestamptz '2025-01-01 00:00-05' + make_interval(secs => (n - 1) * {days} * 86400.0 / {rows}) AS at
) AS t
ORDER BY n * 7919 % {rows}
"""
MARK = """
INSERT INTO ops.day_versions (core_table, facility, day, version)
SELECT 'lab_results', 'main', date '2025-01-01' + i, 1 FROM generate_series(0, {days} - 1) AS i
"""


def highest_rss(pid: int) -> dict[str, int]:
    """The highest resident size so far of a process and its children, MiB by name."""
    found: dict[str, int] = {}
    for each in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{each}/status").read_text().splitlines())
        if "VmHWM" in status:
            found[status["Name"].strip()] = int(status["VmHWM"].split()[0]) // 1024
    return found


def build(settings: Settings) -> tuple[float, dict[str, int]]:
    """Run the job to its end; seconds and highest resident sizes."""
    begun = time.monotonic()
    job = subprocess.Popen(
        [sys.executable, "-m", "spark_jobs.daily"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **stream_environment(settings)},
        stderr=subprocess.PIPE,
        text=True,
    )
    sizes: dict[str, int] = {}
    while job.poll() is None:
        try:
            for name, size in highest_rss(job.pid).items():
                sizes[name] = max(size, sizes.get(name, 0))
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.5)
    assert job.stderr is not None
    said = job.stderr.read()
    assert job.returncode == 0, said[-3000:]
    return time.monotonic() - begun, sizes


def built(clinic: Clinic, rows: int, days: int, heap: str) -> None:
    """Fill core, build in a process with this heap, compare with PostgreSQL's own count."""
    admin = clinic.bench.admin
    admin.execute(FILL.format(rows=rows, days=days, tests=TESTS).encode())
    admin.execute(MARK.format(days=days).encode())
    admin.execute("ANALYZE core.lab_results")
    seconds, sizes = build(clinic.settings.model_copy(update={"daily_driver_memory": heap}))
    print(f"\n{rows} results, {days} days, {TESTS} tests, heap {heap}: {seconds:.0f} s, highest resident MiB {sizes}")
    assert clinic.stale("daily_labs") == []
    (total, groups) = clinic.bench.rows("SELECT sum(results)::bigint, count(*) FROM mart.daily_labs")[0]
    assert (total, groups) == (rows, days * TESTS)
    day = date(2025, 1, 1) if days < 3 else date(2025, 1, 3)
    differ = clinic.bench.rows(
        "SELECT count(*) FROM mart.daily_labs AS m JOIN ("
        "SELECT test_code, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY value_number) AS p50,"
        " percentile_cont(0.9) WITHIN GROUP (ORDER BY value_number) AS p90,"
        " percentile_cont(0.9) WITHIN GROUP (ORDER BY extract(epoch FROM reported_at - ordered_at)) / 60 AS minutes"
        " FROM core.lab_results WHERE (observed_at AT TIME ZONE 'America/New_York')::date = %s GROUP BY test_code) AS e"
        " USING (test_code) WHERE day = %s AND results = n AND abs(median_value - p50) < 1e-9"
        " AND abs(p90_value - p90) < 1e-9 AND abs(order_to_report_p90_minutes - minutes) < 1e-9",
        day,
        day,
    )[0][0]
    assert differ == TESTS


def test_a_small_heap_is_enough(clinic):
    built(clinic, rows=300_000, days=40, heap="512m")


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_ten_million_results_with_one_gigabyte(clinic):
    built(clinic, rows=10_000_000, days=400, heap="1g")
