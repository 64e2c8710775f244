"""
### Is the stream as it was asked to be?

Looks every two minutes, and fails visibly where the stream should run and does not: no process, a crash loop, an old
heartbeat, events that wait longer than their contract allows. A stream that was drained or stopped on purpose is all
right. It also looks at how many messages end in quarantine, and sends alerts again that a channel did not take.

* **Owner**: the platform's operators
* **Schedule**: every two minutes
* **Parameters**: none
* **May it be re-run?** Yes; it only looks. It never starts a stream, so there can never be a second one because of it.
* **When it fails**: `stream_as_desired` says what it found and which runbook helps:
  `docs/runbooks/the-stream-is-not-as-asked.md` or `docs/runbooks/the-stream-is-behind.md`. One alert is sent (if a
  channel is set), not one every two minutes; the first green run closes it. Too much in quarantine does not make it
  red: that is an alert of its own, `docs/runbooks/a-message-is-in-quarantine.md`.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from wardstream.airflow.dag_docs import dag_docs
from wardstream.airflow.support import HOUSE_RULES, plain_errors, say, tell
from wardstream.settings import get_settings


@dag(
    dag_id="stream_reconcile_dag",
    description="Red while the stream is not as it was asked to be; starts nothing",
    schedule=CronTriggerTimetable("*/2 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    doc_md=dag_docs(__doc__),
    tags=["wardstream", "stream"],
    **HOUSE_RULES,
)
def stream_reconcile() -> None:
    @task(retries=1)
    def stream_as_desired() -> None:
        """Fails with everything that is not as asked for."""
        from wardstream.stream import control

        with plain_errors():
            found = control.findings(get_settings())
        if not found:
            say(["the stream is as it was asked to be"])
            return
        said = "; ".join(f"{finding.said} ({finding.code}: {finding.runbook})" for finding in found)
        dag_id, run_id = "stream_reconcile_dag", get_current_context()["run_id"]
        what = f"The stream is not as asked for: {said}. DAG {dag_id}, run {run_id}"
        tell(get_settings(), dag_id, what, found[0].runbook, since=min(finding.since for finding in found))
        raise AirflowFailException(said)

    @task(retries=1)
    def quarantine_rate() -> None:
        """Opens or closes an alert for each topic, and sends those that were not taken before; stays green."""
        from wardstream.watch.alerts import send_waiting
        from wardstream.watch.quarantine_rate import check_rates

        with plain_errors():
            say(check_rates(get_settings()))
            say(f"sent now, after a channel had not taken it: {key}" for key in send_waiting(get_settings()))

    # Apart from one another: a run is green only if both are.
    stream_as_desired()
    quarantine_rate()


stream_reconcile()
