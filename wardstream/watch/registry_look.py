"""Whether the registry still has our subjects as they were registered: a look, which changes nothing there."""

from __future__ import annotations

from urllib.parse import urlsplit

from wardstream.kafka.health import listens
from wardstream.registry.client import COMPATIBILITY, RegistryUnavailableError, Subject, subjects_now
from wardstream.settings import Settings
from wardstream.watch.finding import Finding, Look

SOURCE = "registry"
RUNBOOK = "the-registry-was-changed.md"
PATIENCE_SECONDS = 2.0


def look(settings: Settings) -> Look:
    """One finding for each subject that lacks a version, and one for each whose compatibility is another."""
    address = urlsplit(settings.registry)
    if not listens(f"{address.hostname}:{address.port or 443}"):
        return Look(SOURCE, unknown="the registry does not answer: whether it has our schemas is not known")
    try:
        subjects = subjects_now(settings, PATIENCE_SECONDS)
    except RegistryUnavailableError as error:
        return Look(SOURCE, unknown=f"whether the registry has our schemas is not known: {error}")
    return Look(
        SOURCE,
        [_missing(one) for one in subjects if one.missing]
        + [_level(one) for one in subjects if one.level != COMPATIBILITY],
    )


def _missing(subject: Subject) -> Finding:
    versions = ", ".join(f"v{version}" for version in subject.missing)
    said = (
        f"subject {subject.name} lacks {versions}: deleted, or never registered. Senders that look it up cannot send;"
        " messages that were written with it are read on"
    )
    return Finding(f"registry:{subject.name}", said, None, RUNBOOK, "`wardstream contracts register`")


def _level(subject: Subject) -> Finding:
    own = f"is {subject.level}" if subject.level else "is not set"
    said = (
        f"subject {subject.name}: compatibility {own} and not {COMPATIBILITY}: a schema that breaks readers can get in"
    )
    remedy = "`wardstream contracts register --mend` sets it"
    # Somebody may want it so: told once, and no reason for a DAG to stay red.
    return Finding(f"compatibility:{subject.name}", said, None, RUNBOOK, remedy, red=False)
