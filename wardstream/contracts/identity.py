"""The ids of one event: whose they are, in the form in which they are compared, and as they were sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wardstream.contracts.model import Contract


@dataclass(frozen=True)
class Identity:
    """Whose ids an event has; `as_sent` is a JSON object of those ids that are compared in another form, or None."""

    authority: str
    as_sent: str | None = None


class Identifier:
    """Brings the ids of one topic's events into the form in which they are compared."""

    def __init__(self, contract: Contract) -> None:
        self._names = contract.identifiers
        self._sources = contract.sources
        self._authorities: dict[str, str] = {}

    def __call__(self, event: dict[str, Any]) -> Identity:
        """Change the ids of a valid event in place; who they belong to, and what was sent."""
        source = event["source"]
        authority = self._authorities.get(source)
        if authority is None:
            authority = self._authorities[source] = self._sources.authority_of(source)
        changed = {}
        for name in self._names:
            sent = event.get(name)  # an id of a later version is not in an event of an earlier one
            if sent is not None:
                compared = self._sources.compared(authority, sent)
                if compared != sent:
                    changed[name], event[name] = sent, compared
        return Identity(authority, json.dumps(changed, ensure_ascii=False, sort_keys=True) if changed else None)
