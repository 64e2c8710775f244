"""`wardstream stream start | drain | stop | restart`: ask for it, then show what is seen until it is so.

`wardstream stream accept-gap` is for offsets that Kafka lost before they were read.
"""

from __future__ import annotations

import getpass
import socket
import time
import uuid
from typing import Annotated

import typer

from wardstream.settings import get_settings
from wardstream.stream import gaps
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


@app.command("accept-gap")
def accept_gap(
    reason: Annotated[str, typer.Option(help="Why, for those who read ops.gaps and verify's notes later.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show what Kafka lost before it was read, accept the loss, and let the stream go on after it."""
    settings = get_settings()
    lost = gaps.find(settings)
    if not lost:
        typer.echo("nothing is lost: the ledger and Kafka's logs fit")
        return
    typer.echo("\n".join(f"  {loss}" for loss in lost))
    if not reason.strip():
        typer.secho("nothing was accepted; to accept this, say why with --reason", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)
    if not yes:
        typer.confirm("accept this for good?", abort=True)
    try:
        gaps.accept(settings, lost, reason.strip(), f"{getpass.getuser()}@{socket.gethostname()}")
    except gaps.Changed as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from None
    typer.echo("accepted, and written down in ops.gaps; a stream that is blocked by it goes on within seconds")


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
