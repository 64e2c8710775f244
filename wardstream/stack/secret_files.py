"""The generated secrets: one file each in `secrets` of the state folder, readable by us alone, made once."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from wardstream.settings import Settings
from wardstream.stack.paths import folder


def secrets_dir(settings: Settings) -> Path:
    """The folder of the secrets."""
    return folder(settings, "secrets", 0o700)


def ensure_secret(settings: Settings, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
    """The secret of this name, made when it is missing."""
    path = secrets_dir(settings) / name
    if not path.exists():
        write_secret(path, make() + "\n")
    return settings.password(name)


def write_secret(path: Path, text: str) -> None:
    """Put a file in place that nobody else could read at any moment."""
    handle, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600, and a name for each thread
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(fresh).replace(path)
    except OSError:  # such as a full disk
        Path(fresh).unlink(missing_ok=True)
        raise
