"""The digest of a table: the same for the same rows in any order, another one for anything else."""

from __future__ import annotations

import pytest

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab
from wardstream.database.connection import Connection, connect
from wardstream.proof.digest import digest, digest_of

COLUMNS = "a text, t float8"
ROWS = "('x', 1), ('y', 2), (NULL, 0)"


@pytest.fixture
def conn(bench: Bench) -> Connection:
    return bench.admin


def of(conn: Connection, columns: str, rows: str, then: str = "SELECT") -> str:
    """The digest of a table with these rows that has no key."""
    with conn.transaction(force_rollback=True):
        conn.execute(f"CREATE TABLE mart.tried ({columns}); INSERT INTO mart.tried VALUES {rows}; {then}".encode())
        return digest_of(conn, "mart", "tried")


@pytest.mark.parametrize("rows", ["(NULL, 0), ('y', 2), ('x', 1)", "('y', 2), (NULL, 0), ('x', 1)"])
def test_the_order_of_rows_does_not_matter(conn: Connection, rows: str) -> None:
    assert of(conn, COLUMNS, rows) == of(conn, COLUMNS, ROWS)


OTHERS = {
    "two rows exchange a value": (COLUMNS, "('x', 2), ('y', 1), (NULL, 0)"),
    "a row less": (COLUMNS, "('x', 1), ('y', 2)"),
    "a row twice": (COLUMNS, "('x', 1), ('y', 2), (NULL, 0), ('x', 1)"),
    "one row twice in the place of another": (COLUMNS, "('x', 1), ('x', 1), (NULL, 0)"),
    "an empty text for null": (COLUMNS, "('x', 1), ('y', 2), ('', 0)"),
    "minus zero": (COLUMNS, "('x', 1), ('y', 2), (NULL, '-0')"),
    "the smallest difference": (COLUMNS, "('x', 1.0000000000000002), ('y', 2), (NULL, 0)"),
    "another name of a column": ("b text, t float8", ROWS),
    "columns in another order": ("t float8, a text", "(1, 'x'), (2, 'y'), (0, NULL)"),
    "text that looks like two columns": ("a text, t text", "('x,1', NULL), ('y,2', NULL), (',0', NULL)"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_does(conn: Connection, what: str) -> None:
    assert of(conn, *OTHERS[what]) != of(conn, COLUMNS, ROWS)


def test_which_row_is_there_twice_does_matter(conn: Connection) -> None:
    assert of(conn, COLUMNS, "('x', 1), ('x', 1), ('y', 2)") != of(conn, COLUMNS, "('x', 1), ('y', 2), ('y', 2)")


def test_an_empty_table_is_not_one_of_a_row_without_values(conn: Connection) -> None:
    assert of(conn, COLUMNS, ROWS, "TRUNCATE mart.tried") != of(conn, COLUMNS, "(NULL, NULL)")


@pytest.mark.parametrize(
    "setting", ["timezone = 'Asia/Tokyo'", "datestyle = 'German'", "bytea_output = 'escape'", "extra_float_digits = -5"]
)
def test_how_a_session_writes_values_does_not_matter(bench: Bench, setting: str) -> None:
    bench.commit(lab("a", "resulted", 1, value_number=1 / 3))
    with connect(bench.settings.owner_url, "test") as conn:
        conn.execute(f"SET {setting}".encode())
        assert digest(conn) == bench.digest()
