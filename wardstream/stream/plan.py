"""What the SQL folder says: one SELECT a core table (history -> core), and one a topic that transforms what it stores
(staged -> history). History of the others has the contract's fields as they were sent.

A fold file begins with a header in comments:

    -- core.lab_results: one row a laboratory result
    -- topics: labs                          topics whose new facts touch the table
    -- key: lab_result_id                    the entity: a column of those histories and, beside authority, of the
                                              table's primary key
    -- days: observed_at                     instants that place a row on a day; a stay: admitted_at .. discharged_at
                                              (of the facility of the row's column source)
    -- ends: status, died_in_hospital        of a stay, may be left out: what counts on its first and last day alone
    -- rows: greatest version                may be left out: one fact says all of a row, the greatest of its key
    -- column status: final, or corrected    what a column means where the contract does not say it; on the lines
    --     or cancelled.                     that follow, indented

The first line's text is the comment of the table. A line `-- include: NAME.sql` is replaced by folds/include/NAME.sql.
A fold that reads all facts of an entity may have a fast path, folds/fast/NAME.sql: a SELECT of the same rows for those
of the touched entities that it can decide at less cost. An entity of which it gives no row is folded by definition.
Only the commit uses it: `verify` and `rebuild` know nothing but the definition.

A fold reads the temporary table `touched(authority text, key text)` and the parameter %(known_at)s. One of greatest
versions reads `greatest_version` instead, which has the columns of history. It comes before the SELECT as a WITH: the
greatest version in history, or, in the commit, that of what is staged (`upsert`).

This module reads files and checks their form; it runs no SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from wardstream.contracts.model import Contract
from wardstream.database.connection import trusted
from wardstream.database.plan_error import PlanError

BESIDE = {
    "authority": "text",
    "ids_as_sent": "text",
    "content_hash": "bytea",
    "topic_id": "text",
    "partition": "int",
    "offset": "bigint",
    "schema_id": "int",
}
"""What staging has beside an event's fields: whose ids it has, its hash, and where it was found. So has history, where
ids_as_sent is jsonb."""
GREATEST_VERSION = "greatest version"
HEADER = re.compile(r"^-- (topics|key|days|ends|rows): *(.+?) *$", re.MULTILINE)
TABLE_TEXT = re.compile(r"\A-- core\.\w+: *(.+?) *$", re.MULTILINE)
COLUMN_TEXT = re.compile(r"^-- column (\w+): *(.+(?:\n-- {3,}\S.*)*)", re.MULTILINE)
PROTOCOL_DIR = Path(__file__).parent / "sql" / "protocol"
INCLUDE = re.compile(r"^-- include: *(\S+) *$", re.MULTILINE)


@dataclass(frozen=True)
class Fold:
    """One core table: `query` gives its rows for the touched keys as known at %(known_at)s.

    `of_greatest`: the SELECT from `greatest_version` of a fold where one fact says all; None for the others.
    """

    table: str
    topics: tuple[str, ...]
    key: str
    days: tuple[str, ...]
    days_are_span: bool
    ends: tuple[str, ...]
    query: str
    of_greatest: str | None
    fast: str | None
    """The SELECT of folds/fast; None where there is none."""
    lines: tuple[str, ...]
    """File and line of each line of the query, such as `sql/folds/include/stays.sql, line 3`."""
    comments: Mapping[str, str]
    """What the file says of columns, by name, and of the table, by ""."""

    def line_of(self, number: int) -> str:
        """File and line of a line of the query, counted from 1."""
        return self.lines[min(number, len(self.lines)) - 1]


@dataclass(frozen=True)
class Plan:
    """`history`: topic -> SELECT over staged_<topic> to the columns of history; sql/folds; the commit's statements."""

    history: dict[str, str]
    folds: tuple[Fold, ...]
    protocol: dict[str, str]

    def folds_of(self, topic: str) -> tuple[Fold, ...]:
        """The folds that new facts of this topic touch."""
        return tuple(fold for fold in self.folds if topic in fold.topics)


def read_fold(path: Path, protocol_dir: Path = PROTOCOL_DIR) -> Fold:
    """Read one fold file; PlanError where its header is incomplete or an include is missing."""
    text = path.read_text()
    header = dict(HEADER.findall(text))
    missing = {"topics", "key", "days"} - header.keys()
    if missing:
        raise PlanError(f"{path}: the header lacks {sorted(missing)}; write lines like '-- key: lab_result_id'")

    texts: list[str] = []
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.fullmatch(line)
        part = path.parent / "include" / match[1] if match else None
        if part is not None and not part.is_file():
            raise PlanError(f"{path}: includes {part.name}, but {part} is not there")
        found = part.read_text().splitlines() if part else [line]
        texts += found
        lines += (
            [f"sql/folds/include/{part.name}, line {n}" for n in range(1, len(found) + 1)]
            if part
            else [f"sql/folds/{path.name}, line {number}"]
        )
    span = ".." in header["days"]
    days = tuple(word.strip() for word in header["days"].split(".." if span else ","))
    if span and len(days) != 2:
        raise PlanError(f"{path}: '-- days:' names a stay as 'from .. to', two columns")
    if "ends" in header and not span:
        raise PlanError(f"{path}: '-- ends:' is for a stay, whose '-- days:' has the form 'from .. to'")
    topics = tuple(word.strip() for word in header["topics"].split(","))
    if header.get("rows", GREATEST_VERSION) != GREATEST_VERSION or ("rows" in header and len(topics) > 1):
        raise PlanError(f"{path}: '-- rows: {GREATEST_VERSION}' is all that it can say, of a fold of one topic")
    ends = tuple(word.strip() for word in header["ends"].split(",")) if "ends" in header else ()
    query = "\n".join(texts) + "\n"
    of_greatest = query if "rows" in header else None
    if of_greatest:
        select = trusted((protocol_dir / "greatest_version.sql").read_text())
        before = select.format(history=sql.Identifier("history", topics[0]), key=sql.Identifier(header["key"]))
        query = with_greatest(before).as_string() + of_greatest
        lines = ["greatest_version.sql"] * (query.count("\n") - of_greatest.count("\n")) + lines
    fast_path = path.parent / "fast" / path.name
    return Fold(
        table=path.stem,
        topics=topics,
        key=header["key"],
        days=days,
        days_are_span=span,
        ends=ends,
        query=query,
        of_greatest=of_greatest,
        fast=fast_path.read_text() if fast_path.is_file() else None,
        lines=tuple(lines),
        comments=_comments(text),
    )


def with_greatest(select: sql.Composable) -> sql.Composed:
    """The WITH that stands before the SELECT of a fold of greatest versions."""
    return sql.SQL("WITH greatest_version AS (\n{}\n)\n").format(select)


def _comments(text: str) -> dict[str, str]:
    columns = {name: " ".join(said.replace("\n--", "").split()) for name, said in COLUMN_TEXT.findall(text)}
    of_table = TABLE_TEXT.search(text)
    sentence = of_table[1][0].upper() + of_table[1][1:] if of_table else None
    return {**columns, **({"": sentence} if sentence else {})}


def as_sent(contract: Contract) -> str:
    """The SELECT from staged_<topic> of a topic that stores what it got; records, arrays and maps become jsonb."""
    fields = [f'"{field.name}"' + (f'::jsonb AS "{field.name}"' if field.is_json else "") for field in contract.fields]
    beside = ['"ids_as_sent"::jsonb AS "ids_as_sent"' if name == "ids_as_sent" else f'"{name}"' for name in BESIDE]
    columns = ", ".join([*fields, *beside])
    return f'SELECT {columns} FROM "staged_{contract.topic}"'


def commit_file(sql_dir: Path, topic: str) -> Path:
    """The file of a topic that transforms what it stores; others have none."""
    return sql_dir / "commit" / f"{topic}.sql"


def load_plan(sql_dir: Path, contracts: Mapping[str, Contract], protocol_dir: Path = PROTOCOL_DIR) -> Plan:
    """Read the SQL of these topics; PlanError where a file has not the form that it must have."""
    own = {topic: commit_file(sql_dir, topic) for topic in contracts}
    history = {t: own[t].read_text() if own[t].is_file() else as_sent(contract) for t, contract in contracts.items()}
    protocol = {path.stem: path.read_text() for path in protocol_dir.glob("*.sql")}
    folds = tuple(read_fold(path, protocol_dir) for path in sorted((sql_dir / "folds").glob("*.sql")))
    return Plan(history, tuple(fold for fold in folds if set(fold.topics) & contracts.keys()), protocol)
