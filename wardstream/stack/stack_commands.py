"""The commands for the embedded stack: up, down, status, logs, reset, env. Mounted by `wardstream.cli`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live

from wardstream.settings import Settings, get_settings
from wardstream.stack import access, manager, paths, report, up
from wardstream.stack.config import MEMORY_GUARD
from wardstream.stack.env import redact
from wardstream.stack.errors import StackError, no_traceback
from wardstream.stack.parts import PARTS
from wardstream.stack.parts.postgres import check_passwords
from wardstream.stack.show import tables

app = typer.Typer(
    no_args_is_help=True,
    help="Hospital events from Kafka into PostgreSQL, each exactly once; up and down run all of it on this machine.",
)
FILES = tuple(dict.fromkeys([*(name for part in PARTS for name in (part.name, *part.logs)), "manager", MEMORY_GUARD]))
"""The names of the logs."""
WIDTH = max(map(len, FILES))
OPTIONAL = ", ".join(part.name for part in PARTS if part.optional) or "none in this version"


def _fail(settings: Settings, error: Exception) -> NoReturn:
    typer.secho(redact(str(error), settings), err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


@contextmanager
def _one_line_errors(settings: Settings) -> Iterator[None]:
    try:
        with no_traceback("stack"):
            yield
    except StackError as error:
        _fail(settings, error)
    except KeyboardInterrupt:
        typer.echo("interrupted; `wardstream up` goes on from here, `wardstream down` stops what runs", err=True)
        raise typer.Exit(130) from None


@app.command(name="up")
def up_command(
    stream: Annotated[bool, typer.Option(help="Start the stream as well.")] = True,
    with_parts: Annotated[
        str | None, typer.Option("--with", metavar="NAME[,NAME]", help=f"Optional parts to have: {OPTIONAL}.")
    ] = None,
) -> None:
    """Start what does not run yet, and wait until all is ready.

    Which optional parts there are is remembered: a later `up` keeps them,
    `--with` names all that there are from then on, `--with none` ends them.
    """
    settings = get_settings()
    if with_parts is not None:
        settings = settings.model_copy(update={"with_parts": with_parts})
    with _one_line_errors(settings):
        up.start(settings, stream, typer.echo)
    typer.echo("the stack is up; `wardstream status` shows it, `wardstream env` the connection settings")


@app.command()
def down() -> None:
    """Stop everything; the data stays."""
    settings = get_settings()
    with _one_line_errors(settings):
        up.stop(settings)
    typer.echo(f"stopped; the data stays in {settings.state_dir}; `wardstream up` starts it again")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs; with --watch one line a look.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
) -> None:
    """Show each part and topic, and the memory they take; exit code 0 only when all are running and healthy.

    With --watch the exit code is 0 whatever was seen.
    """
    settings = get_settings()
    if watch:
        with _one_line_errors(settings), contextlib.suppress(KeyboardInterrupt):
            _watch(settings, as_json, every)
        return
    with _one_line_errors(settings):
        seen = report.report(settings)
    if as_json:
        typer.echo(json.dumps(seen.as_dict(), indent=2))
    else:
        Console().print(tables(seen))
    raise typer.Exit(0 if seen.healthy else 1)


def _watch(settings: Settings, as_json: bool, every: float) -> None:
    """One look after the other, for ever: on a terminal in place of the one before, elsewhere below it."""
    console = Console()
    if as_json:
        while True:
            typer.echo(json.dumps(report.report(settings).as_dict()))
            time.sleep(every)
    if not console.is_terminal:
        while True:
            console.print(_at_its_time(settings))
            time.sleep(every)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_at_its_time(settings), refresh=True)
            time.sleep(every)


def _at_its_time(settings: Settings) -> Group:
    return Group(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", tables(report.report(settings)))


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help=f"One of {', '.join(FILES)}; all without it.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1)] = 40,
) -> None:
    """Show the end of the logs."""
    settings = get_settings()
    if part is not None and part not in FILES:
        _fail(settings, StackError("logs", f"there is no part {part}", f"wardstream logs {'|'.join(FILES)}"))
    chosen = [part] if part else list(FILES)
    with _one_line_errors(settings):
        for name in chosen:
            if not part and not paths.log_file(settings, name).exists():
                continue  # such as an optional part that never was
            for line in manager.last_lines(settings, name, lines).splitlines():
                typer.echo(line if part else f"{name:<{WIDTH}}| {line}")
        if follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(settings, chosen)


def _follow(settings: Settings, chosen: list[str]) -> None:
    files = {name: paths.log_file(settings, name) for name in chosen}
    positions = {name: _size(file) for name, file in files.items()}
    while True:
        for name, file in files.items():
            size = _size(file)
            if size < positions[name]:
                positions[name] = 0  # rotated
            if size > positions[name]:
                with file.open(errors="replace") as stream:
                    stream.seek(positions[name])
                    text = redact(stream.read(), settings)
                positions[name] = size
                for line in text.splitlines():
                    typer.echo(line if len(chosen) == 1 else f"{name:<{WIDTH}}| {line}")
        time.sleep(0.3)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete all data of this stack."""
    settings = get_settings()
    if not yes:
        typer.confirm(f"delete all data in {settings.state_dir}?", abort=True)
    with _one_line_errors(settings):
        up.stop(settings)
        paths.remove(settings)
    typer.echo("deleted; `wardstream up` starts with nothing")
    try:
        check_passwords(settings)
    except StackError as error:  # said now, since the next `up` would say it
        typer.echo(str(error))


@app.command()
def env() -> None:
    """Print the connection settings, for `eval "$(wardstream env)"`."""
    settings = get_settings()
    with _one_line_errors(settings):
        try:
            here = report.present(settings, manager.alive(settings))
            lines = access.export_lines(access.shell_variables(settings, here))
        except FileNotFoundError as error:
            raise StackError("env", "there are no passwords yet", "wardstream up") from error
        for line in lines:
            typer.echo(line)


if __name__ == "__main__":
    app()
