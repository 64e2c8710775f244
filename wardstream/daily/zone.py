"""ops.facility is put to the settings; a change makes every day stale.

Run by `wardstream migrate`. All days that any row of core lies on under the new zone are marked, as a commit would mark
them, and every day that was known before takes the same number: what lies on no day of the old calendar any more is
built as empty.
"""

from __future__ import annotations

import logging

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import connect, scalar, trusted
from wardstream.database.facility import read_facility
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.settings import Settings
from wardstream.stream.plan import load_plan
from wardstream.stream.refold import Refold, create_touched

log = logging.getLogger(__name__)

PUT = """
INSERT INTO ops.facility AS f (timezone, same_day_stay_days, since) VALUES (%(zone)s, %(same_day)s, %(seq)s)
ON CONFLICT (one) DO UPDATE
SET timezone = excluded.timezone, same_day_stay_days = excluded.same_day_stay_days, since = excluded.since
"""


def apply_facility(settings: Settings) -> bool:
    """Make ops.facility say what the settings say, as the owner; whether anything changed.

    The commit lock is held while it changes: the stream waits, and goes on in the new zone.
    """
    wanted = (settings.facility_timezone, settings.same_day_stay_days)
    with connect(settings.owner_url, "wardstream facility") as conn:
        was = conn.execute("SELECT timezone, same_day_stay_days FROM ops.facility").fetchone()
        if was == wanted:
            return False
        plan = load_plan(settings.sql_dir, load_contracts(settings.schemas_dir))
        with conn.transaction():
            lock_commits(conn)
            seq = scalar(conn, "SELECT nextval('ops.commit_seq')")
            conn.execute(PUT, {"zone": wanted[0], "same_day": wanted[1], "seq": seq})
            facility = read_facility(conn)
            scratch = Scratch(conn)
            create_touched(scratch)
            for fold in plan.folds:
                Refold(scratch, fold, plan.protocol).mark_all(facility)
            conn.execute("UPDATE ops.day_versions SET version = %s", [seq])
            conn.execute(trusted(plan.protocol["raise_day_versions"]), {"seq": seq})
    if was is not None:
        log.info("facility: %s, same-day stays count %s, was %s and %s; every day is stale now", *wanted, *was)
    return True
