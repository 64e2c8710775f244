"""Airflow as three parts of the stack: api-server (UI and REST), scheduler (it also runs the tasks), dag-processor.

All of its configuration goes by environment, made from the settings, so that every task has the same settings as the
rest of Wardstream, and so that no secret is in a file of Airflow, on a command line, or in its metadata database. That
database lies in the embedded PostgreSQL server, with a role of its own. The choices below are for one small machine:
few processes, little work while nothing happens, and a button in the UI that is followed within a second or two.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from wardstream.settings import AIRFLOW_SECRET, AIRFLOW_USER, Settings, memory_bytes
from wardstream.stack import env
from wardstream.stack.errors import StackError, no_space, says_no_space
from wardstream.stack.java import java_env
from wardstream.stack.part import GIB, Launch, Page, Part
from wardstream.stack.parts import postgres
from wardstream.stack.paths import folder, life_file, log_file
from wardstream.stack.secret_files import ensure_secret, secrets_dir, write_secret
from wardstream.stack.steps import Step

ROLE = "wardstream_airflow"
HEARTBEAT_SECONDS = 15
"""A scheduler or dag-processor that was silent for longer is dead; both say something every five seconds."""

MIGRATION_LOG = "airflow-migrate"
NICE = 5
"""For the scheduler, and so for every task: the stream goes first, as when a day is built while events arrive."""

QUIET = {
    # says three times every ten seconds that it looks at a folder
    "airflow.dag_processing.manager": "WARNING",
    # a traceback at each look at a running task, because no worker serves its log: the api-server reads the file itself
    "airflow.utils.log.file_task_handler": "CRITICAL",
    # repeats the tasks' output in the scheduler's log, with the secrets that are masked in the tasks' own
    "supervisor": "CRITICAL",
}
"""Loggers of Airflow, and from which level on they are heard."""

THEME = {
    "globalCss": {
        # The third of four badges under Health is red without a triggerer, and no setting says that none is wanted.
        'div:has(> svg + h2) ~ div > span[data-testid="state-badge"]:nth-of-type(3):nth-last-of-type(2)': {
            "display": "none !important"  # or else a later layer of Airflow's own styles wins
        }
    }
}

CONFIG_FILE = """# Everything is set by environment, see wardstream/stack/parts/airflow.py. This file is here because
# Airflow writes one with all its defaults, and with secrets, where it finds none.
"""


def home(settings: Settings) -> Path:
    """AIRFLOW_HOME: the logs of the tasks, and nothing that could not be lost."""
    return folder(settings, "airflow", 0o700)


def is_embedded(settings: Settings) -> bool:
    """Whether this stack has an Airflow of its own: it keeps its metadata in the embedded PostgreSQL."""
    return settings.airflow and postgres.PARTS[0].is_embedded(settings)


def version() -> str:
    """The pinned version of Airflow."""
    return importlib.metadata.version("apache-airflow")


def prepare(settings: Settings) -> None:
    """Make the secrets if they are missing, and write the files that Airflow wants to find."""
    ensure_secret(settings, ROLE)
    password = ensure_secret(settings, AIRFLOW_SECRET)
    for name in ("airflow_jwt", "airflow_api"):
        ensure_secret(settings, name)
    ensure_secret(settings, "airflow_fernet", lambda: base64.urlsafe_b64encode(os.urandom(32)).decode())
    # SimpleAuthManager takes passwords as they are in this file, and invents those that are not in it
    write_secret(_passwords_file(settings), json.dumps({AIRFLOW_USER: password}) + "\n")
    (home(settings) / "airflow.cfg").write_text(CONFIG_FILE)


def _passwords_file(settings: Settings) -> Path:
    return secrets_dir(settings) / "airflow_passwords.json"


def environment(settings: Settings) -> dict[str, str]:
    """What every process of Airflow has in its environment, and so every task: settings, Java, and Airflow's own."""
    place, java = home(settings), java_env(settings)
    database = f"{ROLE}:{settings.password(ROLE)}@127.0.0.1:{settings.postgres_port}/{postgres.AIRFLOW_DATABASE}"
    sections: dict[str, dict[str, object]] = {
        "core": {
            "executor": "LocalExecutor",
            # the workers are forked at once, and each costs memory: enough for three DAGs and the reconcile
            "parallelism": 4,
            "dags_folder": settings.dags_dir,
            "dags_are_paused_at_creation": False,
            "load_examples": False,
            "default_timezone": "utc",
            "fernet_key": settings.password("airflow_fernet"),
            # not getfqdn, which asks the network's name server
            "hostname_callable": "socket.gethostname",
            "simple_auth_manager_users": f"{AIRFLOW_USER}:admin",
            "simple_auth_manager_passwords_file": _passwords_file(settings),
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://{database}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://{database}",
            "sql_alchemy_pool_size": 3,
        },
        "api": {
            "host": "127.0.0.1",
            "port": settings.airflow_port,
            "base_url": settings.airflow_url,
            "workers": 1,
            "secret_key": settings.password("airflow_api"),
            "expose_config": False,
            "instance_name": "Wardstream",
            "theme": json.dumps(THEME),
        },
        "api_auth": {"jwt_secret": settings.password("airflow_jwt")},
        "scheduler": {
            # after a kill -9 the tasks of the former scheduler are found and repeated within half a minute
            "scheduler_health_check_threshold": HEARTBEAT_SECONDS,
            "orphaned_tasks_check_interval": 15,
            "task_instance_heartbeat_timeout": 120,
            "parsing_cleanup_interval": 60,
        },
        # a task bears it when the api-server, which it reports to, is away for a minute or two: killed, or not up yet
        "workers": {
            "execution_api_retries": 40,
            "execution_api_retry_wait_max": 5,
            "execution_api_timeout": 30,
            "max_failed_heartbeats": 10,
        },
        "dag_processor": {
            "dag_bundle_storage_path": place / "bundles",
            "parsing_processes": 1,
            # a new or changed file is seen by its time within ten seconds; an unchanged one is seldom read again
            "refresh_interval": 10,
            "min_file_process_interval": 300,
            "print_stats_interval": 0,
        },
        "logging": {
            "colored_console_log": False,
            "namespace_levels": " ".join(f"{name}={level}" for name, level in QUIET.items()),
            # the parser's log goes to ours, which is rotated, not to a file a DAG and day
            "dag_processor_log_target": "stdout",
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
    }
    own = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }
    return {
        **env.environment(settings),
        "JAVA_HOME": java["JAVA_HOME"],
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), java["PATH"]]),
        "AIRFLOW_HOME": str(place),
        **own,
        **_connections(settings),
    }


def _connections(settings: Settings) -> dict[str, str]:
    writer = conninfo_to_dict(settings.writer_url)
    # Of several, the first: Airflow's connections have one host and one port.
    host, port = (str(writer.get(part) or "").split(",")[0] for part in ("host", "port"))
    database = {
        "conn_type": "postgres",
        "host": host or None,
        "port": int(port or 5432),
        "login": writer.get("user"),
        "password": writer.get("password"),
        "schema": writer.get("dbname"),
    }
    spark = {"conn_type": "spark", "host": settings.spark_master, "extra": {"deploy-mode": "client"}}
    return {
        "AIRFLOW_CONN_WARDSTREAM_DB": json.dumps(database),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark),
    }


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *words]


def migrate(settings: Settings) -> str:
    """Bring the metadata database to this version of Airflow; starts no process when it is there already."""
    prepare(settings)
    note = home(settings) / "migrated"
    if _revision(settings) != "" and note.exists() and note.read_text() == f"{version()} {_revision(settings)}":
        return "present"
    log = log_file(settings, MIGRATION_LOG)
    with log.open("w") as stream:
        log.chmod(0o600)
        result = subprocess.run(
            _command("db", "migrate"),
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=home(settings),
            env={**env.base_environment(settings, with_java=False), **environment(settings)},
            check=False,
        )
    if result.returncode:
        text = log.read_text(errors="replace")
        if says_no_space(text):
            raise no_space("airflow-db", str(home(settings)))
        last = "\n".join(f"    {line}" for line in text.splitlines()[-12:])
        why = f"`airflow db migrate` failed; the end of {log}:\n{last}"
        raise StackError("airflow-db", why, "wardstream status; wardstream up")
    note.write_text(f"{version()} {_revision(settings)}")
    return "migrated"


def _connect(settings: Settings) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=settings.postgres_port,
        user=ROLE,
        password=settings.password(ROLE),
        dbname=postgres.AIRFLOW_DATABASE,
        connect_timeout=3,
        autocommit=True,
    )


def _revision(settings: Settings) -> str:
    with _connect(settings) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return ""
    return str(row[0]) if row else ""


def _answers(settings: Settings) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever proxy is set
    try:
        with opener.open(f"{settings.airflow_url}/api/v2/monitor/health", timeout=3) as answer:
            return bool(json.load(answer)["metadatabase"]["status"] == "healthy")
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False


class AirflowPart(Part):
    """What the three processes have in common."""

    needs = ("postgres", "airflow-db")
    # they wait until the servers have had the processors
    after = ("kafka", "registry")
    logs = (MIGRATION_LOG,)
    ready_seconds = 120.0
    # A task that sees its child ended reports a failure if it can, but it was only interrupted, and is to be repeated
    # when Airflow runs again.
    left_at_once = True
    words: tuple[str, ...]
    job = ""
    """What the process calls itself in Airflow's table of heartbeats; the api-server has none."""
    nice = 0

    def is_embedded(self, settings: Settings) -> bool:
        """Where the settings want it and the embedded PostgreSQL runs."""
        return is_embedded(settings)

    def version(self) -> str:
        """Airflow's."""
        return version()

    def most_memory(self, settings: Settings) -> int:
        """A page or a file that takes ten times what it should."""
        return 2 * GIB

    def steps(self, settings: Settings) -> list[Step]:
        """The metadata database, once for all three."""

        def migrated(_: threading.Event) -> str:
            return migrate(settings)

        return [Step("airflow-db", ["postgres"], migrated)]

    def prepare(self, settings: Settings) -> None:
        """Secrets and files."""
        prepare(settings)

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        return Launch(_command(*self.words), cwd=home(settings), env=environment(settings), nice=self.nice)

    def ready(self, settings: Settings) -> bool:
        """Whether this process, not the one before it, has a heartbeat."""
        try:
            started = life_file(settings, self.name).stat().st_mtime
            with _connect(settings) as connection:
                found = connection.execute(
                    "SELECT FROM job WHERE job_type = %s AND state = 'running' AND start_date >= to_timestamp(%s)"
                    " AND latest_heartbeat > now() - make_interval(secs => %s)",
                    [self.job, started, HEARTBEAT_SECONDS],
                ).fetchone()
        except (FileNotFoundError, psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return False
        return found is not None


class ApiServer(AirflowPart):
    """UI and REST."""

    name = "api-server"
    ports = ("airflow_port",)
    words = ("api-server",)
    stop_seconds = 2  # it keeps nothing; asked kindly it takes longer than five seconds

    def ready(self, settings: Settings) -> bool:
        """Whether it answers, and its database does."""
        return _answers(settings)

    def page(self, settings: Settings) -> Page:
        """Airflow's pages."""
        return Page("Airflow", settings.airflow_url, AIRFLOW_USER, AIRFLOW_SECRET, variable="AIRFLOW")


class Scheduler(AirflowPart):
    """It runs the tasks, too."""

    name = "scheduler"
    words = ("scheduler", "--skip-serve-logs")
    job = "SchedulerJob"
    nice = NICE
    stops_before = ("api-server",)  # which its tasks report to
    stop_seconds = 5  # it would wait for its tasks to the end; they are repeated after the next start

    def most_memory(self, settings: Settings) -> int:
        """With all tasks, among them the Spark job that builds days."""
        return memory_bytes(settings.daily_driver_memory) + 3 * GIB


class DagProcessor(AirflowPart):
    """It reads the DAG files."""

    name = "dag-processor"
    words = ("dag-processor",)
    job = "DagProcessorJob"
    nice = NICE
    stops_before = ("api-server",)
    stop_seconds = 5


PARTS: list[Part] = [ApiServer(), Scheduler(), DagProcessor()]
NAMES = tuple(part.name for part in PARTS)
