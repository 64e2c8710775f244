"""Migrations rolled back over filled tables, and what is said of one that PostgreSQL refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from psycopg import sql

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import MONDAY, lab
from tests.integration.conftest import another_database
from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate, rollback, to_roll_back
from wardstream.database.migration_errors import MigrationFailedError
from wardstream.proof.digest import relations
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.sources.sample import events as sample
from wardstream.stack.env import environment
from wardstream.stream.lease import Lease

LAST_OF_0_1_0 = "0013.words"
AUTHORITIES = ("authority", "ids_as_sent")
BROUGHT = {"history": AUTHORITIES, "core": (*AUTHORITIES, *VERSION_ORDER)}
"""By schema, the columns that migrations since then and `wardstream migrate` bring, and their rollback takes away."""


def kept(settings: Settings, without: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """A digest of each table of history and core, in whatever order its columns stand, without some of them."""
    rows = "SELECT (to_jsonb(t) - {}::text[])::text FROM {} AS t ORDER BY 1"
    found = {}
    with connect(settings.owner_url, "test") as conn:
        for schema in ("history", "core"):
            for name, _ in relations(conn, schema):
                query = sql.SQL(rows).format(
                    sql.Literal(list((without or {}).get(schema, []))), sql.Identifier(schema, name)
                )
                text = "\n".join(row for (row,) in conn.execute(query))
                found[f"{schema}.{name}"] = hashlib.sha256(text.encode()).hexdigest()
    return found


def books(bench: Bench) -> list[tuple[object, ...]]:
    """The counts of the ledger's ranges, and the quarantine."""
    return bench.rows("SELECT sum(stored), sum(duplicate), sum(quarantined) FROM ops.ledger_ranges") + bench.rows(
        'SELECT topic, "offset", reason, value FROM ops.quarantine ORDER BY 1, 2'
    )


def test_back_and_forward_over_filled_tables(server: Settings) -> None:
    settings = another_database(server, "filled_and_back")
    migrate(settings)
    bench = Bench(settings)
    events = sample.events(anchor=MONDAY)  # the bench's broker has an earlier clock than the sample
    bench.commit(*events)
    bench.commit(*events[:100], lab("", "resulted", 1))
    bench.rows("UPDATE ops.quarantine SET discarded_at = now(), discarded_by = 'test', discard_note = 'x' RETURNING 1")
    bench.committer.close()
    before, counted, shown = kept(settings), books(bench), bench.digest()
    before_them = kept(settings, BROUGHT)
    assert len(bench.rows("SELECT FROM history.labs")) > 1000

    newest = to_roll_back(settings, 1000)
    since = newest[: newest.index(LAST_OF_0_1_0)]
    assert len(since) > 3
    for count in (*(number for number in (1, 2, 4, 8) if number < len(since)), len(since)):
        assert rollback(settings, count) == since[:count]
        assert (kept(settings, BROUGHT), books(bench)) == (before_them, counted), f"back by {count}"
        assert sorted(migrate(settings)) == sorted(since[:count])
        assert (kept(settings), books(bench), bench.digest()) == (before, counted, shown), f"forward by {count}"
    assert bench.not_as_folded() == []
    [(generation,)] = bench.rows("SELECT generation FROM ops.streams")
    assert generation > 1, "each time the locks came, drivers of before were fenced"
    again = bench.new_committer(generation=generation)
    again.commit(bench.batch([lab("new", "resulted", 1, lab_result_id="new")]))
    again.close()
    bench.admin.close()


def run(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """`wardstream migrate` with these words."""
    return subprocess.run(
        [sys.executable, "-m", "wardstream.cli", "migrate", *words],
        env={**os.environ, **environment(settings)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        input="n\n",
        timeout=120,
    )


def test_the_command_asks_and_waits_for_no_stream(server: Settings) -> None:
    settings = another_database(server, "asked_before_back")
    (newest, *_) = migrate(settings)[::-1]
    lease = Lease(settings, "main")
    refused = run(settings, "--back", "1", "--yes")
    assert refused.returncode == 1 and "wardstream stream stop" in refused.stderr
    lease._conn.close()
    assert run(settings, "--back", "1").returncode == 1  # it asks, and the answer is no
    assert to_roll_back(settings, 1) == [newest]
    done = run(settings, "--back", "1", "--yes")
    assert done.returncode == 0 and f"rolled back: {newest}" in done.stdout, done.stderr
    assert migrate(settings) == [newest]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("SELECT 1;\n\n-- why\nCREATE TABLE ops.a (\n    n int,\n    m no_such_type\n);\n", 7, "no_such_type"),
        ("SELECT 1;\n-- why\nALTER TABLE ops.nowhere ADD COLUMN n int;\n", 4, "ops.nowhere"),
        ("SELECT 1;\n\nINSERT INTO ops.facilities (timezone) VALUES ('secret');\n", 4, "facilities since"),
        ("SELECT 'secret'::int;\n", 2, "InvalidTextRepresentation (22P02)"),
    ],
    ids=["within a statement", "a relation", "a row", "a value"],
)
def test_a_refused_migration_is_one_sentence_with_file_and_line(
    server: Settings, tmp_path: Path, text: str, line: int, says: str
) -> None:
    settings = another_database(server, "refused_migration")
    migrate(settings)
    folder = shutil.copytree(settings.sql_dir, tmp_path / "sql")
    file = folder / "migrations" / "9999.broken.sql"
    file.write_text(f"-- depends: 0024.locks\n{text}")
    broken = settings.model_copy(update={"sql_dir": folder})
    done = run(broken)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = done.stderr.splitlines()[0]
    assert f"{file}, line {line}: " in said and says in said and "secret" not in done.stderr
    assert to_roll_back(broken, 1) != ["9999.broken"]


def test_a_refused_rollback_names_what_is_in_the_way(server: Settings) -> None:
    """As a view of somebody else's over one of ours."""
    settings = another_database(server, "refused_rollback")
    migrate(settings)
    with connect(settings.owner_url, "test") as conn:
        conn.execute("CREATE VIEW public.theirs AS SELECT * FROM mart.labs")
    there = to_roll_back(settings, 1000)
    said = r"0030\.facilities\.rollback\.sql, line \d+: .*view theirs depends"
    with pytest.raises(MigrationFailedError, match=said):
        rollback(settings, there.index("0030.facilities") + 1)
    assert to_roll_back(settings, 1) == ["0030.facilities"]
