"""Which window a database has a source's data in: `ops.replay_windows`, one row a source, written once.

A database has a source's data at one place in time: the same stays at two would be one stay with facts of both, and a
discharge of the earlier one would end a stay that is open in the later one before it began. No order of versions mends
that, so there is no second window and no moving on to a new one; that takes an empty database. Refused is what the
database can tell. Of facts that are still in Kafka, or were replayed while it was away, it knows nothing.
"""

from __future__ import annotations

import logging

import psycopg

from wardstream.database.connection import Connection, beside, connect
from wardstream.settings import Settings
from wardstream.sources.mimic.recent import Window

log = logging.getLogger(__name__)

AFRESH = "or start from an empty database: `wardstream reset` deletes all data of this one"


class PlacementError(Exception):
    """The database has the source's data at other times, or no table to say so; the message says what to type."""


def open_window(settings: Settings, source: str, days: int) -> Window:
    """The window of the source in this database; at first use it ends now (UTC, to the minute), and is stored.

    PlacementError where the database has the source's data elsewhere: unmoved, in a window of another length, or moved
    by another zone's clock. psycopg.OperationalError where PostgreSQL does not answer.
    """
    values = {"source": source, "days": days, "timezone": settings.facility_timezone}
    statement = beside(__file__, "open_window")
    with connect(settings.writer_url, "wardstream replay") as conn:
        try:
            conn.execute(statement, values)
            found = _stored(conn, source)  # a statement of its own, which sees what another first use has stored
        except psycopg.errors.UndefinedTable as error:
            raise PlacementError("there is no table ops.replay_windows yet: run `wardstream migrate`") from error
    if found is None:
        raise PlacementError(
            f"core.patients has people of {source} at the dates of its files; moved ones would mix with them. "
            f"Replay without --recent, {AFRESH}"
        )
    window, timezone = found
    if window.days != days:
        raise PlacementError(f"{_where(source, window)} Repeat with --recent {window.days}d, {AFRESH}")
    if timezone != settings.facility_timezone:
        raise PlacementError(
            f"{_where(source, window)} It was moved by the clock of {timezone}, and WARDSTREAM_FACILITY_TIMEZONE is "
            f"{settings.facility_timezone} now. Set it back, {AFRESH}"
        )
    return window


def refuse_moved(settings: Settings, source: str) -> None:
    """PlacementError where this database has the source's data moved into a window.

    Replaying unmoved needs no PostgreSQL: where it does not answer, that is said in the log, and nothing is refused.
    """
    try:
        with connect(settings.writer_url, "wardstream replay") as conn:
            found = _stored(conn, source)
    except (FileNotFoundError, psycopg.OperationalError):
        log.warning("PostgreSQL does not answer: whether it has data of %s from --recent is not known", source)
        return
    except psycopg.errors.UndefinedTable:  # a database that was not migrated has none
        return
    if found is not None:
        raise PlacementError(f"{_where(source, found[0])} Repeat with --recent {found[0].days}d, {AFRESH}")


def _stored(conn: Connection, source: str) -> tuple[Window, str] | None:
    row = conn.execute("SELECT ends_at, days, timezone FROM ops.replay_windows WHERE source = %s", [source]).fetchone()
    return None if row is None else (Window(row[0], row[1]), row[2])


def _where(source: str, window: Window) -> str:
    return f"this database has {source} in {window} (ops.replay_windows); at other times it would mix with that."
