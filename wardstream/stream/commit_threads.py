"""Threads that commit the batches of each query while Spark collects the next one, and whose turn it is.

Two batches of a query at most are on their way, each in a thread and a session of its own. While one computes core, the
next one is staged and stores its history; from then on it waits until the one before is committed. A query whose
batches come slowly uses its first place only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Condition

Query = tuple[str, ...]
"""A query by its topics."""
PLACES = 2


HOLD_SECONDS = 10.0
"""How long a batch keeps its transaction open for the one before."""


class NotYet(Exception):
    """The batch before takes long, or was rolled back and needs what this one holds: this one must be rolled back."""


class LeftOut(Exception):
    """The driver leaves before the turn of a batch came. Nothing was stored; the next driver reads it again."""


@dataclass
class _Progress:
    """How far one batch is."""

    stored: bool = False
    """Its history is stored, in a transaction that is still open."""
    done: bool = False
    """It is committed, or will never be."""


@dataclass
class Turn:
    """How one batch and the one before it in its query tell each other how far they are.

    What both store can be the same fact, and then one waits for the other's transaction. So the first one stores first,
    and where it must do so again, the second one leaves.
    """

    place: int = 0
    """0 or 1; no other batch of the query has the same one now."""
    leaves: Callable[[], bool] = lambda: False
    """Whether no batch may be begun any more."""
    _mine: _Progress = field(default_factory=_Progress)
    _before: _Progress = field(default_factory=lambda: _Progress(done=True))
    _changed: Condition = field(default_factory=Condition)

    def begin(self) -> None:
        """An attempt at this batch begins; nothing of an earlier one is left."""
        with self._changed:
            self._mine.stored = False
            self._changed.notify_all()

    def wait_for_history(self) -> None:
        """With a transaction open, until the batch before has stored its history. Raises NotYet or LeftOut."""
        self._wait(lambda: self._before.stored or self._before.done)

    def history_is_stored(self) -> None:
        """Let the next batch store its own."""
        with self._changed:
            self._mine.stored = True
            self._changed.notify_all()

    def wait(self) -> None:
        """With a transaction open, until the batch before is committed. Raises NotYet or LeftOut."""
        # not stored any more: it was rolled back and stores anew, for which it may need what this one holds
        self._wait(lambda: self._before.done, lambda: not self._before.stored)

    def _wait(self, for_this: Callable[[], bool], unless: Callable[[], bool] = lambda: False) -> None:
        with self._changed:
            self._changed.wait_for(lambda: for_this() or unless(), HOLD_SECONDS)
            if not for_this():
                raise NotYet
        if self.leaves():
            raise LeftOut

    def wait_for_end_of_before(self) -> None:
        """However long it takes, with no transaction open."""
        with self._changed:
            self._changed.wait_for(lambda: self._before.done)

    def end(self) -> None:
        """This batch is committed, or will never be."""
        with self._changed:
            self._mine.done = True
            self._changed.notify_all()

    def next(self, place: int) -> Turn:
        """That of the batch after this one."""
        return Turn(place, self.leaves, _before=self._mine, _changed=self._changed)


class CommitThreads:
    """What is being committed, by query. What is handed over must not raise: nobody would be told."""

    def __init__(self, leaves: Callable[[], bool] = lambda: False) -> None:
        self._leaves = leaves
        self._threads: defaultdict[Query, ThreadPoolExecutor] = defaultdict(
            lambda: ThreadPoolExecutor(PLACES, "commit")
        )
        self._pending: dict[Query, Mapping[int, tuple[Turn, Future[None]]]] = {}

    def begin(self, query: Query, commit: Callable[[Turn], None]) -> None:
        """Commit in a thread of the query; `wait_for_place` must have returned before."""
        pending = {place: one for place, one in self._pending.get(query, {}).items() if not one[1].done()}
        [place, *_] = [place for place in range(PLACES) if place not in pending]
        turn = next((before.next(place) for before, _ in pending.values()), Turn(place, self._leaves))

        def run() -> None:
            try:
                commit(turn)
            finally:
                turn.end()

        self._pending[query] = {**pending, place: (turn, self._threads[query].submit(run))}

    def wait_for_place(self, query: Query) -> None:
        """Until at most one batch of the query is on its way."""
        wait([future for _, future in self._pending.get(query, {}).values()][: 1 - PLACES])

    def wait_for_all(self) -> None:
        """Until nothing is being committed."""
        for pending in list(self._pending.values()):
            wait([future for _, future in pending.values()])

    @property
    def busy(self) -> bool:
        """Whether anything is being committed."""
        return any(not future.done() for pending in list(self._pending.values()) for _, future in pending.values())
