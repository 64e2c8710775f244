"""The pages of docs that Airflow's api-server serves: nothing else of the disk, whatever is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wardstream.airflow.pages import serve


def get(path: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": f"/wardstream{path}", "root_path": "/wardstream"}
    asyncio.run(serve(scope, None, send))
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def test_a_runbook_is_a_page_with_tables_anchors_and_links() -> None:
    status, headers, body = get("/docs/runbooks/a-dag-failed.md")
    text = body.decode()
    assert status == 200 and headers[b"content-type"].startswith(b"text/html")
    assert "<title>A DAG failed</title>" in text and "<table>" in text and 'id="roles"' in text
    assert 'href="the-stream-is-not-as-asked.md"' in text


def test_an_image_is_one() -> None:
    status, headers, body = get("/docs/images/airflow-grid.png")
    assert (status, headers[b"content-type"], body[1:4]) == (200, b"image/png", b"PNG")


def test_a_head_request_has_no_body() -> None:
    status, headers, body = get("/docs/tour.md", "HEAD")
    assert (status, body) == (200, b"") and int(headers[b"content-length"]) > 1000


@pytest.mark.parametrize(
    "path",
    ["", "/", "/docs", "/docs/", "/docs/../README.md", "/README.md", "//etc/passwd", "/docs/../../etc/passwd",
     "/docs/runbooks/no-such.md", "/docs/tour.md/..", "/docs/\0.md", "/.env"],
)  # fmt: skip
def test_anything_else_is_not_found(path: str) -> None:
    assert get(path)[0] == 404


def test_nothing_can_be_written() -> None:
    assert get("/docs/tour.md", "POST")[0] == 404
