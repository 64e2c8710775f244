"""`wardstream backup` and `wardstream restore`. Registered by `wardstream.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardstream.settings import get_settings
from wardstream.stack import backup as backups


def backup(folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")]) -> None:
    """Write all that PostgreSQL holds, and the embedded registry's schemas, into a folder; the stream may run."""
    for name, size in backups.backup(get_settings(), folder).items():
        typer.echo(f"{folder / name}: {size / 2**20:.1f} MiB")
    typer.echo("it holds patient data; Kafka's messages and Airflow's runs are not in it")


def restore(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="What `wardstream backup` wrote.")],
    registry: Annotated[
        bool, typer.Option("--registry", help="The embedded registry's schemas, too: where they were lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace all data in PostgreSQL by a backup; the stream reads from Kafka again what came after it.

    PostgreSQL must be up. A stream of this stack is stopped and started again.
    """
    settings = get_settings()
    if not yes and backups.has_data(settings):
        typer.confirm(f"replace all data in database {settings.database_name}?", abort=True)
    backups.restore(settings, folder, registry, typer.echo)
    typer.echo("restored; `wardstream verify` waits for the stream and proves it")
