"""Backup and restore of what PostgreSQL holds: a folder with dumps in pg_dump's custom format.

    wardstream.dump   history, core, ops with the ledger, mart: one snapshot, so that rows and ledger agree
    registry.dump     the embedded registry's schemas and their ids, without which Kafka's messages cannot be read

A restore replaces the database in one transaction: it holds all of the backup, or what it held before. The ledger in it
says where the stream goes on, so events that came after the backup are read from Kafka again. Kafka's own data and
Airflow's history of runs are not part of a backup; point-in-time recovery is the server's, see the runbook.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from wardstream.database.connection import connect, scalar
from wardstream.database.migrate import migrate
from wardstream.settings import Settings
from wardstream.stack.errors import StackError
from wardstream.stack.parts import embedded
from wardstream.stack.parts.postgres import REGISTRY_DATABASE, binaries
from wardstream.stack.steps import Say
from wardstream.stack.up import pids, start_part, stop_part

DATABASE, REGISTRY = "wardstream.dump", "registry.dump"
RUNBOOK = "less docs/runbooks/back-up-and-restore.md"
SCHEMAS = ("history", "core", "ops", "mart", "public")  # public: what yoyo remembers of the migrations
REGISTRY_ROLE = "wardstream_registry"
EMPTY = Path(__file__).parent / "sql" / "empty_database.sql"
LOCK_SECONDS = 60
"""How long a restore waits for somebody's open transaction; then it gives up, and nothing has changed."""


def backup(settings: Settings, folder: Path) -> dict[str, int]:
    """Write a backup into a new folder, also while the stream runs; size of each file in bytes."""
    if folder.exists():
        raise StackError("backup", f"{folder} is there already", "wardstream backup ANOTHER_FOLDER")
    part = folder.with_name(f"{folder.name}.part")  # renamed when complete: a half backup never looks like one
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    _dump(settings, settings.owner_url, part / DATABASE, [f"--schema={name}" for name in SCHEMAS])
    if "registry" in {part.name for part in embedded(settings)}:
        _dump(settings, _registry_url(settings), part / REGISTRY, [])
    part.rename(folder)
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir())}


def has_data(settings: Settings) -> bool:
    """Whether a restore would replace something."""
    with connect(settings.owner_url, "wardstream restore") as conn:
        return bool(scalar(conn, "SELECT coalesce(to_regnamespace('history'), to_regnamespace('ops')) IS NOT NULL"))


def restore(settings: Settings, folder: Path, with_registry: bool, say: Say) -> None:
    """Put a backup in place of what the database holds, bring it to this version, and let the stream go on.

    StackError where something is missing or refused; the database is then what it was.
    """
    names = [DATABASE, *([REGISTRY] if with_registry else [])]
    for missing in [name for name in names if not (folder / name).is_file()]:
        raise StackError("restore", f"there is no {missing} in {folder}", RUNBOOK)
    running = "stream" in pids(settings)
    if running:
        stop_part(settings, "stream")
        say("the stream is stopped")
    try:
        refuse_other_drivers(settings, "restore")
        _replace_database(settings, folder / DATABASE)
        applied = migrate(settings)
        say(f"the database is that of the backup{f'; migrations since: {len(applied)}' if applied else ''}")
        if with_registry:
            _replace_registry(settings, folder / REGISTRY)
            say("the registry has the schemas of the backup")
    finally:
        if running:
            start_part(settings, "stream")
            say("the stream goes on from the ledger of the backup")


def refuse_other_drivers(settings: Settings, command: str) -> None:
    """A stream would commit into what is being replaced. StackError where PostgreSQL has the session of one."""
    with connect(settings.owner_url, f"wardstream {command}") as conn:
        alive = scalar(conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'wardstream lease %'")
    if alive:
        raise StackError(command, "a stream has a session", "wardstream stream stop   (where it runs); then try again")


def _replace_database(settings: Settings, dump: Path) -> None:
    generation = _generation(settings)
    # A driver from before the restore must never again hold the newest generation.
    after = f"UPDATE ops.streams SET generation = greatest(generation, {generation});"
    _replace(settings, settings.owner_url, dump, EMPTY.read_text(), after)


def _generation(settings: Settings) -> int:
    with connect(settings.owner_url, "wardstream restore") as conn:
        try:
            return int(scalar(conn, "SELECT coalesce(max(generation), 0) FROM ops.streams"))
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            return 0


def _replace_registry(settings: Settings, dump: Path) -> None:
    stop_part(settings, "registry")
    try:
        _replace(settings, _registry_url(settings), dump, "DROP OWNED BY CURRENT_USER;", "")
    finally:
        start_part(settings, "registry")


def _registry_url(settings: Settings) -> str:
    password = settings.password(REGISTRY_ROLE)
    return f"postgresql://{REGISTRY_ROLE}:{password}@127.0.0.1:{settings.postgres_port}/{REGISTRY_DATABASE}"


def _dump(settings: Settings, url: str, file: Path, words: list[str]) -> None:
    where, environment = _where(url)
    command = [str(binaries(settings) / "pg_dump"), "--format=custom", f"--file={file}", *words, f"--dbname={where}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pg_dump failed"])[-1]
        raise StackError("backup", last, "df -h; wardstream status; then wardstream backup again")


def _replace(settings: Settings, url: str, dump: Path, before: str, after: str) -> None:
    """Run `before`, the dump and `after` in one transaction, which is committed only where the dump was whole."""
    where, environment = _where(url)
    environment["PGOPTIONS"] = f"-c lock_timeout={LOCK_SECONDS}s -c client_min_messages=error"
    # sqlstate: the texts of PostgreSQL's errors quote rows
    quiet = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate"]
    with tempfile.NamedTemporaryFile("w", prefix="wardstream-restore-") as contents:
        contents.write(_contents(settings, dump))
        contents.flush()
        unpack = subprocess.Popen(
            [binaries(settings) / "pg_restore", "--file=-", f"--use-list={contents.name}", dump],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        apply = subprocess.Popen(
            [binaries(settings) / "psql", *quiet, f"--dbname={where}"],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert unpack.stdout and apply.stdin and apply.stderr
        whole = _pass_on(unpack, unpack.stdout, apply.stdin, f"BEGIN;\n{before}\n", f"\n{after}\nCOMMIT;\n")
    said = apply.stderr.read().decode(errors="replace").strip().splitlines()
    code = apply.wait()
    if not whole:
        raise _damaged(dump)
    if code:
        raise StackError("restore", f"{said[-1] if said else 'psql failed'}; nothing was changed", RUNBOOK)


def _contents(settings: Settings, dump: Path) -> str:
    """The entries of a dump that are wanted, as text: schema public itself is in each database from the beginning."""
    command = [str(binaries(settings) / "pg_restore"), "--list", str(dump)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _damaged(dump)
    entries = [line for line in done.stdout.splitlines() if not re.search(r" SCHEMA (- )?public ", line)]
    return "\n".join(entries) + "\n"


def _damaged(dump: Path) -> StackError:
    return StackError("restore", f"{dump} is damaged, or no dump of PostgreSQL; nothing was changed", RUNBOOK)


def _pass_on(unpack: subprocess.Popen[bytes], dump: IO[bytes], to: IO[bytes], before: str, after: str) -> bool:
    """Whether all of the dump went through. Without `after`, and its COMMIT, PostgreSQL rolls all of it back."""
    try:
        with to:
            to.write(before.encode())
            shutil.copyfileobj(dump, to)
            whole = unpack.wait() == 0
            to.write(after.encode() if whole else b"")
    except BrokenPipeError:  # psql has ended and says why
        unpack.kill()
        unpack.wait()
        return True
    return whole


def _where(url: str) -> tuple[str, dict[str, str]]:
    """Address and environment for PostgreSQL's programs: anyone on the machine can read a process's arguments."""
    said: Mapping[str, object] = conninfo_to_dict(url)
    environment = {**os.environ, "PGPASSWORD": str(said.get("password") or "")}
    return make_conninfo(**{name: value for name, value in said.items() if name != "password"}), environment  # type: ignore[arg-type]
