"""MIMIC-III: every number of the three daily tables equals an independent count of the CSV files with pandas.

Runs after test_mimic.py, whose last test leaves all of MIMIC-III in the database; loads it where it is not there.
At last, core and mart as a whole are what an earlier version made of the same files (golden/README.md).
MIMIC's times are the hospital's own clock, so that here a day is the first ten characters of a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from tests.e2e.golden.fingerprints import differences
from tests.e2e.hospital import Hospital, mimic_folder

FOLDER = mimic_folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="no MIMIC-III demo here; WARDSTREAM_MIMIC_DIR names its folder")


def read(table: str) -> pd.DataFrame:
    """One file; all text, with nulls where a field is empty or NA."""
    return pd.read_csv(f"{FOLDER}/{table}.csv.gz", dtype=str, keep_default_na=False, na_values=["", "NA"])


@pytest.fixture(scope="module")
def built(hospital: Hospital) -> Iterator[Hospital]:
    there = "SELECT count(*), count(*) FILTER (WHERE source = 'mimic-iii') FROM core.lab_results"
    if hospital.rows(there) != [(53033, 53033)]:
        hospital.empty()
        hospital.must("replay", "mimic-iii", str(FOLDER))
        hospital.verified()
    hospital.must("daily")
    yield hospital


def compare(found: pd.DataFrame, expected: pd.DataFrame, key: list[str]) -> None:
    """Equal in every row and number; those that were divided, to the last places."""
    found = found.sort_values(key).reset_index(drop=True)
    expected = expected.sort_values(key).reset_index(drop=True)[list(found.columns)]
    assert not found.duplicated(key).any()
    pd.testing.assert_frame_equal(
        found.astype(expected.dtypes.to_dict()), expected, check_exact=False, rtol=1e-12, atol=1e-12
    )


def table(hospital: Hospital, name: str) -> pd.DataFrame:
    """All rows of a daily table, days as text."""
    with hospital.connect() as conn:
        cursor = conn.execute(f"SELECT * FROM mart.{name}".encode())
        columns = [column.name for column in cursor.description or []]
        frame = pd.DataFrame(cursor.fetchall(), columns=columns)
    frame["day"] = frame["day"].astype(str)
    assert set(frame.pop("facility")) == {"main"}
    return frame


def stays() -> pd.DataFrame:
    """ADMISSIONS with days, and the service that was the last in charge."""
    frame = read("ADMISSIONS")
    services = read("SERVICES")
    services["number"] = services["row_id"].astype(int)
    last = services.sort_values(["transfertime", "number"]).groupby("hadm_id").last()["curr_service"]
    frame["service"] = frame["hadm_id"].map(last).fillna("(unknown)")
    frame["admission_type"] = frame["admission_type"].fillna("(unknown)")
    frame["came"], frame["left"] = frame["admittime"].str[:10], frame["dischtime"].str[:10]
    return frame


WHO = ["day", "service", "admission_type"]


def test_admissions(built: Hospital) -> None:
    frame = stays()
    assert len(frame) == 129 and (frame["dischtime"] >= frame["admittime"]).all()
    came = frame.assign(day=frame["came"]).groupby(WHO).size().rename("admissions")
    ended = frame.assign(
        day=frame["left"],
        death=(frame["hospital_expire_flag"] == "1").astype(int),
        # no same-day stay counts as a day: that is the default
        length=(pd.to_datetime(frame["left"]) - pd.to_datetime(frame["came"])).dt.days,
    ).groupby(WHO)
    moves = read("TRANSFERS").merge(frame, on="hadm_id", suffixes=("", "_of_stay"))
    moves = moves[(moves["eventtype"] == "transfer") & moves["intime"].between(moves["admittime"], moves["dischtime"])]
    assert 100 < len(moves) < 524
    nights = frame.assign(
        day=[
            [str(day)[:10] for day in pd.date_range(a, b)][:-1]  # the day of the discharge ends without the patient
            for a, b in zip(frame["came"], frame["left"], strict=True)
        ]
    ).explode("day")
    expected = pd.concat(
        [
            came,
            ended.size().rename("discharges"),
            ended["death"].sum().rename("deaths"),
            moves.assign(day=moves["intime"].str[:10]).groupby(WHO).size().rename("transfers"),
            nights.dropna(subset=["day"]).groupby(WHO).size().rename("midnight_census"),
            ended["length"].count().rename("los_stays"),
            ended["length"].sum().rename("los_days_sum"),
        ],
        axis=1,
    ).fillna(0)
    expected = expected.astype(int).join(
        pd.DataFrame(
            {
                "alos_days": ended["length"].mean(),
                "los_median_days": ended["length"].median(),
                "los_p90_days": ended["length"].quantile(0.9),
            }
        )
    )
    compare(table(built, "daily_admissions"), expected.reset_index(), WHO)


def chapter(code: Any) -> str:
    """The chapter of an ICD-9-CM code, by arithmetic."""
    if not isinstance(code, str):
        return "(unknown)"
    if code[0] in "VE":
        return code[0]
    ends = (139, 239, 279, 289, 319, 389, 459, 519, 579, 629, 679, 709, 739, 759, 779, 799, 999)
    return str(1 + sum(int(code[:3]) > last for last in ends))


def test_diagnoses(built: Hospital) -> None:
    frame = read("DIAGNOSES_ICD").merge(read("ADMISSIONS")[["hadm_id", "dischtime"]], on="hadm_id")
    frame = frame.merge(read("D_ICD_DIAGNOSES")[["icd9_code", "short_title", "long_title"]], on="icd9_code", how="left")
    assert len(frame) == 1761
    frame["chapter"] = frame["icd9_code"].map(chapter)
    frame["code"] = frame["icd9_code"].fillna("(unknown)")
    frame["day"] = frame["dischtime"].str[:10]
    frame["first"] = (frame["seq_num"] == "1").astype(int)
    by_code = frame.groupby(["day", "code"])
    expected = pd.DataFrame(
        {
            "chapter": by_code["chapter"].first(),
            "short_title": by_code["short_title"].first(),
            "title": by_code["long_title"].first(),
            "diagnoses": by_code.size(),
            "primary_diagnoses": by_code["first"].sum(),
            "patients": by_code["subject_id"].nunique(),
            "encounters": by_code["hadm_id"].nunique(),
        }
    ).reset_index()
    found = table(built, "daily_diagnoses")
    assert set(found["code_system"]) == {"ICD-9-CM"}
    titles = found.groupby("chapter")["chapter_title"].unique()
    assert (titles.str.len() == 1).all() and titles["7"][0] == "Circulatory system"
    compare(found.drop(columns=["code_system", "chapter_title"]), expected, ["day", "code"])


def test_labs(built: Hospital) -> None:
    frame = read("LABEVENTS").merge(read("D_LABITEMS")[["itemid", "label", "loinc_code"]], on="itemid", how="left")
    assert len(frame) == 53033
    frame["day"] = frame["charttime"].str[:10]
    frame["unit"] = frame["valueuom"].fillna("(none)")
    frame["number"] = frame["valuenum"].astype(float)
    frame["is_abnormal"] = (frame["flag"] == "abnormal").astype(int)
    groups = frame.groupby(["day", "itemid", "unit"])
    expected = pd.DataFrame(
        {
            "test_name": groups["label"].first(),
            "loinc_code": groups["loinc_code"].first(),
            "results": groups.size(),
            "numeric_results": groups["number"].count(),
            "abnormal": groups["is_abnormal"].sum(),
            "abnormal_share": groups["is_abnormal"].mean(),
            "median_value": groups["number"].median(),
            "p90_value": groups["number"].quantile(0.9),
        }
    ).reset_index()
    found = table(built, "daily_labs").rename(columns={"test_code": "itemid"})
    unknown = [column for column in found.columns if column.startswith("order_") or column.startswith("collect_")]
    counts = [column for column in unknown if column.endswith("_results")]
    assert (found[counts] == 0).all(axis=None)  # MIMIC does not say when a result was reported
    assert found[[column for column in unknown if column not in counts]].isna().all(axis=None)
    compare(found.drop(columns=unknown), expected, ["day", "itemid", "unit"])


def test_a_second_build_changes_nothing(built: Hospital) -> None:
    builds = built.rows("SELECT mart_table, day, built_at FROM ops.day_builds ORDER BY mart_table, day")
    digest = built.digest()
    built.must("daily")
    assert built.rows("SELECT mart_table, day, built_at FROM ops.day_builds ORDER BY mart_table, day") == builds
    assert built.digest() == digest


def test_core_and_mart_are_as_before(built: Hospital) -> None:
    with built.connect() as conn:
        found = differences(conn, "mimic-iii")
    assert not found, "\n".join(found)
