"""The stream's own Spark session, once for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from spark_jobs.stream import session
from tests.integration.stack.conftest import own_settings
from wardstream.stack import jars, paths
from wardstream.stack.env import environment
from wardstream.stack.java import java_env


@pytest.fixture(scope="package")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of `spark_jobs/stream.py`, in this process."""
    settings = own_settings(tmp_path_factory.mktemp("judge"))
    jars.fetch(settings, names=["spark"])
    named = environment(settings)["WARDSTREAM_SPARK_JARS"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in java_env(settings).items():
            patch.setenv(name, value)
        patch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
        found = session(settings.model_copy(update={"spark_jars": named, "stream_driver_memory": "600m"}))
        try:
            yield found
        finally:
            gateway = found.sparkContext._gateway
            found.stop()
            # The JVM would outlive the session; the next one of this process needs its own settings.
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(20)
            SparkSession._instantiatedSession = None
            SparkContext._gateway = SparkContext._jvm = None
            os.environ.pop("PYSPARK_GATEWAY_PORT", None)
            paths.remove(settings)
