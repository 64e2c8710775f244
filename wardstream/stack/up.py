"""Starting and stopping the whole stack, or one part of it; safe to repeat, also after an interrupt."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence

import psutil

from wardstream.settings import Settings
from wardstream.stack import environments, jars, manager, parts, paths
from wardstream.stack.errors import StackError, no_traceback, says_no_space
from wardstream.stack.part import Part
from wardstream.stack.parts import stream as stream_part
from wardstream.stack.steps import Say, Step, run_steps, wait_until

RESTARTED = ", restarted: its settings or its environment changed"


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
        parts.check_names(settings)
        for part in parts.PARTS:
            part.check(settings)
        here = parts.embedded(settings)
        _stop_what_is_off(settings, here, say)
        _remember_optional(settings)  # also when a port is busy: the line that moves it does not name them again
        check_ports(settings, here)
        manager.ensure_running(settings)
        run_steps(_steps(settings, here, stream, say), say)


def _stop_what_is_off(settings: Settings, here: Sequence[Part], say: Say) -> None:
    """Optional parts that run and that nobody asks for any more."""
    running = manager.alive(settings)
    for part in reversed(parts.PARTS):
        if part.optional and part.name in running and part not in here:
            manager.stop(settings, part.name)
            say(f"          stopped {part.name}, which is no longer asked for")


def _remember_optional(settings: Settings) -> None:
    """Keep which optional parts there are for the commands after this one (`settings.LastStart`)."""
    (paths.folder(settings, ".") / "with.txt").write_text(",".join(sorted(settings.optional_parts)) + "\n")


def _steps(settings: Settings, here: Sequence[Part], stream: bool, say: Say) -> list[Step]:
    def fetch(_: threading.Event) -> str:
        names = sorted({name for part in here for name in part.jars})
        jars.fetch(settings, lambda text: say(f"          {text}"), names)
        return "verified"

    def migrate(_: threading.Event) -> str:
        from wardstream.database.check import check_database
        from wardstream.database.migrate import migrate
        from wardstream.proof.folds import rebuild_due

        migrate(settings)
        if faults := check_database(settings):
            raise _faulty("migrate", faults)
        return "; ".join(["applied", *rebuild_due(settings)])

    def queries(_: threading.Event) -> str:
        from wardstream.daily.queries import changed_queries

        if faults := changed_queries(settings):
            raise _faulty("queries", faults)
        return "tried"

    def topics(_: threading.Event) -> str:
        from wardstream.kafka.topics import create_topics

        create_topics(settings)
        return "present"

    def schemas(_: threading.Event) -> str:
        from wardstream.registry.client import register_all

        return "; ".join(register_all(settings).findings) or "registered"

    steps = {
        # on our servers or on those elsewhere
        "jars": Step("jars", [], fetch),
        "migrate": Step("migrate", ["postgres"], migrate),
        "queries": Step("queries", ["jars", "migrate"], queries),
        "topics": Step("topics", ["kafka"], topics),
        "schemas": Step("schemas", ["registry"], schemas),
    }
    for part in here:
        if part.name == stream_part.NAME and not stream:
            continue
        steps |= {step.name: step for step in part.steps(settings)}
        packages = f"{part.name}-packages"
        if part.requirements:
            steps[packages] = _packages_step(settings, part, packages, say)
        steps[part.name] = _start_step(settings, part, packages)
    return list(steps.values())


def _faulty(step: str, faults: Sequence[str]) -> StackError:
    return StackError(step, "\n  ".join(faults), "wardstream up, once the files are mended")


def _packages_step(settings: Settings, part: Part, name: str, say: Say) -> Step:
    def install(_: threading.Event) -> str:
        return environments.install(settings, part, lambda text: say(f"          {text}"))

    return Step(name, [], install)


def _start_step(settings: Settings, part: Part, packages: str) -> Step:
    return Step(part.name, [packages, *part.needs, *part.after], lambda stop: _start(settings, part, stop))


def _start(settings: Settings, part: Part, stop: threading.Event) -> str:
    running = part.name in manager.alive(settings)
    if not running:
        part.prepare(settings)
    launch = part.launch(settings)
    restarted = ""
    if running and not manager.same_launch(settings, part.name, launch):
        if not part.follows_settings:
            raise StackError(part.name, "it runs with other settings", "wardstream down; wardstream up")
        manager.stop(settings, part.name)
        running, restarted = False, RESTARTED
    if not running:
        manager.start(settings, part.name, launch)
    _wait_ready(settings, part, stop)
    port = part.port(settings)
    where = f" on port {port}" if port else ""
    return (part.started(settings) or f"{'runs' if running else 'ready'}{where}") + restarted


def _wait_ready(settings: Settings, part: Part, stop: threading.Event) -> None:
    def check() -> bool:
        state = manager.states(settings).get(part.name)
        if state is None or state.name not in manager.ALIVE:
            raise _failed(settings, part.name, "it ended" if state else "the process manager ended")
        # while it is being restarted, another process may still answer on its port
        return state.name in ("RUNNING", "STARTING") and part.ready(settings)

    if not wait_until(check, part.ready_seconds, stop) and not stop.is_set():
        raise _failed(settings, part.name, f"not ready after {part.ready_seconds:.0f} s")


def _failed(settings: Settings, part: str, why: str) -> StackError:
    log = manager.last_lines(settings, part)
    indented = "\n".join(f"    {line}" for line in log.splitlines())
    to_type = "df -h; make room" if says_no_space(log) else f"wardstream logs {part}"
    return StackError(part, f"{why}; the end of its log:\n{indented}", f"{to_type}; then wardstream up")


def check_ports(settings: Settings, here: Sequence[Part]) -> None:
    """Each port must be free or used by our own part; all busy ones are named, with the settings that move them."""
    alive = manager.alive(settings)
    idle = [part for part in here if part.name not in alive]
    wanted = {at: part.name for part in idle for at in part.port_variables(settings).items()}
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
    """Stop everything, each part before those it needs; leaves no process and no socket.

    So the stream is first, which finishes its batch, and PostgreSQL last.
    """
    if not settings.state_dir.exists():
        return
    with no_traceback("down"), paths.locked(settings.state_dir, "down"):
        run_steps([_stop_step(settings, part) for part in parts.PARTS], _quiet)
        manager.shut_down(settings)


def _stop_step(settings: Settings, part: Part) -> Step:
    def run(_: threading.Event) -> str:
        manager.stop(settings, part.name)
        return "stopped"

    before = [each.name for each in parts.PARTS if part.name in (*each.needs, *each.stops_before)]
    return Step(part.name, before, run)


def start_part(settings: Settings, part: str) -> None:
    """Start one part with the settings and environment of now, and wait until it is ready."""
    manager.ensure_running(settings)
    environments.install(settings, parts.named(part), _quiet)
    _start(settings, parts.named(part), threading.Event())


def stop_part(settings: Settings, part: str) -> None:
    """Stop one part; it stays stopped until it is started."""
    manager.stop(settings, part)


def pids(settings: Settings) -> dict[str, int]:
    """The pids of the parts that have one (the stream: its Python, whose child is the JVM)."""
    return {part: state.pid for part, state in manager.states(settings).items() if state.pid}
