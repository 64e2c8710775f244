"""`wardstream send | topics | peek`: what a sender and whoever watches one need. Registered by `wardstream.cli`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import psycopg
import typer
from confluent_kafka import KafkaError, Message
from rich import box
from rich.console import Console
from rich.table import Table

from wardstream.contracts.model import Contract, load_contracts
from wardstream.database.connection import connect
from wardstream.kafka.broker import Extent
from wardstream.kafka.look import Seen, extents, last_messages, retention_ms
from wardstream.kafka.publish import DeliveryFailed, Publisher
from wardstream.settings import Settings, get_settings
from wardstream.sources.event_file import Checked, check
from wardstream.stream.lag import Ledger, read_ledger

SHOWN_FAULTS = 20
_DAY_MS = 86_400_000

Topic = Annotated[str, typer.Argument(help="Such as labs; `wardstream topics` lists them.")]


def _fail(said: str) -> NoReturn:
    typer.secho(said, err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def _contract(settings: Settings, topic: str) -> Contract:
    contracts = load_contracts(settings.schemas_dir)
    if topic not in contracts:
        _fail(f"there is no contract for a topic {topic}; there are {', '.join(contracts)}")
    return contracts[topic]


class _WithOffsets(Publisher):
    """A publisher that keeps where the events went."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.offsets: dict[int, list[int]] = {}

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        super()._on_delivery(error, message)
        if error is None:
            self.offsets.setdefault(message.partition(), []).append(message.offset())


def send(
    topic: Topic,
    file: Annotated[str, typer.Argument(help="Events as JSON, a line each or one array; - reads standard input.")],
    valid_only: Annotated[bool, typer.Option("--valid-only", help="Leave out what is wrong, send the rest.")] = False,
) -> None:
    """Send the events of a file to a topic, in the shape of schemas/TOPIC/examples, by the latest schema.

    All of them are checked against the contract first; one that is wrong is named by line and field, and then
    none is sent. Sending a file again changes nothing: what is known already counts as a duplicate.
    """
    settings = get_settings()
    contract = _contract(settings, topic)
    checked = check(_text(file), contract)
    _say_faults(checked)
    if checked.faults and not valid_only:
        _fail(f"{len(checked.faults)} of {len(checked.faults) + len(checked.events)} are wrong; nothing was sent")
    publisher = _WithOffsets(settings)
    try:
        with publisher:
            for event in checked.events:
                publisher.send(topic, event)
    except DeliveryFailed as error:
        _fail(str(error))
    finally:
        for partition, offsets in sorted(publisher.offsets.items()):
            span = f"offset {offsets[0]}" if len(offsets) == 1 else f"offsets {min(offsets)} to {max(offsets)}"
            typer.echo(f"{topic}/{partition}: {len(offsets)} acknowledged, {span}")
    left_out = f"; {len(checked.faults)} left out" if checked.faults else ""
    typer.echo(f"{publisher.delivered.total()} events sent{left_out}")


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode()
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        _fail(f"{file}: not UTF-8 from byte {error.start} on")


def _say_faults(checked: Checked) -> None:
    for fault in checked.faults[:SHOWN_FAULTS]:
        typer.secho(str(fault), err=True, fg=typer.colors.RED)
    if len(checked.faults) > SHOWN_FAULTS:
        typer.secho(f"and {len(checked.faults) - SHOWN_FAULTS} more", err=True, fg=typer.colors.RED)


def topics(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show each topic's partitions: offsets that Kafka has, retention, how far PostgreSQL has them, and the lag.

    Records are offsets that Kafka still has; markers of transactions count as well.
    """
    settings = get_settings()
    there = extents(settings)
    kept = retention_ms(settings, sorted({extent.topic for extent in there}))
    ledger = _ledger(settings)
    rows = [_row(extent, kept[extent.topic], ledger) for extent in there]
    missing = sorted(set(load_contracts(settings.schemas_dir)) - set(kept))
    if as_json:
        typer.echo(json.dumps({"topics": rows, "missing": missing}, indent=2))
        return
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("topic/partition", no_wrap=True)
    for head in ("begin", "end", "records", "retention", "committed to", "lag"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        unknown = "unknown" if ledger is None else "nothing yet"
        committed = unknown if row["committed_to"] is None else str(row["committed_to"])
        numbers = [str(row[name]) for name in ("begin", "end", "records")]
        lag = "unknown" if row["lag"] is None else str(row["lag"])
        table.add_row(f"{row['topic']}/{row['partition']}", *numbers, _span(row["retention_ms"]), committed, lag)
    Console().print(table)
    for topic in missing:
        typer.secho(f"{topic}: not on the broker; `wardstream up` or platform_setup_dag makes it", err=True)


def _ledger(settings: Settings) -> Ledger | None:
    """None where PostgreSQL does not say."""
    try:
        with connect(settings.writer_url, "wardstream topics") as conn:
            return read_ledger(conn)
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable, FileNotFoundError):
        typer.secho("PostgreSQL does not say how far the topics are committed (`wardstream status`)", err=True)
        return None


def _row(extent: Extent, kept: int, ledger: Ledger | None) -> dict[str, str | int | None]:
    committed = None if ledger is None else ledger.get((extent.topic_id, extent.partition))
    reached = extent.start if committed is None else committed
    return {
        "topic": extent.topic,
        "partition": extent.partition,
        "begin": extent.start,
        "end": extent.end,
        "records": extent.end - extent.start,
        "retention_ms": kept,
        "committed_to": committed,
        "lag": None if ledger is None else max(0, extent.end - reached),
    }


def _span(milliseconds: str | int | None) -> str:
    assert isinstance(milliseconds, int)
    if milliseconds < 0:
        return "for ever"
    days = milliseconds / _DAY_MS
    return f"{days:g} d" if days >= 1 else f"{milliseconds / 3_600_000:g} h"


def peek(
    topic: Topic,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="So many messages.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; a line a message.")] = False,
) -> None:
    """Show the last messages of a topic: where, when, schema, kind, and the fields they have.

    Only values of fields that the contract classifies as internal are shown; those of a patient are masked.
    """
    settings = get_settings()
    for seen in last_messages(settings, _contract(settings, topic), count):
        if as_json:
            typer.echo(json.dumps({**asdict(seen), "time": seen.time.isoformat()}))
        else:
            typer.echo("\n".join(_lines(topic, seen)))


def _lines(topic: str, seen: Seen) -> list[str]:
    schema = "no schema id" if seen.schema_id is None else f"schema id {seen.schema_id}"
    words = [f"{topic}/{seen.partition} offset {seen.offset}", f"{seen.time:%Y-%m-%d %H:%M:%S} UTC", schema]
    words += [f"key: {seen.key}", *([seen.kind] if seen.kind else [])]
    words += [f"REFUSED {seen.reason}"] if seen.reason else []
    values = "  ".join(f"{name}={value}" for name, value in seen.fields.items())
    return ["  ".join(words), *([f"    {values}"] if values else [])]
