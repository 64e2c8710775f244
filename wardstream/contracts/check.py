"""`wardstream contracts check`: everything that must hold between the files under schemas/, without a server.

contract.yaml is held to the part of the Open Data Contract Standard v3.1 that we use, strictly: a rule that this code
would not enforce (another option, another metric) is refused rather than ignored. The wire's own rules are in
`wire_rules`, the immutability of released schemas in `lock`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wardstream.contracts.avro_tree import UnsafeSchemaError, expand
from wardstream.contracts.codec import BadRecord, Decoder, Encoder, split
from wardstream.contracts.examples import Example, load_examples
from wardstream.contracts.lock import lock_problems
from wardstream.contracts.model import Contract, ContractError, load_contract, short_type
from wardstream.contracts.sources import SourcesError, load_sources
from wardstream.contracts.validate import KNOWN_OPTIONS, LENGTH_OPTIONS, RANGE_OPTIONS, Validator
from wardstream.contracts.wire_rules import wire_problems
from wardstream.stream.plan import HEADER

CLASSES = frozenset({"internal", "personal", "health", "sensitive"})
"""Classifications: no personal data; identifies or describes a person; health; other special categories."""

_TOP_LEVEL = frozenset(
    {"apiVersion", "kind", "id", "name", "version", "status", "domain", "tenant", "dataProduct", "tags", "price"}
    | {"description", "team", "support", "slaProperties", "schema", "customProperties", "roles", "servers"}
    | {"authoritativeDefinitions", "contractCreatedTs"}
)
_CUSTOM = frozenset({"requiredFor", "dlq", "replayPolicy", "partitions", "coreTables", "changelog"})
_PROPERTY = frozenset(
    {"name", "logicalType", "physicalType", "required", "primaryKey", "primaryKeyPosition", "classification"}
    | {"description", "logicalTypeOptions", "quality", "properties", "items", "businessName", "examples", "tags"}
    | {"authoritativeDefinitions", "customProperties", "criticalDataElement"}
)
_STATUS = ("proposed", "draft", "active", "deprecated", "retired")
_LOGICAL = {
    **dict.fromkeys(("string", "bytes"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("double", "float"), "number"),
    **dict.fromkeys(("record", "map"), "object"),
    "boolean": "boolean",
    "timestamp-micros": "timestamp",
    "date": "date",
    "array": "array",
}
_MOST_ID_LENGTH = 200


def check_contracts(schemas_dir: Path, sql_dir: Path | None = None) -> list[str]:
    """All problems of all contracts, as sentences that begin with the file and say what to do; empty means good.

    With `sql_dir`, also whether `coreTables` of the contracts and the headers of sql/folds name each other.
    """
    folders = sorted(path for path in schemas_dir.glob("*") if path.is_dir())
    if not folders:
        return [f"{schemas_dir}: no topic folder; set WARDSTREAM_SCHEMAS_DIR to the schemas folder"]
    problems = lock_problems(schemas_dir)
    try:
        sources = load_sources(schemas_dir)
    except SourcesError as error:
        return [*problems, str(error)]
    for folder in folders:
        try:
            contract = load_contract(folder, sources)
            wire = wire_problems(contract)
            problems += wire
            problems += [f"{contract.topic}/contract.yaml: {text}" for text in _document(contract)]
            if sql_dir is not None:
                problems += [f"{contract.topic}/contract.yaml: {text}" for text in _core_tables(contract, sql_dir)]
            if not wire:
                problems += _examples(folder, contract)
        except (ContractError, UnsafeSchemaError) as error:
            problems.append(str(error))
    return problems


def _document(contract: Contract) -> Iterator[str]:
    document = contract.document
    if document.get("apiVersion") != "v3.1.0" or document.get("kind") != "DataContract":
        yield "must have `apiVersion: v3.1.0` and `kind: DataContract`"
    for key in sorted(document.keys() - _TOP_LEVEL):
        yield f"`{key}` is no key of the standard; what it has no word for goes under customProperties"
    for key in ("id", "name", "version", "status", "description", "team"):
        if not document.get(key):
            yield f"needs `{key}`"
    if document.get("status") and document["status"] not in _STATUS:
        yield f"`status` is one of {', '.join(_STATUS)}"
    if not (document.get("description") or {}).get("purpose"):
        yield "needs `description.purpose`"
    if not any(member.get("role") == "owner" for member in (document.get("team") or {}).get("members", [])):
        yield "needs a member with `role: owner` under team"
    if len(document["schema"]) != 1 or document["schema"][0].get("physicalName") != contract.topic:
        yield f"needs one schema with `physicalName: {contract.topic}`, like its folder"
    slas = {sla.get("property") for sla in document.get("slaProperties", [])}
    yield from (f"slaProperties needs `{name}`" for name in ("retention", "latency") if name not in slas)
    yield from _custom(contract)
    yield from _changelog(contract)
    try:
        _ = contract.retention_ms, contract.freshness_seconds, Validator(contract)
        if contract.key not in contract.required:
            yield f"property {contract.key}: the primary key must be `required: true`"
    except ContractError as error:
        yield str(error).partition(": ")[2]
    with contextlib.suppress(UnsafeSchemaError):  # reported with the wire
        yield from _agreement(expand(contract.latest)["fields"], list(contract.properties.values()), "")
    for name in (
        "event_id",
        "source",
        "patient_id",
        *(n for n, p in contract.properties.items() if p.get("primaryKey")),
    ):
        options = contract.properties.get(name, {}).get("logicalTypeOptions", {})
        if options.get("minLength", 0) < 1 or options.get("maxLength", _MOST_ID_LENGTH + 1) > _MOST_ID_LENGTH:
            yield f"property {name}: an id needs logicalTypeOptions minLength 1 and maxLength at most {_MOST_ID_LENGTH}"
    if not contract.kinds:
        yield "property kind: needs a quality rule `metric: invalidValues` with the allowed kinds"


def _custom(contract: Contract) -> Iterator[str]:
    names = {entry.get("property") for entry in contract.document.get("customProperties", [])}
    if "historicalSources" in names:
        yield "customProperties: `historicalSources` is said in schemas/sources.yaml now: `SOURCE: {historical: true}`"
    unknown = names - _CUSTOM - {"historicalSources"}
    yield from (f"customProperties: `{name}` is not known here" for name in sorted(map(str, unknown)))
    yield from (f"customProperties: needs `{name}`" for name in ("dlq", "replayPolicy") if name not in names)
    for kind, fields in contract.required_for.items():
        if kind not in contract.kinds:
            yield f"customProperties requiredFor: {kind} is no allowed kind"
        yield from (f"customProperties requiredFor: no property {n}" for n in fields if n not in contract.properties)


def _agreement(fields: list[Any], properties: list[Mapping[str, Any]], where: str) -> Iterator[str]:
    """Where the properties of contract.yaml and the fields of the .avsc differ, nested records included."""
    names, listed = [field["name"] for field in fields], [prop.get("name") for prop in properties]
    yield from (f"property {where}{name}: missing, the .avsc has it" for name in names if name not in listed)
    yield from (f"property {where}{name}: the .avsc has no such field" for name in listed if name not in names)
    if sorted(names) == sorted(map(str, listed)) and names != listed:
        yield f"properties {where or 'of the topic'} stand in another order than in the .avsc"
    by_name = {prop.get("name"): prop for prop in properties}
    for field in fields:
        prop = by_name.get(field["name"])
        if prop is None:
            continue
        path = where + field["name"]
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        tree = next((branch for branch in branches if branch["type"] != "null"), branches[0])
        kind = short_type(tree)
        if prop.get("physicalType") != kind or prop.get("logicalType") != _LOGICAL.get(kind):
            yield f"property {path}: must have `logicalType: {_LOGICAL.get(kind)}` and `physicalType: {kind}`"
        if len(branches) == 1 and not prop.get("required"):
            yield f"property {path}: the .avsc takes no null, so it is `required: true`"
        yield from _rules(prop, kind, path, nested=bool(where))
        if kind == "record":
            yield from _agreement(tree["fields"], prop.get("properties", []), f"{path}.")
        if kind == "array" and isinstance(tree["items"], dict) and tree["items"]["type"] == "record":
            yield from _agreement(tree["items"]["fields"], prop.get("items", {}).get("properties", []), f"{path}[].")


def _rules(prop: Mapping[str, Any], kind: str, path: str, *, nested: bool) -> Iterator[str]:
    """Faults of one property's own words: description, class, and rules that the validator would not enforce."""
    if not prop.get("description"):
        yield f"property {path}: needs a description"
    elif str(prop["description"]).startswith("TODO"):
        yield f"property {path}: its description is still to be written"
    for key in sorted(map(str, prop.keys() - _PROPERTY)):
        yield f"property {path}: `{key}` is not enforced here; a range is logicalTypeOptions with minimum and maximum"
    if prop.get("classification") not in CLASSES:
        yield f"property {path}: classification is one of {sorted(CLASSES)}"
    options = prop.get("logicalTypeOptions", {})
    if nested and (options or prop.get("quality")):
        yield f"property {path}: rules are enforced on top-level fields only; move it or drop the rule"
    yield from (
        f"property {path}: option {name} is not enforced here; known are {', '.join(sorted(KNOWN_OPTIONS))}"
        for name in sorted(options.keys() - KNOWN_OPTIONS)
    )
    if kind != "string" and any(name in options for name in LENGTH_OPTIONS):
        yield f"property {path}: lengths belong to strings"
    if kind in ("string", "boolean", "bytes") and any(name in options for name in RANGE_OPTIONS):
        yield f"property {path}: a {kind} has no minimum or maximum"
    if kind in ("timestamp-micros", "date") and not nested:
        for ends in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if not any(name in options for name in ends):
                yield f"property {path}: a time needs a plausible {ends[0]} in logicalTypeOptions"
    for rule in prop.get("quality", []):
        if rule.get("type") == "text":
            continue
        if rule.get("metric") != "invalidValues" or rule.get("mustBe") != 0 or kind != "string":
            yield f"property {path}: the only quality rule enforced is `invalidValues` of a string with `mustBe: 0`"
        elif not rule.get("arguments", {}).get("validValues"):
            yield f"property {path}: invalidValues needs arguments.validValues"


def _changelog(contract: Contract) -> Iterator[str]:
    entries = contract.custom("changelog", None)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and entry.get("change") for entry in entries):
        yield "customProperties: needs `changelog`, a list of entries with `version`, `schema` and `change`"
        return
    version, versions = str(contract.document.get("version")), [str(entry.get("version")) for entry in entries]
    if not versions or versions[0] != version:
        yield f"customProperties changelog: needs an entry for version {version}, before all others"
    if len(set(versions)) < len(versions):
        yield "customProperties changelog: two entries have the same version; raise `version` with each change"
    told = {entry.get("schema") for entry in entries}
    for number in contract.versions:
        if f"v{number}" not in told:
            yield f"customProperties changelog: needs an entry with `schema: v{number}`"


def _core_tables(contract: Contract, sql_dir: Path) -> Iterator[str]:
    """Where the contract and the headers of the folds do not name each other."""
    named = set(contract.core_tables)
    folds = {
        path.stem
        for path in (sql_dir / "folds").glob("*.sql")
        for what, topics in HEADER.findall(path.read_text(encoding="utf-8"))
        if what == "topics" and contract.topic in (topic.strip() for topic in topics.split(","))
    }
    for table in sorted(named - folds):
        yield f"customProperties coreTables: no sql/folds/{table}.sql names {contract.topic} under `-- topics:`"
    for table in sorted(folds - named):
        yield f"customProperties coreTables: needs {table}, since sql/folds/{table}.sql reads the topic"


def _examples(folder: Path, contract: Contract) -> list[str]:
    problems = []
    validator = Validator(contract)
    seen: set[bool] = set()
    for example in load_examples(folder, contract):
        seen.add(example.reason is None)
        where = example.file.relative_to(folder.parent).as_posix()
        try:
            said = judge(contract, validator, example)
        except ValueError as error:
            problems.append(f"{where}: cannot be written with v{example.version}: {error}")
            continue
        if said != example.reason:
            wanted, found = example.reason or "accepted", said or "accepted"
            what = f"with v{example.version}, should be {wanted}, but is {found}"
            problems.append(f"{where}: {what}; correct the example or the contract")
    for valid, word in ((True, "valid"), (False, "invalid")):
        if valid not in seen:
            problems.append(f"{contract.topic}/examples/v1/{word}: needs at least one .json file")
    return problems


def judge(contract: Contract, validator: Validator, example: Example) -> str | None:
    """The reason why the stream would refuse an example, or None: written, read and validated as it would be there."""
    schema = contract.versions[example.version]
    message = Encoder(schema, 1).encode(example.event)
    try:
        return validator(Decoder(schema).decode(split(message)[1]), example.broker_time_us)
    except BadRecord as bad:
        return bad.reason
