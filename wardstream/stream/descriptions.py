"""Comments of core's tables and of mart's views, from the contracts and the headers of sql/folds.

A column of core is described by the property of that name in the contracts of its topics, unless the fold says
something else by `-- column NAME:`. A view of schema mart takes the texts of the core table that it reads; what
neither has a word for keeps the comment that its migration gave it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wardstream.contracts.model import Contract
from wardstream.database.comments import ITSELF, Comments, set_comments
from wardstream.database.connection import Connection
from wardstream.stream.history import WHAT_WAS_FOUND
from wardstream.stream.plan import Fold, Plan

FACILITY = "Facility of its source, by schemas/sources.yaml: its days are those of this facility's zone."
"""Of the views, which look it up: core has the source."""
VIEWS = """
SELECT v.view_name, v.table_name
FROM information_schema.view_table_usage AS v
WHERE v.view_schema = 'mart' AND v.table_schema = 'core'
ORDER BY v.view_name, v.table_name
"""


def apply_descriptions(conn: Connection, contracts: Mapping[str, Contract], plan: Plan) -> list[str]:
    """Set the comments that differ, as the owner; the tables and views that had others."""
    of_core = {fold.table: _of_fold(fold, contracts) for fold in plan.folds}
    there = {name for (name,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'core'")}
    changed = [
        f"core.{table}"
        for table, wanted in of_core.items()
        if table in there and set_comments(conn, "core", table, wanted)
    ]
    of_views: dict[str, dict[str, str]] = {}
    for view, table in conn.execute(VIEWS):
        columns = {column: text for column, text in of_core.get(table, {}).items() if column != ITSELF}
        of_views[view] = {**columns, **of_views.get(view, {})}
    return changed + [f"mart.{v}" for v, wanted in of_views.items() if set_comments(conn, "mart", v, wanted, "VIEW")]


def _of_fold(fold: Fold, contracts: Mapping[str, Contract]) -> Comments:
    properties = {
        name: text
        for topic in reversed(fold.topics)
        if topic in contracts
        for name, text in contracts[topic].descriptions.items()
    }
    beside = {name: WHAT_WAS_FOUND[name] for name in ("authority", "content_hash")}
    return {**beside, "facility": FACILITY, **properties, **fold.comments}
