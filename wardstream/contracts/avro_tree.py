"""Walking Avro schemas: references resolved, logical types stripped, and schemas refused that no message may use.

`expand` turns a schema into a tree without references, which `canonical`, `codec` and `check` compile from. It refuses
what would let a few bytes cost much: recursion (a message could nest without end) and items of no width (an array
of nulls may claim 2^31 items in five bytes).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastavro.schema import to_parsing_canonical_form

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "error", "enum", "fixed"})


class UnsafeSchemaError(ValueError):
    """A schema that is not Avro, or that lets a short message cost much memory or time."""


def expand(schema: Any) -> Any:
    """The schema with every reference replaced by its definition and every type as an object or a list (union).

    Raises UnsafeSchemaError for recursion, items of no width, unknown names and anything that is no Avro schema.
    """
    try:
        return _expand(schema, {}, (), "")
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsafeSchemaError(f"not an Avro schema ({type(error).__name__})") from error


def _expand(avro: Any, names: dict[str, tuple[Any, str]], path: tuple[str, ...], namespace: str) -> Any:
    if isinstance(avro, list):
        return [_expand(branch, names, path, namespace) for branch in avro]
    if isinstance(avro, str):
        if avro in _PRIMITIVES:
            return {"type": avro}
        full = _full_name(avro, namespace)
        if full not in names:
            raise UnsafeSchemaError(f"type {avro} is used but not defined before")
        if full in path:
            raise UnsafeSchemaError(f"type {avro} contains itself; a message could nest without end")
        definition, its_namespace = names[full]
        return _expand(definition, names, path, its_namespace)
    kind = avro["type"]
    if isinstance(kind, (dict, list)):
        return _expand(kind, names, path, namespace)
    if kind in _NAMED:
        outer = avro.get("namespace", namespace)
        full = _full_name(avro["name"], outer)
        namespace = full.rpartition(".")[0]
        names[full] = (avro, outer)
        path = (*path, full)
    if kind in ("record", "error"):
        fields = [{**field, "type": _expand(field["type"], names, path, namespace)} for field in avro["fields"]]
        return {**avro, "type": "record", "fields": fields}
    if kind in ("array", "map"):
        item_key = "items" if kind == "array" else "values"
        item = _expand(avro[item_key], names, path, namespace)
        if kind == "array" and min_width(item) == 0:
            raise UnsafeSchemaError("array items of no width; a short message could claim any number of them")
        return {**avro, item_key: item}
    if kind not in _PRIMITIVES and kind not in _NAMED:
        return _expand(kind, names, path, namespace)
    return avro


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def min_width(tree: Any) -> int:
    """The fewest bytes a value of an expanded type takes on the wire."""
    if isinstance(tree, list):
        return 1
    kind = tree["type"]
    if kind == "record":
        return sum(min_width(field["type"]) for field in tree["fields"])
    if kind == "fixed":
        return int(tree["size"])
    return {"null": 0, "float": 4, "double": 8}.get(kind, 1)


def strip_logical(avro: Any) -> Any:
    """The schema without logical types, so that times, days and decimals are read as the numbers on the wire."""
    if isinstance(avro, list):
        return [strip_logical(branch) for branch in avro]
    if not isinstance(avro, dict):
        return avro
    out = {key: value for key, value in avro.items() if key not in ("logicalType", "precision", "scale")}
    for key in ("type", "items", "values"):
        if key in out:
            out[key] = strip_logical(out[key])
    if "fields" in out:
        out["fields"] = [{**field, "type": strip_logical(field["type"])} for field in out["fields"]]
    return out


def fingerprint(schema: Any) -> int:
    """What the bytes under a schema mean, as a signed 64-bit integer; documentation does not count.

    The first 8 bytes of SHA-256 over the Avro parsing canonical form and, because they change a value's or a hash's
    meaning and the canonical form drops them, the logical types and the defaults.
    """
    meanings: list[tuple[str, Any]] = []
    _meanings(schema, "", meanings)
    text = to_parsing_canonical_form(schema) + "\n" + json.dumps(meanings, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _meanings(avro: Any, path: str, found: list[tuple[str, Any]]) -> None:
    """Collect logical types and defaults in order. References are not followed, so recursive schemas are no trouble."""
    if isinstance(avro, list):
        for number, branch in enumerate(avro):
            _meanings(branch, f"{path}|{number}", found)
        return
    if not isinstance(avro, dict):
        return
    if "logicalType" in avro:
        found.append((path, [avro["logicalType"], avro.get("precision"), avro.get("scale")]))
    if isinstance(avro["type"], (dict, list)):
        _meanings(avro["type"], path, found)
    for key in ("items", "values"):
        if key in avro:
            _meanings(avro[key], f"{path}[]", found)
    for field in avro.get("fields", []):
        where = f"{path}.{field['name']}"
        if "default" in field:
            found.append((where, ["default", field["default"]]))
        _meanings(field["type"], where, found)
