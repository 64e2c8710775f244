"""Python environments of parts that need packages of their own: made at the first use, outside Wardstream's own.

A part names a file of requirements with exact versions and hashes; its environment lies in the cache, by the hash of
that file, so that clones share it and a changed file gets a new one. uv installs it, from its cache where that has
everything. Downloads that came before an interruption are in that cache, so a repeat goes on from there. A part whose
packages do not conflict with ours may use ours as well: `ours` gives the variable for that.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import uv

from wardstream.settings import Settings
from wardstream.stack.errors import StackError, no_space, says_no_space
from wardstream.stack.part import Part
from wardstream.stack.paths import locked
from wardstream.stack.steps import Say

UNREACHABLE = ("dns error", "Connection refused", "Could not connect", "timed out", "connectivity is disabled")
"""What uv says, among other things, when there is no network."""


def folder(settings: Settings, part: Part) -> Path:
    """Where a part's environment lies."""
    assert part.requirements is not None
    what = f"{part.requirements.read_text()} {sys.version} {platform.machine()}"
    return settings.cache_dir / "environments" / f"{part.name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def python(settings: Settings, part: Part) -> str:
    """The interpreter of a part's environment."""
    return str(folder(settings, part) / "bin" / "python")


def ours() -> dict[str, str]:
    """What lets another environment import Wardstream and its packages, too."""
    places = [str(Path(__file__).parents[2]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}


def install(settings: Settings, part: Part, say: Say) -> str:
    """Make the environment of a part that has one, and say in a word what was done; quick when it is there.

    StackError where it cannot be made.
    """
    if part.requirements is None:
        return "none needed"
    place = folder(settings, part)
    with locked(settings.cache_dir / "environments", part.name, wait=True):
        stamp = place / ".installed"  # last: an environment without it was interrupted, and is recreated
        if stamp.exists() and (place / "bin" / "python").exists():  # which may have gone with its Python
            return "present"
        say(f"installing the packages of {part.name}")
        shutil.rmtree(place, ignore_errors=True)
        _uv(settings, part, "venv", "--python", sys.executable, str(place))
        words = ["pip", "install", "--python", str(place / "bin" / "python"), "--no-deps", "--require-hashes"]
        words += ["-r", str(part.requirements)]
        if not _try(settings, *words, "--offline")[0]:
            _uv(settings, part, *words)
        stamp.touch()
        return "installed"


def _try(settings: Settings, *words: str) -> tuple[bool, str]:
    """Run uv; whether it did what it should, and what it said."""
    command = [uv.find_uv_bin(), "--quiet", "--cache-dir", str(settings.cache_dir / "packages"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def _uv(settings: Settings, part: Part, *words: str) -> None:
    well, said = _try(settings, *words)
    if well:
        return
    if says_no_space(said):
        raise no_space(part.name, str(settings.cache_dir))
    if any(sign in said for sign in UNREACHABLE):
        why = "its Python packages are not in the cache, and the package index cannot be reached"
        raise StackError(part.name, why, "wardstream up, when connected; what was downloaded by then is kept")
    lines = [re.sub(r"^\W+", "", line) for line in said.splitlines() if line.strip()]
    why = f"its Python packages ({part.requirements}) cannot be installed: {': '.join(lines[:2])}"
    raise StackError(part.name, why, "wardstream up, or wardstream up --with none")
