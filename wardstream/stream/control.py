"""Saying what the stream should do, and finding out from evidence whether it does.

`request` writes a wish into ops.stream_control; the stream's process follows it (`turn`). Nothing here starts, stops or
signals a process, and nothing believes one: `evidence` and `findings` judge by what PostgreSQL saw (sessions, the
lease, commits, the age of the last sign of life), so that they can be asked from any host and as often as one likes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from psycopg.rows import class_row

from wardstream.contracts.model import load_contracts
from wardstream.database.connection import beside, connect, scalar
from wardstream.database.locks import lock_requests
from wardstream.kafka.broker import Broker
from wardstream.settings import Settings
from wardstream.stream.held import HELD_RUNBOOK, read_held, why
from wardstream.stream.lag import Lag, total
from wardstream.stream.lease import SESSIONS, session_name
from wardstream.stream.start import BLOCKED_RUNBOOK
from wardstream.stream.turn import FRESH_SECONDS, STREAM, ControlMissing

Action = Literal["start", "drain", "stop", "restart"]
DESIRED: Mapping[Action, str] = {"start": "running", "restart": "running", "drain": "drained", "stop": "stopped"}

RUNBOOK = "docs/runbooks/the-stream-is-not-as-asked.md"
BEHIND_RUNBOOK = "docs/runbooks/the-stream-is-behind.md"
ENOUGH_BATCHES = 3
# No sign of life for so long. From its turn to its first heartbeat a process needs two seconds, on a machine with far
# too much to do half a minute.
SILENT_SECONDS = 60.0
# Longer than a batch may take that waits for PostgreSQL (two minutes), and than Spark takes to start.
SLOW_SECONDS = 180.0
LOOP_STARTS = 4


class RequestConflict(Exception):
    """Somebody asked for one thing and, under the same name, for another."""


@dataclass(frozen=True)
class Control:
    """The row of ops.stream_control."""

    stream: str
    desired: str
    revision: int
    restarts: int
    drain_to: Mapping[str, Mapping[str, int]] | None
    generation_at_request: int
    requested_by: str
    requested_at: datetime
    waiting_pid: int | None
    waiting_seen_at: datetime | None


@dataclass(frozen=True)
class Evidence:
    """Whether the stream is as it was asked to be. `hopeless`: waiting longer is of no use."""

    reached: bool
    hopeless: bool
    seen: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: a stable code, what was seen, since when, and where to read on."""

    code: str
    said: str
    runbook: str
    since: datetime


@dataclass(frozen=True)
class Situation:
    """One row of sql/control/situation.sql, which says what each means; ages in seconds."""

    desired: str
    requested_by: str
    requested_at: datetime
    wanted: bool
    undrained_offsets: int
    undrained_partitions: int
    generation: int | None
    state: str | None
    blocked_by: str | None
    lag: Lag | None
    behind_since: Mapping[str, str] | None
    held: Mapping[str, Any] | None
    since_restart: bool
    caught_up: bool
    has_committed: bool
    fruitless_starts: int
    generations_since_request: int
    recent_starts: int
    loop_age: float | None
    committed_since_fourth_start: bool
    batches: int
    sessions: int
    leased: bool
    heartbeat_age: float | None
    waiting_age: float | None
    age: float | None
    commit_age: float | None
    stalled: float | None
    request_age: float
    silence: float
    driver_silence: float

    @property
    def alive(self) -> bool:
        """A driver gives signs of life, and PostgreSQL has its session: a killed one's last word is not enough."""
        return self.heartbeat_age is not None and self.heartbeat_age < FRESH_SECONDS and self.sessions > 0

    @property
    def gone(self) -> bool:
        """No driver is there: nobody holds the stream, and PostgreSQL has no session of one."""
        return not self.leased and self.sessions == 0

    @property
    def frozen(self) -> bool:
        """A driver is there and gives no sign of life: it will not do what it is asked."""
        return not self.gone and min(self.driver_silence, self.request_age) > SILENT_SECONDS

    @property
    def nobody(self) -> bool:
        """No process runs or waits, or none comes as far as that."""
        return not self.alive and self.silence > SILENT_SECONDS

    @property
    def waits(self) -> bool:
        """A process waits for its turn."""
        return self.waiting_age is not None and self.waiting_age < FRESH_SECONDS

    @property
    def blocked(self) -> bool:
        """A driver is there and may not begin to read until somebody has decided something."""
        return self.alive and self.state == "blocked"

    @property
    def lag_total(self) -> int | None:
        """Events not yet committed; None where the driver does not know."""
        return total(self.lag)

    @property
    def loops(self) -> bool:
        """Drivers begin and end, one after the other, and nothing is committed."""
        fruitless = self.fruitless_starts >= LOOP_STARTS - 1 and self.lag_total != 0
        fast = self.recent_starts >= LOOP_STARTS and not self.committed_since_fourth_start
        settled = self.alive and self.state == "running" and (self.age or 0) > SLOW_SECONDS
        return (fruitless or fast) and not self.has_committed and not settled


def read_control(settings: Settings, stream: str = STREAM) -> Control:
    """What the stream should do now; ControlMissing where nobody has said so."""
    with (
        connect(settings.writer_url, "wardstream control") as conn,
        conn.cursor(row_factory=class_row(Control)) as cursor,
    ):
        row = cursor.execute("SELECT * FROM ops.stream_control WHERE stream = %s", [stream]).fetchone()
    if row is None:
        raise ControlMissing(f"ops.stream_control has no row for stream {stream}")
    return row


def request(settings: Settings, action: Action, by: str, stream: str = STREAM) -> Control:
    """Ask for something, once for each `by`: asked again under that name, nothing changes, whatever came in between.

    A drain asks the broker where its partitions end now: KafkaException or TopicMissing where it does not answer.
    """
    with connect(settings.writer_url, "wardstream control") as conn, conn.transaction():
        lock_requests(conn)  # not the row, which the stream reads and writes meanwhile
        before = scalar(
            conn, "SELECT action FROM ops.stream_requests WHERE stream = %s AND requested_by = %s", [stream, by]
        )
        if before not in (None, action):
            raise RequestConflict(f"{by} has asked for {before} of stream {stream} and cannot ask for {action} as well")
        if before is None:
            asked = conn.execute(
                beside(__file__, "control/request"),
                {
                    "stream": stream,
                    "action": action,
                    "desired": DESIRED[action],
                    "by": by,
                    "drain_to": json.dumps(_ends(settings)) if action == "drain" else None,
                },
            ).rowcount
            if not asked:
                raise ControlMissing(f"ops.stream_control has no row for stream {stream}")
    return read_control(settings, stream)


def _ends(settings: Settings) -> dict[str, dict[str, int]]:
    """Where each partition ends for a reader of committed messages: {topic id: {partition: end}}."""
    ends: dict[str, dict[str, int]] = {}
    for extent in Broker(settings, load_contracts(settings.schemas_dir)).extents():
        ends.setdefault(extent.topic_id, {})[str(extent.partition)] = extent.end
    return ends


def situation(settings: Settings, stream: str = STREAM) -> Situation:
    """What PostgreSQL knows of the stream, in one look."""
    statement = beside(__file__, "control/situation")
    asked: dict[str, Any] = {
        "stream": stream,
        "sessions": [session_name(purpose, stream) for purpose in SESSIONS],
    }
    with connect(settings.writer_url, "wardstream control") as conn:
        # Somebody may hold a lock on a table that is read here; who asks must not wait for that for ever.
        conn.execute("SET statement_timeout = '20s'")
        row = conn.cursor(row_factory=class_row(Situation)).execute(statement, asked).fetchone()
    if row is None:
        raise ControlMissing(f"ops.stream_control has no row for stream {stream}")
    return row


def evidence(settings: Settings, by: str | None = None, stream: str = STREAM) -> Evidence:
    """Whether the stream is as it was asked to be; with `by`, as this one asked: hopeless once somebody asked later."""
    now = situation(settings, stream)
    if by is not None and now.requested_by != by:
        seen = f"{now.requested_by} has since asked for the stream to be {now.desired} ({_clock(now.requested_at)})"
        return Evidence(False, True, seen, "nothing is wrong with the stream; ask again if you still want it")
    return judge(now)


def judge(now: Situation) -> Evidence:
    """The evidence in a situation."""
    if now.desired == "running":
        known = now.alive and now.state == "running" and now.since_restart
        reached = known and (now.batches >= ENOUGH_BATCHES or now.caught_up)
    else:
        reached = not now.wanted and now.gone
    looping = now.loops and now.generations_since_request >= LOOP_STARTS
    hopeless = not reached and (now.frozen or (now.wanted and (now.nobody or now.blocked or looping)))
    return Evidence(reached, hopeless, _seen(now), _advice(now, reached))


def _seen(now: Situation) -> str:
    """What was seen, in words that stay the same while it does: a heartbeat's age is told only where it is old."""
    said = []
    if now.gone:
        said.append("no driver runs" if now.generation else "no driver has ever run")
        if now.waits or now.nobody:
            said.append("a process waits" if now.waits else "no process waits, or none gets as far as that")
    else:
        because = f" ({now.blocked_by})" if now.blocked_by else ""
        said.append(f"generation {now.generation or 'none'} is {now.state or 'not known'}{because}")
        if not now.alive:
            said.append(f"its last sign of life was {_ago(now.heartbeat_age)}")
        if not now.since_restart:
            said.append("it began before the restart was asked for")
    if now.loops:
        said.append(f"{max(now.recent_starts, now.fruitless_starts)} starts in a row came to nothing")
    if now.desired == "drained":
        left = f"{now.undrained_offsets} offsets in {now.undrained_partitions} partitions are left to drain"
        said.append(left if now.wanted else "all that Kafka held at the request is committed")
    elif now.desired == "running" and not now.gone:
        batches = str(now.batches) if now.batches < ENOUGH_BATCHES else f"{ENOUGH_BATCHES} or more"
        said.append(f"{batches} batch{'' if batches == '1' else 'es'} committed since the request")
        if now.caught_up:
            said.append("since then it was up to date")
        said.append(f"lag {now.lag_total if now.lag_total is not None else 'not known yet'}")
    said += [why(topic, held) for topic, held in read_held(now.held).items()]
    return "; ".join(said)


def _advice(now: Situation, reached: bool) -> str:
    if reached:
        return "no process waits for the next start: `wardstream up`" if now.nobody else "nothing to do"
    if now.frozen:
        return f"the driver is frozen; how to end it: {RUNBOOK}"
    if now.wanted and now.blocked:
        return f"somebody must decide: {BLOCKED_RUNBOOK}"
    if now.wanted and now.loops:
        return f"`wardstream logs stream` says why it ends; {RUNBOOK}"
    if now.wanted and now.nobody:
        return f"`wardstream up`; if it runs already, `wardstream logs stream`; {RUNBOOK}"
    return f"wait; if it takes minutes: {RUNBOOK}"


def findings(settings: Settings, stream: str = STREAM) -> list[Finding]:
    """What is not as it should be; empty when all is as asked, also when the stream does not run on purpose."""
    freshness = {topic: c.freshness_seconds for topic, c in load_contracts(settings.schemas_dir).items()}
    now = situation(settings, stream)
    return look_for_faults(now, freshness) + held_topics(now)


def held_topics(now: Situation) -> list[Finding]:
    """One finding for each topic that waits for a deployment, whatever else is wrong, driver or none."""
    return [
        Finding(f"held:{topic}", why(topic, held), HELD_RUNBOOK, datetime.fromisoformat(held.since))
        for topic, held in read_held(now.held).items()
    ]


def look_for_faults(now: Situation, freshness: Mapping[str, float]) -> list[Finding]:
    """The findings in a situation: at most one of its process, and one for each topic that is behind."""

    def finding(code: str, said: str, age: float | None, runbook: str = RUNBOOK) -> Finding:
        return Finding(code, said, runbook, datetime.now(UTC) - timedelta(seconds=age or 0))

    if not now.wanted:
        # Draining ends with a commit, so a driver has from then on.
        age = min(now.request_age, now.commit_age if now.commit_age is not None else now.request_age)
        if now.gone or age < SLOW_SECONDS:
            return []
        return [finding("still_runs", f"the stream should be {now.desired}, but {_seen(now)}", age)]
    if now.blocked:
        return [finding("blocked", f"the stream is held by what it found: {_seen(now)}", now.age, BLOCKED_RUNBOOK)]
    if now.loops:
        return [finding("crash_loop", f"the stream is started again and again: {_seen(now)}", now.loop_age)]
    if now.frozen:
        return [finding("driver_silent", f"the stream's driver is frozen: {_seen(now)}", now.driver_silence)]
    if now.nobody:
        return [finding("no_process", f"the stream should be {now.desired}, but {_seen(now)}", now.silence)]
    if now.state in ("starting", "waiting") and (now.age or 0) > SLOW_SECONDS:
        return [finding("does_not_start", f"the stream does not come to run: {_seen(now)}", now.age)]
    if not now.since_restart and now.generation is not None and now.request_age > SLOW_SECONDS:
        return [finding("not_restarted", f"the stream was not restarted: {_seen(now)}", now.request_age)]
    if now.state == "running" and now.lag_total and (now.stalled or 0) > SLOW_SECONDS:
        return [
            finding("no_progress", f"events wait and nothing is committed: {_seen(now)}", now.stalled, BEHIND_RUNBOOK)
        ]
    return [
        Finding(
            f"behind:{topic}",
            f"topic {topic}: {sum(now.lag[topic].values())} events wait, the oldest for longer than the"
            f" {freshness[topic]:.0f} s of its contract since {_clock(datetime.fromisoformat(since))}; {_seen(now)}",
            BEHIND_RUNBOOK,
            datetime.fromisoformat(since),
        )
        for topic, since in (now.behind_since or {}).items()
        # What waited while the stream stood still on purpose is given the time to be read.
        if now.lag
        and topic in freshness
        and topic not in (now.held or {})
        and sum(now.lag.get(topic, {}).values())
        and now.request_age > freshness[topic]
    ]


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return f"{seconds:.0f} s ago" if seconds < 600 else f"{seconds / 60:.0f} min ago"


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
