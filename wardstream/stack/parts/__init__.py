"""The parts of the embedded stack. A new one is a module in this folder and a line in `MODULES`."""

from __future__ import annotations

from importlib import import_module

from wardstream.settings import Settings
from wardstream.stack.errors import StackError
from wardstream.stack.part import Part

MODULES = (
    "postgres",
    "kafka",
    "registry",
    "stream",
    "airflow",
)
"""In the order in which `status` shows them. Each module has PARTS: a program may run as several processes."""

PARTS: list[Part] = [part for module in MODULES for part in import_module(f"{__name__}.{module}").PARTS]


def named(name: str) -> Part:
    """The part of this name."""
    return next(part for part in PARTS if part.name == name)


def embedded(settings: Settings) -> list[Part]:
    """The parts that run here: all that are embedded with these settings, the optional ones only as asked for."""
    asked_for = _asked_for(settings)
    return [part for part in PARTS if part.is_embedded(settings) and (not part.optional or part.name in asked_for)]


def _asked_for(settings: Settings) -> set[str]:
    """The optional parts that the settings name, and those that they need."""
    found, more = set(), settings.optional_parts
    while more:
        found |= more
        more = {need for part in PARTS if part.name in more for need in part.needs} - found
    return found


def check_names(settings: Settings) -> None:
    """Raise StackError where a setting names a part that is not there, or one whose needs are not."""
    optional = [part.name for part in PARTS if part.optional]
    there = f"there are: {', '.join(optional)}" if optional else "this version has none"
    for name in sorted(settings.optional_parts - set(optional)):
        raise StackError("with", f"{name} is no optional part; {there}", "wardstream up --with NAME, or --with none")
    for name in sorted(set(settings.memory_limit_by_part) - {part.name for part in PARTS}):
        names = ", ".join(part.name for part in PARTS)
        why = f"WARDSTREAM_MEMORY_LIMITS names {name}, which is no part; there are: {names}"
        raise StackError("memory", why, "set it anew in the environment or in .env; wardstream up")
    here = embedded(settings)
    met = {part.name for part in here} | {part.name for part in PARTS if part.elsewhere(settings)}
    for part in here:
        missing = [need.name for need in PARTS if need.name in part.needs and need.name not in met]
        if part.optional and missing:
            why = f"it needs {' and '.join(missing)}, which this stack does not have"
            raise StackError(part.name, why, "wardstream up --with none, or turn on what it needs")


def elsewhere(settings: Settings) -> dict[str, str]:
    """The servers that do not run here, with host and port of each: never a user's name or a password."""
    return {part.server: address for part in PARTS if (address := part.elsewhere(settings))}
