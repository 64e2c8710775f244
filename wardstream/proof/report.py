"""What verify found, in words: findings, notes, and one account a partition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 20  # findings of one kind that are listed one by one


@dataclass(frozen=True)
class Tally:
    """One partition's account, as the commits counted it."""

    topic: str
    partition: int
    next_offset: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    former: bool = False
    """Of a log that is gone, as somebody accepted (`wardstream stream accept-gap`)."""


@dataclass
class Report:
    """What verify found; `findings` empty means that all holds. `notes` are facts worth knowing (accepted gaps)."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    read: int = 0
    """Messages read from Kafka; those of offsets that were verified before are not."""

    def find(self, what: str, places: Iterable[str], more: int = 0) -> None:
        """Add findings of one kind: the first ones by name, the rest, and `more`, as a number."""
        listed = list(places)
        self.findings += [f"{place}: {what}" for place in listed[:SHOWN]]
        rest = len(listed[SHOWN:]) + more
        if rest:
            self.findings.append(f"… and {rest} more: {what}")
