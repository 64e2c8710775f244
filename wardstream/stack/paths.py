"""Where the embedded stack keeps things, inside the state folder and (seldom) outside of it.

Two things cannot always lie in the state folder: a Unix socket, whose path may have about 100 bytes, and, when we run
as root, PostgreSQL, which refuses to be root and so needs folders that an unprivileged user can reach. Both then go to
one folder in `settings.short_dir`, named after the state folder; `outside.txt` in the state folder says so, and
`wardstream reset` removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wardstream.settings import Settings
from wardstream.stack.errors import StackError

SOCKET_PATH_LIMIT = 90  # the kernel's limit is 107 (macOS: 103); supervisor adds ".<pid>" while it binds


def folder(settings: Settings, name: str, mode: int = 0o755) -> Path:
    """A folder of this name in the state folder, made when it is missing."""
    path = settings.state_dir / name
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    return path


def run_dir(settings: Settings) -> Path:
    """Process ids, the generated configuration and the environment of the parts; empty when nothing runs."""
    return folder(settings, "run", 0o700)


def log_file(settings: Settings, part: str) -> Path:
    """The log of one part."""
    return folder(settings, "logs", 0o700) / f"{part}.log"


def launch_file(settings: Settings, part: str) -> Path:
    """The file with a part's command, written at each start."""
    return run_dir(settings) / f"{part}.json"


def life_file(settings: Settings, part: str) -> Path:
    """The file in which launch.py says which process a part is, written at each start."""
    return settings.state_dir / "run" / f"{part}.life"  # beside launch_file, but asking for it makes no folder


def outside_dir(settings: Settings) -> Path:
    """The path of the folder outside the state folder; it need not exist."""
    digest = hashlib.sha256(os.fsencode(settings.state_dir)).hexdigest()[:12]
    return settings.short_dir / f"wardstream-{digest}"


def make_outside_dir(settings: Settings) -> Path:
    """Make the folder outside the state folder, and say in the state folder that it is there."""
    path = outside_dir(settings)
    note = folder(settings, ".") / "outside.txt"
    if not note.exists():
        note.write_text(f"{path}\n# belongs to this state folder; `wardstream reset` removes it\n")
    path.mkdir(parents=True, exist_ok=True, mode=0o711)
    status = path.lstat()
    if status.st_uid != os.geteuid() or path.is_symlink():
        # the parent may be writable by everybody: somebody else can have made this folder before us
        raise StackError(
            "stack", f"{path} belongs to somebody else", "WARDSTREAM_SHORT_DIR=/another/folder wardstream up"
        )
    path.chmod(0o711)
    return path


def socket_file(settings: Settings) -> Path:
    """The process manager's Unix socket, on a path that is short enough."""
    path = settings.state_dir / "run" / "manager.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    return outside_dir(settings) / "manager.sock"


def others_can_reach(path: Path) -> bool:
    """Whether any user may go through every folder down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents] if parent.is_dir())


@contextlib.contextmanager
def locked(path: Path, part: str, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on a folder (it leaves no lock file); fails at once when held, unless told to wait."""
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StackError(part, f"another command is working in {path}", "wait for it to end, then repeat") from None
        yield
    finally:
        os.close(handle)


def remove(settings: Settings) -> None:
    """Delete the state folder and the folder outside of it; nothing may be running."""
    for path in (outside_dir(settings), settings.state_dir):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
