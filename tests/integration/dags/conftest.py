"""Kafka, registry and PostgreSQL for the DAGs' tests, once, and the process that runs `dag.test()` beside them."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.alerts.conftest import Webhook, serving_webhook
from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.database.migrate import migrate
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import env, jars, paths
from wardstream.stack.parts import airflow, postgres

SERVERS = ("postgres", "kafka", "registry")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of running servers that nobody has set up: no migration, no topic, no schema, and no stream."""
    chosen = own_settings(tmp_path_factory.mktemp("dags")).model_copy(update={"airflow": True})
    try:
        jars.fetch(chosen, lambda _: None)
        stack.start_part(chosen, "postgres")
        with ThreadPoolExecutor() as pool:
            for job in [pool.submit(stack.start_part, chosen, part) for part in ("kafka", "registry")]:
                job.result()
        airflow.migrate(chosen)
        yield chosen
    finally:
        stack.stop(chosen)
        paths.remove(chosen)


@dataclass(frozen=True)
class Run:
    """What became of a run, and all it logged."""

    run_id: str
    state: str
    tasks: dict[str, str | None]
    tries: dict[str, int]
    log: str

    def lines(self, text: str) -> list[str]:
        """Lines of the log that hold a text."""
        return [line for line in self.log.splitlines() if text in line]


Go = Callable[..., Run]


@pytest.fixture(scope="session")
def runner(place: Settings) -> Iterator[Go]:
    """`go(dag_id, settings, conf=…)`: dag.test() on Airflow's own database, with these settings in the environment."""
    log = place.state_dir / "dag-runs.log"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.dags.runner", str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        env={**env.base_environment(place, with_java=True), **airflow.environment(place)},
    )
    assert process.stdin is not None and process.stdout is not None
    ask, answers = process.stdin, process.stdout

    def go(
        dag_id: str,
        settings: Settings,
        conf: dict[str, Any] | None = None,
        tasks: dict[str, dict[str, Any]] | None = None,
        run_type: str = "",
        interval: tuple[str, str] = ("", ""),
        skip: str = "",
    ) -> Run:
        asked = {
            "dag": dag_id,
            "env": airflow.environment(settings),
            "conf": conf or {},
            "tasks": tasks or {},
            "run_type": run_type,
            "interval": interval,
            "skip": skip,
        }
        ask.write(json.dumps(asked) + "\n")
        ask.flush()
        line = answers.readline()
        assert line, f"the runner ended:\n{log.read_text()[-4000:]}"
        answer = json.loads(line)
        assert "error" not in answer, f"{answer['error']}\n{answer['log'][-6000:]}"
        for role in ("wardstream_owner", "wardstream_writer", "wardstream_bi", "wardstream_airflow", "postgres"):
            assert settings.password(role) not in answer["log"], f"the log holds the password of {role}"
        return Run(**answer)

    try:
        yield go
    finally:
        ask.close()
        process.wait(timeout=30)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """Where the runs' alerts go."""
    with serving_webhook() as served:
        yield served


@contextlib.contextmanager
def _database(settings: Settings, template: str = "template1") -> Iterator[Settings]:
    """A database of its own on the running server, with the roles' rights, dropped at the end."""
    name = f"dags_{next(_NUMBERS)}"
    with postgres.connect(settings) as conn:
        conn.execute(f"CREATE DATABASE {name} OWNER wardstream_owner TEMPLATE {template}".encode())
    other = settings.model_copy(update={"database_name": name})
    try:
        postgres.bootstrap(other)
        yield other
    finally:
        with postgres.connect(settings) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def migrated(place: Settings) -> Iterator[str]:
    """Name of a migrated database that is only copied."""
    with _database(place) as settings:
        migrate(settings)
        yield settings.database_name


@pytest.fixture
def fresh(place: Settings, hook: Webhook) -> Iterator[Settings]:
    """An empty database of its own; alerts go to `hook`."""
    with _database(place) as settings:
        yield settings.model_copy(update={"alert_webhook_url": hook.url})


@pytest.fixture
def ready(place: Settings, migrated: str, hook: Webhook) -> Iterator[Settings]:
    """A migrated database of its own; alerts go to `hook`."""
    with _database(place, migrated) as settings:
        yield settings.model_copy(update={"alert_webhook_url": hook.url})


def execute(settings: Settings, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run SQL as the owner; its rows, if it has any."""
    with psycopg.connect(settings.owner_url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def changed(settings: Settings, folder: Path) -> Settings:
    """Settings whose contracts are a copy in `folder`, to be changed."""
    shutil.copytree(settings.schemas_dir, folder)
    return settings.model_copy(update={"schemas_dir": folder})
