"""
### The stream from Kafka to PostgreSQL: start, drain, stop, restart

Asks for a state of the stream and waits until there is evidence that it is reached. The stream itself is a process of
its own (`wardstream status`), not a task: it runs on when this run ends, and killing a task does not touch it.

* **Owner**: the platform's operators
* **Schedule**: none; trigger it. Whether the stream is as asked for is watched by `stream_reconcile_dag`
* **Parameter** `action`:
  **start**: it runs; reached when a driver is alive and commits, or has nothing left to commit.
  **drain**: it commits what Kafka holds now, then ends; for a maintenance after which nothing may be half way.
  **stop**: it finishes the batch in hand and ends. **restart**: stop, and start with a new generation.
* **May it be re-run?** Yes. Asking for the state that is there changes nothing. A retried task repeats no request: the
  request carries the id of its run, and counts once; to ask again, trigger a new run.
* **When it fails**: the red line above Airflow's traceback says what was seen and what to do; more in
  `docs/runbooks/the-stream-is-not-as-asked.md` and `docs/runbooks/a-dag-failed.md`. The request stays: the stream may
  reach the state later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from wardstream.airflow.assets import core_tables, topics
from wardstream.airflow.dag_docs import dag_docs
from wardstream.airflow.support import HOUSE_RULES, plain_errors, say
from wardstream.settings import get_settings

if TYPE_CHECKING:
    from wardstream.stream.control import Evidence

POKE_SECONDS, PATIENCE_SECONDS = 3, 300
ACTION = Param(
    "start",
    type="string",
    enum=["start", "drain", "stop", "restart"],
    title="What the stream shall do",
    description="`action`: start: run. drain: commit what Kafka has, then end. stop: end after a batch. restart.",
)


def _evidence(run_id: str) -> Evidence:
    """What is seen of the state that this run asked for, put into the task's log."""
    from wardstream.stream import control

    with plain_errors():
        seen = control.evidence(get_settings(), by=run_id)
    say([f"{'reached' if seen.reached else 'not yet'}: {seen.seen}"])
    return seen


@dag(
    dag_id="kafka_to_postgres_dag",
    description="Start, drain, stop or restart the stream, and wait for evidence of it",
    schedule=None,
    doc_md=dag_docs(__doc__),
    tags=["wardstream", "stream"],
    params={"action": ACTION},
    **HOUSE_RULES,
)
def kafka_to_postgres() -> None:
    @task
    def request() -> None:
        """Write what is wanted into ops.stream_control; the stream reads it within seconds."""
        from wardstream.stream import control

        context = get_current_context()
        with plain_errors():
            asked = control.request(get_settings(), context["params"]["action"], by=str(context["run_id"]))
        say([f"asked the stream to be {asked.desired} (request {asked.revision})"])

    @task.sensor(mode="reschedule", poke_interval=POKE_SECONDS, timeout=PATIENCE_SECONDS)
    def wait_until_reached() -> bool:
        """Look every few seconds, without holding a slot; ends early where it is hopeless."""
        context: Any = get_current_context()
        seen = _evidence(str(context["run_id"]))
        first = context["ti"].get_first_reschedule_date(context)
        waited = (datetime.now(UTC) - first).total_seconds() if first else 0.0
        patience = context["task"].timeout
        # one poke early, so that it is this text and not the sensor's own that ends the task
        over = waited + POKE_SECONDS > patience
        if not seen.reached and (seen.hopeless or over):
            why = "it cannot be reached" if seen.hopeless else f"not reached in {patience:g} s"
            raise AirflowFailException(f"{why}. Seen: {seen.seen}. What to do: {seen.advice}")
        return bool(seen.reached)

    @task(inlets=topics(), outlets=core_tables())
    def verify() -> None:
        """Look once more: the state still holds, and this is the evidence, and what no drain can reach."""
        from wardstream.watch.findings import transactions

        say(finding.said for finding in transactions(get_settings()).found)
        seen = _evidence(str(get_current_context()["run_id"]))
        if not seen.reached:
            raise AirflowFailException(f"it was reached and is no more. Seen: {seen.seen}. What to do: {seen.advice}")

    request() >> wait_until_reached() >> verify()


kafka_to_postgres()
