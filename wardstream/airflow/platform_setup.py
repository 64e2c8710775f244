"""Setting the platform up, and again: migrations, topics, schemas, and checks of roles and durability.

Each function brings one thing to what the checked-in files say and returns what it changed, in words: an empty list
where nothing was to change. The checks change nothing and raise SetupError with all they found. Which servers these
are does not matter here; what only an administrator may do (roles, passwords) is checked and never done.
"""

from __future__ import annotations

from collections.abc import Callable

from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict

from wardstream.daily.marts import load_marts
from wardstream.daily.queries import changed_queries
from wardstream.daily.zone import read_hospital
from wardstream.database.check import check_database
from wardstream.database.connection import beside, connect, scalar
from wardstream.database.migrate import migrate
from wardstream.kafka.topics import apply_topics
from wardstream.registry.client import COMPATIBILITY, register_all
from wardstream.settings import Settings

Say = Callable[[list[str]], None]

REGISTRY_PATIENCE_SECONDS = 5.0  # Airflow tries the task again


class SetupError(RuntimeError):
    """Something is not as it must be and only a person can put it right; the message says how."""


def apply_migrations(settings: Settings) -> list[str]:
    """Bring the database to the newest migration, and what it knows of the facilities to file and settings."""
    before = _facilities(settings)
    changes = [f"migration {name}: applied" for name in migrate(settings)]
    if faults := check_database(settings) or changed_queries(settings):
        raise SetupError("; ".join(faults))
    after = _facilities(settings)
    changes += [
        f"{what}: {before.get(what, 'unknown')} -> {now}" for what, now in after.items() if before.get(what) != now
    ]
    return changes


def _facilities(settings: Settings) -> dict[str, object]:
    """What the database says of facilities, in words; a change makes days stale."""
    with connect(settings.owner_url, "wardstream setup") as conn:
        if scalar(conn, "SELECT to_regclass('ops.facilities')") is None:
            return {}
        found = read_hospital(conn)
    zones = {f"zone of facility {name}": zone for name, zone in found.zones.items() if zone}
    sources = {f"facility of source {source}": facility for source, facility in found.sources.items()}
    return {**zones, **sources, "length of a same-day stay": found.same_day}


def apply_contract_topics(settings: Settings, say: Say) -> list[str]:
    """Make missing topics, and raise the retention of the others to their contracts; differences are said.

    SetupError, when all is done that could be, where the stream would not run on a topic as it is.
    """
    done = apply_topics(settings)
    say([str(difference) for difference in done.differences])
    harmful = [str(difference) for difference in done.differences if difference.harmful]
    if harmful:
        raise SetupError("; ".join([*done.changes, *harmful]))
    return done.changes


def apply_schemas(settings: Settings) -> list[str]:
    """Register every version of every contract, and set the compatibility of their subjects.

    SetupError, when all is registered, where somebody has given a subject of ours another compatibility.
    """
    done = register_all(settings, patience_seconds=REGISTRY_PATIENCE_SECONDS)
    changes = [
        f"schema {schema.subject} v{schema.version}: registered (id {schema.schema_id})"
        for schema in done.schemas
        if schema.new
    ]
    changes += [f"subject {subject}: compatibility {COMPATIBILITY}" for subject in done.levels_set]
    if done.findings:
        raise SetupError("; ".join([*changes, *done.findings]))
    return changes


def check_roles(settings: Settings) -> list[str]:
    """What was checked of the three roles, in words; SetupError where one is missing, shut out, or may too much."""
    built = [mart.table for mart in load_marts(settings.sql_dir)]
    with connect(settings.owner_url, "wardstream setup") as conn:
        wrong = [str(row[0]) for row in conn.execute(beside(__file__, "rights"), {"built": built})]
    if wrong:
        raise SetupError(
            f"rights in PostgreSQL: {'; '.join(wrong)}. Missing roles and logins: `wardstream up` makes those of the "
            "embedded server, on another one an administrator does (docs/postgresql.md). "
            "Rights on tables: revoke what was granted by hand; the migrations name what each role has"
        )
    said = ["roles wardstream_owner, wardstream_writer and wardstream_bi have their rights and no more"]
    _log_in(settings.writer_url, "wardstream_writer")
    said.append("wardstream_writer logs in")
    bi_url = _bi_url(settings)
    if bi_url is None:
        said.append("wardstream_bi: its login was not tried; only its administrator knows the password")
    else:
        _log_in(bi_url, "wardstream_bi")
        said.append("wardstream_bi logs in")
    return said


def check_durability(settings: Settings) -> list[str]:
    """What was checked of PostgreSQL's settings; SetupError where a crash of the machine could lose a commit."""
    from wardstream.proof.verify import DURABLE, not_durable

    off = not_durable(settings)
    if off:
        raise SetupError(
            f"off in PostgreSQL: {', '.join(off)}. A crash of the machine can lose what was committed: turn it on in "
            "postgresql.conf, or with ALTER ROLE wardstream_writer RESET where it was set for the role"
        )
    return [f"durability: {', '.join(DURABLE)} are on"]


def check_folds(settings: Settings) -> list[str]:
    """Which core tables were filled by another fold than that of now, in words."""
    from wardstream.proof.folds import rebuild_due

    return rebuild_due(settings) or ["core: every table comes from its fold of now"]


def _bi_url(settings: Settings) -> str | None:
    """How the BI role connects, where we know its password and it belongs to the server that the owner uses."""
    try:
        url = settings.bi_url
    except FileNotFoundError:
        return None
    ours, owners = conninfo_to_dict(url), conninfo_to_dict(settings.owner_url)
    return url if all(ours.get(part) == owners.get(part) for part in ("host", "port", "dbname")) else None


def _log_in(url: str, role: str) -> None:
    """Connect once as a role; SetupError names the role, never its password."""
    try:
        with connect(url, "wardstream setup") as conn:
            user = scalar(conn, "SELECT current_user")
    except OperationalError as error:
        if "authentication failed" in str(error) or "not permitted to log in" in str(error):
            raise SetupError(
                f"{role} cannot log in: PostgreSQL refuses its password or its login; `wardstream up` sets both on the "
                "embedded server, on another one an administrator does (DATABASE_URL names the writer's)"
            ) from None
        raise
    if user != role:
        raise SetupError(f"the connection for {role} logs in as {user}; correct DATABASE_URL")
