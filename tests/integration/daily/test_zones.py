"""Days are the facility's: both changes of the clock, also where they fall on midnight, against a plain count."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.integration.commit.facts import lab, stay
from tests.integration.daily import plain
from tests.integration.daily.clinic import Before, Clinic
from tests.integration.daily.test_which_days import MARCH, a_week
from wardstream.daily.zone import apply_facilities
from wardstream.database.migrate import migrate

CHANGES = {
    "America/New_York": [date(2024, 3, 10), date(2024, 11, 3), date(2025, 3, 9), date(2025, 11, 2)],
    "America/Sao_Paulo": [date(2017, 10, 15), date(2018, 2, 18), date(2018, 11, 4), date(2019, 2, 17)],  # at midnight
    "Asia/Beirut": [date(2024, 3, 31), date(2024, 10, 27), date(2025, 3, 30), date(2025, 10, 26)],  # at midnight
    "America/Havana": [date(2024, 3, 10), date(2024, 11, 3)],  # 00:00 to 01:00 comes twice
    "Pacific/Apia": [date(2011, 12, 30)],  # a day that was left out
    "Australia/Lord_Howe": [date(2024, 4, 7), date(2024, 10, 6)],  # half an hour
}


def around(days: list[date], zone: ZoneInfo) -> list[datetime]:
    """Each half hour, and the instants just before, two days around these days; and a lone day from end to end."""
    found = []
    for day in days:
        begin = datetime.combine(day, datetime.min.time(), UTC) - timedelta(hours=52)
        for half_hours in range(2 * 116):
            at = begin + timedelta(minutes=30 * half_hours)
            found += [at, at - timedelta(microseconds=1)]
        lone = day + timedelta(days=10)
        found += [datetime.combine(lone, at, zone).astimezone(UTC) for at in (time(0), time(12), time.max)]
    return found


def same(found: list[plain.Row], expected: dict[plain.Key, plain.Row], key: tuple[str, ...]) -> None:
    """Equal rows; numbers that were divided, to the last places."""
    rows = {tuple(row[name] for name in key): row for row in found}
    assert set(rows) == set(expected)
    for at, wanted in expected.items():
        near = {n: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for n, v in wanted.items()}
        assert {name: rows[at][name] for name in wanted} == near, at


def counted(clinic: Clinic, zone: ZoneInfo, facility: str = "main", of: Callable[[str], bool] = plain.anybody) -> None:
    """All three tables equal a plain count of core, in a facility where these sources are."""
    today = (clinic.at or datetime.now(UTC)).astimezone(zone).date()
    in_it = f"facility = '{facility}'"
    expected = plain.admissions(clinic.bench, zone, today, of=of)
    same(clinic.rows("daily_admissions", in_it), expected, ("day", "service", "admission_type"))
    found = clinic.rows("daily_diagnoses", in_it)
    same(found, plain.diagnoses(clinic.bench, zone, of), ("day", "code_system", "code"))
    same(clinic.rows("daily_labs", in_it), plain.labs(clinic.bench, zone, of), ("day", "test_code", "unit"))


@pytest.mark.parametrize("name", CHANGES)
def test_days_when_the_clock_changes(clinic, name):
    apply_facilities(clinic.settings.model_copy(update={"facility_timezone": name}))
    zone, instants = ZoneInfo(name), around(CHANGES[name], ZoneInfo(name))
    clinic.commit(
        *(
            lab(f"l{n}", "resulted", 0, 0, lab_result_id=f"L{n}", event_time=at, test_code="NA", value_number=float(n))
            for n, at in enumerate(instants)
        ),
        *(
            stay(f"{kind}{n}", kind, 0, 0, encounter_id=f"E{n}", event_time=at + longer, patient_id=f"P{n}")
            for n, at in enumerate(instants[::7])
            for kind, longer in (("admitted", timedelta()), ("discharged", timedelta(hours=n % 60, microseconds=n % 2)))
        ),
    )
    clinic.build()
    assert len(clinic.days("daily_labs")) >= 3 * len(CHANGES[name])
    counted(clinic, zone)


def test_a_change_of_zone_raises_every_day(clinic):
    a_week(clinic)
    clinic.build(first=MARCH[0], last=MARCH[0], all_days=True)  # a day that no commit ever marked
    before = Before(clinic)
    tokyo = clinic.settings.model_copy(update={"facility_timezone": "Asia/Tokyo"})
    assert migrate(tokyo) == []  # no migration; the facility is put to the settings
    assert not apply_facilities(tokyo)
    clinic.build()
    for (table, day), build in before.builds.items():
        assert clinic.builds()[table, day][0] > build[0], f"{table} {day} was not built again"
    counted(clinic, ZoneInfo("Asia/Tokyo"))
    assert [clinic.stale(table) for table in clinic.marts] == [[], [], []]


def test_a_running_committer_takes_the_new_zone(clinic):
    """No driver can go on in another zone than the database's."""
    apply_facilities(clinic.settings.model_copy(update={"facility_timezone": "Asia/Tokyo"}))
    clinic.commit(lab("a", "resulted", 16))  # 01:00 of the 3rd in Tokyo, noon of the 2nd in New York
    assert clinic.bench.rows("SELECT day FROM ops.day_versions") == [(date(2026, 3, 3),)]


def test_days_marked_before_there_was_a_zone_are_raised(clinic):
    """A database of the version before: commits marked days in a zone that nobody wrote down."""
    clinic.commit(lab("a", "resulted", 16))
    clinic.bench.admin.execute("UPDATE ops.facilities SET timezone = ''; UPDATE ops.day_versions SET day = day - 1")
    assert apply_facilities(clinic.settings)
    clinic.build("daily_labs")
    assert clinic.days("daily_labs") == [date(2026, 3, 2)]
    assert clinic.stale("daily_labs") == []
    assert ("daily_labs", date(2026, 3, 1)) in clinic.builds()
