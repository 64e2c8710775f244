"""`wardstream contracts files`: every file that says something of a topic, found from its contract."""

from __future__ import annotations

import re
from pathlib import Path

from wardstream.contracts.model import load_contract
from wardstream.contracts.yaml_text import load_yaml
from wardstream.stream.plan import INCLUDE, commit_file


def files_of(schemas_dir: Path, sql_dir: Path, topic: str) -> list[Path]:
    """The topic's folder, its folds and what they include, and the migrations and daily tables of its core tables.

    ContractError where the topic has no contract.
    """
    contract = load_contract(schemas_dir / topic)
    found = sorted(path for path in (schemas_dir / topic).rglob("*") if path.is_file())
    found += [own] if (own := commit_file(sql_dir, topic)).is_file() else []
    for table in contract.core_tables:
        fold = sql_dir / "folds" / f"{table}.sql"
        found += [fold, *(fold.parent / "include" / name for name in INCLUDE.findall(fold.read_text()))]
    tables = re.compile(rf"\bcore\.({'|'.join(map(re.escape, contract.core_tables))})\b")
    if contract.core_tables:
        migrations = sorted((sql_dir / "migrations").glob("*.sql"))
        found += [path for path in migrations if tables.search(path.read_text(encoding="utf-8"))]
    for metadata in sorted((sql_dir / "marts").glob("*/metadata.yaml")):
        read = load_yaml(metadata.read_text(encoding="utf-8")).get("core", [])
        found += [metadata.parent] if set(read) & set(contract.core_tables) else []
    return list(dict.fromkeys(found))
