"""One Spark for the tests of this folder, and a clinic that each test finds empty."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.integration.commit.bench import Bench
from tests.integration.conftest import another_database
from tests.integration.daily.clinic import TWO, Clinic, Two
from wardstream.daily.spark import session
from wardstream.daily.zone import apply_facilities
from wardstream.database.migrate import migrate
from wardstream.settings import Settings
from wardstream.stack import jars
from wardstream.stack.env import environment
from wardstream.stack.java import java_env


@pytest.fixture(scope="package")
def daily_settings(server: Settings) -> Settings:
    """A database of its own, and Spark's jars named, as the stack's environment has them."""
    jars.fetch(server, names=["spark"])
    settings = another_database(server, "daily")
    migrate(settings)
    named = environment(settings)["WARDSTREAM_SPARK_JARS"]
    return settings.model_copy(update={"spark_jars": named, "daily_driver_memory": "600m"})


@pytest.fixture(scope="package")
def spark(daily_settings: Settings) -> Iterator[SparkSession]:
    """The job's own session, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in java_env(daily_settings).items():
            patch.setenv(name, value)
        patch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
        found = session(daily_settings)
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
            from pyspark import SparkContext

            SparkContext._gateway = SparkContext._jvm = None
            os.environ.pop("PYSPARK_GATEWAY_PORT", None)


@pytest.fixture(scope="package")
def shared_clinic(daily_settings: Settings, spark: SparkSession) -> Iterator[Clinic]:
    """The clinic in whatever state the last test left it."""
    clinic = Clinic(Bench(daily_settings), spark, daily_settings)
    yield clinic
    clinic.close()


@pytest.fixture
def clinic(shared_clinic: Clinic) -> Clinic:
    """The clinic without facts, in New York, on a day that PostgreSQL's clock says."""
    shared_clinic.bench.empty()
    apply_facilities(shared_clinic.settings)
    shared_clinic.today = None
    return shared_clinic


@pytest.fixture(scope="package")
def shared_two(
    daily_settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Two]:
    """A hospital with a facility in New York and one in Tokyo, in whatever state the last test left it."""
    schemas = shutil.copytree(daily_settings.schemas_dir, tmp_path_factory.mktemp("two") / "schemas")
    (schemas / "sources.yaml").write_text(TWO)
    settings = another_database(daily_settings, "two").model_copy(update={"schemas_dir": schemas})
    migrate(settings)
    clinic = Two(Bench(settings), spark, settings)
    yield clinic
    clinic.close()


@pytest.fixture
def two(shared_two: Two) -> Two:
    """The same without facts, as it is at the start."""
    shared_two.begin()
    return shared_two


@pytest.fixture
def sql_of(clinic: Clinic, tmp_path: Path) -> Callable[[str, str, str], Settings]:
    """Settings whose sql/ differs in one file of sql/marts; asked again, in one more."""
    sql = tmp_path / "sql"
    shutil.copytree(clinic.settings.sql_dir, sql)

    def changed(name: str, right: str, wrong: str) -> Settings:
        path = sql / "marts" / name
        text = path.read_text()
        assert right in text
        path.write_text(text.replace(right, wrong))
        return clinic.settings.model_copy(update={"sql_dir": sql})

    return changed
