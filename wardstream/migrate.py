"""Migrations of the database by yoyo: sql/migrations, plain .sql with a .rollback.sql beside each."""

from __future__ import annotations

from yoyo import get_backend, read_migrations

from wardstream.daily.facility import apply_facility
from wardstream.settings import Settings


def _backend_url(settings: Settings) -> str:
    return settings.owner_url.replace("postgresql://", "postgresql+psycopg://", 1)


def migrate(settings: Settings) -> list[str]:
    """Apply what is not applied yet, then the facility's settings, as the owner; the migrations applied, by name."""
    backend = get_backend(_backend_url(settings))
    try:
        with backend.lock():
            pending = backend.to_apply(read_migrations(str(settings.sql_dir / "migrations")))
            backend.apply_migrations(pending)
    finally:
        backend.connection.close()
    apply_facility(settings)
    return [migration.id for migration in pending]


def rollback(settings: Settings) -> list[str]:
    """Take every migration back, newest first; ALL DATA of the platform in this database is lost."""
    backend = get_backend(_backend_url(settings))
    try:
        with backend.lock():
            applied = backend.to_rollback(read_migrations(str(settings.sql_dir / "migrations")))
            backend.rollback_migrations(applied)
            return [migration.id for migration in applied]
    finally:
        backend.connection.close()
