"""A small hospital for daily aggregates: facts by the real commit, days by the real job, all in one process.

What day it is can be chosen, for commits and builds alike; unchosen, it is what PostgreSQL's clock says. It is noon in
UTC then: the same day in all zones but the farthest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact
from wardstream.contracts.model import load_contracts
from wardstream.daily.build import Builder, Built
from wardstream.daily.marts import Mart, load_marts
from wardstream.daily.stale import Day, Range, stale_days
from wardstream.daily.zone import apply_facilities
from wardstream.database.connection import connect
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stream import commit as commit_module

TABLES = tuple(mart.table for mart in load_marts(PROJECT_ROOT / "sql"))
TWO = """
sources: {test: {authority: a}, east: {authority: a, facility: tokyo}}
facilities: {tokyo: {timezone: Asia/Tokyo}}
"""
Builds = dict[tuple[str, date], tuple[Any, ...]]


class Clinic:
    """The bench with a builder beside it."""

    def __init__(self, bench: Bench, spark: SparkSession, settings: Settings) -> None:
        self.bench = bench
        self.spark = spark
        self.settings = settings
        self.conn = connect(settings.writer_url, "test daily")
        self.builder = Builder(settings, self.conn, spark)
        self.marts = {mart.table: mart for mart in self.builder.marts}
        self.today: date | None = None

    def close(self) -> None:
        """End the builder's session."""
        self.conn.close()

    @contextmanager
    def dated(self) -> Iterator[None]:
        """Commits take the chosen day for today, too."""

        with pytest.MonkeyPatch.context() as patch:
            if self.at is not None:
                patch.setattr(commit_module, "NOW", f"SELECT timestamptz '{self.at.isoformat()}'")
            yield

    @property
    def at(self) -> datetime | None:
        """The moment that it is taken to be."""
        return None if self.today is None else datetime.combine(self.today, time(12), UTC)

    def commit(self, *facts: Fact) -> None:
        """One batch, on the chosen day."""
        with self.dated():
            self.bench.commit(*facts)

    def range(self, **more: Any) -> Range:
        """A range on the chosen day."""
        return Range(at=self.at, **more)

    def build(self, *tables: str, **more: Any) -> dict[str, list[Built]]:
        """Build what is stale of these tables (or of all), what was built by facility; every check must hold."""
        built = {table: self.builder.build(self.marts[table], self.range(**more)) for table in tables or self.marts}
        assert not any(one.failures for of_table in built.values() for one in of_table), built
        return built

    def stale(self, table: str, **more: Any) -> list[date]:
        """The stale days of a table, where there is one facility."""
        return [day for _, day in self.stale_by_facility(table, **more)]

    def stale_by_facility(self, table: str, **more: Any) -> list[Day]:
        """The stale days of a table."""
        return list(stale_days(self.conn, self.mart(table), self.range(**more)))

    def mart(self, table: str) -> Mart:
        """What sql/marts says of a table."""
        return self.marts[table]

    def rows(self, table: str, where: str = "true") -> list[dict[str, Any]]:
        """Rows of a mart table, by day."""
        found = self.bench.admin.execute(f"SELECT * FROM mart.{table} AS t WHERE {where} ORDER BY t::text".encode())
        columns = [column.name for column in found.description or []]
        return [dict(zip(columns, row, strict=True)) for row in found]

    def days(self, table: str) -> list[date]:
        """The days that have rows in a mart table."""
        return [day for (day,) in self.bench.rows(f"SELECT DISTINCT day FROM mart.{table} ORDER BY day")]

    def builds(self) -> Builds:
        """ops.day_builds, by table and day: everything in it, built_at and the row's physical place among it."""
        found = self.bench.rows("SELECT mart_table, day, version, as_of, built_at, xmin::text FROM ops.day_builds")
        return {(table, day): tuple(rest) for table, day, *rest in found}

    def places(self, table: str) -> dict[date, list[tuple[Any, ...]]]:
        """Rows of a mart table by day as text, with the transaction that wrote each."""
        found: dict[date, list[tuple[Any, ...]]] = {}
        for day, *rest in self.bench.rows(f"SELECT day, t::text, xmin::text FROM mart.{table} AS t ORDER BY t::text"):
            found.setdefault(day, []).append(tuple(rest))
        return found

    def forget_builds(self) -> None:
        """As if nothing had ever been built."""
        for table in TABLES:
            self.bench.admin.execute(f"DELETE FROM mart.{table}".encode())
        self.bench.admin.execute("DELETE FROM ops.day_builds")


class Two(Clinic):
    """A clinic of two facilities with the same ids: `test` is in the default one, `east` where it is said."""

    def begin(self) -> None:
        """No facts; `test` in New York, `east` in Tokyo."""
        self.bench.empty()
        self.today = None
        self.said(TWO)

    def said(self, sources: str, zone: str = "America/New_York") -> None:
        """Another file of sources, and another zone of the default facility; the driver begins anew."""
        (self.settings.schemas_dir / "sources.yaml").write_text(sources)
        self.settings = self.settings.model_copy(update={"facility_timezone": zone})
        apply_facilities(self.settings)
        self.bench.contracts = load_contracts(self.settings.schemas_dir)
        ((generation,),) = self.bench.rows("SELECT generation FROM ops.streams")
        self.bench.committer.close()
        self.bench.committer = self.bench.new_committer(generation=generation)


class Before:
    """What was built, to see afterwards which days were built again."""

    def __init__(self, clinic: Clinic) -> None:
        self.clinic = clinic
        self.builds = clinic.builds()
        self.places = {table: clinic.places(table) for table in TABLES}

    def rebuilt(self) -> dict[str, list[date]]:
        """The days built since, by table; every other day's row in ops.day_builds and rows in mart are untouched."""
        builds = self.clinic.builds()
        again = {at for at in builds.keys() | self.builds.keys() if builds.get(at) != self.builds.get(at)}
        for table in TABLES:
            places = self.clinic.places(table)
            for day in places.keys() | self.places[table].keys():
                touched = places.get(day) != self.places[table].get(day)
                assert not touched or (table, day) in again, f"{table}: rows of {day} changed, which was not built"
        return {table: sorted(day for t, day in again if t == table) for table in TABLES}
