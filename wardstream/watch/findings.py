"""Everything that is not as it should be, in one place: what stream_reconcile_dag tells and `wardstream status` shows.

Each look asks one thing. A look that cannot be made (Kafka is away, no Airflow is known here) says why: what it found
before is then neither over nor told again. Nothing here changes what it looks at. PostgreSQL is needed by all of them:
psycopg.Error. How a message reaches people is in `alerts`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from wardstream.settings import AIRFLOW_USER, Settings
from wardstream.watch import quarantine_rate, registry_look
from wardstream.watch import senders as senders_look
from wardstream.watch.finding import Finding, Look

if TYPE_CHECKING:
    from wardstream.kafka.broker import Held

log = logging.getLogger(__name__)

REMEDIES = {
    "behind": "`wardstream status` shows whether it catches up, `wardstream logs stream -n 100` why not",
    "blocked": "`wardstream stream accept-gap` shows what is lost, and asks before it accepts anything",
    "crash_loop": "`wardstream logs stream -n 100` says why it ends",
    "driver_silent": "on its host, `kill -9` the pid that `wardstream status` shows; the next driver goes on",
    "held": "deploy that version (its .avsc, contract and migration); then `wardstream down && wardstream up`",
    "no_process": "`wardstream up`; if it runs already, `wardstream logs stream -n 100`",
    "no_progress": "`wardstream logs stream -n 100`; then `wardstream stream restart`",
}
LOGS = "`wardstream logs stream -n 100`"


def stream(settings: Settings) -> Look:
    """Whether the stream is as it was asked to be."""
    from wardstream.stream import control

    found = [
        Finding(
            one.code,
            one.said,
            one.since,
            PurePosixPath(one.runbook).name,
            REMEDIES.get(one.code.partition(":")[0], LOGS),
        )
        for one in control.findings(settings)
    ]
    # Of the process one fault is seen at a time, and no topic beside it: another fault does not end the one before.
    process = any(":" not in one.code for one in found)
    return Look("stream", found, hidden=lambda _: process)


def transactions(settings: Settings) -> Look:
    """Events that are in Kafka and that nobody can read, because a transaction before them does not end."""
    from confluent_kafka import KafkaException

    from wardstream.contracts.model import load_contracts
    from wardstream.kafka.broker import Broker
    from wardstream.kafka.health import listens

    if not listens(settings.kafka):
        return Look("transactions", unknown="Kafka does not answer: whether a transaction holds events is not known")
    try:
        held = Broker(settings, load_contracts(settings.schemas_dir)).held()
    except KafkaException as error:
        name = error.args[0].name()
        return Look("transactions", unknown=f"Kafka ({name}): whether a transaction holds events is not known")
    return Look("transactions", [_held(settings, one) for one in held if one.hangs])


def _held(settings: Settings, held: Held) -> Finding:
    from wardstream.kafka.broker import HELD_RUNBOOK

    remedy = (
        "start its producer again, or `kafka-transactions.sh --bootstrap-server"
        f" {settings.kafka} abort --topic {held.topic} --partition {held.partition} --start-offset {held.start}`;"
        " else it ends at the producer's transaction.timeout.ms"
    )
    code = f"open_transaction:{held.topic}/{held.partition}"
    return Finding(code, str(held), held.since, HELD_RUNBOOK, remedy)


def days(settings: Settings) -> Look:
    """Days whose numbers were stale at two scheduled runs, one after the other."""
    from wardstream.watch import stale

    found = stale.find(settings)
    return Look("days", [found] if found else [])


def dags(settings: Settings) -> Look:
    """DAGs of ours that somebody paused, as Airflow's API says."""
    from wardstream.airflow.api import AirflowApi, AirflowError
    from wardstream.kafka.health import listens

    if not listens(f"127.0.0.1:{settings.airflow_port}"):
        return Look("dags", unknown="Airflow's API does not answer here: whether a DAG is paused is not known")
    try:
        listed = AirflowApi(settings).dags()
    except FileNotFoundError:
        return Look("dags", unknown=f"no login of {AIRFLOW_USER} is known here: whether a DAG is paused is not known")
    except AirflowError as error:
        return Look("dags", unknown=f"whether a DAG is paused is not known: {error}")
    paused = sorted(
        str(dag["dag_id"])
        for dag in listed
        if dag["is_paused"] and "wardstream" in {tag["name"] for tag in dag.get("tags") or []}
    )
    return Look("dags", [_paused(dag_id) for dag_id in paused])


def _paused(dag_id: str) -> Finding:
    said = f"DAG {dag_id} is paused: it does not run, and whoever triggers it waits for ever"
    remedy = f"`wardstream airflow dags unpause {dag_id}`"
    return Finding(f"dag_paused:{dag_id}", said, None, "a-dag-is-paused.md", remedy)


quarantined = quarantine_rate.look
registry = registry_look.look
senders = senders_look.look
PLATFORM: tuple[Callable[[Settings], Look], ...] = (stream, transactions, registry, senders, days, dags)
"""All looks but that at the quarantine, which makes no DAG red."""


def look_at(settings: Settings, looks: Iterable[Callable[[Settings], Look]]) -> tuple[list[Look], list[Exception]]:
    """What the looks found, and the errors of those that failed: none keeps the others from telling."""
    done: list[Look] = []
    failed: list[Exception] = []
    for look in looks:
        try:
            done.append(look(settings))
        except Exception as error:  # noqa: BLE001 - passed on to the caller, who raises it
            failed.append(error)
    return done, failed


def findings_now(settings: Settings) -> list[Finding]:
    """For a person who asks: what can be looked at now. A server that is away is another row of `wardstream status`.

    Without Airflow nothing builds days by a schedule, and no DAG can be paused.
    """
    of_airflow = (days, dags) if settings.airflow else ()
    looks, failed = look_at(settings, [stream, transactions, registry, senders, *of_airflow, quarantined])
    for error in failed:
        log.debug("a look failed: %s", type(error).__name__)
    return [finding for look in looks for finding in look.found]
