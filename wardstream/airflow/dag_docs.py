"""The text behind *Dag Docs*: a DAG file's docstring, its runbooks as links, and what the times on its pages mean."""

from __future__ import annotations

import re

from wardstream.settings import get_settings

PREFIX = "/wardstream"
"""Where Airflow's api-server has the pages, see `pages`."""
_PAGE = re.compile(r"`(docs/[a-z/-]+/([a-z-]+)\.md)`")


def dag_docs(docstring: str | None) -> str:
    """For `doc_md`."""
    assert docstring is not None
    linked = _PAGE.sub(rf"[\2]({PREFIX}/\1)", docstring)
    zone = get_settings().facility_timezone
    times = "**Times**: Airflow's pages show UTC, or the zone that you choose under *User*"
    return f"{linked.rstrip()}\n* {times}. Days of data are days in {zone} (`WARDSTREAM_FACILITY_TIMEZONE`).\n"
