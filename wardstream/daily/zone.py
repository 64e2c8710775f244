"""ops.facilities, ops.hospital and the facilities of ops.sources are put to the file of sources and the settings.

Run by `wardstream migrate`. Only days whose numbers can change become stale:

    another name for the default facility    none: its days are renamed
    another zone of a facility               all of that facility: the days that its rows lie on under the new zone, and
                                             every day that was known before, which is built as empty if none does
    a source in another facility             the days of its rows, in the old facility and in the new one
    another rule for same-day stays          all days of all facilities
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from wardstream.contracts.model import load_contracts
from wardstream.contracts.sources import Sources
from wardstream.daily.marts import Mart, load_marts
from wardstream.database.connection import Connection, columns_of, connect, scalar, trusted
from wardstream.database.facility import NOW
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.settings import Settings
from wardstream.stream.plan import Plan, load_plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.stored_sources import sources_of, stored_sources

log = logging.getLogger(__name__)

ZONED = """
INSERT INTO ops.facilities (facility, timezone, since) VALUES (%s, %s, %s)
ON CONFLICT (facility) DO UPDATE SET timezone = excluded.timezone, since = excluded.since
"""


@dataclass(frozen=True)
class Hospital:
    """What the database has: zone by facility, facility by source, and what holds in all of them."""

    default: str
    same_day: int
    zones: dict[str, str]
    sources: dict[str, str]

    def said_by(self, settings: Settings, file: Sources) -> Hospital:
        """What it should have. A facility that the file no longer names stays: its days are there."""
        zones = {**self.zones, **file.zones(settings.facility_timezone)}
        sources = {source: file.facility_of(source) for source in self.sources}
        return Hospital(file.default_facility, settings.same_day_stay_days, zones, sources)


def read_hospital(conn: Connection) -> Hospital:
    """As the database has it now."""
    ((default, same_day),) = conn.execute("SELECT default_facility, same_day_stay_days FROM ops.hospital").fetchall()
    zones: dict[str, str] = dict(conn.execute("SELECT facility, timezone FROM ops.facilities").fetchall())
    return Hospital(default, same_day, zones, {name: uses.facility for name, uses in stored_sources(conn).items()})


def apply_facilities(settings: Settings) -> list[str]:
    """Make the database say of facilities what the file of sources and the settings say, as the owner; a sentence for
    each change.

    The commit lock is held while it changes: the stream waits, and goes on in the new zones. Where a source has moved,
    or the default facility has another name, the driver that runs is fenced: it files new sources by the file before.
    """
    contracts = load_contracts(settings.schemas_dir)
    file = sources_of(contracts)
    with connect(settings.owner_url, "wardstream facility") as conn:
        found = read_hospital(conn)
        if found == found.said_by(settings, file):
            return []
        plan, marts = load_plan(settings.sql_dir, contracts), load_marts(settings.sql_dir)
        with conn.transaction():
            lock_commits(conn)
            said = _rename(conn, marts, read_hospital(conn), file)
            was = read_hospital(conn)
            wanted = was.said_by(settings, file)
            if said or was.sources != wanted.sources:
                conn.execute("UPDATE ops.streams SET generation = generation + 1")
            said += _change(conn, plan, was, wanted)
    for sentence in said:
        log.info("%s", sentence)
    return said


def _rename(conn: Connection, marts: Sequence[Mart], was: Hospital, file: Sources) -> list[str]:
    """The default facility under its new name, where no other has that; what refers to it follows."""
    old, new = was.default, file.default_facility
    if new in was.zones or old in file.facilities:
        return []
    conn.execute("UPDATE ops.facilities SET facility = %s WHERE facility = %s", [new, old])
    for mart in marts:
        if "facility" in columns_of(conn, "mart", mart.table):
            table = sql.Identifier("mart", mart.table)
            conn.execute(sql.SQL("UPDATE {} SET facility = %s WHERE facility = %s").format(table), [new, old])
    return [f"facility {old}: is called {new} now"]


def _change(conn: Connection, plan: Plan, was: Hospital, now: Hospital) -> list[str]:
    """From what the database has to what it should have, days marked."""
    seq = scalar(conn, "SELECT nextval('ops.commit_seq')")
    moment = scalar(conn, NOW)
    zoned = [name for name, zone in now.zones.items() if was.zones.get(name) != zone]
    moved = [source for source, facility in now.sources.items() if was.sources[source] != facility]
    raised = zoned if was.same_day == now.same_day else list(now.zones)
    in_zoned = [source for source, facility in now.sources.items() if facility in zoned]
    refolds = _refolds(conn, plan) if moved or in_zoned else []
    for refold in refolds:
        refold.mark_all(moment, moved)
    with conn.cursor() as cursor:
        cursor.executemany(ZONED, [[name, now.zones[name], seq] for name in raised])
        moves = [[now.sources[source], source] for source in moved]
        cursor.executemany("UPDATE ops.sources SET facility = %s WHERE source = %s", moves)
    conn.execute("UPDATE ops.hospital SET default_facility = %s, same_day_stay_days = %s", [now.default, now.same_day])
    for refold in refolds:
        refold.mark_all(moment, [*moved, *in_zoned])
    conn.execute("UPDATE ops.day_versions SET version = %s WHERE facility = ANY(%s)", [seq, raised])
    if refolds:
        conn.execute(trusted(plan.protocol["raise_day_versions"]), {"seq": seq})
    said = [f"facility {name}: its days are those of {_was(now.zones[name], was.zones.get(name))}" for name in zoned]
    said += [f"source {source}: is in {_was(now.sources[source], was.sources[source])}" for source in moved]
    if was.same_day != now.same_day:
        said.append(f"a stay that ends the day it began counts {_was(now.same_day, was.same_day)}")
    return said


def _was(now: object, before: object) -> str:
    return f"{now}, was {before}" if before not in (None, "") else f"{now}"


def _refolds(conn: Connection, plan: Plan) -> list[Refold]:
    scratch = Scratch(conn)
    create_touched(scratch)
    return [Refold(scratch, fold, plan.protocol) for fold in plan.folds]
