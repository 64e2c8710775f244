"""`wardstream rebuild`: core from history again, while the stream goes on.

    restart      only where a fold has changed: a driver of before folds by the old one, so it is asked to begin anew,
                 and waited for
    look         in one snapshot and without a lock, the entities are listed whose core rows are not what their facts
                 give: rows without facts, facts without rows, rows that differ in a byte
    mend         some thousand of them at a time are folded again, each time in a transaction of its own that holds the
                 commit lock, from history as it is then; changed rows mark their days. Between two the stream commits
    note         ops.folds says by which fold each table was filled

Why core is then the fold of history, whatever was committed meanwhile. An entity is right where its rows are what the
fold gives for its facts.

    * One that is right at the snapshot stays right. A commit that brings it a fact folds it anew, or, where the
      greatest version says all, compares with the version beside its row, which is that of its greatest fact.
    * One that is not right at the snapshot is on the list. Commits before its turn may leave it wrong (a version
      that is too great swallows newer facts). In its turn it is folded under the lock, after all commits before, so
      it is right then, and stays so as above. What was folded for the look is never applied.

Both hold of every order of commits and turns, and of each fold for itself. They need commits to compute by the fold
that is looked for: hence the restart. `migrate`, which may refold core at once (`refold_all`), does it by the same
files under the same lock.

If it ends in between, the turns so far are kept, nothing is noted, and verify names what is left: run it again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import Connection, connect, one_snapshot, scalar
from wardstream.database.facility import NOW
from wardstream.database.locks import lock_commits
from wardstream.database.scratch import Scratch
from wardstream.proof.core import differing
from wardstream.proof.folds import changed_folds, note
from wardstream.proof.refold_all import raise_days
from wardstream.settings import Settings
from wardstream.stack.errors import StackError
from wardstream.stream.check import must_run
from wardstream.stream.control import SLOW_SECONDS, request, situation
from wardstream.stream.plan import Plan, load_plan
from wardstream.stream.refold import Refold, create_touched
from wardstream.stream.turn import ControlMissing

AT_A_TIME = 5_000
"""Entities of a turn: commits wait for as long as one takes."""
LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Mended:
    """How many entities were not what history says, and of how many days (each of a facility) their rows are."""

    entities: int
    days: int


class Rebuild:
    """One rebuild on a connection: `look`, then `mend` to its end."""

    def __init__(self, conn: Connection, plan: Plan, at_a_time: int = AT_A_TIME) -> None:
        self._conn = conn
        self._plan = plan
        self._at_a_time = at_a_time
        self._scratch = Scratch(conn)
        create_touched(self._scratch)
        self._refolds = [Refold(self._scratch, fold, plan.protocol) for fold in plan.folds]
        self._listed: dict[str, int] = {}
        self.mended: dict[str, Mended] = {}
        """By core table, of those of which anything is."""

    def look(self) -> None:
        """List the entities that are not right, table by table."""
        with one_snapshot(self._conn):
            for refold in self._refolds:
                entities = sql.SQL("SELECT DISTINCT authority, key FROM ({}) AS d").format(
                    differing(self._scratch, refold)
                )
                numbered = sql.SQL("AS SELECT row_number() OVER () AS number, authority, key FROM ({}) AS e")
                listed = self._scratch.create(_list_of(refold), numbered.format(entities))
                self._conn.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (number)").format(listed))
                self._listed[refold.fold.table] = scalar(self._conn, sql.SQL("SELECT count(*) FROM {}").format(listed))

    def mend(self) -> Iterator[None]:
        """Fold those on the list again; yields after each turn, when nothing is locked. At the end note the folds."""
        for refold in self._refolds:
            listed, days = self._listed[refold.fold.table], set[tuple[str, date]]()
            for start in range(0, listed, self._at_a_time):
                days |= self._turn(refold, start + 1, start + self._at_a_time)
                self.mended[refold.fold.table] = Mended(min(start + self._at_a_time, listed), len(days))
                yield
        with self._conn.transaction():
            lock_commits(self._conn)
            for refold in self._refolds:
                note(self._conn, refold.fold)

    def _turn(self, refold: Refold, first: int, last: int) -> set[tuple[str, date]]:
        """Fold some of those on the list; the days that their rows mark."""
        keys = sql.SQL("SELECT authority, key FROM {} WHERE number BETWEEN {} AND {}")
        with self._conn.transaction():
            lock_commits(self._conn)  # what is read from here on has all that was committed before
            now = scalar(self._conn, NOW)
            self._scratch.empty("touched_days")
            refold.touch(keys.format(sql.Identifier(_list_of(refold)), first, last))
            refold.compute()
            refold.apply(now)
            raise_days(self._conn, self._plan)
            marked = self._conn.execute("SELECT DISTINCT facility, day FROM touched_days").fetchall()
        return {(facility, day) for facility, day in marked}


def _list_of(refold: Refold) -> str:
    return f"differing_{refold.fold.table}"


def rebuild(settings: Settings) -> dict[str, Mended]:
    """Bring core to what history says, by table what was mended. PlanError where a fold cannot be run."""
    contracts = load_contracts(settings.schemas_dir)
    plan = load_plan(settings.sql_dir, contracts)
    with connect(settings.owner_url, "wardstream rebuild") as conn:
        must_run(conn, contracts, plan)
        if changed_folds(conn, plan.folds):
            restart_driver(settings)
        job = Rebuild(conn, plan)
        job.look()
        for _ in job.mend():
            pass
        return job.mended


def restart_driver(settings: Settings, patience_seconds: float = SLOW_SECONDS) -> None:
    """Wait until no driver is left that read the files before now; one that should run is asked to begin anew.

    StackError where it does not leave.
    """
    try:
        now = situation(settings)
    except ControlMissing:
        return  # no driver begins before somebody has said that one should
    asked = now.wanted and not now.gone
    if asked:
        request(settings, "restart", f"rebuild-{uuid.uuid4().hex[:8]}")
    until = time.monotonic() + patience_seconds
    while not ((now := situation(settings)).gone or (asked and now.since_restart)):
        if time.monotonic() > until:
            why = f"the stream computes by a fold of before and did not begin anew within {patience_seconds:.0f} s"
            raise StackError("rebuild", why, "wardstream stream restart; wardstream rebuild")
        time.sleep(LOOK_AGAIN_SECONDS)
