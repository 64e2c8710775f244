"""Programs from Debian packages that a test needs: without one it is skipped; in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Path of a program of a package that .ci/packages lists."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        said = f"no {name} on this machine (Debian: apt install {package})"
        if os.environ.get("CI"):
            pytest.fail(f"{said}; .ci/packages lists what .ci/run installs")
        pytest.skip(said)
    return found
