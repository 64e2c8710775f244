"""What Airflow loads of us: the pages of docs. Found by its entry point in pyproject.toml.

Every process of Airflow loads it, so nothing large is imported here.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from wardstream.airflow.dag_docs import PREFIX
from wardstream.airflow.pages import serve


class WardstreamPlugin(AirflowPlugin):
    """A subclass is how Airflow finds it."""

    name = "wardstream"
    fastapi_apps = [{"app": serve, "url_prefix": PREFIX, "name": "Wardstream's docs"}]  # noqa: RUF012 - Airflow's form
