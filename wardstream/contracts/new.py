"""`wardstream contracts new`: the files of a topic that works, to be filled with what is particular to it.

One fact a thing, the greatest version wins, as with laboratory results: contract, schema, examples, a fold, and a
migration for the core table and its mart view. schemas/README.md says what each of them may say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from wardstream.contracts.model import ContractError
from wardstream.contracts.wire_rules import ENVELOPE, NAME, RESERVED

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Kind:
    """A type that a field may be given: in the schema, in the contract, in PostgreSQL, and an example."""

    avro: object
    logical: str
    physical: str
    postgres: str
    options: str
    example: object


_TIMES = "{minimum: '1800-01-01T00:00:00Z', exclusiveMaximum: '2300-01-01T00:00:00Z', timezone: true}"
_DAYS = "{minimum: '1800-01-01', exclusiveMaximum: '2300-01-01'}"
_INSTANT = {"type": "long", "logicalType": "timestamp-micros"}
KINDS = {
    "string": Kind("string", "string", "string", "text", "", "example"),
    "int": Kind("int", "integer", "int", "integer", "", 1),
    "long": Kind("long", "integer", "long", "bigint", "", 1),
    "double": Kind("double", "number", "double", "double precision", "", 1.5),
    "boolean": Kind("boolean", "boolean", "boolean", "boolean", "", True),
    "timestamp": Kind(_INSTANT, "timestamp", "timestamp-micros", "timestamptz", _TIMES, "2026-03-02T08:00:00Z"),
    "date": Kind({"type": "int", "logicalType": "date"}, "date", "date", "date", _DAYS, "2026-03-02"),
}
_WORDS = (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation"
    " column concurrently constraint create cross current_catalog current_date current_role current_schema"
    " current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for"
    " foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral"
    " leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps"
    " placing primary references returning right select session_user similar some symmetric system_user table"
    " tablesample then to trailing true union unique user using variadic verbose when where window with"
)
SQL_WORDS = frozenset(_WORDS.split())
"""What PostgreSQL takes for a word of its own unless it is quoted (pg_get_keywords, reserved)."""
OF_THE_TABLE = {"encounter_id", "status", "observed_at", "observed_day"}


def write_topic(schemas_dir: Path, sql_dir: Path, topic: str, key: str, fields: dict[str, str]) -> list[Path]:
    """Write the files of a new topic; `fields`: type by name, the types being those of KINDS.

    Nothing is written over: ContractError where a file is there already, or a name or type cannot be.
    """
    _refuse_names(topic, key, fields)
    texts = _texts(topic, key, fields)
    migrations = sql_dir / "migrations"
    names = sorted(path.stem for path in migrations.glob("*.sql") if not path.stem.endswith(".rollback"))
    number = max((int(name.partition(".")[0]) for name in names if name[:4].isdigit()), default=0) + 1
    texts["depends"] = names[-1] if names else "0001.schemas-and-ops"
    folder, migration = schemas_dir / topic, f"{number:04d}.{topic}"
    files = {
        folder / "contract.yaml": _filled("contract.yaml", texts),
        folder / "value" / "v1.avsc": _schema(topic, key, fields),
        folder / "examples" / "v1" / "valid" / "recorded.json": _json(_example(key, fields)),
        folder / "examples" / "v1" / "invalid" / f"no_{key}.json": _json(_without(key, fields)),
        sql_dir / "folds" / f"{topic}.sql": _filled("fold.sql", texts),
        migrations / f"{migration}.sql": _filled("migration.sql", texts),
        migrations / f"{migration}.rollback.sql": _filled("rollback.sql", texts),
    }
    if there := [path for path in (folder, *files) if path.exists()]:
        raise ContractError(f"{there[0]} is there already; nothing was written")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _refuse_names(topic: str, key: str, fields: dict[str, str]) -> None:
    for name in (topic, key, *fields):
        if not NAME.fullmatch(name):
            raise ContractError(f"{name!r} is no name: lower-case letters, digits and _, a letter first")
    taken = {name for name, _ in ENVELOPE} | RESERVED | OF_THE_TABLE
    for name in (key, *fields):
        if name in taken:
            raise ContractError(f"field {name}: every topic has something of this name; choose another")
    if key in fields:
        raise ContractError(f"field {key}: it is the key; do not give it again")
    for name, kind in fields.items():
        if kind not in KINDS:
            raise ContractError(f"field {name}: write --field {name}:TYPE, the type being one of {', '.join(KINDS)}")


def _texts(topic: str, key: str, fields: dict[str, str]) -> dict[str, str]:
    """What the templates have placeholders for."""
    words = topic.replace("_", " ")
    return {
        "topic": topic,
        "key": _sql(key),
        "key_name": key,
        "words": words,
        "title": words.capitalize(),
        "properties": "".join(_property(name, KINDS[kind]) for name, kind in fields.items()),
        "of_history": "".join(f"    h.{_sql(name)},\n" for name in fields),
        "of_table": "".join(f"    {_sql(name)} {KINDS[kind].postgres},\n" for name, kind in fields.items()),
        "of_view": "".join(f"    {_sql(name)},\n" for name in fields),
    }


def _sql(name: str) -> str:
    """A column as SQL writes it."""
    return f'"{name}"' if name in SQL_WORDS else name


def _filled(template: str, texts: dict[str, str]) -> str:
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(texts)


def _property(name: str, kind: Kind) -> str:
    lines = [
        f"- name: {name}",
        f"  logicalType: {kind.logical}",
        f"  physicalType: {kind.physical}",
        "  classification: health  # or personal, sensitive, internal",
        f'  description: "TODO: {name.replace("_", " ")}; its unit, if it has one"',
    ]
    lines += [f"  logicalTypeOptions: {kind.options}"] if kind.options else []
    lines += ["  # logicalTypeOptions: {minimum: 0, maximum: 1000}"] if kind.logical in ("number", "integer") else []
    return "".join(f"      {line}\n" for line in lines)


def _schema(topic: str, key: str, fields: dict[str, str]) -> str:
    """One line a field, as in the schemas that are there."""
    instants = {"timestamp-micros": _INSTANT}
    lines: list[dict[str, object]] = [{"name": name, "type": instants.get(kind, kind)} for name, kind in ENVELOPE]
    for line in lines:
        line |= {"default": 0} if line["name"] == "source_seq" else {}
    nullable = {"encounter_id": "string", key: "string"} | {name: KINDS[kind].avro for name, kind in fields.items()}
    lines += [{"name": name, "type": ["null", avro], "default": None} for name, avro in nullable.items()]
    record = "".join(word.capitalize() for word in topic.split("_"))
    head = {"type": "record", "name": record, "namespace": f"org.wardstream.{topic}"}
    head["doc"] = f"One whole fact about {topic.replace('_', ' ')}."
    opening = json.dumps(head, indent=2).removesuffix("\n}")
    return opening + ',\n  "fields": [\n    ' + ",\n    ".join(json.dumps(line) for line in lines) + "\n  ]\n}\n"


def _example(key: str, fields: dict[str, str]) -> dict[str, object]:
    envelope = {
        "event_id": "ex-1",
        "event_time": "2026-03-02T08:00:00Z",
        "recorded_at": "2026-03-02T08:05:00Z",
        "source_seq": 0,
        "source": "example",
        "kind": "recorded",
        "patient_id": "P-1001",
        "encounter_id": "E-2001",
        key: "X-1",
    }
    return {**envelope, **{name: KINDS[kind].example for name, kind in fields.items()}}


def _without(key: str, fields: dict[str, str]) -> dict[str, object]:
    event = {name: value for name, value in _example(key, fields).items() if name != key}
    return {"reason": f"missing:{key}", "event": event}


def _json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2) + "\n"
