"""How a person gets at the stack: variables for a shell (`wardstream env`), and the pages with their logins."""

from __future__ import annotations

from collections.abc import Sequence

from wardstream.settings import Settings
from wardstream.stack.env import environment
from wardstream.stack.part import Part
from wardstream.stack.parts import PARTS, embedded

KEPT = ("WARDSTREAM_STATE_DIR", "WARDSTREAM_CACHE_DIR", "WARDSTREAM_SHORT_DIR")


def shell_variables(settings: Settings, here: Sequence[Part] | None = None) -> dict[str, str]:
    """Addresses, ports and logins; fails with FileNotFoundError before the first `up`.

    `here`: the parts that run on this machine; those of the settings when it is left out.
    """
    here = embedded(settings) if here is None else here
    found: dict[str, str] = {}
    for part in PARTS:
        if part in here or not part.optional:
            found |= part.connections(settings)
            found |= {variable: str(port) for variable, port in part.port_variables(settings).items()}
    for part in here:
        page = part.page(settings)
        if page and page.variable:
            found[f"WARDSTREAM_{page.variable}_URL"] = page.url
            if page.user:
                found[f"WARDSTREAM_{page.variable}_USER"] = page.user
                found[f"WARDSTREAM_{page.variable}_PASSWORD"] = settings.password(page.secret)
    return found | {name: value for name, value in environment(settings).items() if name in KEPT}


def export_lines(variables: dict[str, str]) -> list[str]:
    """Lines that a POSIX shell can eval, whatever the values hold."""
    return [f"export {name}='" + value.replace("'", "'\"'\"'") + "'" for name, value in variables.items()]


def pages(settings: Settings) -> list[str]:
    """A line for each page that the stack serves, with its login; those that have one first."""
    found = [page for part in embedded(settings) if (page := part.page(settings))]
    width = max((len(page.url) for page in found), default=0)
    return [
        f"{page.url:<{width}}   {page.title}"
        + (f": user {page.user}, password {settings.password(page.secret)}" if page.user else "")
        for page in sorted(found, key=lambda page: not page.user)
    ]
