"""SQL of files tried against the database, before `up` ends and in `wardstream contracts check --database`.

All of it but the queries of the daily tables, which need Spark: `wardstream.daily.queries`.
"""

from __future__ import annotations

from wardstream.contracts.model import load_contracts
from wardstream.daily.check import check_marts
from wardstream.database.connection import connect
from wardstream.settings import Settings
from wardstream.stream.check import check_plan
from wardstream.stream.plan import load_plan


def check_database(settings: Settings) -> list[str]:
    """What is wrong with the commit files, the folds and the daily tables: one sentence each, with file and line."""
    contracts = load_contracts(settings.schemas_dir)
    with connect(settings.owner_url, "wardstream check") as conn:
        plan = load_plan(settings.sql_dir, contracts)
        return [*check_plan(conn, contracts, plan), *check_marts(conn, settings.sql_dir)]
