"""One stack with Airflow for the tests of this folder, filled with the sample once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.airflow_e2e.clinic import DAGS, Clinic
from tests.e2e.hospital import DEADLINE_SECONDS
from tests.integration.alerts.conftest import serving_webhook
from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.stack import jars, paths


def where_it_is_noon() -> str:
    """A time zone in which no new day begins while the tests run: that makes the days of open stays stale."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # the signs of these names are the other way round


@pytest.fixture(scope="package")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A running stack with stream and Airflow in a path with spaces, the sample replayed; deleted at the end."""
    with serving_webhook() as webhook:
        folder = tmp_path_factory.mktemp("clinic in a path with spaces")
        own = {"airflow": True, "alert_webhook_url": webhook.url, "facility_timezone": where_it_is_noon()}
        settings = own_settings(folder).model_copy(update=own)
        (folder / "jars of Spark").symlink_to(settings.cache_dir / "jars" / "spark")
        through = [str(folder / "jars of Spark" / jar.file) for jar in jars.read_list("spark")]
        settings = settings.model_copy(update={"spark_jars": ",".join(through)})
        clinic = Clinic(settings, webhook)
        try:
            stack.start(settings)
            clinic.must("replay", "sample")
            clinic.api.wait_until_parsed(DAGS, DEADLINE_SECONDS)  # `up` does not wait for all files to be read
            clinic.caught_up()
            yield clinic
            clinic.nothing_left()
        finally:
            stack.stop(settings)
            paths.remove(settings)
