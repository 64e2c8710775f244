"""What `wardstream migrate` does: sql/migrations by yoyo, then what comes from contracts and folds.

A migration is a plain .sql with a .rollback.sql beside it. The tables of schema history are none: they are made and
extended from the contracts, as are comments (`stream.history`, `stream.descriptions`, `daily.comments`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from wardstream.contracts.model import load_contracts
from wardstream.daily.comments import apply_mart_comments
from wardstream.daily.zone import apply_facilities
from wardstream.database.connection import connect
from wardstream.database.locks import lock_migrations
from wardstream.database.migration_errors import explained
from wardstream.database.text_key import apply_text_key
from wardstream.proof.folds import note_folds_of_empty_tables
from wardstream.proof.refold_all import fill_versions
from wardstream.proof.restate import restate
from wardstream.settings import Settings
from wardstream.stream.descriptions import apply_descriptions
from wardstream.stream.history import apply_history
from wardstream.stream.plan import load_plan
from wardstream.stream.stored_sources import sources_of


def _backend_url(settings: Settings) -> str:
    """For yoyo, which hands the arguments of an address on to psycopg: so each form that psycopg reads will do."""
    said = {name: str(value) for name, value in conninfo_to_dict(settings.owner_url).items() if value is not None}
    return f"postgresql+psycopg:///?{urlencode(said)}"


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One at a time. yoyo's own lock is a row, which a killed process leaves behind; this one ends with its session."""
    # the session of the lock is idle for as long as a migration takes; a server may end such ones
    patient = "-c idle_in_transaction_session_timeout=0"
    with connect(settings.owner_url, "wardstream migrate", more=patient) as conn, conn.transaction():
        lock_migrations(conn)
        yield


def migrate(settings: Settings) -> list[str]:
    """Apply what is not applied yet, then what else the database is told of the settings and of sql/, as the owner;
    the migrations applied, by name."""
    backend = get_backend(_backend_url(settings))
    try:
        with _alone(settings):
            pending = backend.to_apply(read_migrations(str(settings.sql_dir / "migrations")))
            for migration in pending:
                with explained(migration):
                    backend.apply_one(migration)
    finally:
        backend.connection.close()
    contracts = load_contracts(settings.schemas_dir)
    plan = load_plan(settings.sql_dir, contracts)
    with _alone(settings), connect(settings.owner_url, "wardstream migrate") as conn:
        apply_history(conn, contracts, plan)
        restate(conn, contracts, plan)
        fill_versions(conn, plan)
        apply_text_key(conn, sources_of(contracts))
        apply_descriptions(conn, contracts, plan)
        apply_mart_comments(conn, settings.sql_dir)
    apply_facilities(settings)
    note_folds_of_empty_tables(settings)
    return [migration.id for migration in pending]


def to_roll_back(settings: Settings, count: int) -> list[str]:
    """The migrations that `rollback` would roll back, newest first, by name."""
    backend = get_backend(_backend_url(settings))
    try:
        applied = backend.to_rollback(read_migrations(str(settings.sql_dir / "migrations")))
        return [migration.id for migration in applied][:count]
    finally:
        backend.connection.close()


def rollback(settings: Settings, count: int | None = None) -> list[str]:
    """Roll so many migrations back, newest first, and with them what they added; without `count` all, and ALL DATA."""
    backend = get_backend(_backend_url(settings))
    try:
        with _alone(settings):
            applied = list(backend.to_rollback(read_migrations(str(settings.sql_dir / "migrations"))))[:count]
            for migration in applied:
                with explained(migration, back=True):
                    backend.rollback_one(migration)
            return [migration.id for migration in applied]
    finally:
        backend.connection.close()
