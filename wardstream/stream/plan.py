"""What the SQL folder says: one SELECT a topic (staged -> history), one SELECT a core table (history -> core).

A fold file begins with a header in comments:

    -- core.lab_results: one row a laboratory result
    -- topics: labs                          topics whose new facts touch the table
    -- key: lab_result_id                    the entity: a column of those histories and of the table's primary key
    -- days: observed_at                     instants that place a row on a day; a stay: admitted_at .. discharged_at
    -- ends: status, died_in_hospital        of a stay, may be left out: what counts on its first and last day alone

A line `-- include: NAME.sql` is replaced by folds/include/NAME.sql. A fold reads the temporary table
`touched(key text)` and the parameter %(known_at)s. This module reads files and checks their form; it runs no SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HEADER = re.compile(r"^-- (topics|key|days|ends): *(.+?) *$", re.MULTILINE)
ENDS = re.compile(r"^-- ends:.*\n", re.MULTILINE)
PROTOCOL_DIR = Path(__file__).parent / "sql" / "protocol"
INCLUDE = re.compile(r"^-- include: *(\S+) *$", re.MULTILINE)


class PlanError(Exception):
    """A SQL file has not the form that the stream needs; the message names the file and what to write."""


@dataclass(frozen=True)
class Fold:
    """One core table: `query` gives its rows for the touched keys as known at %(known_at)s."""

    table: str
    topics: tuple[str, ...]
    key: str
    days: tuple[str, ...]
    days_are_span: bool
    ends: tuple[str, ...]
    query: str


@dataclass(frozen=True)
class Plan:
    """All of sql/commit (`history`: topic -> SELECT over staged_<topic>), sql/folds, and the commit's statements."""

    history: dict[str, str]
    folds: tuple[Fold, ...]
    protocol: dict[str, str]

    def folds_of(self, topic: str) -> tuple[Fold, ...]:
        """The folds that new facts of this topic touch."""
        return tuple(fold for fold in self.folds if topic in fold.topics)


def read_fold(path: Path) -> Fold:
    """Read one fold file; PlanError where its header is incomplete or an include is missing."""
    text = path.read_text()
    header = dict(HEADER.findall(text))
    missing = {"topics", "key", "days"} - header.keys()
    if missing:
        raise PlanError(f"{path}: the header lacks {sorted(missing)}; write lines like '-- key: lab_result_id'")

    def include(match: re.Match[str]) -> str:
        part = path.parent / "include" / match[1]
        if not part.is_file():
            raise PlanError(f"{path}: includes {match[1]}, but {part} is not there")
        return part.read_text()

    span = ".." in header["days"]
    days = tuple(word.strip() for word in header["days"].split(".." if span else ","))
    if span and len(days) != 2:
        raise PlanError(f"{path}: '-- days:' names a stay as 'from .. to', two columns")
    if "ends" in header and not span:
        raise PlanError(f"{path}: '-- ends:' is for a stay, whose '-- days:' has the form 'from .. to'")
    topics, ends = (tuple(word.strip() for word in header.get(of, "").split(",")) for of in ("topics", "ends"))
    # What the ends are changes no row of core, and so is no part of what a fold is known by.
    query = INCLUDE.sub(include, ENDS.sub("", text))
    return Fold(path.stem, topics, header["key"], days, span, ends if "ends" in header else (), query)


def load_plan(sql_dir: Path, topics: list[str], protocol_dir: Path = PROTOCOL_DIR) -> Plan:
    """Read the SQL of these topics; PlanError where a topic has no file in sql/commit."""
    history = {}
    for topic in topics:
        path = sql_dir / "commit" / f"{topic}.sql"
        if not path.is_file():
            raise PlanError(
                f"topic {topic} has a contract but no {path}; write the SELECT staged_{topic} -> history.{topic}"
            )
        history[topic] = path.read_text()
    folds = tuple(read_fold(path) for path in sorted((sql_dir / "folds").glob("*.sql")))
    protocol = {path.stem: path.read_text() for path in protocol_dir.glob("*.sql")}
    return Plan(history, tuple(fold for fold in folds if set(fold.topics) & set(topics)), protocol)
