"""What each kind of change touches: makes it in a copy of this clone, has it checked, and lists the files.

    .venv/bin/python docs/files_touched.py

Nothing in the clone itself changes, and no server is needed: the daily table and the core columns are tried against a
database by `wardstream contracts check --database` and by the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

CLONE = Path(__file__).resolve().parent.parent
TOPIC = "made_up_by_files_touched"
COPIED = ("schemas", "sql", "wardstream")
PROPERTY = """\
      - name: analyser
        logicalType: string
        physicalType: string
        classification: internal
        description: What measured it.
"""
PART = '''\
"""The made-up part."""

from wardstream.settings import Settings
from wardstream.stack.part import Launch, Part


class MadeUp(Part):
    """Sleeps."""

    name = "made-up"
    optional = True

    def launch(self, settings: Settings) -> Launch:
        return Launch(["sleep", "600"])


PARTS = [MadeUp()]
'''


def replace(file: Path, old: str, new: str) -> None:
    """Replace the first occurrence, which must be there."""
    text = file.read_text()
    assert old in text, (file, old)
    file.write_text(text.replace(old, new, 1))


def wardstream(copy: Path, *words: str) -> None:
    """Run a command of the copy on the files of the copy."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "WARDSTREAM_SCHEMAS_DIR": str(copy / "schemas"),
        "WARDSTREAM_SQL_DIR": str(copy / "sql"),
    }
    subprocess.run([sys.executable, "-m", "wardstream.cli", *words], cwd=copy, env=environment, check=True)


def field_of_history(copy: Path) -> None:
    """labs gets the nullable field `analyser`; history.labs gets its column by `wardstream migrate`."""
    labs, contract = copy / "schemas" / "labs", copy / "schemas" / "labs" / "contract.yaml"
    latest = len(list((labs / "value").glob("v*.avsc")))
    schema = json.loads((labs / "value" / f"v{latest}.avsc").read_text())
    schema["fields"].append({"name": "analyser", "type": ["null", "string"], "default": None})
    (labs / "value" / f"v{latest + 1}.avsc").write_text(json.dumps(schema, indent=2) + "\n")
    said = yaml.safe_load(contract.read_text())["version"]
    entry = f"      - version: 99.0.0\n        schema: v{latest + 1}\n        change: A new field, analyser.\n"
    replace(contract, f"version: {said}", "version: 99.0.0")
    replace(contract, "customProperties:\n", PROPERTY + "customProperties:\n")
    replace(contract, f"      - version: {said}\n", f"{entry}      - version: {said}\n")
    wardstream(copy, "contracts", "lock")
    wardstream(copy, "contracts", "check")


def field_of_core_and_mart(copy: Path) -> None:
    """The same, shown in core.lab_results and mart.labs, too."""
    field_of_history(copy)
    replace(copy / "sql" / "folds" / "lab_results.sql", "    h.source,\n", "    h.source,\n    h.analyser,\n")
    migrations = copy / "sql" / "migrations"
    views = (migrations / "0030.facilities.sql").read_text()
    view = "CREATE OR REPLACE VIEW mart.labs" + views.split("CREATE OR REPLACE VIEW mart.labs")[1].split(";")[0]
    (migrations / "9001.analyser.sql").write_text(
        "-- depends: 0030.facilities\nALTER TABLE core.lab_results ADD COLUMN analyser text;\n"
        + view.replace("    facility\n", "    facility,\n    analyser\n")
        + ";\n"
    )
    (migrations / "9001.analyser.rollback.sql").write_text(
        f"DROP VIEW mart.labs;\n{view};\nGRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;\n"
        "ALTER TABLE core.lab_results DROP COLUMN analyser;\n"
    )
    wardstream(copy, "contracts", "check")


def topic(copy: Path) -> None:
    """A topic with a core table and a mart view."""
    fields = ("heart_rate:double", "body_temperature:double", "unit:string")
    options = [word for field in fields for word in ("--field", field)]
    wardstream(copy, "contracts", "new", TOPIC, "--key", "row_id", *options)
    contract = copy / "schemas" / TOPIC / "contract.yaml"
    contract.write_text(contract.read_text().replace("TODO: ", ""))
    wardstream(copy, "contracts", "lock")
    wardstream(copy, "contracts", "check")


def mart_table(copy: Path) -> None:
    """A daily table: here a copy of daily_labs under another name."""
    marts, migrations = copy / "sql" / "marts", copy / "sql" / "migrations"
    for file in [path for path in (marts / "daily_labs").rglob("*") if path.is_file()]:
        other = marts / "daily_tests" / file.relative_to(marts / "daily_labs")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text(file.read_text().replace("daily_labs", "daily_tests"))
    (migrations / "9001.daily_tests.sql").write_text(
        "-- depends: 0030.facilities\nCREATE TABLE mart.daily_tests (LIKE mart.daily_labs INCLUDING ALL);\n"
        "GRANT SELECT, INSERT, DELETE ON mart.daily_tests TO wardstream_writer;\n"
        "GRANT SELECT ON mart.daily_tests TO wardstream_bi;\n"
    )
    (migrations / "9001.daily_tests.rollback.sql").write_text("DROP TABLE mart.daily_tests;\n")
    look = "from pathlib import Path; from wardstream.daily.marts import load_marts; load_marts(Path('sql'))"
    subprocess.run([sys.executable, "-c", look], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, check=True)


def part(copy: Path) -> None:
    """An optional part of the stack."""
    parts = copy / "wardstream" / "stack" / "parts"
    (parts / "made_up.py").write_text(PART)
    replace(parts / "__init__.py", '    "airflow",\n', '    "airflow",\n    "made_up",\n')
    look = "from wardstream.stack.parts import named; named('made-up')"
    subprocess.run([sys.executable, "-c", look], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, check=True)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a nullable field in history": field_of_history,
    "a nullable field in history, core and mart": field_of_core_and_mart,
    "a topic with a core table and a mart view (`wardstream contracts new`)": topic,
    "a daily table": mart_table,
    "an optional part of the stack": part,
}


def touched(change: Callable[[Path], None]) -> list[str]:
    """Make the change in a copy; the files that it added or changed, by name."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for name in COPIED:
            subprocess.run(["cp", "-r", str(CLONE / name), folder], check=True)
        (copy / ".gitignore").write_text("__pycache__/\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "before"]):
            subprocess.run([*git, *words], check=True)
        change(copy)
        status = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=all"], check=True, capture_output=True, text=True
        )
        return sorted(line[3:] for line in status.stdout.splitlines())


def main() -> None:
    """Print each kind of change with its files."""
    for name, change in CHANGES.items():
        files = touched(change)
        sys.stdout.write("\n  ".join([f"\n{name}: {len(files)} files", *files]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
