"""Events that somebody wrote as JSON: read from a file, and judged by their contract before any of them is sent.

A file is one event after the other, a line each or over several lines, or one array of them. An event has the shape of
schemas/<topic>/examples: times in ISO 8601 with a zone, days as YYYY-MM-DD. What is wrong is said by line and field,
never with a value: the file holds patient data.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wardstream.contracts.avro_tree import expand
from wardstream.contracts.codec import BadRecord, Decoder, Encoder
from wardstream.contracts.examples import raw_event
from wardstream.contracts.model import Contract
from wardstream.contracts.validate import Validator

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SPACE = re.compile(r"\s*")
_COMMA = re.compile(r"\s*,?\s*")


@dataclass(frozen=True)
class Fault:
    """An event that would not become a fact: the line that it begins on, and why."""

    line: int
    said: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.said}"


@dataclass
class Checked:
    """A file's events: those that may be sent, raw as `codec.Encoder` takes them, and what is wrong with the others."""

    events: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def check(text: str, contract: Contract) -> Checked:
    """All events of a file, judged as the stream would judge them if the broker's clock were this machine's."""
    found = Checked()
    judge = _Judge(contract)
    for line, document in _documents(text):
        if isinstance(document, Fault):
            found.faults.append(document)
            continue
        event, said = judge(document)
        if said:
            found.faults.append(Fault(line, said))
        else:
            found.events.append(event)
    return found


def _documents(text: str) -> Iterator[tuple[int, Any]]:
    """Line and value of each JSON value; a Fault for one that is none, after which the next line is tried."""
    decoder = json.JSONDecoder()
    at = _after(_SPACE, text, text.startswith("\ufeff"))
    in_array = text[at : at + 1] == "["
    between = _COMMA if in_array else _SPACE
    at = _after(_SPACE, text, at + in_array)
    line, counted = 1, 0
    while at < len(text) and not (in_array and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        try:
            document, end = decoder.raw_decode(text, at)
            yield line, document
        except (ValueError, RecursionError) as error:
            where, said = line, "too long a number" if isinstance(error, ValueError) else "nested too deeply"
            if isinstance(error, json.JSONDecodeError):
                where, said = error.lineno, f"{error.msg} (column {error.colno})"
            yield line, Fault(where, f"no JSON: {said}")
            end = text.find("\n", max(at, getattr(error, "pos", at)))
            if in_array or end < 0:  # where the next one begins cannot be known
                return
        at = _after(between, text, end)
    if in_array and text[at:].strip() != "]":
        end_line = text.count("\n", 0, at) + 1
        yield end_line, Fault(end_line, "no JSON: the array does not end here, or something follows it")


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None  # both patterns match nothing, too
    return match.end()


class _Judge:
    """One document to a raw event, or to the reason why it is none."""

    def __init__(self, contract: Contract) -> None:
        self._tree = expand(contract.latest)
        self._names = {field["name"] for field in self._tree["fields"]}
        self._version = contract.latest_version
        self._encoder = Encoder(contract.latest, 0)
        self._decoder = Decoder(contract.latest)
        self._validate = Validator(contract)

    def __call__(self, document: Any) -> tuple[dict[str, Any], str]:
        if not isinstance(document, dict):
            return {}, "not an event: a JSON object is wanted"
        unknown = sorted(set(document) - self._names)
        if unknown:
            named = ", ".join(name if _NAME.fullmatch(name) else "(no field name)" for name in unknown)
            return {}, f"{named}: not in the schema (version {self._version})"
        raw: dict[str, Any] = {}
        for name, value in document.items():
            try:
                raw |= raw_event(self._tree, {name: value})
            except (ValueError, TypeError, KeyError, AttributeError):
                return {}, f"{name}: not a value of its type; times are ISO 8601 with a zone, days YYYY-MM-DD"
        try:
            event = self._decoder.decode(self._encoder.encode(raw)[5:])
        except (ValueError, BadRecord) as error:
            return {}, str(error).removeprefix("not encodable: ")
        reason = self._validate(event, time.time_ns() // 1000)
        if reason is None:
            return raw, ""
        rule, _, name = reason.partition(":")
        return {}, f"{name or 'recorded_at'}: {rule} (the contract)"
