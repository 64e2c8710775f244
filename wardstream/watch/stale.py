"""Days of mart.daily_* that stay stale although their builds were due: nobody else looks after a job that hangs.

A day of the present is stale after every event, and is built again at the next run; ops.day_versions keeps only its
newest change. So each look writes down in ops.stale_days which days are stale, and since which look they have been so
without a build.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from croniter import croniter

from wardstream.daily.marts import load_marts
from wardstream.daily.stale import stale_days
from wardstream.database.connection import beside, connect
from wardstream.database.facility import read_facilities
from wardstream.settings import Settings
from wardstream.watch.finding import Finding

SEEN = """
SELECT seen_at, count(*), min(day), (array_agg(facility ORDER BY day, facility))[1], now()
FROM ops.stale_days GROUP BY seen_at ORDER BY seen_at
"""
RUN_SECONDS = 600.0
"""What a scheduled run may take, from its minute to the last day built."""
RUNBOOK = "days-stay-stale.md"


def late_from(schedule: str, seen_at: datetime) -> datetime:
    """When a day that was first seen stale then is late: two runs were due since, and the second had its time."""
    due = croniter(schedule, seen_at.astimezone(UTC))
    due.get_next(datetime)
    second: datetime = due.get_next(datetime)
    return second + timedelta(seconds=RUN_SECONDS)


def find(settings: Settings) -> Finding | None:
    """The finding, if days are late; remembers what is stale now."""
    with connect(settings.writer_url, "wardstream alerts") as conn, conn.transaction():
        # Looks of several callers at once wait for one another, and not in the middle.
        conn.execute("LOCK TABLE ops.stale_days IN SHARE ROW EXCLUSIVE MODE")
        several = len(read_facilities(conn)) > 1
        stale = [(mart.table, *day) for mart in load_marts(settings.sql_dir) for day in stale_days(conn, mart)]
        asked = {
            "tables": [table for table, _, _ in stale],
            "facilities": [facility for _, facility, _ in stale],
            "days": [day for _, _, day in stale],
        }
        conn.execute(beside(__file__, "forget_stale_days"), asked)
        conn.execute(beside(__file__, "remember_stale_days"), asked)
        seen = conn.execute(SEEN).fetchall()
    late = [row for *row, now in seen if late_from(settings.daily_schedule, row[0]) < now]
    if not late:
        return None
    number, (first, facility) = sum(one[1] for one in late), min((day, facility) for _, _, day, facility in late)
    tables = sorted({table for table, _, _ in stale})
    of = f" of {facility}" if several else ""
    said = (
        f"{number} days of mart.{', mart.'.join(tables)} are stale although two runs of spark_processing_dag"
        f" ({settings.daily_schedule}) were due since; the earliest is {first}{of}"
    )
    remedy = "look at the runs of spark_processing_dag; `wardstream daily` builds the days now"
    return Finding("stale_days", said, late[0][0], RUNBOOK, remedy)
