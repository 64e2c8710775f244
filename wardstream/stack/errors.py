"""The one exception of the embedded stack: which part, why, and what to type."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


class StackError(Exception):
    """Something a person has to act on; printed without a traceback."""

    def __init__(self, part: str, why: str, what_to_type: str = "") -> None:
        self.part = part
        self.why = why
        self.what_to_type = what_to_type
        first = _activate() if "wardstream" in what_to_type else ""
        super().__init__(f"{part}: {why}" + (f"\n  what to type: {first}{what_to_type}" if what_to_type else ""))


def _activate() -> str:
    """What puts `wardstream` on the path, where it is not: `make` runs it without."""
    if shutil.which("wardstream"):
        return ""
    return f". {shlex.quote(os.path.relpath(Path(sys.prefix) / 'bin' / 'activate'))}; "


NO_SPACE = ("No space left on device", "Disk quota exceeded")


def says_no_space(text: str) -> bool:
    """Whether a program or a server says that the disk is full."""
    return any(sign in text for sign in NO_SPACE)


def no_space(part: str, where: str = "") -> StackError:
    """The disk is full; what is done by then stays done."""
    why = f"no space left on the disk{': ' + where if where else ''}"
    return StackError(part, why, "df -h; make room; wardstream up   (it goes on from there)")


def in_words(part: str, error: BaseException) -> StackError:
    """An error that nobody foresaw, as one that a person can act on: in one line."""
    text = str(error)
    where = str(getattr(error, "filename", None) or "")
    if says_no_space(text):
        return no_space(part, where)
    if isinstance(error, PermissionError):
        why = f"permission denied: {where}; a stack belongs to the user who started it first"
        return StackError(
            part, why, "wardstream up, as that user; or WARDSTREAM_STATE_DIR=/another/folder wardstream up"
        )
    lines = text.strip().splitlines()
    why = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return StackError(part, why, "wardstream status; wardstream up")


@contextlib.contextmanager
def no_traceback(part: str) -> Iterator[None]:
    """What the system refuses inside (no room, no permission) becomes a StackError."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our output has enough of it: `wardstream logs | head`
    except OSError as error:
        raise in_words(part, error) from error
