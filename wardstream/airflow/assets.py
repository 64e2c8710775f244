"""Topics and tables as Airflow's assets: its graph shows topic -> core -> mart, and who may wait for what.

From the files that define them, so that a new topic or table appears by itself. No DAG of ours is scheduled by an
asset. One of yours may be: `mart.daily_labs` is updated each time that spark_processing_dag has built days. Parsed with
the DAG files: no server is asked.
"""

from __future__ import annotations

from airflow.sdk import Asset

from wardstream.daily.marts import load_marts
from wardstream.settings import get_settings


def _asset(group: str, name: str) -> Asset:
    # A scheme of our own: with a host in it, as those of Kafka and PostgreSQL want, a move makes another asset.
    return Asset(name=f"{group}.{name}", uri=f"wardstream://{group}/{name}", group=group)


def topics() -> list[Asset]:
    """Every topic that has a contract."""
    return [_asset("kafka", file.parent.name) for file in sorted(get_settings().schemas_dir.glob("*/contract.yaml"))]


def core_tables() -> list[Asset]:
    """Every table that a fold fills."""
    return [_asset("core", file.stem) for file in sorted((get_settings().sql_dir / "folds").glob("*.sql"))]


def mart_tables() -> list[Asset]:
    """Every table that is built by day."""
    return [_asset("mart", mart.table) for mart in load_marts(get_settings().sql_dir)]


def core_tables_of_marts() -> list[Asset]:
    """The tables that those are built from."""
    read = {name for mart in load_marts(get_settings().sql_dir) for name in mart.metadata.core}
    return [_asset("core", name) for name in sorted(read)]
