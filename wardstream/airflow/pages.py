"""The folder docs, as pages of Airflow's api-server, so that a link to a runbook opens where its reader is.

The pages are those of the repository, without data; they need no login. `plugin` hands them to Airflow.
"""

from __future__ import annotations

import itertools
import re
from html import escape
from pathlib import Path
from typing import Any

from wardstream.settings import FILES

DOCS = FILES / "docs"
IMAGES = {".png": b"image/png", ".svg": b"image/svg+xml"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f3f3f3 } code { padding: 0 .2em }
pre { padding: .7rem; overflow-x: auto } pre code { padding: 0 } img { max-width: 100% }
table { border-collapse: collapse } th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left }
"""


async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application: docs/X.md as HTML, an image as it is, anything else is not found."""
    if scope["type"] != "http":
        return
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    status, kind, body = _page(path.lstrip("/")) if scope["method"] in ("GET", "HEAD") else _NOT_FOUND
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"x-frame-options", b"DENY")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


_NOT_FOUND = (404, b"text/plain", b"there is no such page")


def _page(path: str) -> tuple[int, bytes, bytes]:
    if "\0" in path:  # no file is called so, and asking for one is an error
        return _NOT_FOUND
    file = (DOCS.parent / path).resolve()
    if not file.is_relative_to(DOCS.resolve()) or not file.is_file():
        return _NOT_FOUND
    if file.suffix in IMAGES:
        return 200, IMAGES[file.suffix], file.read_bytes()
    return (200, b"text/html; charset=utf-8", _html(file).encode()) if file.suffix == ".md" else _NOT_FOUND


def _html(file: Path) -> str:
    from markdown_it import MarkdownIt

    text = file.read_text(encoding="utf-8")
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(text)
    seen: set[str] = set()
    for heading, inline in itertools.pairwise(tokens):
        if heading.type == "heading_open":
            anchor = slug(inline.content)
            if anchor not in seen:
                heading.attrSet("id", anchor)
            seen.add(anchor)
    body = markdown.renderer.render(tokens, markdown.options, {})
    title = escape(text.partition("\n")[0].lstrip("# "))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
