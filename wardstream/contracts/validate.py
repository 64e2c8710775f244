"""The rules of a contract, applied to one decoded event: None, or the first rule that it breaks as `rule:field`.

Every rule comes from contract.yaml, so a new topic needs no code here. The order of the rules is fixed: the same event
always gets the same reason. Verdicts depend on the event and the broker's timestamp alone, never on this machine's
clock, so that a second reading gives the same one.

Rules: missing, empty, too_short, too_long, not_allowed, out_of_range, nul_in_text, not_finite (each with `:field`) and
clock_ahead. Values come raw (see `codec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from math import isfinite
from typing import Any

from wardstream.contracts.codec import to_raw
from wardstream.contracts.model import Contract, ContractError, Field
from wardstream.contracts.sources import WHITE_SPACE

CLOCK_AHEAD_US = 5 * 60 * 1_000_000
"""How far recorded_at may lie ahead of the broker's timestamp, microseconds."""

RANGE_OPTIONS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
LENGTH_OPTIONS = ("minLength", "maxLength")
_INFORMATIVE_OPTIONS = ("timezone", "format", "defaultTimezone")
KNOWN_OPTIONS = frozenset({*RANGE_OPTIONS, *LENGTH_OPTIONS, *_INFORMATIVE_OPTIONS})

# Where the contract gives a time or a day no bounds: what Python and every reader of ours can still show. Beyond it
# PostgreSQL or Arrow would fail inside the commit.
_WIDEST = {"timestamp-micros": ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"), "date": ("0001-01-01", "9999-12-31")}

_RANGED = frozenset({"int", "long", "float", "double", *_WIDEST})


class Validator:
    """Judges decoded events of one topic. Build it once per contract; it is a plain object without connections."""

    def __init__(self, contract: Contract) -> None:
        """Compile the rules; ContractError for a bound that is no value of its field's type."""
        self.contract = contract
        fields = {field.name: field for field in contract.fields}
        self.required = contract.required
        self.required_for = dict(contract.required_for)
        self.lengths = [
            (name, options.get("minLength", 0), options.get("maxLength"), name in contract.identifiers)
            for name, options in _options(contract)
            if name in fields and fields[name].type == "string" and any(option in options for option in LENGTH_OPTIONS)
        ]
        self.allowed = sorted(contract.allowed.items())
        self.ranges = [bound for name in fields if (bound := _range(contract, fields[name])) is not None]
        self._texts = [field.name for field in contract.fields if field.type == "string"]
        self._doubles = [field.name for field in contract.fields if field.type in ("double", "float")]
        self._nested = [field.name for field in contract.fields if field.is_json]
        self._sources = contract.sources

    def __call__(self, event: Mapping[str, Any], broker_time_us: int) -> str | None:
        """The reason why the event is refused, or None.

        `broker_time_us`: the record's LogAppendTime, microseconds since 1970 UTC.
        """
        get = event.get
        for name in self.required:
            if get(name) is None:
                return f"missing:{name}"
        for name, least, most, is_id in self.lengths:
            value = get(name)
            if is_id and value is not None:
                value = value.strip(WHITE_SPACE)
            if value is not None and (len(value) < least or (most is not None and len(value) > most)):
                return f"{'too_long' if len(value) >= least else 'too_short' if value else 'empty'}:{name}"
        for name, allowed in self.allowed:
            value = get(name)
            if value is not None and value not in allowed:
                return f"not_allowed:{name}"
        for name in self.required_for.get(str(get("kind")), ()):
            if get(name) is None:
                return f"missing:{name}"
        for name in self._doubles:
            value = get(name)
            if value is not None and not isfinite(value):
                return f"not_finite:{name}"
        for name, low, high in self.ranges:
            value = get(name)
            if value is not None and not low <= value <= high:
                return f"out_of_range:{name}"
        for name in self._texts:
            value = get(name)
            if value is not None and "\0" in value:
                return f"nul_in_text:{name}"
        for name in self._nested:
            fault = _nested_fault(get(name))
            if fault is not None:
                return f"{fault}:{name}"
        if event["recorded_at"] > broker_time_us + CLOCK_AHEAD_US and not self._sources.is_historical(event["source"]):
            return "clock_ahead"
        return None


def _options(contract: Contract) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (name, prop["logicalTypeOptions"]) for name, prop in contract.properties.items() if "logicalTypeOptions" in prop
    ]


def _range(contract: Contract, field: Field) -> tuple[str, float, float] | None:
    """Name, least and greatest allowed raw value of a field, or None where nothing bounds it."""
    options = dict(contract.properties.get(field.name, {}).get("logicalTypeOptions", {}))
    if field.type in _WIDEST:
        low, high = _WIDEST[field.type]
        if "minimum" not in options and "exclusiveMinimum" not in options:
            options["minimum"] = low
        if "maximum" not in options and "exclusiveMaximum" not in options:
            options["maximum"] = high
    if field.type not in _RANGED or not any(name in options for name in RANGE_OPTIONS):
        return None
    try:
        least = _raw_bound(field.type, options, "minimum", "exclusiveMinimum", +1)
        greatest = _raw_bound(field.type, options, "maximum", "exclusiveMaximum", -1)
    except (ValueError, TypeError) as error:
        raise ContractError(
            f"{contract.topic}/contract.yaml: property {field.name}: a bound in logicalTypeOptions is no {field.type} "
            "(times are quoted and have a zone, days are quoted)"
        ) from error
    return field.name, least, greatest


def _raw_bound(kind: str, options: Mapping[str, Any], inclusive: str, exclusive: str, step: int) -> float:
    """A bound in raw units, inclusive; infinite where there is none. Doubles take only inclusive bounds."""
    if inclusive in options:
        return raw_value(kind, options[inclusive])
    if exclusive not in options:
        return -step * float("inf")
    if kind in ("double", "float"):
        raise ValueError("exclusive bounds of a double")
    return raw_value(kind, options[exclusive]) + step


def raw_value(kind: str, bound: Any) -> float:
    """A bound of contract.yaml as the number on the wire: ISO times as microseconds (UTC), ISO days as days."""
    if kind == "timestamp-micros":
        return int(to_raw(datetime.fromisoformat(bound)))
    if kind == "date":
        return int(to_raw(date.fromisoformat(bound)))
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        raise TypeError("not a number")
    return bound


def _nested_fault(value: Any) -> str | None:
    """The rules that hold inside records, arrays and maps: no NUL in text, no NaN or infinity."""
    if isinstance(value, str):
        return "nul_in_text" if "\0" in value else None
    if isinstance(value, float):
        return None if isfinite(value) else "not_finite"
    if isinstance(value, dict):
        return next((f for part in value.items() for item in part if (f := _nested_fault(item))), None)
    if isinstance(value, list):
        return next((fault for item in value if (fault := _nested_fault(item))), None)
    return None
