"""`wardstream contracts check | lock | new | files | show`. `register` is in `wardstream.cli`: it talks to a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from wardstream.contracts.check import check_contracts
from wardstream.contracts.files import files_of
from wardstream.contracts.lock import LOCK_FILE, add_to_lock, lock_problems
from wardstream.contracts.model import ContractError, load_contract
from wardstream.contracts.new import KINDS, write_topic
from wardstream.settings import FILES, IN_A_CLONE, get_settings

app = typer.Typer(no_args_is_help=True, help="The contracts of the topics: schemas/<topic>/.")


@app.command()
def check(
    database: Annotated[
        bool, typer.Option("--database", help="Try commit files, folds and daily tables in PostgreSQL and Spark, too.")
    ] = False,
) -> None:
    """Check all contracts, without a server; exit code 1 and one line a problem where something is wrong."""
    folder = get_settings().schemas_dir
    problems = check_contracts(folder, get_settings().sql_dir)
    if database and not problems:
        # this package itself talks to no server
        from wardstream.daily.queries import check_queries
        from wardstream.database.check import check_database

        problems = check_database(get_settings()) or check_queries(get_settings())
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
    if problems := lock_problems(folder):
        for problem in problems:
            typer.secho(problem, err=True, fg=typer.colors.RED)
        raise typer.Exit(1)
    typer.echo(f"{folder / LOCK_FILE} is complete")


@app.command()
def new(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic, such as vitals.")],
    key: Annotated[str, typer.Option(help="The sender's identity of a thing, such as vital_id.")],
    field: Annotated[
        list[str],
        typer.Option(
            help=f"NAME:TYPE, once a field. Types: {', '.join(KINDS)}.", default_factory=list, show_default=False
        ),
    ],
) -> None:
    """Write the files of a new topic, with a core table and a mart view; nothing is written over."""
    settings = get_settings()
    if not IN_A_CLONE and FILES in (settings.schemas_dir.parent, settings.sql_dir.parent):
        raise ContractError("these are the files of the installed package; set WARDSTREAM_SCHEMAS_DIR and _SQL_DIR")
    pairs = [text.partition(":") for text in field]
    fields = {name: kind for name, _, kind in pairs}
    if len(fields) < len(field):
        raise ContractError("a field is named twice")
    for path in write_topic(settings.schemas_dir, settings.sql_dir, topic, key, fields):
        typer.echo(f"wrote {_near(path)}")
    typer.echo(
        "Say in contract.yaml what each field means, its classification and its range; adapt the examples. Then\n"
        "  wardstream contracts check        says what is missing\n"
        "  wardstream contracts lock         releases the schema: after that it does not change\n"
        "  wardstream down; wardstream up    makes tables and topic, registers the schema, and the stream reads it"
    )


@app.command()
def files(topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")]) -> None:
    """List every file that says something of a topic: contract, folds, migrations, daily tables."""
    settings = get_settings()
    for path in files_of(settings.schemas_dir, settings.sql_dir, topic):
        typer.echo(_near(path))


@app.command()
def show(topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")]) -> None:
    """Print a contract whole, with what every event begins with: one document of the standard, for other tools."""
    document = dict(load_contract(get_settings().schemas_dir / topic).document)
    typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def _near(path: Path) -> str:
    """The path as one types it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
