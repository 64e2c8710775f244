"""One fold of greatest versions bound to a session: staged -> core by comparing versions, without reading history.

Where one fact says all of a row, core's row is that of the greatest version. Its version stands beside it, so that a
staged fact replaces it or does not, whatever else history has. `wardstream verify` folds history and proves the two
equal.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import Connection, columns_of, names, primary_key_of, scalar, trusted
from wardstream.database.plan_error import PlanError
from wardstream.database.scratch import Scratch
from wardstream.stream.plan import Fold, Plan, with_greatest
from wardstream.stream.refold import both_places, check_days, check_source, days_of

MAY_BE_NULL = (
    "SELECT EXISTS (SELECT FROM pg_attribute"
    " WHERE attrelid = %s::regclass AND attname = ANY(%s) AND NOT attnotnull AND NOT attisdropped)"
)


class Upsert:
    """The statement that brings the staged facts of a topic into one core table."""

    def __init__(self, scratch: Scratch, fold: Fold, plan: Plan) -> None:
        assert fold.of_greatest is not None
        self._scratch = scratch
        [topic] = fold.topics
        self.topic = topic
        columns = columns_of(scratch.conn, "core", fold.table)
        check_days(scratch.conn, fold)
        check_source(fold, columns)
        check_version(scratch.conn, fold, columns)
        facts = [name for name in columns if name not in VERSION_ORDER]
        placed = [*fold.days, "source"]
        greatest = trusted(plan.protocol["greatest_staged"]).format(
            key=sql.Identifier(fold.key), query=trusted(plan.history[topic])
        )
        self._statement = trusted(plan.protocol["upsert_by_version"]).format(
            table=sql.Literal(fold.table),
            core=sql.Identifier("core", fold.table),
            pk=names(["authority", fold.key]),
            columns=names(columns),
            excluded=names(columns, "excluded"),
            greatest=with_greatest(greatest) + trusted(fold.of_greatest),
            excluded_version=names(VERSION_ORDER, "excluded"),
            core_version=names(VERSION_ORDER, "c"),
            old_facts=names(facts, "old"),
            new_facts=names(facts, "new"),
            **both_places(placed),
            days=days_of(fold),
        )

    def apply(self, now: datetime) -> None:
        """Bring what is staged into core; rows that change mark their days."""
        days = self._scratch.conn.execute(self._statement, {"now": now})
        self._scratch.filled("touched_days", days.rowcount)


def check_version(conn: Connection, fold: Fold, columns: list[str]) -> None:
    """PlanError where the core table of a fold of greatest versions cannot keep versions, or does not yet."""
    table = f"core.{fold.table}"
    if missing := [name for name in VERSION_ORDER if name not in columns]:
        raise PlanError(
            f"sql/folds/{fold.table}.sql: '-- rows: greatest version' needs the version beside the row; {table} lacks"
            f" {', '.join(missing)}: docs/decisions/0025-core-by-version.md has the migration"
        )
    if set(primary_key_of(conn, table)) != {"authority", fold.key}:
        raise PlanError(
            f"sql/folds/{fold.table}.sql: '-- rows: greatest version' is for a table whose primary key is authority and"
            f" {fold.key}; {table} has another"
        )
    if version_may_be_missing(conn, fold):
        raise PlanError(f"{table}: the versions of its rows may be missing; run `wardstream migrate`")


def version_may_be_missing(conn: Connection, fold: Fold) -> bool:
    """Whether the core table was filled without versions, for all that its definition says."""
    return bool(scalar(conn, MAY_BE_NULL, [f"core.{fold.table}", list(VERSION_ORDER)]))
