"""`wardstream stream start | drain | stop | restart`: ask for it, then show what is seen until it is so."""

from __future__ import annotations

import getpass
import time
import uuid
from typing import Annotated

import typer

from wardstream.settings import get_settings
from wardstream.stream.control import Action, Evidence, evidence, request

app = typer.Typer(no_args_is_help=True, help="Say what the stream should do.")

LOOK_SECONDS = 1.0
Wait = Annotated[bool, typer.Option(help="Wait until it is so.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


@app.command()
def start(wait: Wait = True, timeout: Timeout = 180.0) -> None:
    """Let the stream run, from where it was."""
    _ask("start", wait, timeout)


@app.command()
def drain(wait: Wait = True, timeout: Timeout = 600.0) -> None:
    """Commit all that Kafka holds now, then let no stream run; what comes later waits in Kafka."""
    _ask("drain", wait, timeout)


@app.command()
def stop(wait: Wait = True, timeout: Timeout = 180.0) -> None:
    """Finish the running batch, then let no stream run; what is not committed waits in Kafka."""
    _ask("stop", wait, timeout)


@app.command()
def restart(wait: Wait = True, timeout: Timeout = 180.0) -> None:
    """Finish the running batch, then begin anew: also starts a stream that was drained or stopped."""
    _ask("restart", wait, timeout)


def _ask(action: Action, wait: bool, timeout: float) -> None:
    settings = get_settings()
    me = f"cli-{getpass.getuser()}-{uuid.uuid4().hex[:8]}"
    control = request(settings, action, me)
    typer.echo(f"asked for: {control.desired}")
    if not wait:
        return
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        found = evidence(settings, by=me)
        if found.seen != said:
            typer.echo(f"  {found.seen}")
            said = found.seen
        if found.reached:
            if found.advice != "nothing to do":
                typer.echo(found.advice)
            return
        if found.hopeless or time.monotonic() > deadline:
            _give_up(found, timeout)
        time.sleep(LOOK_SECONDS)


def _give_up(found: Evidence, timeout: float) -> None:
    why = "it will not come to that" if found.hopeless else f"not so after {timeout:.0f} s"
    typer.secho(f"{why}: {found.seen}\n{found.advice}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
