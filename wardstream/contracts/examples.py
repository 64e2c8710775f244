"""The made-up events under schemas/<topic>/examples/vN/{valid,invalid}/: documentation that the checks run.

A valid file is one event; an invalid one is {"reason": "<code>", "event": {...}} and, for the rule against clocks
ahead, "broker_time". In both, times are ISO 8601 with a zone and days are YYYY-MM-DD, so that people can read them.
A version without a folder of its own only added nullable fields: it is tried with the examples of the version before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from wardstream.contracts.avro_tree import expand
from wardstream.contracts.codec import to_raw
from wardstream.contracts.model import Contract, ContractError


@dataclass(frozen=True)
class Example:
    """One example file."""

    file: Path
    version: int
    """The version of the schema that it is written with."""
    event: dict[str, Any]
    """Raw values, as `codec.Encoder` takes and `codec.Decoder` gives them."""
    reason: str | None
    """The reason code of the refusal; None for a valid example."""
    broker_time_us: int
    """The broker's timestamp, microseconds since 1970 UTC: as stated, else recorded_at (arrived as it was written)."""


def load_examples(folder: Path, contract: Contract) -> Iterator[Example]:
    """The examples of a topic's folder by version and name. ContractError names a file that cannot be read."""
    of_version = folder / "examples" / "v1"
    for version, schema in contract.versions.items():
        tree = expand(schema)
        own = folder / "examples" / f"v{version}"
        of_version = own if own.is_dir() else of_version
        for verdict in ("valid", "invalid"):
            for file in sorted((of_version / verdict).glob("*.json")):
                try:
                    yield _example(file, version, tree, json.loads(file.read_text(encoding="utf-8")), verdict)
                except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ContractError(f"{file}: not an example ({type(error).__name__}): {error}") from error


def _example(file: Path, version: int, tree: Any, document: Mapping[str, Any], verdict: str) -> Example:
    reason = None if verdict == "valid" else str(document["reason"])
    event = raw_event(tree, document if verdict == "valid" else document["event"])
    broker_time = document.get("broker_time") if verdict == "invalid" else None
    arrived = event["recorded_at"] if broker_time is None else to_raw(datetime.fromisoformat(broker_time))
    return Example(file, version, event, reason, arrived)


def raw_event(tree: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """An event as people write it in JSON, with raw values in place of ISO times and days; `tree` is expanded."""
    types = {field["name"]: field["type"] for field in tree["fields"]}
    return {name: _raw(types.get(name, {}), value) for name, value in document.items()}


def _raw(tree: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(tree, list):
        return _raw(next((branch for branch in tree if branch["type"] != "null"), {}), value)
    if tree.get("logicalType") == "timestamp-micros":
        return to_raw(datetime.fromisoformat(value))
    if tree.get("logicalType") == "date":
        return to_raw(date.fromisoformat(value))
    kind = tree.get("type")
    if kind == "record":
        return raw_event(tree, value)
    if kind == "array":
        return [_raw(tree["items"], item) for item in value]
    if kind == "map":
        return {key: _raw(tree["values"], item) for key, item in value.items()}
    if kind == "bytes":
        return bytes.fromhex(value)
    return value
