"""What a task of Spark's fails on is not in the log, in the stream's session as in that of the daily tables."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment
from wardstream.stack.java import java_env

SECRET = "PATIENT-4711"
FAIL = """
from {module} import session
from wardstream.logs import configure_logging
from wardstream.settings import get_settings

configure_logging()
spark = session(get_settings())
print("the session is there")
rows = spark.createDataFrame([("PATIENT-" + "4711",)], "key string")

def judge(batches):
    for batch in batches:
        raise ValueError(str(batch.to_pylist()))

for query in (rows.mapInArrow(judge, "key string"), rows.selectExpr("CAST(key AS int)")):
    try:
        query.collect()
    except Exception:
        print("failed")
spark.stop()
"""


@pytest.mark.parametrize("module", ["spark_jobs.stream", "wardstream.daily.spark"])
def test_what_a_task_failed_on_is_not_in_the_log(daily_settings: Settings, module: str) -> None:
    environ = os.environ | environment(daily_settings) | java_env(daily_settings)
    environ["PYSPARK_PYTHON"] = sys.executable
    environ.pop("PYSPARK_GATEWAY_PORT", None)
    done = subprocess.run(
        [sys.executable, "-c", FAIL.format(module=module)],
        cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["the session is there", "failed", "failed"], done.stderr[-2000:]
    assert SECRET not in done.stderr
