"""The one way to tell whether a name is a time zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def iana_zone(name: str) -> str:
    """The name as it is; ValueError where the IANA database has no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError("no time zone of the IANA database, such as Europe/Berlin") from error
    return name
