"""How tests run side by side (pytest-xdist): which share a worker, and what becomes of an interrupted one's stacks.

`tests/airflow_e2e` shares one stack, and its last file reads the logs of all that the others did to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import paths

# Containers set it. Each of the many processes that tests start would then compile all of its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TOGETHER = ("tests/airflow_e2e", "tests/integration/daily", "tests/integration/dags")


LAST = "tests/e2e/"
"""These files come last, the longest of them first: else one worker would wait for the other in the end."""
LONGEST = ("secured", "verify", "control", "held_topic", "restore", "installed", "first_day", "broker_faults", "kills")


class ByWhatTheyShare(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests on one worker, or those of a whole folder."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in TOGETHER else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The last files last, by how long they take."""
    places = {f"{LAST}test_{name}.py": place for place, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.nodeid.partition("::")[0]
        return file.startswith(LAST), places.get(file, len(places))

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatTheyShare:
    """Whatever `--dist` says: another way of sharing out would start each file's servers twice."""
    return ByWhatTheyShare(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Ctrl-C ends the workers before they can stop what they started: whoever started the workers does it."""
    if exitstatus == pytest.ExitCode.INTERRUPTED and not hasattr(session.config, "workerinput"):
        base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for running in list(base.rglob("run/manager.conf")):
            settings = Settings(state_dir=running.parents[1])
            stack.stop(settings)
            paths.remove(settings)
