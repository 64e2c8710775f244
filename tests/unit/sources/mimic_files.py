"""A MIMIC-III of one patient, made up, in the three dresses that its files come in; and where the real demo is."""

import gzip
import os
from pathlib import Path

import pytest

from wardstream.settings import PROJECT_ROOT

TABLES = {
    "PATIENTS": ["row_id,subject_id,gender,dob,dod,dod_hosp,dod_ssn,expire_flag", "1,7,F,1850-02-01 00:00:00,,,,0"],
    "ADMISSIONS": [
        "row_id,subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admission_location,"
        "discharge_location,insurance,language,religion,marital_status,ethnicity,edregtime,edouttime,diagnosis,"
        "hospital_expire_flag,has_chartevents_data",
        "11,7,100,2150-01-10 08:00:00,2150-01-15 12:30:00,,EMERGENCY,CLINIC,HOME,Private,,,,WHITE,,,"
        '"CHEST PAIN; ""R/O"", MI",0,1',
        "10,7,101,2149-06-01 09:00:00,2149-06-02 10:00:00,2149-06-02 10:00:00,ELECTIVE,CLINIC,DEAD/EXPIRED,"
        "Private,ENGL,CATHOLIC,SINGLE,WHITE,2149-06-01 07:00:00,2149-06-01 08:30:00,X,1,0",
    ],
    "SERVICES": [
        "row_id,subject_id,hadm_id,transfertime,prev_service,curr_service",
        "22,7,100,2150-01-12 08:00:00,MED,SURG",
        "21,7,100,2150-01-10 08:05:00,,MED",
        "23,7,100,2150-01-16 08:00:00,SURG,PSYCH",
    ],
    "TRANSFERS": [
        "row_id,subject_id,hadm_id,icustay_id,dbsource,eventtype,prev_careunit,curr_careunit,prev_wardid,curr_wardid,"
        "intime,outtime,los",
        "31,7,100,900,carevue,admit,,MICU,,52,2150-01-10 08:05:00,2150-01-11 08:05:00,24.0",
        "32,7,100,,carevue,discharge,MICU,,52,,2150-01-15 12:31:00,,",
    ],
    "DIAGNOSES_ICD": [
        "row_id,subject_id,hadm_id,seq_num,icd9_code",
        "41,7,100,1,4019",
        "42,7,100,2,0000",
        "43,7,101,,",
    ],
    "D_ICD_DIAGNOSES": ["row_id,icd9_code,short_title,long_title", '1,4019,Hypertension NOS,"Hypertension, unsp."'],
    "D_LABITEMS": ["row_id,itemid,label,fluid,category,loinc_code", "1,50893,Calcium,Blood,Chemistry,2000-8"],
    "LABEVENTS": [
        "row_id,subject_id,hadm_id,itemid,charttime,value,valuenum,valueuom,flag",
        "51,7,100,50893,2150-01-10 09:00:00,10.0,10,mg/dL,",
        "52,7,,50893,2150-01-09 09:00:00,NA,,,abnormal",
        "53,7,,99999,2150-01-09 09:00:00, <2 ,,,delta",
    ],
}


def write(folder: Path, tables: dict[str, list[str]] | None = None, *, packed: bool = False) -> Path:
    """Write the tables as the official demo has them: lower case, unquoted."""
    for name, lines in (tables or TABLES).items():
        text = "\n".join(lines) + "\n"
        if packed:
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"{name}.csv").write_text(text)
    return folder


def demo() -> Path:
    """The folder of the real demo; skips where it is not there."""
    folder = Path(os.environ.get("WARDSTREAM_MIMIC_DIR") or PROJECT_ROOT.parent / "shared" / "data" / "mimic-iii-demo")
    if not list(folder.glob("ADMISSIONS.csv*")):
        pytest.skip("the MIMIC-III demo is not here; name its folder in WARDSTREAM_MIMIC_DIR")
    return folder
