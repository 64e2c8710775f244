"""
### Set the platform up

Brings PostgreSQL, Kafka and the schema registry to what this repository says, and checks them: migrations, topics with
partitions and retention from the contracts, schemas and their compatibility, roles and rights, durability.

* **Owner**: the platform's operators
* **Schedule**: none; trigger it after an installation, an update, or a change under `schemas/` or `sql/`
* **Parameters**: none
* **May it be re-run?** Yes, at any time, also while the stream runs. What is as it should be stays as it is; the log of
  `summary` then ends with *nothing to change*. It deletes nothing, takes no partition away and lowers no retention.
* **On servers that others use, too**: the registry's global compatibility is not touched. What an administrator has set
  otherwise on a topic or subject of ours is left and reported; the task is red where the stream cannot run on it.
* **When it fails**: the red line above Airflow's traceback in the failed task's log says what, where and what to do;
  more in `docs/runbooks/a-dag-failed.md`. Put it right and trigger it again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from wardstream.airflow.dag_docs import dag_docs
from wardstream.airflow.support import HOUSE_RULES, plain_errors, say
from wardstream.settings import get_settings


def _say(changes: list[str], otherwise: str) -> list[str]:
    """Put what was changed into the task's log."""
    say(changes or [otherwise])
    return changes


@dag(
    dag_id="platform_setup_dag",
    description="Bring PostgreSQL, Kafka and the registry to what the repository says, and check them",
    schedule=None,
    doc_md=dag_docs(__doc__),
    tags=["wardstream", "set-up"],
    **HOUSE_RULES,
)
def platform_setup() -> None:
    @task
    def migrate() -> list[str]:
        """Migrations of the database, as its owner."""
        from wardstream.airflow import platform_setup as setup

        with plain_errors():
            return _say(setup.apply_migrations(get_settings()), "the database has every migration")

    @task
    def topics() -> list[str]:
        """Kafka topics: partitions, retention, the broker's clock."""
        from wardstream.airflow import platform_setup as setup

        with plain_errors():
            return _say(setup.apply_contract_topics(get_settings(), say), "every topic is there and kept long enough")

    @task
    def schemas() -> list[str]:
        """Schemas and compatibility in the registry."""
        from wardstream.airflow import platform_setup as setup

        with plain_errors():
            return _say(setup.apply_schemas(get_settings()), "the registry has every version of every contract")

    @task
    def checks() -> None:
        """Roles, their rights, PostgreSQL's durability, and changed folds; changes nothing."""
        from wardstream.airflow import platform_setup as setup

        with plain_errors():
            checks = (setup.check_roles, setup.check_durability, setup.check_folds)
            say(line for check in checks for line in check(get_settings()))

    @task
    def summary(*parts: Any) -> None:
        """What this run changed, in one place."""
        changes = [str(change) for part in parts for change in part]
        say([f"changed: {len(changes)}", *changes] if changes else ["nothing to change"])

    migrated = migrate()
    checked = checks()
    migrated >> checked
    checked >> summary(migrated, topics(), schemas())


platform_setup()
