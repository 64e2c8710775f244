"""Starting and stopping the whole stack, or one part of it; safe to repeat, also after an interrupt."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
from psycopg.conninfo import conninfo_to_dict

from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import airflow, jars, kafka, manager, paths, postgres, registry
from wardstream.stack.env import stream_environment
from wardstream.stack.errors import StackError, no_traceback, says_no_space
from wardstream.stack.parts import AIRFLOW_PARTS, Launch, Server, embedded_parts, is_embedded, ports
from wardstream.stack.steps import Say, Step, run_steps, wait_until

READY_SECONDS = {"postgres": 60.0, "kafka": 60.0, "registry": 90.0, "stream": 120.0}
READY_SECONDS |= dict.fromkeys(AIRFLOW_PARTS, 120.0)
AGAIN = ", started again: its settings or its environment changed"
MODULES: dict[str, Server] = {"postgres": postgres, "kafka": kafka, "registry": registry, **airflow.PARTS}


def _quiet(_: str) -> None:
    pass


def start(settings: Settings, stream: bool = True, say: Say = _quiet) -> None:
    """Start everything that does not run yet and wait until it is ready; StackError says what failed and what to type.

    With `stream=False` the stream is left as it is: not started, and not stopped when it runs.
    """
    with no_traceback("up"), paths.locked(settings.state_dir, "up"):
        if manager.manager_pid(settings) is None:
            ended = manager.end_leftovers(settings, grace=10.0)
            if ended:
                say(f"          ended {ended} processes that a killed process manager left behind")
        check_databases(settings)
        check_passwords(settings)
        parts = embedded_parts(settings)
        check_ports(settings, parts)
        manager.ensure_running(settings)
        run_steps(_steps(settings, parts, stream, say), say)


def _steps(settings: Settings, parts: list[str], stream: bool, say: Say) -> list[Step]:
    def fetch(_: threading.Event) -> str:
        jars.fetch(settings, lambda text: say(f"          {text}"))
        return "verified"

    def migrate(_: threading.Event) -> str:
        from wardstream.database.migrate import migrate
        from wardstream.proof.folds import rebuild_due

        migrate(settings)
        return "; ".join(["applied", *rebuild_due(settings)])

    def topics(_: threading.Event) -> str:
        from wardstream.kafka.topics import create_topics

        create_topics(settings)
        return "present"

    def schemas(_: threading.Event) -> str:
        from wardstream.registry.client import register_all

        register_all(settings)
        return "registered"

    needs = {"postgres": [], "kafka": ["jars"], "registry": ["jars", "postgres"]}
    steps = [Step("jars", [], fetch)]
    if AIRFLOW_PARTS[0] in parts:
        # nothing else waits for these; they wait for their database, and until the servers have had the processors
        steps.append(Step("airflow-db", ["postgres"], lambda _: airflow.migrate(settings)))
        needs |= {part: ["airflow-db", "kafka", "registry"] for part in AIRFLOW_PARTS}
    for name in needs:
        if name in parts:
            steps.append(Step(name, needs[name], lambda stop, part=name: _start_server(settings, part, stop)))  # type: ignore[misc]
    steps.append(Step("migrate", ["postgres"], migrate))
    steps.append(Step("topics", ["kafka"], topics))
    steps.append(Step("schemas", ["registry"], schemas))
    if stream:
        others = [step.name for step in steps if step.name not in (*AIRFLOW_PARTS, "airflow-db")]
        steps.append(Step("stream", others, lambda stop: _start_stream(settings, stop)))
    return steps


def _start_server(settings: Settings, part: str, stop: threading.Event) -> str:
    module = MODULES[part]
    state = manager.states(settings).get(part)
    running = state is not None and state.name in manager.ALIVE
    if not running and hasattr(module, "prepare"):
        module.prepare(settings)
    launch: Launch = module.launch(settings)
    again = ""
    if running and not manager.same_launch(settings, part, launch):
        if part not in AIRFLOW_PARTS:
            raise StackError(part, "it runs with other settings", "wardstream down; wardstream up")
        manager.stop(settings, part)
        running, again = False, AGAIN
    if not running:
        manager.start(settings, part, launch)
    _wait_ready(settings, part, module.ready, stop)
    if part == "postgres":
        postgres.bootstrap(settings)
    where = "".join(f" on port {port}" for port in [*ports(settings, part).values()][:1])
    return f"{'runs' if running else 'ready'}{where}{again}"


def _start_stream(settings: Settings, stop: threading.Event) -> str:
    launch = stream_launch(settings)
    state = manager.states(settings).get("stream")
    running = state is not None and state.name in manager.ALIVE
    again = ""
    if running and not manager.same_launch(settings, "stream", launch):
        manager.stop(settings, "stream")
        running, again = False, AGAIN
    if not running:
        manager.start(settings, "stream", launch)
    _wait_ready(settings, "stream", stream_ready, stop)
    return (_purpose_in_words(settings) or ("runs" if running else "ready")) + again


def _purpose_in_words(settings: Settings) -> str:
    """Why the stream waits, where it does: somebody asked for it, and `up` does not overrule that."""
    from wardstream.watch.status import stream_purpose

    purpose = stream_purpose(settings)
    if purpose is None or not purpose.waits_on_purpose(pids(settings).get("stream")):
        return ""
    turn = purpose.turn
    since = f"{turn.requested_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"waits, {turn.desired} as {turn.requested_by} asked at {since}; `wardstream stream start` starts it"


def stream_launch(settings: Settings) -> Launch:
    """The stream's command."""
    return Launch([sys.executable, "-m", "spark_jobs.stream"], cwd=PROJECT_ROOT, env=stream_environment(settings))


def stream_ready(settings: Settings) -> bool:
    """Whether the stream that the process manager runs is ready (not one that was just killed) or waits on purpose.

    StackError where it is blocked: it will not become ready before somebody has decided something.
    """
    from wardstream.stream.start import BLOCKED_RUNBOOK
    from wardstream.watch.status import stream_purpose, stream_status

    pid = pids(settings).get("stream")
    status, purpose = stream_status(settings), stream_purpose(settings)
    if status is not None and status.pid == pid and status.state == "blocked":
        raise StackError("stream", f"it is blocked: {status.blocked_by}", f"less {BLOCKED_RUNBOOK}")
    runs = status is not None and status.ready and status.pid == pid
    return runs or (purpose is not None and purpose.waits_on_purpose(pid))


def _wait_ready(settings: Settings, part: str, ready: Callable[[Settings], bool], stop: threading.Event) -> None:
    def check() -> bool:
        state = manager.states(settings).get(part)
        if state is None or state.name not in manager.ALIVE:
            raise _failed(settings, part, "it ended" if state else "the process manager ended")
        # while it is being restarted, another process may still answer on its port
        return state.name in ("RUNNING", "STARTING") and ready(settings)

    if not wait_until(check, READY_SECONDS[part], stop) and not stop.is_set():
        raise _failed(settings, part, f"not ready after {READY_SECONDS[part]:.0f} s")


def _failed(settings: Settings, part: str, why: str) -> StackError:
    log = manager.last_lines(settings, part)
    indented = "\n".join(f"    {line}" for line in log.splitlines())
    to_type = "df -h; make room" if says_no_space(log) else f"wardstream logs {part}"
    return StackError(part, f"{why}; the end of its log:\n{indented}", f"{to_type}; then wardstream up")


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
        if role in postgres.ROLES and password not in (None, _password_now(settings, role)):
            old.append(variable)
    if old:
        why = f"{' and '.join(old)} in the environment or in .env: not the password of this stack's PostgreSQL"
        raise StackError("postgres", why, f"unset {' '.join(old)}; wardstream up")


def _password_now(settings: Settings, role: str) -> str | None:
    try:
        return settings.password(role)
    except FileNotFoundError:
        return None  # not made yet


def check_ports(settings: Settings, parts: list[str]) -> None:
    """Each port must be free or used by our own part; all busy ones are named, with the settings that move them."""
    alive = {part for part, state in manager.states(settings).items() if state.name in manager.ALIVE}
    wanted = {at: part for part in parts if part not in alive for at in ports(settings, part).items()}
    busy = [(part, variable, port) for (variable, port), part in wanted.items() if not _is_free(port)]
    if not busy:
        return
    why = "; ".join(f"{part}: port {port} is in use{_user_of(port)}" for part, variable, port in busy)
    moved = [f"{variable}={_free_port_like(port)}" for _, variable, port in busy]
    to_type = f"{' '.join(moved)} wardstream up   (or other numbers; later commands know them)"
    raise StackError(busy[0][0], why.removeprefix(f"{busy[0][0]}: "), to_type)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port_like(port: int) -> int | str:
    """A free port with the same last digits, which people remember; above where there is one."""
    others = [*range(port + 1000, 65_536, 1000), *range(port - 1000, 1024, -1000)]
    return next((other for other in others if _is_free(other)), "PORT")


def _user_of(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return " by another program"


def stop(settings: Settings) -> None:
    """Stop everything: the stream first, which finishes its batch, PostgreSQL last; leaves no process and no socket."""
    if not settings.state_dir.exists():
        return
    with no_traceback("down"), paths.locked(settings.state_dir, "down"):
        # those who use the servers; then the servers, api-server among them, which tasks report to; then the database
        for group in (("stream", "scheduler", "dag-processor"), ("registry", "kafka", "api-server"), ("postgres",)):
            with ThreadPoolExecutor(len(group)) as pool:
                for job in [pool.submit(manager.stop, settings, part) for part in group]:
                    job.result()
        manager.shut_down(settings)


def start_part(settings: Settings, part: str) -> None:
    """Start one part with the settings and environment of now, and wait until it is ready."""
    manager.ensure_running(settings)
    never = threading.Event()
    if part == "stream":
        _start_stream(settings, never)
    else:
        _start_server(settings, part, never)


def stop_part(settings: Settings, part: str) -> None:
    """Stop one part; it stays stopped until it is started."""
    manager.stop(settings, part)


def pids(settings: Settings) -> dict[str, int]:
    """The pids of the parts that have one (the stream: its Python, whose child is the JVM)."""
    return {part: state.pid for part, state in manager.states(settings).items() if state.pid}
