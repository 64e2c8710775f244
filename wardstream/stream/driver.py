"""The life of a driver: lease, queries, batches handed to the commit, and how it ends.

What Spark calls between two batches is `Driver.process`; everything that touches history or core is in `commit`. A
batch is committed by a thread of its query while the next one is staged and Spark collects the one after it. So Spark
may believe a batch done that is not, which does no harm: the ledger alone says what is done, and where the next driver
begins.
A lost PostgreSQL is waited for; whatever else goes wrong ends the process, and the process manager starts the next.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pyarrow as pa
from confluent_kafka import KafkaException
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from wardstream.contracts.model import Contract, ContractError, load_contracts
from wardstream.database.connection import Connection, MissingTable, PoolerBetween, connect, scalar
from wardstream.database.locks import NOT_SET_UP
from wardstream.database.plan_error import PlanError
from wardstream.kafka.broker import Broker, Extent, Partition, SendersClock, TopicMissing
from wardstream.registry.client import RegistryUnavailableError
from wardstream.settings import Settings
from wardstream.stream.arrow_judge import FastJudge
from wardstream.stream.check import must_run
from wardstream.stream.commit import Batch, BrokerChanged, Committer, CountsDoNotAddUp, Fenced, NotOurs, Outcome
from wardstream.stream.commit_threads import Query
from wardstream.stream.commits import Commits
from wardstream.stream.decode import Judge, JudgeFailedError, sort_out
from wardstream.stream.gaps import written_over
from wardstream.stream.held import AllHeld, HeldTopic, still_held, why
from wardstream.stream.lag import lag_of, read_ledger, total
from wardstream.stream.lease import EXIT_FENCED, HEARTBEAT_SECONDS, AnotherDriver, Lease, session_name
from wardstream.stream.plan import load_plan
from wardstream.stream.schema_ids import Meanings
from wardstream.stream.stall import Stall
from wardstream.stream.start import Start, check_drain, fresh_folder, open_ledger
from wardstream.stream.turn import LOOK_SECONDS, STREAM, ControlMissing, Turn, look
from wardstream.watch import metrics

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 2.0
LARGE = 10_000
"""Events of a batch of which only one query at a time collects, so that they never fill the heap together."""
SMALLEST_SHARE = 1000  # of a full batch, after fruitless starts: no message is so large that 50 of them fill a heap
# Files and tables that do not fit: one line in the log says which; the process manager tries again.
CANNOT_START = (
    *(PlanError, MissingTable, ContractError, PoolerBetween),
    *(psycopg.OperationalError, *NOT_SET_UP, psycopg.errors.UndefinedColumn),
)
# Servers that do not answer, and what only a person can decide: the driver looks again until it is otherwise.
NOT_YET = (KafkaException, RegistryUnavailableError, psycopg.OperationalError, AllHeld)
STOPPED_BY = (BrokerChanged, TopicMissing, SendersClock)
# Errors whose text is ours and never quotes an event.
OUR_WORDS = (
    *(BrokerChanged, NotOurs, CountsDoNotAddUp, TopicMissing, PlanError, MissingTable, KafkaException),
    *(JudgeFailedError, RegistryUnavailableError),
)
StartQuery = Callable[[SparkSession, Settings, Start, "Driver"], StreamingQuery]


class BatchFailedError(Exception):
    """What Spark is told of a failed batch: the kind of failure, without the text that could quote a patient."""


class Driver:
    """One driver process: shared by its queries, each of which has connections and committers of its own."""

    def __init__(
        self, settings: Settings, turn: Turn, stop_requested: threading.Event | None = None, stream: str = STREAM
    ) -> None:
        self.settings = settings
        self.turn = turn
        self.stream = stream
        self.contracts = load_contracts(settings.schemas_dir)
        self.plan = load_plan(settings.sql_dir, self.contracts)
        self.broker = Broker(settings, self.contracts)
        self.stop_requested = stop_requested or threading.Event()
        self.lease = Lease(settings, stream, self.stop_requested)
        self.failure: BaseException | None = None
        self._busy: defaultdict[Query, threading.Lock] = defaultdict(threading.Lock)
        self._large = threading.Semaphore(1)
        self._commits = Commits(self._committer_of, self._leaves, self.stop_requested, self._fail)
        self._entered: frozenset[Partition] = frozenset()
        self._left_until_full = 0
        self._stall = Stall(settings.stream_stall_seconds)
        self._meanings = Meanings(settings)
        self._shown: dict[Partition, int] = {}
        self._shown_warned = ""
        self._judges: dict[Query, FastJudge] = {}
        """By query; each knows without asking the schemas that the registry had when `starts` was called."""

    def starts(self) -> list[Start]:
        """Where each query begins: one for all topics, or one a topic. NOT_YET or STOPPED_BY while it must not."""
        self.broker.check_clock()
        extents, offsets = self._enter_partitions()
        check_drain(self.turn.drain_to, extents)
        source = self._meanings.check_known(self.contracts)
        ids = {extent.topic: extent.topic_id for extent in extents}
        self.lease.held = still_held(self.lease.held, ids, self.contracts, source)
        read = tuple(topic for topic in ids if topic not in self.lease.held)
        if not read:
            raise AllHeld("; ".join(why(topic, held) for topic, held in self.lease.held.items()))
        for topic, held in self.lease.held.items():
            log.warning("%s; it is left out until that version is deployed", why(topic, held))
        # last: what comes before is looked at every two seconds while it must not start
        with connect(self.settings.writer_url, session_name("check", self.stream)) as conn:
            must_run(conn, self.contracts, self.plan)
        groups = [(topic,) for topic in read] if self.settings.stream_split else [read]
        self._judges = {topics: FastJudge(Judge(self._contracts_of(topics), source)) for topics in groups}
        # A batch too large for the heap kills the JVM, and would do so again at every start.
        share = min(10**self.lease.fruitless_starts, SMALLEST_SHARE)
        most = max(1, self.settings.stream_max_offsets // share)
        if share > 1:
            self._left_until_full = self.settings.stream_max_offsets
            log.warning("%s starts came to nothing; batches have at most %s events", self.lease.fruitless_starts, most)
        scratch = fresh_folder(self.settings.scratch_dir / f"checkpoints-{self.stream}")
        return [
            Start(
                topics, ids, {at: o for at, o in offsets.items() if at[0] in topics}, scratch / "-".join(topics), most
            )
            for topics in groups
        ]

    def _contracts_of(self, topics: tuple[str, ...]) -> dict[str, Contract]:
        """Those of one query: its batches have no columns for the events of others."""
        return {topic: self.contracts[topic] for topic in topics}

    def process(self, start: Start, collect: Callable[[], pa.Table], batch_id: int) -> None:
        """One batch of one query, from Spark's plan to its commit, which goes on while the next one is collected."""
        with self._busy[start.topics]:
            if self._leaves():
                return  # not committed, hence read again by the next driver
            try:
                batch = self._collect(start, collect, batch_id)
                self._commits.threads.wait_for_place(start.topics)
                if batch is not None and not self._leaves():
                    self._commits.begin(start.topics, batch, partial(self._committed, start, batch_id))
                self._stall.moved()
            except Exception as error:  # noqa: BLE001 - kept, and told by _failed without quoting a row
                self._fail(error)
        if self.failure:
            raise BatchFailedError(type(self.failure).__name__)

    def _leaves(self) -> bool:
        """Whether no batch is begun any more."""
        return self.stop_requested.is_set() or self.failure is not None

    def _fail(self, error: Exception) -> None:
        """Keep the first failure, which ends the driver and is told by `_failed` without quoting a row."""
        self.failure = self.failure or error
        self._stall.moved()

    def _committed(self, start: Start, batch_id: int, outcome: Outcome | None) -> None:
        self._stall.moved()
        if outcome:
            metrics.committed(outcome, start.topic_ids)
            counts = ", ".join(f"{counter.total()} {kind}" for kind, counter in vars(outcome).items())
            log.info("batch %s of %s: %s", batch_id, ",".join(start.topics), counts)
            self._full_again(outcome)

    def _full_again(self, outcome: Outcome) -> None:
        """Small batches have come past what a full one could not: leave, so that the next driver has full ones."""
        if self._left_until_full:
            self._left_until_full = max(0, self._left_until_full - outcome.received.total())
            if not self._left_until_full:
                log.info("as many events as a full batch are committed: beginning anew with full batches")
                self.stop_requested.set()

    def _collect(self, start: Start, collect: Callable[[], pa.Table], batch_id: int) -> Batch | None:
        """What is to be committed of a batch; None where there is nothing, or its topic waits."""
        slices = start.planned(batch_id, self.broker)
        if not slices:
            return None
        if {(s.topic, s.partition) for s in slices} - self._entered:
            self._enter_partitions()
        with self._large if sum(part.end - part.start for part in slices) > LARGE else nullcontext():
            if self._leaves():  # while this one waited
                return None
            messages = collect()
        judged = self._judges[start.topics](messages)
        found = sort_out(judged, self._contracts_of(start.topics), start.topic_ids)
        if found.waiting.num_rows:
            self._hold(found.waiting)
            return None
        return Batch(tuple(slices), found.events, found.rejects, found.schema_ids)

    def _hold(self, waiting: pa.Table) -> None:
        """Leave, so that the next driver reads the other topics. Nothing of this batch is committed, nothing lost."""
        new = {
            one["topic"]: HeldTopic(one["topic_id"], one["schema_id"], datetime.now(UTC).isoformat())
            for one in reversed(waiting.to_pylist())  # of each topic the first message is what counts
        }
        self.lease.held = {**self.lease.held, **new}
        for topic, held in new.items():
            text = "topic %s: schema id %s is registered and not deployed here: beginning anew without that topic"
            log.error(text, topic, held.schema_id)
        self.stop_requested.set()

    def _ask(self, batch: Batch) -> Mapping[str, str]:
        """Kafka's id of each topic now; BrokerChanged where a schema id of the batch means something else by now."""
        self._meanings.check(batch)
        return self.broker.topic_ids()

    def _committer_of(self, topics: Query) -> Committer:
        conn = connect(self.settings.writer_url, session_name("commit", self.stream))
        self.lease.register(conn)
        return Committer(conn, self._contracts_of(topics), self.plan, self.stream, self.lease.generation, self._ask)

    def _enter_partitions(self) -> tuple[list[Extent], dict[Partition, int]]:
        """Every partition that the broker lists now gets its row in the ledger; their extents, and where to begin."""
        with connect(self.settings.writer_url, session_name("ledger", self.stream)) as conn:
            self.lease.register(conn)
            extents = self.broker.extents()
            offsets = open_ledger(conn, extents, written_over(conn, self.broker, extents))
        self._entered = frozenset(offsets)
        return extents, offsets

    def measure(self) -> None:
        """Find out, for the heartbeat to write, what is not committed yet and which topics are behind."""
        with connect(self.settings.writer_url, session_name("lag", self.stream)) as conn:
            asked_at = scalar(conn, "SELECT clock_timestamp()")
            ledger = read_ledger(conn)
        extents = self.broker.extents()
        done = {(e.topic, e.partition): ledger.get((e.topic_id, e.partition), e.start) for e in extents}
        lag = lag_of(extents, ledger)
        # A topic that is held up is no reason to think that this driver is behind, or does not get on.
        held = {topic: replace(one, lag=lag.pop(topic, {})) for topic, one in self.lease.held.items()}
        now = datetime.now(UTC)
        due = {
            (e.topic, e.partition): int(
                (now - timedelta(seconds=self.contracts[e.topic].freshness_seconds)).timestamp() * 1000
            )
            for e in extents
            if any(lag.get(e.topic, {}).values())
        }
        late = {topic for (topic, p), offset in self.broker.offsets_at(extents, due).items() if done[topic, p] < offset}
        before = self.lease.behind_since
        self.lease.behind_since = {topic: before.get(topic, now.isoformat()) for topic in sorted(late)}
        self.lease.lag = lag
        if held.keys() == self.lease.held.keys():  # and no batch has found another one meanwhile
            self.lease.held = held
        if not due:
            self.lease.caught_up_at = asked_at
        self._show_progress(done)

    def _show_progress(self, done: dict[Partition, int]) -> None:
        """The ledger's offsets as those of a consumer group, for Kafka's tools. Whether it works changes nothing."""
        if done == self._shown:
            return
        try:
            self.broker.show_progress(done)
        except KafkaException as error:
            if self._shown_warned != str(error):
                log.warning("Kafka's tools do not see the ledger as group %s: %s", self.settings.kafka_group, error)
            self._shown_warned = str(error)
        else:
            self._shown, self._shown_warned = done, ""

    def stalled(self) -> bool:
        """Whether events wait, and Spark has had them for longer than any batch takes: a JVM that only lives."""
        # A commit has a patience of its own, and a JVM that starts is looked at by whoever asked for the start.
        if not total(self.lease.lag) or self._commits.threads.busy or self.lease.state != "running":
            self._stall.moved()
        return self._stall.lasts

    def watch_lag(self) -> None:
        """Keep the lag that the heartbeat writes; in a thread of its own, since the broker may not answer."""
        while not self.stop_requested.wait(HEARTBEAT_SECONDS):
            try:
                self.measure()
                if self.stalled():
                    self.abandon()
            except Exception as error:  # noqa: BLE001 - a thread that died would leave the lag of then standing for ever
                self.lease.lag = {}
                log.warning("lag is not known: %s", type(error).__name__)

    def abandon(self) -> None:
        """End the process at once, and its JVM with it: one that does not answer would not stop, either.

        The next start counts this one as without progress and has smaller batches.
        """
        log.error("events wait, and Spark hands over no batch for %.0f s: starting anew", self._stall.seconds)
        self.lease.release(as_asked=False)
        os._exit(1)

    def watch_control(self) -> None:
        """Ask for the end once the control row no longer wants this driver; a PostgreSQL that is away ends nothing."""
        conn: Connection | None = None
        unknown = False
        while not self.stop_requested.wait(LOOK_SECONDS):
            try:
                conn = conn or connect(self.settings.writer_url, session_name("control", self.stream))
                reason = look(conn, self.stream).ends(self.turn.restarts)
                unknown = False
            except (psycopg.Error, ControlMissing) as error:
                if not unknown:
                    log.warning("whether to go on is not known, so the stream goes on: %s", type(error).__name__)
                conn, unknown = None, True
                continue
            if reason:
                log.info("%s: a running batch is finished first", reason)
                self.stop_requested.set()

    def stop(self, queries: list[StreamingQuery]) -> None:
        """Let the running batch finish, then stop the queries."""
        self.lease.say("stopping")
        self.stop_requested.set()
        for busy in list(self._busy.values()):
            with busy:
                pass  # from here on `process` returns at once: a batch that waited for the lock must not wait for us
        self._commits.threads.wait_for_all()
        for query in queries:
            query.stop()


def run(
    settings: Settings,
    turn: Turn,
    stop_requested: threading.Event,
    open_session: Callable[[], SparkSession],
    start_query: StartQuery,
) -> int:
    """Run the stream until it is asked to stop, by the event or by its control row; the exit code of the process."""
    try:
        driver = Driver(settings, turn, stop_requested)
        driver.lease.take(turn.restarts)
    except AnotherDriver as reason:
        log.error("%s; this one leaves", reason)
        return EXIT_FENCED
    except CANNOT_START as reason:
        log.error("cannot start: %s: %s", type(reason).__name__, reason)
        return 1
    driver.lease.start_heartbeat()
    threading.Thread(target=driver.watch_control, name="control", daemon=True).start()
    try:
        starts = _wait_for_starts(driver)
        code = _stream(driver, starts, open_session, start_query) if starts else _watch(driver, [])
    except CANNOT_START as reason:
        log.error("cannot start: %s: %s", type(reason).__name__, reason)
        code = 1
    except Py4JError:
        log.error("the JVM is gone")
        code = 1
    if code != EXIT_FENCED:
        driver.lease.release(as_asked=code == 0)
    return code


def _wait_for_starts(driver: Driver) -> list[Start]:
    """Look until nothing stands against a start, without a JVM; empty where this driver should leave first."""
    said = ""
    while not (driver.stop_requested.is_set() or driver.lease.lost):
        try:
            starts = driver.starts()
        except (*STOPPED_BY, *NOT_YET) as reason:
            state = "blocked" if isinstance(reason, STOPPED_BY) else "waiting"
            text = f"{type(reason).__name__}: {str(reason).strip().splitlines()[0] if str(reason).strip() else ''}"
            driver.lease.say(state, text)
            if text != said:
                log.error("cannot begin to read (%s), and looks again until it can: %s", state, text)
                said = text
            driver.stop_requested.wait(LOOK_AGAIN_SECONDS)
        else:
            driver.lease.say("starting")
            return starts
    return []


def _stream(
    driver: Driver, starts: list[Start], open_session: Callable[[], SparkSession], start_query: StartQuery
) -> int:
    threading.Thread(target=driver.watch_lag, name="lag", daemon=True).start()
    spark = open_session()
    queries = [start_query(spark, driver.settings, start, driver) for start in starts]
    driver.lease.say("running")
    log.info("running: %s", ", ".join(topic for start in starts for topic in start.topics))
    code = _watch(driver, queries)
    spark.stop()
    return code


def _watch(driver: Driver, queries: list[StreamingQuery]) -> int:
    """Wait for the end of the stream, and say it in the log and the exit code."""
    while not driver.stop_requested.is_set():
        if driver.lease.lost:
            log.error("%s; this driver leaves", driver.lease.lost)
            driver.stop(queries)
            return EXIT_FENCED if isinstance(driver.lease.lost, AnotherDriver) else 1
        ended = [query for query in queries if not query.isActive]
        if ended or driver.failure:
            return _failed(driver, queries, ended)
        time.sleep(0.2)
    driver.stop(queries)
    log.info("stopped as asked")
    return 0


def _failed(driver: Driver, queries: list[StreamingQuery], ended: list[StreamingQuery]) -> int:
    reason = driver.failure
    if isinstance(reason, Fenced | AnotherDriver):
        log.error("%s; this driver leaves", reason)
        return EXIT_FENCED
    if isinstance(reason, psycopg.Error):
        # The text of a PostgreSQL error can quote a row; class 42 (a fault in our SQL or a missing table) cannot.
        text = reason.diag.message_primary if (reason.sqlstate or "").startswith("42") else type(reason).__name__
        log.error("PostgreSQL refused the batch: SQLSTATE %s, %s", reason.sqlstate, text)
    elif isinstance(reason, OUR_WORDS):
        log.error("the batch failed: %s: %s", type(reason).__name__, reason)
    elif reason is not None:
        log.error("the batch failed: %s", type(reason).__name__)
    for query in ended:
        failure = query.exception()
        if reason is None and failure is not None:
            log.error("query %s ended: %s", query.name, str(failure).splitlines()[0])
    driver.stop_requested.set()  # a commit of another query that is under way is not tried again
    for query in queries:
        query.stop()
    return 1
