"""Partitions cut into pieces, and what was verified merged again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wardstream.kafka.broker import Extent
from wardstream.proof import ranges
from wardstream.proof.ranges import Cut, Piece, Range, cut, merged
from wardstream.proof.sums import Account, Rows

MONDAY, TUESDAY = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)


def seen(start: int, end: int, at: datetime = MONDAY) -> Range:
    return Range(start, end, Account(Rows(end - start, 7)), at)


def pieces(start: int, end: int, known: list[Range], again: list[Range] | None = None, longest: int = 1000) -> Cut:
    """Of a log that can be read from `start`, committed up to `end`."""
    return cut(Extent("labs", "id", 0, start, 10**6), end, known, again or [], longest)


def spans(found: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for piece in found]


@pytest.mark.parametrize(
    ("start", "end", "known", "again", "read", "before", "lost"),
    [
        (0, 0, [], [], [], [], []),
        (0, 10, [], [], [(0, 10)], [], []),
        (4, 10, [], [], [(4, 10)], [], [(0, 4)]),
        (10, 10, [], [], [], [], [(0, 10)]),
        (20, 10, [], [], [], [], [(0, 10)]),
        (0, 10, [seen(0, 10)], [], [], [(0, 10)], []),
        (0, 10, [seen(0, 6)], [], [(6, 10)], [(0, 6)], []),
        (0, 10, [seen(2, 4), seen(6, 8)], [], [(0, 2), (4, 6), (8, 10)], [(2, 4), (6, 8)], []),
        (5, 10, [seen(2, 4), seen(4, 7)], [], [(7, 10)], [(2, 4), (4, 7)], [(0, 2)]),
        (0, 10, [seen(0, 6), seen(6, 8)], [seen(0, 6)], [(0, 6), (8, 10)], [(6, 8)], []),
        (3, 10, [seen(0, 6)], [seen(0, 6)], [(3, 6), (6, 10)], [], [(0, 3)]),
        (9, 10, [seen(0, 6)], [seen(0, 6)], [(9, 10)], [], [(0, 6), (6, 9)]),
    ],
)
def test_every_offset_is_in_one_piece(
    start: int,
    end: int,
    known: list[Range],
    again: list[Range],
    read: list[tuple[int, int]],
    before: list[tuple[int, int]],
    lost: list[tuple[int, int]],
) -> None:
    found = pieces(start, end, known, again)
    assert (spans(found.read), spans(found.known), spans(found.lost)) == (read, before, lost)
    at = 0
    for piece in found.pieces:
        assert piece.start == at, "no hole, no overlap"
        at = piece.end
    assert at == end


def test_what_is_read_is_cut_short() -> None:
    assert spans(pieces(0, 10, [seen(4, 5)], longest=3).read) == [(0, 3), (3, 4), (5, 8), (8, 10)]


def test_ranges_that_follow_one_another_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert merged([seen(5, 8), seen(0, 5, TUESDAY), seen(9, 10)]) == [
        Range(0, 8, Account(Rows(8, 14)), MONDAY),
        seen(9, 10),
    ]
    monkeypatch.setattr(ranges, "MERGED", 6)
    assert [(one.start, one.end) for one in merged([seen(0, 5), seen(5, 8), seen(8, 9)])] == [(0, 5), (5, 9)]
