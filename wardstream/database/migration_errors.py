"""What PostgreSQL refuses of a migration, in one sentence: file, line, what is wrong, what to do.

PostgreSQL says where in a statement it stopped, yoyo does not say which statement that was. Its frame in the traceback
has it. Of errors about data only the code is shown: their texts quote values.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psycopg
from yoyo.exceptions import BadMigration
from yoyo.migrations import Migration

NAMES_OBJECTS_ONLY = ("42", "2B", "0A", "3F", "55")
"""Classes of SQLSTATE whose texts name tables and columns, never a value."""


class MigrationFailedError(Exception):
    """A migration, or its rollback, was refused; nothing of it was applied."""


@contextlib.contextmanager
def explained(migration: Migration, back: bool = False) -> Iterator[None]:
    """What is refused inside becomes a MigrationFailedError; a lost connection stays what it is."""
    file = Path(migration.path)
    file = file.with_name(f"{file.stem}.rollback.sql") if back else file
    try:
        yield
    except BadMigration as error:
        raise MigrationFailedError(f"{file}: {error}; correct it, then try again") from error
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        line = _line(file.read_text(), _statement(error.__traceback__), error.diag.statement_position)
        raise MigrationFailedError(
            f"{file}, line {line}: {_what(error)}. Nothing of this migration was"
            f" {'rolled back' if back else 'applied'}: correct the file or the database, then try again"
        ) from error


def _statement(trace: TracebackType | None) -> str:
    statements = [frame.f_locals["stmt"] for frame, _ in traceback.walk_tb(trace) if "stmt" in frame.f_locals]
    return statements[-1] if statements else ""


def _line(text: str, statement: str, position: str | None) -> int:
    """Line of the statement's first word, or of where PostgreSQL stopped in it."""
    leading = re.match(r"(\s|--.*\n)*", statement)
    within = int(position) - 1 if position else leading.end() if leading else 0
    return text.count("\n", 0, max(text.find(statement), 0) + within) + 1


def _what(error: psycopg.Error) -> str:
    diag, code = error.diag, error.sqlstate or ""
    if not code.startswith(NAMES_OBJECTS_ONLY):
        names = [diag.table_name, diag.column_name, diag.constraint_name]
        return " ".join([type(error).__name__, f"({code})", *(name for name in names if name)])
    depends = f" ({diag.message_detail})" if code.startswith("2B") and diag.message_detail else ""
    return f"{diag.message_primary}{depends}".replace("\n", "; ")
