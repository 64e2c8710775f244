"""`wardstream contracts new`, `files` and `show`: what is written passes the check, and all of a topic is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.unit.contracts import made_up
from wardstream.contracts.check import check_contracts
from wardstream.contracts.contract_commands import app
from wardstream.contracts.lock import add_to_lock
from wardstream.contracts.model import ContractError, load_contract, load_contracts
from wardstream.contracts.new import KINDS, write_topic
from wardstream.settings import PROJECT_ROOT, get_settings
from wardstream.stream.plan import load_plan


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("schemas", "sql"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name)
        monkeypatch.setenv(f"WARDSTREAM_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield tmp_path / "schemas", tmp_path / "sql"
    get_settings.cache_clear()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_what_is_written_passes_the_check(folders):
    schemas, sql = folders
    fields = {f"a_{kind}": kind for kind in KINDS}
    done = run("new", "made_up", "--key", "vital_id", *(f"--field={name}:{kind}" for name, kind in fields.items()))
    assert done.exit_code == 0 and "wrote sql/folds/made_up.sql" in done.output
    add_to_lock(schemas)
    todo = check_contracts(schemas, sql)
    assert len(todo) == len(fields) and all("its description is still to be written" in problem for problem in todo)
    file = schemas / "made_up" / "contract.yaml"
    file.write_text(file.read_text().replace("TODO: ", ""))
    assert check_contracts(schemas, sql) == []
    contract = load_contract(schemas / "made_up")
    assert [field.name for field in contract.fields][-len(fields) - 2 :] == ["encounter_id", "vital_id", *fields]
    [fold] = load_plan(sql, {"made_up": contract}).folds
    assert (fold.table, fold.key, fold.days) == ("made_up", "vital_id", ("observed_at",))
    written = {line.split()[1] for line in done.output.splitlines() if line.startswith("wrote")}
    assert written == set(run("files", "made_up").output.split())


def test_a_topic_may_have_no_field_yet(folders):
    schemas, sql = folders
    write_topic(schemas, sql, "made_up", "vital_id", {})
    add_to_lock(schemas)
    assert check_contracts(schemas, sql) == []


@pytest.mark.parametrize(
    ("topic", "key", "fields", "said"),
    [
        ("labs", "x_id", {}, "labs is there already; nothing was written"),
        ("Vitals", "x_id", {}, "'Vitals' is no name"),
        ("made_up", "kind", {}, "field kind: every topic has"),
        ("made_up", "x_id", {"status": "string"}, "field status: every topic has"),
        ("made_up", "x_id", {"offset": "long"}, "field offset: every topic has"),
        ("made_up", "x_id", {"x_id": "string"}, "it is the key"),
        ("made_up", "x_id", {"rate": "decimal"}, "the type being one of string, int"),
        ("made_up", "x_id", {"rate": ""}, "write --field rate:TYPE"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(folders, topic, key, fields, said):
    schemas, sql = folders
    before = sorted(path for folder in folders for path in folder.rglob("*"))
    with pytest.raises(ContractError, match=said):
        write_topic(schemas, sql, topic, key, fields)
    assert sorted(path for folder in folders for path in folder.rglob("*")) == before


def test_all_files_of_a_topic_are_found(folders):
    found = run("files", "admissions").output.split()
    assert {
        "schemas/admissions/contract.yaml",
        "schemas/admissions/value/v1.avsc",
        "sql/folds/encounters.sql",
        "sql/folds/movements.sql",
        "sql/folds/include/admission_facts.sql",
        "sql/migrations/0003.admissions.sql",
        "sql/marts/daily_admissions",
    } <= set(found)
    assert not [path for path in found if "labs" in path or "patients" in path]


def test_a_contract_is_shown_whole(folders):
    document = yaml.safe_load(run("show", "labs").output)
    names = [prop["name"] for prop in document["schema"][0]["properties"]]
    assert names[0] == "event_id" and names == list(load_contracts(folders[0])["labs"].properties)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[lab_results]", "[]"), "coreTables: needs lab_results, since sql/folds/lab_results.sql reads the topic"),
        (("[lab_results]", "[lab_results, x]"), "coreTables: no sql/folds/x.sql names labs under `-- topics:`"),
        (("version: 1.2.0\n        schema", "version: 1.9.0\n        schema"), "needs an entry for version 1.2.0"),
        (("version: 1.1.0\n        schema", "version: 1.0.0\n        schema"), "two entries have the same version"),
        (("status: active", "status: aktiv"), "`status` is one of proposed, draft, active"),
        (
            ("description: Name of the test.", "description: x\n        plausible: [0, 1]"),
            "`plausible` is not enforced",
        ),
        (("Name of the test.", '"TODO: name"'), "property test_name: its description is still to be written"),
        (("../envelope.yaml", "../nothing.yaml"), "`$ref: ../nothing.yaml` cannot be read"),
    ],
)
def test_what_does_not_fit_together_is_said(folders, change, said):
    schemas, sql = folders
    file = schemas / "labs" / "contract.yaml"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    [problem] = check_contracts(schemas, sql)
    assert said in problem


def test_a_version_without_examples_is_tried_with_those_before_it(tmp_path):
    document = made_up.document()
    document["schema"][0]["properties"].append(made_up.property_of("note", "string", "string"))
    address = made_up.property_named(document, "address")
    address["properties"].append(made_up.property_of("city", "string", "string"))
    schemas = made_up.write(tmp_path, document, [made_up.schema_v1(), made_up.schema_v2()])
    shutil.rmtree(schemas / "visits" / "examples" / "v2")
    assert check_contracts(schemas) == []
    made_up.property_named(document, "note")["required"] = True
    (schemas / "visits" / "contract.yaml").write_text(yaml.safe_dump(document))
    said = "seen.json: with v2, should be accepted, but is missing:note; correct the example or the contract"
    assert any(said in problem for problem in check_contracts(schemas))


def test_a_word_of_sql_is_a_column_like_others(folders):
    schemas, sql = folders
    write_topic(schemas, sql, "made_up", "row_id", {"order": "string", "orders": "string"})
    assert '"order" text,' in next((sql / "migrations").glob("*.made_up.sql")).read_text()
    fold = (sql / "folds" / "made_up.sql").read_text()
    assert 'h."order",' in fold and "h.orders," in fold
