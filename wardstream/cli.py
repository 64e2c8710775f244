"""The command line: `wardstream …`. Each command is thin; what it does is in the module it calls."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from confluent_kafka import KafkaException
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from wardstream.airflow.api import AirflowError
from wardstream.contracts.contract_commands import app as contracts_app
from wardstream.contracts.model import ContractError
from wardstream.database.connection import PoolerBetween, connect
from wardstream.database.migrate import migrate as apply_migrations
from wardstream.database.migrate import rollback, to_roll_back
from wardstream.database.migration_errors import MigrationFailedError
from wardstream.database.plan_error import PlanError
from wardstream.kafka.broker import TopicMissing
from wardstream.kafka.client import KafkaRefused
from wardstream.kafka.health import listens
from wardstream.kafka.topic_commands import peek, send, topics
from wardstream.kafka.topics import TopicError, differences
from wardstream.kafka.topics import mend as mend_topics
from wardstream.logs import configure_logging
from wardstream.proof.digest import digest as digests_of
from wardstream.proof.folds import rebuild_due
from wardstream.proof.reading import TopicUnreadableError
from wardstream.proof.rebuild import rebuild as rebuild_core
from wardstream.proof.report import Report
from wardstream.proof.verify import verify as run_verify
from wardstream.registry.client import RegistryRefusedError, RegistryUnavailableError, register_all
from wardstream.settings import AddressError, Settings, get_settings
from wardstream.sources.replay_commands import app as replay_app
from wardstream.stack.access import pages
from wardstream.stack.backup import refuse_other_drivers
from wardstream.stack.backup_commands import backup, restore
from wardstream.stack.bi_commands import bi
from wardstream.stack.demo import DemoError
from wardstream.stack.demo import demo as run_demo
from wardstream.stack.env import faults_of_settings, redact, stream_environment
from wardstream.stack.errors import StackError
from wardstream.stack.parts import elsewhere
from wardstream.stack.parts.airflow import environment as airflow_environment
from wardstream.stack.parts.postgres import binaries
from wardstream.stack.stack_commands import app
from wardstream.stack.unknown import set_now, unknown_variables
from wardstream.stream.stream_commands import app as stream_app
from wardstream.watch.quarantine_commands import app as quarantine_app

app.add_typer(contracts_app, name="contracts", help="Check and register the contracts of the topics.")
app.add_typer(replay_app, name="replay", help="Publish hospital data to Kafka.")
app.add_typer(quarantine_app, name="quarantine", help="Messages that could not become facts: list, discard.")
app.add_typer(stream_app, name="stream", help="Say what the stream should do: start, drain, stop, restart.")
for command in (send, topics, peek, bi, backup, restore):
    app.command()(command)
console = Console()

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the stream to reach the topics' ends.")]


@app.command()
def migrate(
    back: Annotated[int, typer.Option("--back", min=0, help="Roll back the newest N instead.", metavar="N")] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before rolling back.")] = False,
) -> None:
    """Apply the migrations of sql/migrations that the database lacks."""
    if back:
        _migrate_back(back, yes)
        return
    applied = apply_migrations(get_settings())
    typer.echo("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    for said in rebuild_due(get_settings()):
        typer.secho(said, fg=typer.colors.YELLOW)


def _migrate_back(count: int, yes: bool) -> None:
    """Before an older version is deployed, with the files of this one. What the migrations added is lost."""
    settings = get_settings()
    refuse_other_drivers(settings, "migrate")
    names = to_roll_back(settings, count)
    if not names:
        typer.echo("no migration is applied")
        return
    typer.echo("\n".join(f"will be rolled back: {name}" for name in names))
    typer.echo("Their tables and columns go, with all that is in them. `wardstream backup` first.")
    if not yes:
        typer.confirm("Roll them back?", abort=True)
    typer.echo("\n".join(f"rolled back: {name}" for name in rollback(settings, count)))


@contracts_app.command()
def register(
    mend: Annotated[bool, typer.Option("--mend", help="Set a compatibility that somebody changed back.")] = False,
) -> None:
    """Register all versions in the schema registry, each subject under FULL_TRANSITIVE; may be repeated."""
    result = register_all(get_settings(), mend=mend)
    for schema in result.schemas:
        word = "registered" if schema.new else "was there"
        typer.echo(f"{schema.subject} v{schema.version}: id {schema.schema_id}, {word}")
    for finding in result.findings:
        typer.secho(finding, err=True, fg=typer.colors.RED)
    typer.echo("nothing to do" if not result.changed else "done")
    raise typer.Exit(1 if result.findings else 0)


@contracts_app.command("topics")
def compare_topics(
    mend: Annotated[bool, typer.Option("--mend", help="Set what the stream cannot do without.")] = False,
) -> None:
    """Compare the topics on Kafka with what Wardstream would have made; exit code 1 if the stream cannot use one."""
    settings = get_settings()
    for change in mend_topics(settings) if mend else ():
        typer.echo(change)
    found = differences(settings)
    for difference in found:
        typer.secho(str(difference), err=difference.harmful, fg=typer.colors.RED if difference.harmful else None)
    if not found:
        typer.echo("every topic is as Wardstream makes them")
    raise typer.Exit(1 if any(difference.harmful for difference in found) else 0)


@app.command()
def verify(
    wait: Wait = 60.0,
    as_json: AsJson = False,
    full: Annotated[bool, typer.Option("--full", help="Read from Kafka what was verified before, too.")] = False,
) -> None:
    """Prove that every message is in PostgreSQL once and that core is what history says; exit code 0 or 1.

    Offsets that were verified before are not read from Kafka again: their rows must be what they were then.
    """
    report = run_verify(get_settings(), wait, full)
    if as_json:
        typer.echo(json.dumps({"ok": not report.findings, **_plain(report)}, indent=2))
    else:
        show(report)
    raise typer.Exit(1 if report.findings else 0)


def _plain(report: Report) -> dict[str, Any]:
    return {
        "findings": report.findings,
        "notes": report.notes,
        "read": report.read,
        "tallies": [vars(tally) for tally in report.tallies],
    }


def show(report: Report) -> None:
    """Print verify's table, its notes and its findings."""
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("topic/partition", no_wrap=True)
    for head in ("offsets", "received", "= stored", "+ duplicates", "+ quarantined"):
        table.add_column(head, justify="right", no_wrap=True)
    for t in report.tallies:
        name = f"{t.topic}/{t.partition}{' (former)' if t.former else ''}"
        cells = (name, t.next_offset, t.received, t.stored, t.duplicate, t.quarantined)
        table.add_row(*map(str, cells))
    console.print(table)
    console.print(
        f"{report.read} messages read from Kafka; what was verified before was compared with what it was then"
    )
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    for finding in report.findings:
        console.print(f"FINDING: {finding}", style="red", markup=False, soft_wrap=True)
    if not report.findings:
        console.print("verified: nothing lost, nothing twice, core is what history says", style="green")


@app.command()
def rebuild() -> None:
    """Compare core with history and put right what differs; the stream goes on meanwhile.

    Where a fold has changed, the stream is restarted first.
    """
    mended = rebuild_core(get_settings())
    for table, of_table in mended.items():
        typer.echo(f"core.{table}: {of_table.entities} mended, rows of {of_table.days} days changed")
    if not mended:
        typer.echo("core was what history says; nothing changed")


@app.command()
def daily(
    first: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="First day to build.")] = "",
    last: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Last day to build.")] = "",
    all_days: Annotated[bool, typer.Option("--all-days", help="Days of the range that are not stale, too.")] = False,
    facility: Annotated[list[str], typer.Option(metavar="NAME", help="Only its days; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Build the stale days of the daily tables, those of sql/marts; exit code 0 or 1."""
    words = [*(["--first", first] if first else []), *(["--last", last] if last else [])]
    words += ["--all-days"] if all_days else []
    words += [word for name in facility for word in ("--facility", name)]
    values = {**os.environ, **stream_environment(get_settings())}
    os.execve(sys.executable, [sys.executable, "-m", "spark_jobs.daily", *words], values)  # noqa: S606 - no shell


@app.command()
def digest(as_json: AsJson = False) -> None:
    """Print one hash for each table of core and mart: equal hashes, equal contents."""
    with connect(get_settings().owner_url, "wardstream digest") as conn:
        found = digests_of(conn)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join(f"{value}  {name}" for name, value in found.items()))


def _check_postgresql(command: str, settings: Settings) -> None:
    """The programs that these commands become would say so in their own words, and not what to do."""
    if not listens(f"127.0.0.1:{settings.postgres_port}"):
        raise StackError(command, f"PostgreSQL does not answer on port {settings.postgres_port}", "wardstream up")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context, owner: Annotated[bool, typer.Option("--owner", help="See everything.")] = False
) -> None:
    """Open psql as the read-only BI user, who sees schema mart; other arguments are psql's own."""
    settings = get_settings()
    server = elsewhere(settings).get("database")
    if not server:
        _check_postgresql("psql", settings)
    elif not owner:
        said = f"the database is at {server}, whose administrator knows the password of wardstream_bi; --owner works"
        typer.echo(said, err=True)
        raise typer.Exit(1)
    url = psycopg.conninfo.conninfo_to_dict(settings.owner_url if owner else settings.bi_url)
    # In the environment, because anyone on the machine can read the arguments of a process.
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    where = {names[part]: str(value) for part, value in url.items() if part in names}
    program = str(binaries(settings) / "psql")
    os.execve(program, [program, *context.args], {**os.environ, **where})  # noqa: S606 - no shell is wanted


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line as the stack's Airflow, such as `wardstream airflow dags list`."""
    settings = get_settings()
    _check_postgresql("airflow", settings)
    values = {**os.environ, **airflow_environment(settings)}
    os.execve(sys.executable, [sys.executable, "-m", "airflow", *context.args], values)  # noqa: S606 - no shell is wanted


@app.command()
def demo(mimic: Annotated[Path | None, typer.Option(help="Folder of MIMIC-III CSV files.")] = None) -> None:
    """Start the stack, replay data into it, run Airflow's DAGs, verify, and say where to look; the stack stays up."""
    settings = get_settings()
    begun = time.monotonic()
    report = run_demo(settings, mimic, typer.echo)
    show(report)
    if report.findings:
        raise typer.Exit(1)
    typer.echo(
        f"\nup, replayed, built and verified in {time.monotonic() - begun:.0f} s. Where to look:\n"
        + "".join(f"  {line}\n" for line in pages(settings))
        + "  wardstream status                         each part, lag, age of the last commit\n"
        "  wardstream psql                           mart.admissions, mart.labs, mart.daily_admissions and more\n"
        "  wardstream env                            connection settings and logins for your own tools\n"
        "  wardstream replay …                       again: verify counts duplicates, `wardstream digest` is the same\n"
        "  make down                                 stop; the data stays until `wardstream reset`\n"
        "(. .venv/bin/activate puts `wardstream` on the path)"
    )


# Faults of the world around us get one line; anything else is a defect and keeps its traceback.
EXPECTED = (
    AddressError,
    AirflowError,
    ContractError,
    DemoError,
    FileNotFoundError,
    KafkaException,
    PlanError,
    PoolerBetween,
    RegistryRefusedError,
    RegistryUnavailableError,
    TopicError,
    TopicMissing,
    TopicUnreadableError,
    psycopg.OperationalError,
)
OF_FILES = (ContractError, PlanError, AddressError)
"""No server has to do with these."""


def main() -> None:
    """Entry point of the `wardstream` command."""
    configure_logging()
    try:
        for said in unknown_variables(get_settings(), set_now()):
            typer.secho(said, err=True, fg=typer.colors.YELLOW)
        app()
    except (StackError, MigrationFailedError) as error:
        typer.secho(redact(str(error), get_settings()), err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None
    except ValidationError as error:
        for fault in faults_of_settings(error):
            typer.secho(fault, err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None
    except EXPECTED as error:
        from_library = isinstance(error, KafkaException) and not isinstance(error, KafkaRefused)
        said = error.args[0].str() if from_library else str(error)
        text = said.strip().splitlines()[0] if said.strip() else type(error).__name__
        typer.secho(f"{type(error).__name__}: {text}", err=True, fg=typer.colors.RED)
        if not isinstance(error, OF_FILES):
            typer.secho("is the stack up? `wardstream status` shows it, `wardstream up` starts it", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
