"""`wardstream quarantine list | discard`: what was refused and waits, and saying that nothing more is to be done."""

from __future__ import annotations

import getpass
import re
import socket
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import connect
from wardstream.settings import Settings, get_settings
from wardstream.watch.quarantine import Chosen, QuarantineError, discard, senders, waiting

app = typer.Typer(no_args_is_help=True, help="Messages that could not become facts: what waits, and discarding it.")


@app.command("list")
def list_command(topic: Annotated[str | None, typer.Argument(help="One topic; all without it.")] = None) -> None:
    """Count what nobody has decided about, by topic, reason and schema id; no value is shown."""
    settings = get_settings()
    contracts = load_contracts(settings.schemas_dir)
    with connect(settings.writer_url, "wardstream quarantine") as conn:
        rows = waiting(conn, topic)
        sent = {name: senders(conn, contracts[name]) for name in {row.topic for row in rows} if name in contracts}
    if not rows:
        typer.echo("nothing waits in quarantine" + (f" of topic {topic}" if topic else ""))
        return
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    for head in ("topic", "reason", "schema id"):
        table.add_column(head, overflow="fold")
    table.add_column("messages", justify="right")
    for head in ("first (UTC)", "last (UTC)"):
        table.add_column(head, no_wrap=True)
    for row in rows:
        number = "" if row.schema_id is None else str(row.schema_id)
        times = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in (row.first, row.last))
        table.add_row(row.topic, row.reason, number, str(row.messages), *times)
    Console().print(table)
    for name, of_topic in sorted(sent.items()):
        if of_topic:
            typer.echo(f"senders of {name}, as far as the newest can be read: {', '.join(map(str, of_topic))}")
    typer.echo("docs/runbooks/a-message-is-in-quarantine.md")


@app.command("discard")
def discard_command(
    topic: Annotated[str, typer.Argument(help="Topic of the messages.")],
    note: Annotated[str, typer.Option(help="Why, for those who read ops.quarantine later.")] = "",
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Only those refused for this reason.")] = None,
    before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only those refused before; the facility's clock, or with offset."),
    ] = None,
    offsets: Annotated[str | None, typer.Option(metavar="A-B", help="Only those at these offsets.")] = None,
    partition: Annotated[int | None, typer.Option(help="Only those of this partition.")] = None,
) -> None:
    """Say that nothing more is to be done about messages in quarantine; they stay, as the account of their offsets."""
    settings = get_settings()
    if not note.strip():
        _fail("nothing was discarded; say why with --note")
    try:
        chosen = Chosen(topic, reason, _time(before, settings), partition, _range(offsets))
        marked = discard(settings, chosen, f"{getpass.getuser()}@{socket.gethostname()}", note.strip())
    except QuarantineError as error:
        _fail(str(error))
    typer.echo(f"discarded: {marked} messages of topic {topic}" if marked else "nothing that fits waits in quarantine")


def _time(text: str | None, settings: Settings) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise QuarantineError(f"--before {text}: not a time in the form 2026-11-26T08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=settings.zone)


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if last < first:
        raise QuarantineError(f"--offsets {text}: not a range in the form 17-42")
    return first, last


def _fail(said: str) -> None:
    typer.secho(said, err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
