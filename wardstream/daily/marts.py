"""The folders of sql/marts: what each table of mart that is built by day is made from, and how.

    sql/marts/<table>/metadata.yaml    `Metadata` below: grain, core tables, who owns it, what each column means
    sql/marts/<table>/query.sql        Spark SQL: the definition of the table
    sql/marts/<table>/reads/<x>.sql    PostgreSQL: what Spark reads of core, one view a file
    sql/marts/<table>/checks.sql       PostgreSQL: what must hold of built rows; gives (fault, day)

A build is of one facility: reads and checks ask for %(facility)s, whose zone is %(zone)s and where it is %(today)s. The
build fills in the column `facility`; the query does not give it.

A folder is a table; there is no list of them. A read's header says how it is cut to days, `-- days: column` or
`-- days: from .. to`, as in sql/folds; one without is read whole. A read that two tables use stays in the folder of one
of them, and the other names it under `shared_reads`. This module reads files and checks their form; it runs no SQL.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wardstream.contracts.yaml_text import load_yaml
from wardstream.database.plan_error import PlanError

DAYS = re.compile(r"^-- days: *(.+?) *$", re.MULTILINE)
NAME = r"^[a-z_][a-z0-9_]*$"


class Metadata(BaseModel):
    """metadata.yaml. A column and its meaning are said here once; `wardstream migrate` makes comments of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    owner: str
    version: int = Field(ge=1, description="Raised, every day is built again although no file says anything else.")
    grain: Literal["day", "hour", "stay"] = Field(
        description="What a row is about beside its other keys. Days are the unit that is built, whatever the grain: an"
        " hour lies in a day, and a row of a stay lies on one of the days of the stay."
    )
    core: list[str] = Field(min_length=1, description="A commit that marks a day of one of these makes the day stale.")
    references: list[str] = Field(default=[], description="Other tables that reads read, schema.table; hashed.")
    follows_today: bool = Field(default=False, description="A day says something else once it is over.")
    shared_reads: list[str] = Field(default=[], description="Reads of other tables, table/read.")
    columns: dict[str, str]


@dataclass(frozen=True)
class Read:
    """One view for Spark: `query` over core, and the columns of the query that place a row on days."""

    name: str
    path: Path
    query: str
    days: tuple[str, ...]
    days_are_span: bool


@dataclass(frozen=True)
class Mart:
    """One table that is built by day."""

    table: str
    folder: Path
    metadata: Metadata
    reads: tuple[Read, ...]
    query: str
    checks: str

    @property
    def query_path(self) -> Path:
        """Where the definition is."""
        return self.folder / "query.sql"

    @property
    def checks_path(self) -> Path:
        """Where the checks are."""
        return self.folder / "checks.sql"

    @property
    def definition(self) -> str:
        """A hash of what the numbers come from: query, reads and version. Not of the checks, which change no number."""
        parts = [str(self.metadata.version), self.query]
        parts += [part for read in sorted(self.reads, key=lambda read: read.name) for part in (read.name, read.query)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _text(path: Path) -> str:
    if not path.is_file():
        raise PlanError(f"there is no {path}; wardstream/daily/marts.py says what it is for")
    return path.read_text(encoding="utf-8")


def read_read(path: Path) -> Read:
    """One file of a folder's reads."""
    text = _text(path)
    found = DAYS.search(text)
    days = found[1] if found else ""
    columns = tuple(word.strip() for word in re.split(r"\.\.|,", days) if word.strip())
    span = ".." in days
    if len(columns) != (2 if span else len(columns[:1])):
        raise PlanError(f"{path}: '-- days:' names one column, or a stay as 'from .. to'")
    return Read(path.stem, path, text, columns, span)


def read_metadata(path: Path) -> Metadata:
    """One metadata.yaml; PlanError names each key that is missing, unknown or of another type."""
    text = _text(path)
    try:
        return Metadata.model_validate(load_yaml(text))
    except yaml.MarkedYAMLError as error:
        at = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PlanError(f"{path}{at}: no YAML: {error.problem}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise PlanError(f"{path}: {faults}") from None


def read_mart(folder: Path) -> Mart:
    """One table's folder; PlanError where a file is missing or has not the form."""
    if not re.match(NAME, folder.name):
        raise PlanError(f"{folder}: a folder of sql/marts bears the name of its table: small letters, digits and _")
    metadata = read_metadata(folder / "metadata.yaml")
    paths = sorted((folder / "reads").glob("*.sql"))
    for shared in metadata.shared_reads:
        table, _, name = shared.partition("/")
        paths.append(folder.parent / table / "reads" / f"{name}.sql")
    reads = tuple(map(read_read, paths))
    names = [read.name for read in reads]
    if not names:
        raise PlanError(f"{folder}: it reads nothing; put a SELECT of core into {folder / 'reads'}")
    if len(set(names)) < len(names):
        raise PlanError(f"{folder}: two reads of one name: {', '.join(sorted(names))}")
    return Mart(folder.name, folder, metadata, reads, _text(folder / "query.sql"), _text(folder / "checks.sql"))


def load_marts(sql_dir: Path) -> tuple[Mart, ...]:
    """Every folder of sql/marts, by name."""
    return tuple(read_mart(folder) for folder in sorted((sql_dir / "marts").glob("*")) if folder.is_dir())
