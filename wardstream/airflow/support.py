"""What the DAG files share: house rules, alerts on a run's end, and errors that end a task's log in plain words.

Imported when a DAG file is parsed, so nothing here, and nothing that it imports at its top, knows a server or a large
library: those come inside the functions.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from wardstream.settings import get_settings

if TYPE_CHECKING:
    from wardstream.settings import Settings
    from wardstream.watch.finding import Look

log = logging.getLogger(__name__)
task_log = logging.getLogger("wardstream.task")

RUNBOOK = "a-dag-failed.md"


def say(lines: Iterable[str]) -> None:
    """Lines for the person who reads the task's log."""
    for line in lines:
        task_log.info("%s", line)


def alert_on_failure(context: Mapping[str, Any]) -> None:
    """One message that a DAG failed, and none while it goes on failing. Airflow's dag-processor calls it.

    A run that is red for what it found has told each finding by itself.
    """
    ti = context.get("ti")
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    if _has_told_findings(run_of(dag_id, run_id)):
        return
    where = f"in task {ti.task_id}" if ti is not None else f"({context.get('reason')})"
    page = f"{os.environ.get('AIRFLOW__API__BASE_URL', '')}/dags/{dag_id}/runs/{run_id}"
    tell(get_settings(), dag_id, f"DAG {dag_id} failed {where}; the task's log says why: {page}", RUNBOOK)


def alert_on_success(context: Mapping[str, Any]) -> None:
    """The DAG is all right again: its next failure is told anew."""
    from psycopg import Error

    from wardstream.watch.alerts import close_alert

    try:
        close_alert(get_settings(), f"dag:{context['dag'].dag_id}")
    except Error as error:
        log.warning("the alert stays open: PostgreSQL did not take it (%s)", type(error).__name__)


def tell_findings(looks: Iterable[Look], run: str | None) -> None:
    """An alert for each finding, which the next look without it closes; trouble with that is logged.

    `run`: the run (`run_of`) that is red for nothing else than what it found.
    """
    from psycopg import Error

    from wardstream.watch import alerts

    try:
        for look in looks:
            alerts.tell(get_settings(), look, run)
    except Error as error:
        log.warning("alerts are neither recorded nor sent: PostgreSQL did not take them (%s)", type(error).__name__)


def _has_told_findings(run: str) -> bool:
    from psycopg import Error

    from wardstream.watch.alerts import has_told

    try:
        return has_told(get_settings(), run)
    except Error:
        return False


def run_of(dag_id: str, run_id: object) -> str:
    """A run in words, DAG included: runs of two DAGs may have one id."""
    return f"DAG {dag_id}, run {run_id}"


def tell(settings: Settings, dag_id: str, what: str, runbook: str) -> None:
    """Open a DAG's alert; trouble with that is logged and never takes the place of what failed."""
    from psycopg import Error

    from wardstream.watch.alerts import open_alert

    try:
        sent = open_alert(settings, f"dag:{dag_id}", what, datetime.now(UTC), runbook)
        log.info("alert dag:%s: %s", dag_id, "told" if sent else "open; nothing is sent again, or no channel is set")
    except Error as error:
        log.warning("the alert is neither recorded nor sent: PostgreSQL did not take it (%s)", type(error).__name__)


@contextlib.contextmanager
def plain_errors(runbook: str = RUNBOOK) -> Iterator[None]:
    """What is expected to go wrong ends the task with one line that says what, where and what to do.

    What can pass by itself (a server that does not answer) is tried again by Airflow; what cannot fails at once.
    """
    import psycopg
    from confluent_kafka import KafkaException

    from wardstream.airflow.platform_setup import SetupError
    from wardstream.contracts.model import ContractError
    from wardstream.daily.stale import RangeError
    from wardstream.database.locks import NOT_SET_UP
    from wardstream.database.migration_errors import MigrationFailedError
    from wardstream.database.plan_error import PlanError
    from wardstream.kafka.broker import TopicMissing
    from wardstream.kafka.client import KafkaRefused
    from wardstream.kafka.topics import TopicConflict, TopicError
    from wardstream.registry.client import RegistryRefusedError, RegistryUnavailableError
    from wardstream.stream.control import RequestConflict
    from wardstream.stream.turn import ControlMissing

    try:
        yield
    except (
        RegistryRefusedError,
        ContractError,
        SetupError,
        MigrationFailedError,
        TopicConflict,
        TopicMissing,
        ControlMissing,
        RequestConflict,
        RangeError,
        PlanError,
        FileNotFoundError,
    ) as error:
        raise AirflowFailException(_said(str(error), runbook)) from None
    except NOT_SET_UP as error:
        first = f"{error.diag.message_primary}: the database is not set up; trigger platform_setup_dag, then this again"
        raise AirflowFailException(_said(first, runbook)) from None
    except (RegistryUnavailableError, TopicError) as error:
        raise AirflowException(_said(str(error), runbook)) from None
    except KafkaRefused as error:
        raise AirflowException(_said(str(error), runbook)) from None
    except KafkaException as error:
        what = f"Kafka ({get_settings().kafka}): {error.args[0].name()}; is it running (`wardstream status`)?"
        raise AirflowException(_said(what, runbook)) from None
    except psycopg.OperationalError as error:
        # a refused connection: the text names host and port; the lines after the first repeat it
        what = f"PostgreSQL: {str(error).strip().splitlines()[0]}; is it running (`wardstream status`)?"
        raise AirflowException(_said(what, runbook)) from None


def _said(what: str, runbook: str) -> str:
    """The text of an error, put into the log as a line of its own, too: Airflow's comes with a page of Python."""
    from wardstream.stack.env import redact

    said = redact(what, get_settings())
    text = f"{said}{'' if said.endswith('?') else '.'} What to do: docs/runbooks/{runbook}"
    task_log.error("%s", text)
    return text


HOUSE_RULES: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": timedelta(hours=1),
    "default_args": {
        "owner": "wardstream",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=10),
    },
    "on_failure_callback": alert_on_failure,
    "on_success_callback": alert_on_success,
}
"""Arguments that every DAG of ours has; a DAG's own come beside them. A task that hangs ends, and so does a run."""
