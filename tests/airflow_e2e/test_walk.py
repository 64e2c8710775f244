"""What a user does in Airflow's pages, in a real browser: drain, look, start again, break the registry, read why.

Screenshots of each station go to the folder that WARDSTREAM_SCREENSHOTS names, else to pytest's own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.airflow_e2e.clinic import Clinic
from tests.e2e.hospital import DEADLINE_SECONDS, wait_for
from wardstream import stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 60_000
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt install chromium)")


class Pages:
    """Airflow's pages as this walk needs them."""

    def __init__(self, page: Page, clinic: Clinic, shots: Path) -> None:
        self.page, self.clinic, self.shots = page, clinic, shots
        page.set_default_timeout(PATIENCE_MS)

    def shot(self, name: str) -> None:
        """Keep what is seen now."""
        self.page.wait_for_timeout(1500)  # animations
        self.page.screenshot(path=self.shots / f"{name}.png")

    def log_in(self) -> None:
        """The login that `make demo` and `wardstream env` print."""
        self.page.goto(self.clinic.api.base)
        self.page.locator("input[name=username]").fill("admin")
        self.page.locator("input[name=password]").fill(self.clinic.settings.password("airflow_admin"))
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("link", name="Dags")).to_be_visible(timeout=PATIENCE_MS)

    def open_dag(self, dag_id: str, view: str) -> None:
        """A DAG's page, with the grid or the graph of its tasks."""
        self.page.goto(f"{self.clinic.api.base}/dags/{dag_id}")
        self.page.get_by_role("button", name=f"Show {view}").click()

    def trigger(self, dag_id: str, action: str | None = None) -> str:
        """Trigger a DAG by its button and form; the id of the new run."""
        before = {run["dag_run_id"] for run in self.clinic.api.runs(dag_id)}
        self.open_dag(dag_id, "Grid")
        self.page.get_by_role("button", name="Trigger").first.click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_be_visible(timeout=PATIENCE_MS)
        if action:
            dialog.get_by_role("combobox").first.click()
            self.page.get_by_role("option", name=action, exact=True).click()
            self.shot(f"trigger-{action}")
        dialog.get_by_role("button", name="Trigger").click()
        new = wait_for("the new run", lambda: {r["dag_run_id"] for r in self.clinic.api.runs(dag_id)} - before)
        return str(next(iter(new)))

    def log_of(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The text of a task's log page."""
        self.page.goto(f"{self.clinic.api.base}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}")
        expect(self.page.get_by_text("What to do", exact=False).first).to_be_visible(timeout=PATIENCE_MS)
        return self.page.locator("body").inner_text()


@pytest.fixture(scope="module")
def pages(clinic: Clinic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A browser that is logged in."""
    named = os.environ.get("WARDSTREAM_SCREENSHOTS")
    shots = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        walk = Pages(browser.new_page(viewport={"width": 1400, "height": 850}), clinic, shots)
        walk.log_in()
        yield walk
        browser.close()


def stream_state(clinic: Clinic) -> str:
    """What `wardstream status` says of the stream."""
    rows = json.loads(clinic.cli("status", "--json").stdout)["parts"]
    return str(next(row["state"] for row in rows if row["part"] == "stream"))


@pytest.mark.campaign
def test_drain_look_start(clinic: Clinic, pages: Pages) -> None:
    run_id = pages.trigger("kafka_to_postgres_dag", "drain")
    assert clinic.api.wait("kafka_to_postgres_dag", run_id, DEADLINE_SECONDS) == "success"
    pages.open_dag("kafka_to_postgres_dag", "Grid")
    pages.shot("drained-grid")
    wait_for("status to say drained", lambda: stream_state(clinic) == "drained")
    before = clinic.committed()
    clinic.must("replay", "sample")
    assert clinic.committed() == before, "a drained stream commits nothing"
    run_id = pages.trigger("kafka_to_postgres_dag", "start")
    assert clinic.api.wait("kafka_to_postgres_dag", run_id, DEADLINE_SECONDS) == "success"
    clinic.caught_up()
    wait_for("status to say running", lambda: stream_state(clinic) == "running")
    pages.open_dag("kafka_to_postgres_dag", "Graph")
    pages.shot("started-graph")


@pytest.mark.campaign
def test_nothing_on_the_home_page_is_red(clinic: Clinic, pages: Pages) -> None:
    pages.page.goto(clinic.api.base)
    health = pages.page.locator("div:has(> svg + h2:text('Health')) ~ div > [data-testid=state-badge]")
    expect(health.filter(has_text="Scheduler")).to_be_visible(timeout=PATIENCE_MS)
    pages.shot("home")
    assert [badge.inner_text() for badge in health.all() if badge.is_visible()] == [
        "MetaDatabase",
        "Scheduler",
        "Dag Processor",
    ]


@pytest.mark.campaign
def test_dag_docs_open_a_runbook(clinic: Clinic, pages: Pages) -> None:
    pages.page.goto(f"{clinic.api.base}/dags/stream_reconcile_dag")
    pages.page.get_by_role("button", name="Dag Docs").click()
    pages.shot("dag-docs")
    link = pages.page.get_by_role("link", name="the-stream-is-behind").first
    target = link.get_attribute("href")
    pages.page.goto(f"{clinic.api.base}{target}")
    expect(pages.page.get_by_role("heading", name="The stream is behind")).to_be_visible()
    pages.shot("runbook")


@pytest.mark.campaign
def test_assets_show_where_a_table_comes_from(clinic: Clinic, pages: Pages) -> None:
    (asset,) = [asset for asset in clinic.api.assets() if asset["name"] == "mart.daily_labs"]
    pages.page.goto(f"{clinic.api.base}/assets")
    expect(pages.page.get_by_role("link", name="mart.daily_labs")).to_be_visible(timeout=PATIENCE_MS)
    pages.shot("assets")
    pages.page.goto(f"{clinic.api.base}/assets/{asset['id']}")
    pages.page.get_by_role("button", name="Task Dependencies").click()
    expect(pages.page.get_by_text("core.lab_results").first).to_be_visible(timeout=PATIENCE_MS)
    pages.shot("asset-graph")


@pytest.mark.campaign
def test_every_dag_looks_right(clinic: Clinic, pages: Pages) -> None:
    pages.page.goto(f"{clinic.api.base}/dags")
    pages.page.get_by_role("link", name="stream_reconcile_dag").wait_for()
    pages.shot("dags")
    for dag_id in ("platform_setup_dag", "spark_processing_dag", "stream_reconcile_dag"):
        for view in ("Grid", "Graph"):
            pages.open_dag(dag_id, view)
            pages.shot(f"{dag_id}-{view.lower()}")


@pytest.mark.campaign
def test_a_wrong_registry_address_is_named_in_the_log(clinic: Clinic, pages: Pages) -> None:
    wrong = clinic.settings.model_copy(update={"schema_registry_url": "http://127.0.0.1:9/apis/ccompat/v7"})
    stack.stop_part(clinic.settings, "scheduler")
    stack.start_part(wrong, "scheduler")
    try:
        run_id = pages.trigger("platform_setup_dag")
        assert clinic.api.wait("platform_setup_dag", run_id, DEADLINE_SECONDS) == "failed"
        text = pages.log_of("platform_setup_dag", run_id, "schemas")
        pages.shot("registry-log")
        assert "127.0.0.1:9" in text
        told = wait_for("an alert", lambda: [a for a in clinic.webhook.got if a["key"] == "dag:platform_setup_dag"])
        assert len(told) == 1 and told[0]["runbook"].endswith("a-dag-failed.md")
    finally:
        stack.stop_part(wrong, "scheduler")
        stack.start_part(clinic.settings, "scheduler")
    assert clinic.green("platform_setup_dag")
