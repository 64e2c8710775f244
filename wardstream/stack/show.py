"""How `wardstream status` looks, in 80 columns: the parts, the topics, and the quarantine where there is any."""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wardstream.stack.parts.stream import NAME
from wardstream.stack.report import Report
from wardstream.watch.figures import MOST_QUARANTINED
from wardstream.watch.finding import Finding

_QUARANTINE_RUNBOOK = "docs/runbooks/a-message-is-in-quarantine.md"


def tables(report: Report) -> RenderableType:
    """The whole report."""
    there: list[RenderableType] = [_parts(report)]
    for row in report.parts:
        if row.address:  # under the table: the addresses of a cluster are too long for a column
            there.append(Text(f"{row.part}: {row.address.replace(',', ', ')}"))
    if report.blocked_by:
        state = next((row.state for row in report.parts if row.part == NAME), "blocked")
        there.append(Text(f"the stream is {state}: {report.blocked_by}", style="yellow"))
    if report.topics:
        there += ["", _topics(report)]
    elif {row.state for row in report.parts} <= {"stopped"}:
        there.append(Text("nothing runs here; `wardstream up` starts it"))
    else:
        there.append(Text("what becomes of the topics is not known: PostgreSQL does not say"))
    if report.quarantine:
        there += ["", _quarantine(report)]
    there += [Text(line, style="yellow") for one in report.findings for line in ("", finding(one))]
    return Group(*there, "")


def _table(left: int, *heads: str, footer: bool = False) -> Table:
    """A table whose first `left` columns are words and the others numbers."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, show_footer=footer)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < left else "right", no_wrap=True)
    return table


def _parts(report: Report) -> Table:
    table = _table(3, "part", "state", "healthy", "pid", "port", "version", "memory", footer=True)
    for row in report.parts:
        cells = (row.part, row.state, "yes" if row.healthy else "no", row.pid, row.port, row.version)
        style = None if row.healthy else "red"
        table.add_row(*("" if cell is None else str(cell) for cell in cells), size(row.memory_bytes), style=style)
    table.columns[0].footer = "all"
    table.columns[6].footer = size(report.memory_bytes)
    return table


def _topics(report: Report) -> Table:
    table = _table(1, "topic", "lag", "events/s (1 min)", "last commit", "quarantined in 24 h", footer=True)
    for topic in report.topics:
        table.add_row(
            topic.topic,
            "unknown" if topic.lag is None else str(topic.lag),
            f"{topic.events_per_second:.1f}",
            ago(topic.last_commit_age_s),
            str(topic.quarantined_24h),
        )
    lags = [topic.lag for topic in report.topics if topic.lag is not None]
    ages = [topic.last_commit_age_s for topic in report.topics if topic.last_commit_age_s is not None]
    totals = (
        "all",
        str(sum(lags)) if lags else "unknown",
        f"{sum(topic.events_per_second for topic in report.topics):.1f}",
        ago(min(ages, default=None)),
        str(sum(topic.quarantined_24h for topic in report.topics)),
    )
    for column, total in zip(table.columns, totals, strict=True):
        column.footer = total
    return table


def _quarantine(report: Report) -> Group:
    table = _table(2, "in quarantine", "reason", "messages", "latest")
    table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    now = datetime.now(UTC)
    for of_one in report.quarantine:
        age = max(0.0, (now - of_one.latest).total_seconds())
        table.add_row(of_one.topic, of_one.reason, str(of_one.messages), ago(age))
    cut = (
        f"of the last 24 hours, the newest {MOST_QUARANTINED}; "
        if report.quarantine_is_cut
        else "of the last 24 hours; "
    )
    return Group(table, Text(f"{cut}{_QUARANTINE_RUNBOOK}"))


def finding(one: Finding) -> str:
    """What was found, and what to type."""
    return f"{one.code}: {one.said}\n  {one.remedy}\n  docs/runbooks/{one.runbook}"


def ago(seconds: float | None) -> str:
    """An age in the largest unit that still says something."""
    if seconds is None:
        return "never"
    if seconds < 120:
        return f"{seconds:.1f} s ago"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 172_800 else f"{seconds / 86_400:.0f} days ago"


def size(count: int | None) -> str:
    """Bytes in MiB, from a GiB on in GiB; nothing where there are none."""
    if not count:
        return ""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"
