"""A thread for each query that commits its batches, one at a time, while Spark collects the next one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Query = tuple[str, ...]
"""A query by its topics."""


class CommitThreads:
    """What is being committed, by query. What is handed over must not raise: nobody would be told."""

    def __init__(self) -> None:
        self._threads: dict[Query, ThreadPoolExecutor] = {}
        self._pending: dict[Query, Future[None]] = {}

    def begin(self, query: Query, commit: Callable[[], None]) -> None:
        """Commit in the query's thread; the batch before must have been waited for."""
        if query not in self._threads:
            self._threads[query] = ThreadPoolExecutor(1, "commit")
        self._pending[query] = self._threads[query].submit(commit)

    def wait(self, query: Query) -> None:
        """Until the batch before is committed, or has failed."""
        pending = self._pending.pop(query, None)
        if pending is not None:
            pending.result()

    def wait_for_all(self) -> None:
        """Until nothing is being committed."""
        for query in list(self._pending):
            self.wait(query)

    @property
    def busy(self) -> bool:
        """Whether anything is being committed."""
        return any(not pending.done() for pending in list(self._pending.values()))
