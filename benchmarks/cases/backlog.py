"""Throughput: events that wait on Kafka, committed by the stream into empty tables, then by the peers; and a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import ledger, peer_runs, publish
from benchmarks.bench import Bench
from benchmarks.messages import MAKERS
from benchmarks.publish import Extent
from benchmarks.usage import cpu_by_part, used

SECONDS = 3600.0
MILLION = 1_000_000


class CountsDiffer(RuntimeError):
    """The ledger's account does not say of the events what it has to."""


@dataclass
class Drained:
    """What the ledger says of a backlog that was committed, and what it used between its first commit and its last."""

    steady: ledger.Steady
    stored: int
    duplicates: int
    counted: int
    """Events committed between the two looks at CPU and WAL."""
    cpu: dict[str, float]
    wal: int


def labs(bench: Bench) -> None:
    """A backlog of laboratory results."""
    _backlog(bench, "labs")


def admissions(bench: Bench) -> None:
    """A backlog of facts about stays."""
    _backlog(bench, "admissions")


def mix(bench: Bench) -> None:
    """A backlog of all topics at once."""
    _backlog(bench, "mix")


def _backlog(bench: Bench, what: str) -> None:
    case = f"backlog_{what}"
    sent = publish.backlog(bench.stack.settings, MAKERS[what](bench.events_of(case), bench.form.backlog))
    bench.add(f"{case}.publisher.events_per_second", sent.count / sent.seconds, "events/s", "higher")
    drained = drain(bench, sent.extents)
    if drained.stored != sent.count:
        raise CountsDiffer(f"{sent.count} events were published, all different, and {drained.stored} stored")
    report(bench, f"{case}.stream", drained)
    bench.stack.drained()
    for peer in bench.form.peers:
        result = peer_runs.run(bench.stack, peer, sent.extents, bench.form.few, bench.form.batch)
        bench.add(f"{case}.{peer}.events_per_second", result.events / result.seconds, "events/s", "higher")
        cpu = result.cpu_seconds * MILLION / result.events
        bench.add(f"{case}.{peer}.client_cpu_per_million", cpu, "s", "lower")


def replay(bench: Bench) -> None:
    """A first load into empty tables, and the same messages once more, when each is known."""
    run, count = bench.events_of("replay"), bench.form.replayed
    first = drain(bench, publish.backlog(bench.stack.settings, MAKERS["labs"](run, count)).extents)
    bench.stack.drained()
    again = drain(bench, publish.backlog(bench.stack.settings, MAKERS["labs"](run, count)).extents)
    if (first.stored, again.duplicates) != (count, count):
        raise CountsDiffer(f"of {count} events {first.stored} were stored, then {again.duplicates} duplicates")
    report(bench, "replay.first_load", first)
    report(bench, "replay.again", again)


def drain(bench: Bench, extents: Sequence[Extent]) -> Drained:
    """Start the stream on what waits on Kafka, until all is committed; CountsDiffer where some is lost."""
    stack = bench.stack
    stack.checkpoint()
    stack.let_run()
    ledger.wait_for_first(stack, extents, SECONDS)
    cpu, wal, done = (
        cpu_by_part(stack.settings),
        stack.wal_bytes(),
        sum(one.received for one in _ranges(bench, extents)),
    )
    ledger.wait_for(stack, extents, SECONDS)
    spent, written = used(cpu, cpu_by_part(stack.settings)), stack.wal_bytes() - wal
    found = _ranges(bench, extents)
    count, stored, duplicates = (
        sum(extent.count for extent in extents),
        sum(one.stored for one in found),
        sum(one.duplicate for one in found),
    )
    if stored + duplicates != count:
        raise CountsDiffer(f"of {count} events {stored} were stored and {duplicates} known before")
    return Drained(ledger.steady(found), stored, duplicates, count - done, spent, written)


def report(bench: Bench, name: str, drained: Drained) -> None:
    """The figures of a backlog; speed and use only where there was more than one commit."""
    bench.add(f"{name}.commit_us_per_event", drained.steady.commit_us_per_event, "us", "lower")
    if drained.steady.events:
        bench.add(f"{name}.events_per_second", drained.steady.events_per_second, "events/s", "higher")
    if drained.counted:
        for part, seconds in sorted(drained.cpu.items()):
            bench.add(f"{name}.{part}.cpu_per_million", seconds * MILLION / drained.counted, "s", "lower")
        total = sum(drained.cpu.values()) * MILLION / drained.counted
        bench.add(f"{name}.all.cpu_per_million", total, "s", "lower")
        bench.add(f"{name}.wal_mb_per_million", drained.wal / drained.counted, "MB", "lower")


def _ranges(bench: Bench, extents: Sequence[Extent]) -> list[ledger.Range]:
    return [one for e in extents for one in ledger.ranges(bench.stack, e.topic, e.start, e.end)]
