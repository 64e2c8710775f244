"""Whoever groups a view of mart by its day column counts what the daily tables count."""

from tests.integration.commit.facts import lab
from tests.integration.daily.test_definitions import other
from tests.integration.daily.test_which_days import MARCH

COUNTED = """
SELECT day, sum(n)::int, sum(m)::int FROM (
    SELECT admitted_day AS day, 1 AS n, 0 AS m FROM mart.admissions
    UNION ALL
    SELECT discharged_day, 0, 1 FROM mart.admissions
) AS each WHERE day IS NOT NULL GROUP BY day ORDER BY day
"""
DAILY = """
SELECT day, sum(admissions)::int, sum(discharges)::int FROM mart.daily_admissions
GROUP BY day HAVING sum(admissions) + sum(discharges) > 0 ORDER BY day
"""


def test_days_of_the_views_are_those_of_the_daily_tables(clinic):
    """Stays each hour, over the change of the clock on 8 March; in UTC some would lie on another day."""
    clinic.commit(
        *(other(n, kind, n + later) for n in range(200) for kind, later in [("admitted", 0), ("discharged", 7)])
    )
    clinic.build("daily_admissions")
    counted = clinic.bench.rows(COUNTED)
    assert len(counted) > 7 and counted == clinic.bench.rows(DAILY)
    by_utc = clinic.bench.rows(
        "SELECT (admitted_at AT TIME ZONE 'UTC')::date, count(*) FROM mart.admissions GROUP BY 1"
    )
    assert sorted(by_utc) != [(day, n) for day, n, _ in counted if n], "the days would be others in UTC"


def test_the_day_of_a_result(clinic):
    clinic.commit(lab("a", "resulted", 3, lab_result_id="L1"), lab("b", "resulted", 30, lab_result_id="L2"))
    clinic.build("daily_labs")
    days = [day for (day,) in clinic.bench.rows("SELECT observed_day FROM mart.labs ORDER BY 1")]
    assert days == clinic.days("daily_labs") and days[0] < MARCH[3]
