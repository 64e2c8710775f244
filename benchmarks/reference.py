"""What the peers do on a calm machine of a class: by it a run is known in which the machine was busy with others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("reference.json")
OURS = ("stream", "publisher")
SLACK = 0.15
"""How far below its reference a peer may be in a run that counts."""


def peers_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a report that depend on the machine and not on Wardstream."""
    return {
        name: figure["median"]
        for name, figure in report["figures"].items()
        if name.startswith("backlog_") and name.endswith(".events_per_second") and name.split(".")[1] not in OURS
    }


def key_of(report: Mapping[str, Any]) -> str:
    """Machine class and form: fewer events weigh the start of a peer more."""
    return f"{report['machine']['class']}, {report['form']} form"


def load(file: Path = FILE) -> dict[str, dict[str, float]]:
    """References by machine class and form."""
    return json.loads(file.read_text()) if file.exists() else {}


def keep(report: Mapping[str, Any], file: Path = FILE) -> str:
    """Make the peers of a report the reference of its class; gives the class."""
    known = load(file)
    known[key_of(report)] = peers_of(report)
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    return key_of(report)


def faults(report: Mapping[str, Any], references: Mapping[str, Mapping[str, float]]) -> tuple[list[str], str]:
    """Why the run is void, and a note where nothing can be said."""
    reference = references.get(key_of(report))
    if reference is None:
        return [], f"no reference for {key_of(report)}; `python -m benchmarks reference REPORT` keeps a calm run as one"
    found = []
    for name, measured in peers_of(report).items():
        known = reference.get(name)
        if known is not None and measured < known * (1 - SLACK):
            found.append(f"{name} is {measured:,.0f}, its reference {known:,.0f}")
    return found, ""
