"""The one exception of the embedded stack: which part, why, and what to type."""

from __future__ import annotations


class StackError(Exception):
    """Something a person has to act on; printed without a traceback."""

    def __init__(self, part: str, why: str, what_to_type: str = "") -> None:
        self.part = part
        self.why = why
        self.what_to_type = what_to_type
        super().__init__(f"{part}: {why}" + (f"\n  what to type: {what_to_type}" if what_to_type else ""))
