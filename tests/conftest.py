"""Which tests run on the same worker of pytest-xdist: a file's, and those of a folder that share something costly.

`tests/airflow_e2e` shares one stack, and its last file reads the logs of all that the others did to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TOGETHER = {Path(__file__).parent / folder for folder in ("airflow_e2e", "integration/daily", "integration/dags")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One group for each file, or for the whole folder."""
    for item in items:
        place = item.path.parent if item.path.parent in TOGETHER else item.path
        item.add_marker(pytest.mark.xdist_group(str(place.relative_to(Path(__file__).parent))))
