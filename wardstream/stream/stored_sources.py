"""The sources of which history has facts (ops.sources), how they are stored and where they are; compared with
schemas/sources.yaml.

A driver judges by the file, so it must say what the database was last brought to: `stream.check` refuses to start
where it says something else. Zones are the database's alone: what the file and the settings say counts once
`wardstream migrate` has put it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wardstream.contracts.model import Contract
from wardstream.contracts.sources import Sources
from wardstream.database.connection import Connection, scalar


class Uses(NamedTuple):
    """What is said of a source: whose ids it uses, whether their case is ignored, and where it is."""

    authority: str
    ignore_case: bool
    facility: str

    @property
    def ids(self) -> tuple[str, bool]:
        """What the form of its facts depends on."""
        return self.authority, self.ignore_case


def sources_of(contracts: Mapping[str, Contract]) -> Sources:
    """The file as these contracts were loaded with it."""
    return next(iter(contracts.values())).sources if contracts else Sources()


def stored_sources(conn: Connection) -> dict[str, Uses]:
    """What the database has, by source."""
    rows = conn.execute("SELECT source, authority, ignore_case, facility FROM ops.sources ORDER BY source")
    return {source: Uses(*uses) for source, *uses in rows}


def uses_now(contracts: Mapping[str, Contract], sources: Iterable[str]) -> dict[str, Uses]:
    """What the file says of these sources."""
    said = sources_of(contracts)
    authorities = {source: said.authority_of(source) for source in sources}
    return {
        source: Uses(authority, said.ignores_case(authority), said.facility_of(source))
        for source, authority in authorities.items()
    }


def as_lists(uses: Mapping[str, Uses]) -> dict[str, list[str] | list[bool]]:
    """As parallel lists, for unnest: sources, authorities, ignore_case, facilities."""
    said = uses.values()
    return {
        "sources": list(uses),
        "authorities": [one.authority for one in said],
        "ignore_case": [one.ignore_case for one in said],
        "facilities": [one.facility for one in said],
    }


def source_faults(conn: Connection, contracts: Mapping[str, Contract]) -> list[str]:
    """Where file and database differ, one sentence each."""
    stored, file = stored_sources(conn), sources_of(contracts)
    known = {name for (name,) in conn.execute("SELECT facility FROM ops.facilities")}
    faults = [f"facility {name} is not in the database" for name in file.zones("") if name not in known]
    default = scalar(conn, "SELECT default_facility FROM ops.hospital")
    if file.default_facility in known and file.default_facility != default:
        faults.append(f"the default facility is {file.default_facility}, in the database it is {default}")
    for source, said in uses_now(contracts, stored).items():
        if stored[source].ids != said.ids:
            case = ", ignoring case" if said.ignore_case else ""
            faults.append(f"source {source} uses the ids of {said.authority}{case}, but its facts are stored otherwise")
        if stored[source].facility != said.facility:
            faults.append(f"source {source} is in {said.facility}, but its days are those of {stored[source].facility}")
    return [f"schemas/sources.yaml: {fault}; run `wardstream migrate`" for fault in faults]
