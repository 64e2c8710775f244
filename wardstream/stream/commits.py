"""Batches on their way into PostgreSQL: a session for each place of a query, and what is tried again.

A lost connection or a broker that does not answer is waited for; every other failure is told to the driver.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import psycopg
from confluent_kafka import KafkaException
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, stop_when_event_set, wait_exponential

from wardstream.stream.commit import Batch, Committer, Outcome
from wardstream.stream.commit_threads import CommitThreads, LeftOut, NotYet, Query, Turn

log = logging.getLogger(__name__)

DATABASE_PATIENCE_SECONDS = 120.0
LOST = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
"""The session is gone, the second where this process stood still for longer than it may keep a transaction open."""


class Commits:
    """Commits the batches of each query in their order."""

    def __init__(
        self,
        committer_of: Callable[[Query], Committer],
        leaves: Callable[[], bool],
        stop_requested: threading.Event,
        failed: Callable[[Exception], None],
    ) -> None:
        """`committer_of` opens a session; `leaves` says whether no batch may be begun any more."""
        self.threads = CommitThreads(leaves)
        self._committer_of = committer_of
        self._stop_requested = stop_requested
        self._failed = failed
        self._committers: dict[tuple[Query, int], Committer] = {}

    def begin(self, query: Query, batch: Batch, told: Callable[[Outcome | None], None]) -> None:
        """Commit a batch in a thread of its query. `told` is called at the end unless it failed: with None where
        the batch was committed before, or is left to the next driver."""
        self.threads.begin(query, partial(self._commit_and_tell, query, batch, told))

    def _commit_and_tell(self, query: Query, batch: Batch, told: Callable[[Outcome | None], None], turn: Turn) -> None:
        try:
            told(self._commit(query, batch, turn))
        except LeftOut:
            told(None)
        except Exception as error:  # noqa: BLE001 - the driver keeps it, and tells it without quoting a row
            self._failed(error)

    def _commit(self, query: Query, batch: Batch, turn: Turn) -> Outcome | None:
        """Commit a batch, again and again while PostgreSQL or Kafka does not answer; None where it was committed."""
        patience = Retrying(
            retry=retry_if_exception_type((*LOST, KafkaException)),
            wait=wait_exponential(multiplier=0.2, max=2),
            stop=stop_after_delay(DATABASE_PATIENCE_SECONDS) | stop_when_event_set(self._stop_requested),
            reraise=True,
        )
        try:
            outcome: Outcome | None = patience(self._attempt, query, batch, turn)
        except NotYet:
            turn.wait_for_end_of_before()
            outcome = patience(self._attempt, query, batch, turn)
        return outcome

    def _attempt(self, query: Query, batch: Batch, turn: Turn) -> Outcome | None:
        at = (query, turn.place)
        again = at not in self._committers
        try:
            if again:
                self._committers[at] = self._committer_of(query)
            # A connection can be lost after COMMIT was sent: then the batch is done, or is still to be done.
            if again and self._committers[at].was_committed(batch):
                return None
            return self._committers[at].commit(batch, turn)
        except (*LOST, KafkaException) as error:
            log.warning("%s; the batch is tried again", type(error).__name__)
            if isinstance(error, LOST):
                self._forget(at)
            raise

    def _forget(self, at: tuple[Query, int]) -> None:
        """End the session of a commit that failed: one that lives on would keep its locks."""
        committer = self._committers.pop(at, None)
        if committer is not None:
            committer.close()
