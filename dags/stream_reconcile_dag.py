"""
### Is all as it should be? One alert for each finding

Looks every two minutes, and fails visibly where the stream should run and does not: no process, a crash loop, an old
heartbeat, events that wait longer than their contract allows. A stream that was drained or stopped on purpose is all
right. It also finds events that an open transaction holds back, days that stay stale although their builds were due,
and DAGs of ours that are paused; it looks at the messages in quarantine, and sends again what a channel did not take.

* **Owner**: the platform's operators
* **Schedule**: every two minutes
* **Parameters**: none
* **May it be re-run?** Yes; it only looks. It never starts a stream, so there can never be a second one because of it.
* **When it fails**: `stream_as_desired` says what it found and which runbook helps, such as
  `docs/runbooks/the-stream-is-not-as-asked.md` or `docs/runbooks/the-stream-is-behind.md`. Each finding is an alert of
  its own (if a channel is set): one message when it begins, one when a later run no longer finds it. Messages in
  quarantine do not make it red: `docs/runbooks/a-message-is-in-quarantine.md`.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from wardstream.airflow.dag_docs import dag_docs
from wardstream.airflow.support import HOUSE_RULES, plain_errors, run_of, say, tell_findings
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
        """Fails with everything that is not as it should be."""
        from wardstream.watch.finding import worded
        from wardstream.watch.findings import PLATFORM, look_at

        looks, failed = look_at(get_settings(), PLATFORM)
        say(look.unknown for look in looks if look.unknown)
        # A run in which a look failed is told as a failed DAG, too.
        tell_findings(looks, None if failed else run_of("stream_reconcile_dag", get_current_context()["run_id"]))
        found = [finding for look in looks for finding in look.found if finding.red]
        said = "; ".join(map(worded, found))
        say(worded(one) for look in looks for one in look.found if not one.red)
        if failed:
            say([said] if found else [])
            with plain_errors():
                raise failed[0]
        if found:
            raise AirflowFailException(said)
        say(["the stream is as it was asked to be"])

    @task(retries=1)
    def quarantine_rate() -> None:
        """Opens or closes each topic's alerts, and sends those that were not taken before; stays green."""
        from wardstream.watch.alerts import send_waiting
        from wardstream.watch.quarantine_rate import check_rates

        with plain_errors():
            say(check_rates(get_settings()))
            say(f"sent now, after a channel had not taken it: {key}" for key in send_waiting(get_settings()))

    # Apart from one another: a run is green only if both are.
    stream_as_desired()
    quarantine_rate()


stream_reconcile()
