"""Kafka compared with the rows of history, duplicates and quarantine, and these with what was verified before.

read     offsets that were never verified are read from Kafka, and each message is looked for (`placing`)
sum      one pass over each table sums the rows of every piece (`sums`). Of a piece that was read it must be the sum
         of the rows that were found: else there is a row that no message accounts for. Of a range that was
         verified before it must be the sum of then: else it is read, too, so that offsets can be named
keep     what has no finding is written down as verified (`ranges`)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import add

from wardstream.database.connection import Connection, beside, one_snapshot
from wardstream.kafka.broker import Extent
from wardstream.proof.books import Books, Counts, Partition, read_books
from wardstream.proof.placing import Found, Job, longest_piece, place_all
from wardstream.proof.ranges import Cut, Piece, Range, Ranges, cut, keep, merged
from wardstream.proof.report import SHOWN, Report
from wardstream.proof.sums import PLACES, Account, Group, sum_table, table_of

COUNTED = {"history": "stored", "duplicate": "duplicate", "quarantine": "quarantined"}
"""How the ledger calls the rows of a place."""


@dataclass(frozen=True)
class Logs:
    """What is compared: partitions, those that are gone, and how far each was committed when verify began."""

    open: list[Extent]
    closed: list[Extent]
    books: Books
    known: Ranges

    def cuts(self, again: set[tuple[Partition, Range]], longest: int) -> dict[Partition, Cut]:
        """Every partition in pieces; `again`: known ranges that are to be read all the same."""
        found = {}
        for extent in [*self.open, *self.closed]:
            at = (extent.topic_id, extent.partition)
            end = self.books.ledger.get(at, extent.start)
            reread = {one for of, one in again if of == at}
            found[at] = cut(extent, end, self.known.get(at, []), reread, longest)
        return found


@dataclass
class Sums:
    """What one pass over all tables has shown."""

    accounts: dict[Piece, Account] = field(default_factory=dict)
    miscounted: list[str] = field(default_factory=list)
    stray: list[tuple[str, list[str]]] = field(default_factory=list)
    """Rows where none can be: what is wrong with them, and where they are."""


class Comparison:
    """One comparison of all partitions."""

    def __init__(self, conn: Connection, job: Job, logs: Logs, full: bool, report: Report) -> None:
        self._conn = conn
        self._job = job
        self._logs = logs
        self._full = full
        self._report = report
        self._known = {(at, one) for at, ranges in logs.known.items() for one in ranges}
        self._again = set(self._known) if full else set()
        self._differing: set[tuple[Partition, Range]] = set()
        self._cuts: dict[Partition, Cut] = {}
        self._found: dict[Piece, Found] = {}
        self._sums = Sums()

    def run(self) -> None:
        """Read, sum, and where a sum differs from that of before, read and sum again."""
        whole = [piece for one in self._logs.cuts(self._again, 2**62).values() for piece in one.read]
        longest = longest_piece(sum(piece.end - piece.start for piece in whole))
        while True:
            self._cuts = self._logs.cuts(self._again, longest)
            to_read = [piece for one in self._cuts.values() for piece in one.read if piece not in self._found]
            for found in place_all(self._job, to_read):
                self._found[found.piece] = found
                self._report.read += found.messages
            self._sums = self._sum()
            self._differing = {(at, one) for at, one in self._known if self._rows_of(at, one) != one.account}
            if self._differing <= self._again:
                return
            self._again |= self._differing

    def _rows_of(self, at: Partition, known: Range) -> Account:
        """What there is now of a range that was verified before."""
        return reduce(add, (self._sums.accounts[one] for one in self._cuts[at].pieces if known.holds(one)), Account())

    def _sum(self) -> Sums:
        sums = Sums({piece: Account() for one in self._cuts.values() for piece in one.pieces})
        of_topic: dict[str, list[Cut]] = {topic: [] for topic in self._job.judge.contracts}
        for one in self._cuts.values():
            of_topic.setdefault(one.extent.topic, []).append(one)
        for topic, cuts in of_topic.items():
            self._sum_table(sums, "history", topic, cuts)
        for place in PLACES[1:]:
            self._sum_table(sums, place, "", list(self._cuts.values()))
        return sums

    def _sum_table(self, sums: Sums, place: str, topic: str, cuts: list[Cut]) -> None:
        """One table, in a snapshot of its own, with the ledger as it is in that."""
        with one_snapshot(self._conn):
            books = read_books(self._conn)
            bounds = {one.at: [*(piece.start for piece in one.pieces), one.end] for one in cuts}
            groups = sum_table(self._conn, place, topic, bounds)
            table = table_of(place, topic)
            query = beside(__file__, "beyond").format(rows=table)
            beyond = [
                f"topic {one.extent.topic} partition {one.extent.partition} offset {offset}"
                for one in cuts
                if any((group.topic_id, group.partition) == one.at and group.beyond for group in groups)
                for (offset,) in self._conn.execute(query, {"topic_id": one.at[0], "partition": one.at[1]})
            ]
        name = table.as_string(self._conn)
        there: Counter[Partition] = Counter()
        for group in groups:
            at = (group.topic_id, group.partition)
            there[at] += group.rows.number
            if group.piece is not None:
                piece = self._cuts[at].pieces[group.piece]
                sums.accounts[piece] += Account(**{place: group.rows})
        sums.miscounted += _miscounted(place, name, cuts, books, there)
        sums.stray += [(_not_said(name), beyond), (f"is in {name}, but not in the ledger", _strangers(groups))]

    def report(self) -> None:
        """The findings of all of this."""
        self._report_differing()
        self._report_faults()
        for extent in self._logs.open:
            self._tally(extent)
        self._report.tallies += [self._logs.books.tally(extent, former=True) for extent in self._logs.closed]
        self._report.findings += self._sums.miscounted
        self._report_unclaimed()
        for what, places in self._sums.stray:
            self._report.find(what, places)

    def _report_differing(self) -> None:
        for at, one in sorted(self._differing, key=lambda each: (each[0], each[1].start)):
            extent = self._cuts[at].extent
            piece = Piece(extent.topic, extent.topic_id, extent.partition, one.start, one.end)
            self._report.findings.append(
                f"{piece}: their rows are not those that were verified at {one.verified_at:%Y-%m-%d %H:%M} UTC"
            )

    def _report_faults(self) -> None:
        faults: defaultdict[str, list[str]] = defaultdict(list)
        numbers: Counter[str] = Counter()
        unread: Counter[tuple[str, int]] = Counter()
        for piece, found in sorted(
            self._found.items(), key=lambda each: (each[0].topic, each[0].partition, each[0].start)
        ):
            for fault, (number, offsets) in found.faults.items():
                numbers[fault] += number
                places = [f"topic {piece.topic} partition {piece.partition} offset {offset}" for offset in offsets]
                faults[fault] += places[: SHOWN - len(faults[fault])] if len(faults[fault]) < SHOWN else []
            unread.update({(piece.topic, schema_id): number for schema_id, number in found.unread.items()})
        for fault, places in sorted(faults.items()):
            self._report.find(f"the message was read, but {fault}", places, numbers[fault] - len(places))
        self._report.findings += [
            f"topic {topic}: {messages} committed messages carry schema id {schema_id}, a version that"
            f" schemas/{topic}/value no longer has: they are there, what they say was not compared"
            for (topic, schema_id), messages in sorted(unread.items())
        ]

    def _tally(self, extent: Extent) -> None:
        one = self._cuts[extent.topic_id, extent.partition]
        tally = self._logs.books.tally(extent, former=False)
        self._report.tallies.append(tally)
        where = f"topic {extent.topic} partition {extent.partition}"
        if tally.received != tally.stored + tally.duplicate + tally.quarantined:
            self._report.findings.append(f"{where}: the ledger's counts do not add up")
        read = sum(self._found[piece].messages for piece in one.read)
        read += sum(self._sums.accounts[piece].messages for piece in one.known)
        if not one.lost and read != tally.received:
            self._report.findings.append(f"{where}: the ledger counts {tally.received} received, {read} were read now")
        if extent.start > 0:
            seen = sum(
                min(r.end, extent.start) - r.start for r in self._logs.known.get(one.at, []) if r.start < extent.start
            )
            compared = f"; of {seen} of them the rows are those of before" if seen else ""
            self._report.notes.append(
                f"{where}: offsets before {extent.start} are no longer on the broker to compare with{compared}"
            )

    def _report_unclaimed(self) -> None:
        """Rows that no message accounts for, looked for where sums say that there are any; a row of history whose key
        was changed is one of them."""
        suspects = [piece for piece in self._found if not self._is_claimed(piece)]
        offsets: defaultdict[str, list[str]] = defaultdict(list)
        for found in place_all(self._job, suspects, unclaimed=True):
            piece = found.piece
            if not any(found.unclaimed.values()) and found.clean:
                self._report.findings.append(f"{piece}: their rows are not those in which their messages were found")
            for place, left in found.unclaimed.items():
                name = table_of(place, piece.topic).as_string(self._conn)
                offsets[name] += [f"topic {piece.topic} partition {piece.partition} offset {one}" for one in left]
        for name, places in sorted(offsets.items()):
            self._report.find(_not_said(name), places)

    def _is_claimed(self, piece: Piece) -> bool:
        """Whether the rows of a piece that was read are those in which its messages were found."""
        return self._found[piece].account == self._sums.accounts[piece]

    def keep(self, forms: dict[str, str]) -> None:
        """Write down what has no finding, in a transaction in which nobody else does."""
        now = datetime.now(UTC)
        for at, one in self._cuts.items():
            clean = [
                Range(piece.start, piece.end, self._sums.accounts[piece], now)
                for piece in one.read
                if self._found[piece].clean and self._is_claimed(piece) and piece.end <= one.extent.end
            ]
            before = self._logs.known.get(at, [])
            stays = list(self._that_stay(at, before, clean))
            new = [each for each in clean if not any(r.start <= each.start < r.end for r, _ in stays)]
            fixed = [each for each, differs in stays if differs]
            mergeable = [*new, *(each for each, differs in stays if not differs)]
            ranges = sorted([*fixed, *merged(mergeable)], key=lambda each: each.start)
            keep(self._conn, at, forms[one.extent.topic], before, ranges)

    def _that_stay(self, at: Partition, before: list[Range], clean: list[Range]) -> Iterator[tuple[Range, bool]]:
        """Ranges of before that stay as they are, and whether they differ from what is there: then until they are as
        they were, or until `--full` has compared every one of their messages."""
        for one in before:
            differs = (at, one) in self._differing
            read = sum(each.end - each.start for each in clean if one.start <= each.start < one.end)
            whole = read == one.end - one.start
            if self._full and (whole or not differs) and one.start >= self._cuts[at].extent.start:
                continue
            yield one, differs


def _miscounted(place: str, name: str, cuts: list[Cut], books: Books, there: Counter[Partition]) -> Iterator[str]:
    """Where the ledger counts other than there are rows."""
    for one in cuts:
        counted = getattr(books.counts.get(one.at, Counts()), COUNTED[place])
        if counted != there[one.at]:
            yield (
                f"topic {one.extent.topic} partition {one.extent.partition}: the ledger counts {counted}"
                f" {COUNTED[place]}, {name} has {there[one.at]}"
            )


def _strangers(groups: list[Group]) -> list[str]:
    """Rows of partitions that the ledger does not know under the topic they are filed under."""
    first: dict[Partition, int] = {}
    for group in groups:
        if not group.filed:
            at = (group.topic_id, group.partition)
            first[at] = min(group.first, first.get(at, group.first))
    return [f"topic id {i} partition {p} from offset {offset}" for (i, p), offset in sorted(first.items())]


def _not_said(name: str) -> str:
    return f"a row of {name} says so, but the message does not"
