"""The text behind *Dag Docs*: a DAG file's docstring, its runbooks as links, and what the times on its pages mean."""

from __future__ import annotations

import re

from wardstream.contracts.sources import load_sources
from wardstream.settings import get_settings

PREFIX = "/wardstream"
"""Where Airflow's api-server has the pages, see `pages`."""
_PAGE = re.compile(r"`(docs/[a-z/-]+/([a-z-]+)\.md)`")


def dag_docs(docstring: str | None) -> str:
    """For `doc_md`."""
    assert docstring is not None
    linked = _PAGE.sub(rf"[\2]({PREFIX}/\1)", docstring)
    times = "**Times**: Airflow's pages show UTC, or the zone that you choose under *User*"
    said = "`WARDSTREAM_FACILITY_TIMEZONE`, `schemas/sources.yaml`"
    return f"{linked.rstrip()}\n* {times}. Days of data are days in {zones_of_days()} ({said}).\n"


def zones_of_days() -> str:
    """The zone whose days count; of several facilities, each one's."""
    settings = get_settings()
    zones = load_sources(settings.schemas_dir).zones(settings.facility_timezone)
    return ", ".join(f"{zone} ({name})" if len(zones) > 1 else zone for name, zone in zones.items())
