"""schemas/SHA256SUMS: released .avsc files are immutable, and this is how an edit of one is noticed.

The file has one line per released schema, in the form of sha256sum. Lines are added by `wardstream contracts lock`
and never changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

LOCK_FILE = "SHA256SUMS"


def lock_problems(schemas_dir: Path) -> list[str]:
    """What in the folder differs from the lock, as sentences that say what to do."""
    locked = _read(schemas_dir)
    present = _present(schemas_dir)
    problems = []
    for path, digest in locked.items():
        if path not in present:
            problems.append(f"{path}: released, but gone; bring it back (messages written with it are still read)")
        elif present[path] != digest:
            problems.append(
                f"{path}: changed after its release; bring it back as it was and make the change in the next version"
            )
    problems += [
        f"{path}: not in {LOCK_FILE}; when it is ready to be released run `wardstream contracts lock`"
        for path in present.keys() - locked.keys()
    ]
    return sorted(problems)


def add_to_lock(schemas_dir: Path) -> list[str]:
    """Add a line for each schema that has none; the paths added. Lines that are there stay as they are."""
    locked = _read(schemas_dir)
    present = _present(schemas_dir)
    added = sorted(present.keys() - locked.keys())
    lines = sorted({**{path: present[path] for path in added}, **locked}.items())
    (schemas_dir / LOCK_FILE).write_text("".join(f"{digest}  {path}\n" for path, digest in lines))
    return added


def _read(schemas_dir: Path) -> dict[str, str]:
    file = schemas_dir / LOCK_FILE
    if not file.exists():
        return {}
    pairs = (line.split(maxsplit=1) for line in file.read_text().splitlines() if line.strip())
    return {path.strip(): digest for digest, path in pairs}


def _present(schemas_dir: Path) -> dict[str, str]:
    files = schemas_dir.glob("*/value/v*.avsc")
    return {file.relative_to(schemas_dir).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
