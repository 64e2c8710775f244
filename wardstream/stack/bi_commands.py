"""`wardstream bi`: what a reporting tool asks for, each part by itself, and snippets to paste.

The user reads schema mart and nothing else. Registered by `wardstream.cli`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict

from wardstream.contracts.sources import load_sources
from wardstream.settings import Settings, get_settings
from wardstream.stack.parts import elsewhere

USER = "wardstream_bi"
ASK = "(its administrator knows it)"


@dataclass(frozen=True)
class Access:
    """How BI gets in."""

    host: str
    port: int
    database: str
    user: str
    password: str | None
    """None where the server is somebody else's, who gave the role its password."""


def access(settings: Settings) -> Access:
    """Of the embedded server, or of the one that DATABASE_URL names; FileNotFoundError before the first `up`."""
    is_ours = "database" not in elsewhere(settings)
    said = conninfo_to_dict(settings.bi_url if is_ours else settings.writer_url)
    # Of several servers, the first: a form in a BI tool has room for one.
    host, port = (str(said.get(part) or "").split(",")[0] for part in ("host", "port"))
    database = str(said.get("dbname") or settings.database_name)
    password = str(said["password"]) if is_ours else None
    return Access(host or "localhost", int(port or 5432), database, USER, password)


def snippets(found: Access) -> dict[str, str]:
    """By tool; a password that is not known stands as a word to replace."""
    password = found.password or "PASSWORD"
    return {
        "psql": f"PGPASSWORD='{password}' psql -h {found.host} -p {found.port} -U {found.user} -d {found.database}"
        ' -c "SELECT * FROM mart.daily_admissions ORDER BY day DESC LIMIT 10"',
        "pandas": "import pandas, sqlalchemy\n"
        f'url = sqlalchemy.URL.create("postgresql+psycopg", "{found.user}", "{password}", "{found.host}",'
        f' {found.port}, "{found.database}")\n'
        'days = pandas.read_sql("SELECT * FROM mart.daily_admissions", sqlalchemy.create_engine(url))',
        "Power BI": "Get data > PostgreSQL database\n"
        f"Server: {found.host}:{found.port}\nDatabase: {found.database}\n"
        f"Credentials > Database: user {found.user}, and the password above",
        "ODBC": f"Driver={{PostgreSQL Unicode}};Server={found.host};Port={found.port};Database={found.database};"
        f"Uid={found.user};Pwd={password};",
    }


def bi(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Print host, port, database, user and password for a BI tool, and snippets for psql, pandas, Power BI and ODBC."""
    settings = get_settings()
    found = access(settings)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    for name, value in asdict(found).items():
        typer.echo(f"{name:<9} {ASK if value is None else value}")
    zones = load_sources(settings.schemas_dir).zones(settings.facility_timezone)
    where = ", ".join(f"{zone} (facility {name})" for name, zone in zones.items())
    typer.echo(f"read-only, schema mart; timestamps are UTC, days those of {where}")
    for tool, text in snippets(found).items():
        typer.echo(f"\n# {tool}\n{text}")
    if found.password is not None:
        typer.echo("\nThe embedded server is on loopback, without TLS: in Power BI, turn *Encrypt connections* off.")
