"""The contracts as objects: what the SQL and the stream read from them."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.contracts import made_up
from wardstream.contracts.model import ContractError, Field, load_contract, load_contracts
from wardstream.settings import PROJECT_ROOT

CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")


def test_the_keys_of_the_topics():
    assert {topic: contract.key for topic, contract in CONTRACTS.items()}.items() >= {
        "admissions": "encounter_id",
        "diagnoses": "diagnosis_id",
        "labs": "lab_result_id",
        "patients": "patient_id",
    }.items()


def test_kinds_of_admissions():
    admissions = CONTRACTS["admissions"]
    assert admissions.kinds == {
        *("admitted", "updated", "transferred", "discharged"),
        *("cancelled_admit", "cancelled_transfer", "cancelled_discharge"),
    }
    assert admissions.required_for == {"transferred": ("movement_id",)}
    assert admissions.subject == "admissions-value"


@pytest.mark.parametrize("topic", sorted(CONTRACTS))
def test_every_contract_says_the_rest(topic: str):
    contract = CONTRACTS[topic]
    assert contract.retention_ms >= 86_400_000
    assert contract.freshness_seconds > 0
    assert contract.latest is contract.versions[contract.latest_version]
    assert [f.name for f in contract.fields] == list(contract.properties)


def test_staging_types(tmp_path: Path):
    contract = load_contract(made_up.write(tmp_path) / "visits")
    micros = pa.timestamp("us", tz="UTC")
    assert {f.name: (f.arrow_type, f.postgres_type, f.nullable, f.is_json) for f in contract.fields} == {
        "event_id": (pa.string(), "text", False, False),
        "event_time": (micros, "timestamptz", False, False),
        "recorded_at": (micros, "timestamptz", False, False),
        "source_seq": (pa.int64(), "bigint", False, False),
        "source": (pa.string(), "text", False, False),
        "kind": (pa.string(), "text", False, False),
        "patient_id": (pa.string(), "text", False, False),
        "visit_id": (pa.string(), "text", True, False),
        "address": (pa.string(), "text", True, True),
        "tags": (pa.string(), "text", True, True),
        "scores": (pa.string(), "text", True, True),
        "day": (pa.date32(), "date", True, False),
        "count": (pa.int32(), "integer", True, False),
        "raw": (pa.binary(), "bytea", True, False),
        "done": (pa.bool_(), "boolean", True, False),
    }
    assert (contract.partitions, contract.retention_ms, contract.freshness_seconds) == (3, 172_800_000, 60)
    assert Field("x", "double", True).postgres_type == "double precision"
    assert Field("x", "float", True).arrow_type == pa.float32()


def test_a_type_without_a_staging_column_is_named():
    with pytest.raises(ContractError, match="field x: type fixed"):
        _ = Field("x", {"type": "fixed", "name": "f", "size": 2}, True).arrow_type


def test_a_property_named_twice(tmp_path: Path):
    document = made_up.document()
    document["schema"][0]["properties"].append(document["schema"][0]["properties"][0])
    with pytest.raises(ContractError, match="named twice"):
        load_contract(made_up.write(tmp_path, document) / "visits")


def test_no_contracts(tmp_path: Path):
    with pytest.raises(ContractError, match="WARDSTREAM_SCHEMAS_DIR"):
        load_contracts(tmp_path)
