"""The temporary tables of a session that commits: made once, emptied where they are used.

They keep their rows over COMMIT. ON COMMIT DELETE ROWS would truncate every one of them at every commit, used or not:
40 ms for sixteen. Rows are deleted instead, and because nothing vacuums a temporary table, it is truncated once as many
rows have gone through it as make it slow to read.
"""

from __future__ import annotations

from collections import Counter

from psycopg import sql

from wardstream.database.connection import Connection

TRUNCATED_AFTER = 1000  # rows


class Scratch:
    """Temporary tables by name. Whoever fills one empties it first: a rolled back transaction brings old rows back."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._through: Counter[str] = Counter()
        self._names: list[str] = []

    def create(self, name: str, definition: sql.Composable) -> sql.Identifier:
        """Make the table `name` as CREATE TEMP TABLE goes on after it."""
        self.conn.execute(sql.SQL("CREATE TEMP TABLE {} {}").format(sql.Identifier(name), definition))
        self._names.append(name)
        return sql.Identifier(name)

    def drop(self) -> None:
        """Drop the tables: for a session that goes on with something else."""
        while self._names:
            self.conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(self._names.pop())))

    def filled(self, name: str, rows: int) -> None:
        """Note that rows were put into the table, also where that was rolled back: their space stays taken."""
        self._through[name] += max(rows, 0)

    def empty(self, *names: str) -> None:
        """Take all rows out of the tables."""
        for name in names:
            if self._through[name] > TRUNCATED_AFTER:
                self.conn.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(name)))
                self._through[name] = 0
            else:
                self.conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
