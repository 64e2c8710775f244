"""The sources of which history has facts (ops.sources), and how they are stored; compared with schemas/sources.yaml.

A driver judges by the file, so it must say what the database was last brought to: `stream.check` refuses to start
where it says something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wardstream.contracts.model import Contract
from wardstream.contracts.sources import Sources
from wardstream.database.connection import Connection

Uses = tuple[str, bool]
"""An authority, and whether the case of its ids is ignored."""


def sources_of(contracts: Mapping[str, Contract]) -> Sources:
    """The file as these contracts were loaded with it."""
    return next(iter(contracts.values())).sources if contracts else Sources()


def stored_sources(conn: Connection) -> dict[str, Uses]:
    """What the database has, by source."""
    rows = conn.execute("SELECT source, authority, ignore_case FROM ops.sources ORDER BY source")
    return {source: (authority, ignore_case) for source, authority, ignore_case in rows}


def uses_now(contracts: Mapping[str, Contract], sources: Iterable[str]) -> dict[str, Uses]:
    """What the file says of these sources."""
    said = sources_of(contracts)
    authorities = {source: said.authority_of(source) for source in sources}
    return {source: (authority, said.ignores_case(authority)) for source, authority in authorities.items()}


def as_lists(uses: Mapping[str, Uses]) -> dict[str, list[str] | list[bool]]:
    """As parallel lists, for unnest: sources, authorities, ignore_case."""
    authorities, ignoring = [authority for authority, _ in uses.values()], [ignores for _, ignores in uses.values()]
    return {"sources": list(uses), "authorities": authorities, "ignore_case": ignoring}


def source_faults(conn: Connection, contracts: Mapping[str, Contract]) -> list[str]:
    """Where file and database differ, one sentence a source."""
    stored = stored_sources(conn)
    return [
        f"schemas/sources.yaml: source {source} uses the ids of {said[0]}{', ignoring case' if said[1] else ''},"
        " but its facts are stored otherwise; run `wardstream migrate`"
        for source, said in uses_now(contracts, stored).items()
        if stored[source] != said
    ]
