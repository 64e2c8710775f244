"""`wardstream contracts check | lock`: the command line over `check` and `lock`. `register` is in `wardstream.cli`."""

from __future__ import annotations

import typer

from wardstream.contracts.check import check_contracts
from wardstream.contracts.lock import LOCK_FILE, add_to_lock
from wardstream.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="The contracts of the topics: schemas/<topic>/.")


@app.command()
def check() -> None:
    """Check all contracts without a server; exit code 1 and one line a problem where something is wrong."""
    folder = get_settings().schemas_dir
    problems = check_contracts(folder, get_settings().sql_dir)
    for problem in problems:
        typer.secho(problem, err=True, fg=typer.colors.RED)
    if problems:
        typer.echo(f"{len(problems)} problem(s) in {folder}", err=True)
        raise typer.Exit(1)
    typer.echo(f"contracts in {folder} are in order")


@app.command()
def lock() -> None:
    """Release new schema versions: add them to SHA256SUMS, after which they may not change."""
    folder = get_settings().schemas_dir
    for path in add_to_lock(folder):
        typer.echo(f"added {path}")
    typer.echo(f"{folder / LOCK_FILE} is complete")
