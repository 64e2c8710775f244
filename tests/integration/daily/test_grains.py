"""A table of another grain than the day is a folder and a migration: an hour lies in a day, a stay on one.

Made up here, for the test: results by hour, and one row a stay on the day of its admission.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab, stay
from tests.integration.conftest import another_database
from tests.integration.daily.clinic import Clinic
from tests.integration.daily.test_which_days import MARCH
from wardstream.airflow.daily_choice import built_since
from wardstream.daily.check import check_marts
from wardstream.database.migrate import migrate

FILES = {
    "migrations/0099.made-up.rollback.sql": "DROP TABLE mart.hourly_labs, mart.stay_lengths;",
    "migrations/0099.made-up.sql": """
-- depends: 0030.facilities
CREATE TABLE mart.hourly_labs (
    facility text NOT NULL, day date NOT NULL, hour integer NOT NULL, results bigint NOT NULL,
    PRIMARY KEY (facility, day, hour)
);
CREATE TABLE mart.stay_lengths (
    facility text NOT NULL, day date NOT NULL, encounter_id text NOT NULL, days integer,
    PRIMARY KEY (facility, day, encounter_id)
);
GRANT SELECT, INSERT, DELETE ON mart.hourly_labs, mart.stay_lengths TO wardstream_writer;
GRANT SELECT ON mart.hourly_labs, mart.stay_lengths TO wardstream_bi;
""",
    "marts/hourly_labs/metadata.yaml": """
description: Laboratory results by day and hour.
owner: nobody
version: 1
grain: hour
core: [lab_results]
columns:
  facility: Where it was.
  day: Day of the result in the facility's zone.
  hour: Hour of that day, 0 to 23.
  results: Results of the hour.
""",
    "marts/hourly_labs/reads/results_by_hour.sql": """
-- days: observed_at
SELECT
    observed_at,
    (observed_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS day,
    extract(HOUR FROM observed_at AT TIME ZONE %(zone)s)::integer AS hour
FROM core.lab_results
WHERE status <> 'cancelled' AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
""",
    "marts/hourly_labs/query.sql": """
SELECT date_from_unix_date(day) AS day, hour, count(*) AS results FROM results_by_hour GROUP BY day, hour
""",
    "marts/hourly_labs/checks.sql": "SELECT 'no such hour' AS fault, day FROM built WHERE hour NOT BETWEEN 0 AND 23",
    "marts/stay_lengths/metadata.yaml": """
description: Length of each stay, on the day of its admission.
owner: nobody
version: 1
grain: stay
core: [encounters]
follows_today: true
columns:
  facility: Where it was.
  day: Day of the admission in the facility's zone.
  encounter_id: The stay.
  days: Midnights from admission to discharge; null while it is open.
""",
    "marts/stay_lengths/reads/lengths.sql": """
-- days: admitted_at .. discharged_at
SELECT
    admitted_at,
    discharged_at,
    encounter_id,
    (admitted_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS day,
    (discharged_at AT TIME ZONE %(zone)s)::date - (admitted_at AT TIME ZONE %(zone)s)::date AS days
FROM core.encounters
WHERE status IN ('open', 'discharged')
    AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
""",
    "marts/stay_lengths/query.sql": """
SELECT date_from_unix_date(day) AS day, encounter_id, days FROM lengths WHERE array_contains(:days, day)
""",
    "marts/stay_lengths/checks.sql": """
SELECT 'a day that was not to be built' AS fault, day FROM built WHERE day NOT IN (SELECT day FROM building)
""",
}


@pytest.fixture(scope="module")
def grained(daily_settings, spark, tmp_path_factory) -> Iterator[Clinic]:
    """A clinic with two more tables."""
    sql = tmp_path_factory.mktemp("grains") / "sql"
    shutil.copytree(daily_settings.sql_dir, sql)
    for name, text in FILES.items():
        path: Path = sql / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    settings = another_database(daily_settings, "grains").model_copy(update={"sql_dir": sql})
    migrate(settings)
    clinic = Clinic(Bench(settings), spark, settings)
    clinic.today = MARCH[10]
    yield clinic
    clinic.close()


def test_tables_of_an_hour_and_of_a_stay_are_built_by_day(grained):
    grained.commit(
        *(lab(f"l{n}", "resulted", at, lab_result_id=f"L{n}") for n, at in enumerate([10, 10.2, 13, 40])),
        *(stay("a", "admitted", 10), stay("d", "discharged", 60)),
        stay("o", "admitted", 40, encounter_id="E2", patient_id="P2"),
    )
    assert check_marts(grained.conn, grained.settings.sql_dir) == []
    grained.build()
    hours = [(r["day"], r["hour"], r["results"]) for r in grained.rows("hourly_labs")]
    assert hours == [(MARCH[1], 5, 2), (MARCH[1], 8, 1), (MARCH[2], 11, 1)]
    lengths = [(r["day"], r["encounter_id"], r["days"]) for r in grained.rows("stay_lengths")]
    assert lengths == [(MARCH[1], "E1", 2), (MARCH[2], "E2", None)]

    # A result of another hour, and a discharge: the days they lie on, and no others.
    builds = grained.builds()
    grained.commit(
        lab("late", "resulted", 12, 99, lab_result_id="L9"),
        stay("d2", "discharged", 90, encounter_id="E2", patient_id="P2"),
    )
    assert grained.stale("hourly_labs") == [MARCH[1]]
    assert grained.stale("stay_lengths")[0] == MARCH[2]
    grained.build()
    assert [r["hour"] for r in grained.rows("hourly_labs")] == [5, 7, 8, 11]
    assert [r["days"] for r in grained.rows("stay_lengths")] == [2, 2]
    kept = ("hourly_labs", MARCH[2])
    assert grained.builds()[kept] == builds[kept]


def test_everything_else_finds_the_tables_by_their_folders(grained):
    """No list in Python names a table: the DAG's report and the comments are those of the folders."""
    said = built_since(grained.settings, datetime(2020, 1, 1, tzinfo=UTC))
    assert any(line.startswith("mart.hourly_labs: ") for line in said)
    (comment,) = grained.bench.rows("SELECT obj_description('mart.hourly_labs'::regclass)")[0]
    assert comment == "Laboratory results by day and hour."
    (column,) = grained.bench.rows("SELECT col_description('mart.stay_lengths'::regclass, 4)")[0]
    assert column == "Midnights from admission to discharge; null while it is open."
