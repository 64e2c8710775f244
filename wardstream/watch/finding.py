"""One thing that is not as it should be, and one look that found it: for `status`, for a DAG's log, and for alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Finding:
    """A stable code, what was seen, since when, the page in docs/runbooks, and what to type. Never patient data."""

    code: str
    said: str
    since: datetime | None
    """None where nobody knows: an alert then counts from the look that saw it first."""
    runbook: str
    remedy: str
    red: bool = True
    """Whether stream_reconcile_dag is red because of it; it is told and shown in any case."""


@dataclass(frozen=True)
class Look:
    """What one look found. `unknown`: why it could not be made, so that what it found before is not over."""

    source: str
    found: list[Finding] = field(default_factory=list)
    unknown: str = ""
    hidden: Callable[[str], bool] = lambda _: False
    """Whether it could not see this code, even if it is there still."""

    def over(self, code: str) -> bool:
        """Whether what was found before is over."""
        return not self.unknown and not self.hidden(code) and code not in {one.code for one in self.found}


def worded(one: Finding) -> str:
    """A finding in a line of a log."""
    return f"{one.said} ({one.code}: docs/runbooks/{one.runbook})"
