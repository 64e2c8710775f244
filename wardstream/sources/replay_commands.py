"""`wardstream replay mimic-iii DIR | sample`: events of a source through the publisher, and counts by topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from wardstream.contracts.model import ContractError
from wardstream.kafka.publish import DEFAULT_TIMEOUT_SECONDS, DeliveryFailed, Publisher
from wardstream.registry.client import RegistryRefusedError, RegistryUnavailableError
from wardstream.settings import Settings, get_settings
from wardstream.sources.mimic import events as mimic
from wardstream.sources.mimic.recent import Recent, SpanError, last_stays, parse_days
from wardstream.sources.mimic.tables import MimicError
from wardstream.sources.mimic.windows import PlacementError, open_window, refuse_moved
from wardstream.sources.sample import events as sample
from wardstream.stack.parts.kafka import check_ours

app = typer.Typer(no_args_is_help=True, help="Publish a source's events to Kafka; a second replay changes nothing.")

_EXPECTED = (
    ContractError,
    DeliveryFailed,
    MimicError,
    PlacementError,
    SpanError,
    sample.AnchorError,
    RegistryRefusedError,
    RegistryUnavailableError,
)

_ANCHOR = sample.ANCHOR.replace(tzinfo=None)  # typer reads times without a zone

Pace = Annotated[float | None, typer.Option(min=0.001, help="Events a second, at most.")]
Limit = Annotated[int | None, typer.Option(min=0, help="Publish only the first so many events.")]
Timeout = Annotated[float, typer.Option(min=1.0, help="Seconds an event may wait for Kafka's acknowledgement.")]


@app.command("mimic-iii")
def mimic_iii(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with the CSV files.")],
    recent: Annotated[
        str | None, typer.Option(metavar="90d|12w", help="Move patients into the days up to now, as said above.")
    ] = None,
    pace: Pace = None,
    shuffle: Annotated[int | None, typer.Option(help="A seed: publish in an order that depends on it.")] = None,
    limit: Limit = None,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Replay MIMIC-III (the demo or the full data set), each fact at its own time, in order of time.

    --recent moves each patient by whole weeks of local time, so that the last
    stay overlaps the days up to now, and holds back what is later than now:
    some patients are in the house. PostgreSQL keeps what "now" was at first
    use, so that a repeat sends the same events. A database has MIMIC-III in
    one such window or at its own dates; what would mix them is refused.
    """
    settings = get_settings()
    with _one_line_errors():
        publish(settings, _mimic_facts(settings, folder, recent, shuffle), pace, limit, timeout)


@app.command("sample")
def sample_command(
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 1,
    anchor: Annotated[datetime, typer.Option(help="The sample's present, UTC.")] = _ANCHOR,
    pace: Pace = None,
    limit: Limit = None,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Publish the shipped sample: made-up patients, thirty days up to the anchor."""
    with _one_line_errors():
        publish(get_settings(), sample.events(seed, anchor.replace(tzinfo=UTC)), pace, limit, timeout)


def replay_demo(settings: Settings, folder: Path | None) -> None:
    """What `wardstream demo` publishes: MIMIC-III where a folder is given, else the shipped sample."""
    with _one_line_errors():
        publish(settings, sample.events() if folder is None else _mimic_facts(settings, folder))


def _mimic_facts(
    settings: Settings, folder: Path, recent: str | None = None, shuffle: int | None = None
) -> Iterator[mimic.Fact]:
    """MIMIC's facts where the database has them, or may have them: PlacementError where it has them elsewhere."""
    if recent is None:
        refuse_moved(settings, mimic.SOURCE)
        return mimic.events(folder, settings.zone, shuffle)
    days = parse_days(recent)
    stays = last_stays(folder)  # before the window is stored: a wrong folder should leave none behind
    window = open_window(settings, mimic.SOURCE, days)
    typer.echo(f"{mimic.SOURCE}: patients are moved into {window}")
    return mimic.events(folder, settings.zone, shuffle, Recent(window, settings.zone, stays))


def publish(
    settings: Settings,
    facts: Iterable[mimic.Fact],
    pace: float | None = None,
    limit: int | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Publish facts and print how many of each topic Kafka acknowledged, also when it ends with an error.

    StackError where the embedded Kafka's port belongs to another stack.
    """
    check_ours(settings)
    publisher = Publisher(settings, timeout_seconds=timeout, pace=pace)
    try:
        with publisher:
            for topic, event in islice(facts, limit):
                publisher.send(topic, event)
    finally:
        for topic, count in sorted(publisher.delivered.items()):
            typer.echo(f"{topic}: {count} events acknowledged")
        typer.echo(f"total: {publisher.delivered.total()} events acknowledged")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Faults of the world around us end in one line and exit code 1; anything else is a defect with a traceback."""
    try:
        yield
    except _EXPECTED as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error
