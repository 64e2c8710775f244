"""A migration whose process is killed leaves nothing that the next one would wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from psycopg.conninfo import make_conninfo

from tests.e2e.hospital import wait_for
from tests.integration.conftest import another_database
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate, rollback
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public._yoyo_migration'::regclass"


def test_any_form_of_the_owners_address_will_do(server: Settings) -> None:
    settings = another_database(server, "migration_by_words")
    port = server.postgres_port
    said = make_conninfo(settings.owner_url, host="127.0.0.1,127.0.0.1", port=f"{port},{port}")  # `user=… password=…`
    assert "://" not in said
    assert migrate(settings.model_copy(update={"owner_database_url": said}))
    assert migrate(settings) == []


def test_two_at_once_take_turns(server: Settings) -> None:
    settings = another_database(server, "two_migrations")
    rollback(settings)  # the table of the lock is there from now on, as on any database but a new one
    with ThreadPoolExecutor() as both:
        applied = sorted(both.map(migrate, [settings, settings]))
    assert applied[0] == [] and len(applied[1]) > 10


def test_killed_at_work_and_repeated(server: Settings) -> None:
    settings = another_database(server, "killed_migration")
    assert migrate(settings)
    command = [sys.executable, "-m", "wardstream.cli", "migrate"]
    values = {**os.environ, **environment(settings)}
    with connect(settings.owner_url, "wardstream test") as conn, conn.transaction():
        conn.execute("LOCK TABLE public._yoyo_migration IN ACCESS EXCLUSIVE MODE")
        at_work = subprocess.Popen(command, env=values, cwd=PROJECT_ROOT)
        wait_for("the migration at work", lambda: conn.execute(WAITING).fetchone() == (1,), 60)
        at_work.send_signal(signal.SIGKILL)
        at_work.wait()
    assert migrate(settings) == []
