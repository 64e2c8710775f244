"""A small client of Airflow's REST API: for `wardstream demo`, for tests, and for people in a Python shell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import quote

import requests

from wardstream.settings import AIRFLOW_SECRET, AIRFLOW_USER, Settings

Json: TypeAlias = dict[str, Any]
FINISHED = ("success", "failed")
TIMEOUT_SECONDS = 30.0
PAGE = 100
WORD_SECONDS = 15.0


class AirflowError(Exception):
    """Airflow could not be asked, or it refused: what, where, and what to do."""


class AirflowApi:
    """Airflow as the settings' user; logs in at the first question."""

    def __init__(self, settings: Settings, password: str | None = None) -> None:
        self.base = settings.airflow_url
        self._settings = settings
        self._password = password
        self._token: str | None = None
        self._session = requests.Session()
        self._session.trust_env = False  # loopback, whatever proxy is set

    def token(self) -> str:
        """A token for the Authorization header; asked for once."""
        if self._token is None:
            password = self._password or self._settings.password(AIRFLOW_SECRET)
            answer = self._send("POST", "/auth/token", {}, {"username": AIRFLOW_USER, "password": password})
            self._token = str(answer.json()["access_token"])
        return self._token

    def trigger(self, dag_id: str, conf: Json | None = None, run_id: str | None = None) -> str:
        """Start a run; returns its id. A run id that was used before is refused by Airflow."""
        body = {"logical_date": None, "conf": conf or {}, **({"dag_run_id": run_id} if run_id else {})}
        return str(self._ask("POST", f"/dags/{_id(dag_id)}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        """A run as it is now; `state` is queued, running, success or failed."""
        return self._ask("GET", _run(dag_id, run_id))

    def runs(self, dag_id: str) -> list[Json]:
        """The latest runs of a DAG, the newest first."""
        return self._list(f"/dags/{_id(dag_id)}/dagRuns", "dag_runs", order_by="-run_after")

    def wait(self, dag_id: str, run_id: str, seconds: float, say: Callable[[str], None] | None = None) -> str:
        """Wait until a run is finished, and `say` now and then that it is not; returns `success` or `failed`."""
        begun = time.monotonic()
        next_word = begun + WORD_SECONDS
        while (state := self.run(dag_id, run_id)["state"]) not in FINISHED:
            now = time.monotonic()
            if now > begun + seconds:
                where = f"{self.base}/dags/{dag_id}/runs/{run_id}"
                raise AirflowError(f"run {run_id} of {dag_id} is still {state} after {seconds:.0f} s; see {where}")
            if say and now > next_word:
                next_word = now + WORD_SECONDS
                why = " (another run of it goes first)" if state == "queued" else ""
                say(f"{dag_id} is {state}{why}, {now - begun:.0f} s now")
            time.sleep(0.5)
        return str(state)

    def tasks(self, dag_id: str, run_id: str) -> list[Json]:
        """The tasks of a run as they are now: `task_id`, `state`, `try_number`, …"""
        return self._list(f"{_run(dag_id, run_id)}/taskInstances", "task_instances")

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """What a task has logged so far, one line an event."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_id(task_id)}/logs/{attempt}"
        content = self._ask("GET", path, None, {"full_content": "true"})["content"]
        return "\n".join(text for line in content for text in _lines(line))

    def dags(self) -> list[Json]:
        """All DAGs that are parsed: `dag_id`, `is_paused`, `has_import_errors`, …"""
        return self._list("/dags", "dags")

    def dag(self, dag_id: str) -> Json:
        """A DAG with all that its page shows: `description`, `doc_md`, `timetable_summary`, …"""
        return self._ask("GET", f"/dags/{_id(dag_id)}/details")

    def assets(self) -> list[Json]:
        """Topics and tables as Airflow knows them: `name`, `group`, `producing_tasks`, `consuming_tasks`, …"""
        return self._list("/assets", "assets")

    def wait_until_parsed(self, dag_ids: Iterable[str], seconds: float) -> None:
        """Wait until all of these DAGs are there; AirflowError names a file that cannot be read, or what is missing."""
        wanted, deadline = set(dag_ids), time.monotonic() + seconds
        while missing := wanted - {dag["dag_id"] for dag in self.dags()}:
            for broken in self.import_errors():
                last = str(broken["stack_trace"]).strip().splitlines()[-1]
                raise AirflowError(f"DAG file {broken['filename']} cannot be read: {last}; {self.base}/import_errors")
            if time.monotonic() > deadline:
                raise AirflowError(f"no DAG {', '.join(sorted(missing))} after {seconds:.0f} s; `wardstream logs`")
            time.sleep(0.5)

    def import_errors(self) -> list[Json]:
        """The DAG files that cannot be read: `filename`, `stack_trace`."""
        return self._list("/importErrors", "import_errors")

    def _list(self, path: str, key: str, **parameters: str) -> list[Json]:
        found: list[Json] = []
        while True:
            answer = self._ask("GET", path, None, {**parameters, "limit": str(PAGE), "offset": str(len(found))})
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    def _ask(self, method: str, path: str, json: Json | None = None, parameters: dict[str, str] | None = None) -> Json:
        head = {"Authorization": f"Bearer {self.token()}", "Accept": "application/json"}
        answer = self._send(method, f"/api/v2{path}", head, json, parameters)
        return dict(answer.json())

    def _send(
        self, method: str, path: str, head: dict[str, str], json: Json | None, parameters: dict[str, str] | None = None
    ) -> requests.Response:
        where = f"{method} {self.base}{path}"
        try:
            answer = self._session.request(
                method, self.base + path, headers=head, json=json, params=parameters, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            advice = "`wardstream status` shows whether Airflow runs, `wardstream up` starts it"
            raise AirflowError(f"{where}: {type(error).__name__}; {advice}") from error
        if answer.status_code in (401, 403):
            raise AirflowError(f"{where}: the login was refused; `wardstream env` prints the user and the password")
        if not answer.ok:
            advice = "`wardstream logs api-server` may say more"
            raise AirflowError(f"{where}: {answer.status_code} {_detail(answer)}; {advice}")
        return answer


def _lines(line: str | Json) -> list[str]:
    if isinstance(line, str):
        return [line]
    causes = [f"{cause.get('exc_type')}: {cause.get('exc_value')}" for cause in line.get("error_detail") or []]
    return [line["event"], *causes]


def _id(text: str) -> str:
    return quote(text, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{_id(dag_id)}/dagRuns/{_id(run_id)}"


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason
