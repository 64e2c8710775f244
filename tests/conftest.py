"""How tests run side by side (pytest-xdist): which share a worker, and what becomes of an interrupted one's stacks.

`tests/airflow_e2e` shares one stack, and its last file reads the logs of all that the others did to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import paths

HERE = Path(__file__).parent
TOGETHER = {HERE / folder for folder in ("airflow_e2e", "integration/daily", "integration/dags")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One group for each file, or for the whole folder."""
    for item in items:
        place = item.path.parent if item.path.parent in TOGETHER else item.path
        item.add_marker(pytest.mark.xdist_group(str(place.relative_to(HERE))))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Ctrl-C ends the workers before they can stop what they started: whoever started the workers does it."""
    if exitstatus == pytest.ExitCode.INTERRUPTED and not hasattr(session.config, "workerinput"):
        base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for running in list(base.rglob("run/manager.conf")):
            settings = Settings(state_dir=running.parents[1])
            stack.stop(settings)
            paths.remove(settings)
