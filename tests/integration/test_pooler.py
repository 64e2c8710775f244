"""A connection pooler in transaction mode: the writer is refused in one line, BI gets through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import needs
from tests.e2e.hospital import wait_for
from tests.integration.stack.conftest import free_ports
from wardstream.database.connection import PoolerBetween, connect
from wardstream.kafka.health import listens
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment
from wardstream.stack.parts import postgres

CONFIGURATION = """
[databases]
writer = host=127.0.0.1 port={port} dbname={name} user=wardstream_writer password={writer}
owner = host=127.0.0.1 port={port} dbname={name} user=wardstream_owner password={owner}
bi = host=127.0.0.1 port={port} dbname={name} user=wardstream_bi password={bi}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
{more}
"""
OPTIONS = "ignore_startup_parameters = options,extra_float_digits"


@pytest.fixture(params=["", OPTIONS], ids=["as it comes", "options ignored"])
def pooler(request: pytest.FixtureRequest, database: Settings, tmp_path: Path) -> Iterator[int]:
    """The port of a pgbouncer in front of the database."""
    program = needs.program("pgbouncer", "pgbouncer")
    (port,) = free_ports(1)
    passwords = {role: database.password(f"wardstream_{role}") for role in ("writer", "owner", "bi")}
    file = tmp_path / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(
            port=database.postgres_port, name=database.database_name, own_port=port, more=request.param, **passwords
        )
    )
    who = ["-u", "nobody"] if os.geteuid() == 0 else []
    for folder in (tmp_path, *tmp_path.parents)[:4]:
        folder.chmod(0o755)  # that user reads the file
    running = subprocess.Popen([program, *who, file], stderr=subprocess.PIPE)
    try:
        wait_for("the pooler", lambda: listens(f"127.0.0.1:{port}"), 20)
        yield port
    finally:
        running.terminate()
        running.communicate()


@pytest.fixture
def through(database: Settings, pooler: int) -> Settings:
    """Settings whose addresses lead to the pooler."""
    address = f"postgresql://nobody@127.0.0.1:{pooler}"
    return database.model_copy(update={"database_url": f"{address}/writer", "owner_database_url": f"{address}/owner"})


def run(settings: Settings, *module_and_words: str) -> subprocess.CompletedProcess[str]:
    """A module of ours as a process with these settings."""
    return subprocess.run(
        [sys.executable, "-m", *module_and_words],
        env={**os.environ, **environment(settings)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


LEFT = """
SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
UNION ALL
SELECT backend_pid FROM ops.stream_leases JOIN pg_stat_activity ON pid = backend_pid
"""


def left(database: Settings) -> list[tuple[object, ...]]:
    """Sessions that hold a lock or a stream."""
    with postgres.connect(database, database.database_name) as admin:
        return admin.execute(LEFT).fetchall()


@pytest.mark.parametrize("words", [["migrate"], ["digest"], ["rebuild"]], ids=" ".join)
def test_a_command_ends_in_one_line(through: Settings, words: list[str]):
    done = run(through, "wardstream.cli", *words)
    assert done.returncode == 1
    assert "connection pooler" in done.stderr and "Traceback" not in done.stderr
    assert left(through) == []


def test_the_stream_leaves_at_once(through: Settings):
    done = run(through, "spark_jobs.stream")
    assert done.returncode == 1
    assert done.stderr.count("PoolerBetween") == 1 and "Traceback" not in done.stderr
    assert left(through) == []


def test_no_session_of_ours_goes_through(through: Settings):
    with pytest.raises(PoolerBetween, match="DATABASE_URL"):
        connect(through.writer_url, "test")


def test_bi_reads_through_it(database: Settings, pooler: int):
    with psycopg.connect(f"postgresql://analyst@127.0.0.1:{pooler}/bi", prepare_threshold=None) as conn:
        assert conn.execute("SELECT count(*) FROM mart.labs").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT count(*) FROM core.lab_results")
