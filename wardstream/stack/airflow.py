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
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from wardstream.settings import Settings
from wardstream.stack import env
from wardstream.stack.config import life_file
from wardstream.stack.errors import StackError, no_space, says_no_space
from wardstream.stack.java import java_env
from wardstream.stack.parts import Launch, embedded_parts
from wardstream.stack.paths import folder, log_file
from wardstream.stack.postgres import AIRFLOW_DATABASE
from wardstream.stack.secret_files import ensure_secret, secrets_dir, write_secret

ROLE = "wardstream_airflow"
USER = "admin"
USER_SECRET = "airflow_admin"  # noqa: S105 - the name of the file
HEARTBEAT_SECONDS = 15
"""A scheduler or dag-processor that was silent for longer is dead; both say something every five seconds."""

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

CONFIG_FILE = """# Everything is set by environment, see wardstream/stack/airflow.py. This file is here because Airflow
# writes one with all its defaults, and with secrets, where it finds none.
"""


def home(settings: Settings) -> Path:
    """AIRFLOW_HOME: the logs of the tasks, and nothing that could not be lost."""
    return folder(settings, "airflow", 0o700)


def url(settings: Settings) -> str:
    """The UI, and the base of the REST API."""
    return f"http://127.0.0.1:{settings.airflow_port}"


def runs_here(settings: Settings) -> bool:
    """Whether this stack has an Airflow of its own."""
    return "api-server" in embedded_parts(settings)


def version() -> str:
    """The pinned version of Airflow."""
    return importlib.metadata.version("apache-airflow")


def prepare(settings: Settings) -> None:
    """Make the secrets if they are missing, and write the files that Airflow wants to find."""
    ensure_secret(settings, ROLE)
    password = ensure_secret(settings, USER_SECRET)
    for name in ("airflow_jwt", "airflow_api"):
        ensure_secret(settings, name)
    ensure_secret(settings, "airflow_fernet", lambda: base64.urlsafe_b64encode(os.urandom(32)).decode())
    # SimpleAuthManager takes passwords as they are in this file, and invents those that are not in it
    write_secret(_passwords_file(settings), json.dumps({USER: password}) + "\n")
    (home(settings) / "airflow.cfg").write_text(CONFIG_FILE)


def _passwords_file(settings: Settings) -> Path:
    return secrets_dir(settings) / "airflow_passwords.json"


def environment(settings: Settings) -> dict[str, str]:
    """What every process of Airflow has in its environment, and so every task: settings, Java, and Airflow's own."""
    place, java = home(settings), java_env(settings)
    database = f"{ROLE}:{settings.password(ROLE)}@127.0.0.1:{settings.postgres_port}/{AIRFLOW_DATABASE}"
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
            "simple_auth_manager_users": f"{USER}:admin",
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
            "base_url": url(settings),
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


def shell_variables(settings: Settings) -> dict[str, str]:
    """Address and login for a shell; nothing where Airflow does not run here."""
    if not runs_here(settings):
        return {}
    return {
        "WARDSTREAM_AIRFLOW_URL": url(settings),
        "WARDSTREAM_AIRFLOW_USER": USER,
        "WARDSTREAM_AIRFLOW_PASSWORD": settings.password(USER_SECRET),
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
    log = log_file(settings, "airflow-migrate")
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
        dbname=AIRFLOW_DATABASE,
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


@dataclass(frozen=True)
class Part:
    """One of the three processes."""

    name: str
    words: tuple[str, ...]
    job: str
    """What the process calls itself in Airflow's table of heartbeats; empty for the api-server, which has none."""
    nice: int = 0

    def version(self) -> str:
        """The pinned version of Airflow."""
        return version()

    def prepare(self, settings: Settings) -> None:
        """What has to be there before it starts."""
        prepare(settings)

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        return Launch(_command(*self.words), cwd=home(settings), env=environment(settings), nice=self.nice)

    def ready(self, settings: Settings) -> bool:
        """Whether it works: this process, not the one before it."""
        return self._beats(settings) if self.job else _answers(settings)

    def _beats(self, settings: Settings) -> bool:
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


def _answers(settings: Settings) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever proxy is set
    try:
        with opener.open(f"{url(settings)}/api/v2/monitor/health", timeout=3) as answer:
            return bool(json.load(answer)["metadatabase"]["status"] == "healthy")
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False


PARTS = {
    part.name: part
    for part in (
        Part("api-server", ("api-server",), ""),
        Part("scheduler", ("scheduler", "--skip-serve-logs"), "SchedulerJob", NICE),
        Part("dag-processor", ("dag-processor",), "DagProcessorJob", NICE),
    )
}
