"""A backup restored: the same numbers, the stream goes on from its ledger, and a damaged one changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.hospital import Hospital
from wardstream import stack
from wardstream.database.migrate import rollback
from wardstream.stack import backup as backups

GENERATION = "SELECT generation FROM ops.streams"


@pytest.fixture(scope="module")
def ward(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    hospital.empty()
    return hospital


def test_an_older_backup_is_caught_up_from_kafka_and_a_newer_one_needs_nothing(ward: Hospital, tmp_path: Path) -> None:
    older, newer = tmp_path / "older", tmp_path / "newer"
    ward.must("replay", "sample", "--limit", "2000")
    ward.verified()
    before = ward.committed()
    assert "it holds patient data" in ward.must("backup", str(older))
    assert older.stat().st_mode & 0o077 == 0
    ward.must("stream", "restart")  # another generation than in the older one
    ward.must("replay", "sample")
    ward.verified()
    ward.must("backup", str(newer))
    now, committed, (generation,) = ward.digest(), ward.committed(), ward.rows(GENERATION)[0]
    assert ward.committed() > before

    refused = ward.cli("backup", str(newer))
    assert refused.returncode == 1 and "is there already" in refused.stderr

    # the stream is stopped, so that what is seen is the backup alone
    stack.stop_part(ward.settings, "stream")
    ward.must("restore", str(older), "--yes")
    assert ward.committed() == before and ward.digest() != now
    assert ward.rows(GENERATION)[0][0] >= generation
    assert ward.cli("verify", "--wait", "0").returncode == 1
    stack.start_part(ward.settings, "stream")
    ward.verified()
    assert (ward.digest(), ward.committed()) == (now, committed)

    # an empty database, as on a new server; the stream is there and goes on by itself
    stack.stop_part(ward.settings, "stream")
    rollback(ward.settings)
    assert not backups.has_data(ward.settings)
    ward.must("restore", str(newer))
    assert ward.digest() == now
    stack.start_part(ward.settings, "stream")
    ward.must("restore", str(newer), "--registry", "--yes")
    ward.must("replay", "sample", "--limit", "100")
    ward.verified()
    assert ward.digest() == now

    _damaged(ward, newer, tmp_path)


def _damaged(ward: Hospital, whole: Path, tmp_path: Path) -> None:
    """Half a dump, and one whose last step PostgreSQL refuses: the database is what it was."""
    now, committed = ward.digest(), ward.committed()
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    dump = half / backups.DATABASE
    os.truncate(dump, dump.stat().st_size * 2 // 3)
    done = ward.cli("restore", str(half), "--yes")
    assert done.returncode == 1 and "damaged" in done.stderr and "nothing was changed" in done.stderr
    assert (ward.digest(), ward.committed()) == (now, committed)
    dump.unlink()
    done = ward.cli("restore", str(half), "--yes")
    assert done.returncode == 1 and f"there is no {backups.DATABASE}" in done.stderr
    ward.verified()


def test_a_stream_elsewhere_and_a_held_lock_refuse_a_restore(
    ward: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    ward.must("backup", str(folder))
    now = ward.digest()
    with ward.connect() as other:
        other.execute("SET application_name = 'wardstream lease main'")
        done = ward.cli("restore", str(folder), "--yes")
        assert done.returncode == 1 and "a stream has a session" in done.stderr
    monkeypatch.setattr(backups, "LOCK_SECONDS", 1)
    with ward.connect() as other, other.transaction():
        other.execute("SELECT FROM core.patients LIMIT 1")
        with pytest.raises(stack.StackError, match="55P03; nothing was changed"):
            backups.restore(ward.settings, folder, False, print)
    ward.verified()
    assert ward.digest() == now
