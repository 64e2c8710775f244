"""The JVM jars: three checked-in lists with pinned versions, fetched once into the user's cache and verified.

The lists in jars/ are flat and complete, so nothing is resolved at run time: Ivy (its jar is in the pyspark wheel)
fetches exactly these files, and each must have the checksum in SHA256SUMS before it gets its name in the cache. What
was verified is remembered with size and time, so that a start does not read 200 MB again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from wardstream.settings import Settings
from wardstream.stack import ivy
from wardstream.stack.errors import StackError
from wardstream.stack.paths import locked

LISTS_DIR = Path(__file__).parent / "jars"
LISTS = tuple(sorted(file.stem for file in LISTS_DIR.glob("*.txt")))


@dataclass(frozen=True)
class Artifact:
    """One line of a list: group:artifact:version[:classifier[@type]]."""

    group: str
    name: str
    version: str
    classifier: str = ""
    extension: str = "jar"

    @classmethod
    def parse(cls, line: str) -> Artifact:
        """Read one line of a list."""
        group, name, version, *rest = line.strip().split(":")
        classifier, _, extension = (rest[0] if rest else "").partition("@")
        return cls(group, name, version, classifier, extension or "jar")

    @property
    def file(self) -> str:
        """The file's name in the cache, as Maven names it."""
        return f"{self.name}-{self.version}{'-' + self.classifier if self.classifier else ''}.{self.extension}"


def read_list(name: str, lists: Path = LISTS_DIR) -> list[Artifact]:
    """The artifacts of one checked-in list."""
    lines = (lists / f"{name}.txt").read_text().splitlines()
    return [Artifact.parse(line) for line in lines if line.strip() and not line.startswith("#")]


def read_sums(lists: Path = LISTS_DIR) -> dict[str, str]:
    """File name to sha256, from SHA256SUMS."""
    pairs = (line.split() for line in (lists / "SHA256SUMS").read_text().splitlines() if line.strip())
    return {name: digest for digest, name in pairs}


def version_of(name: str, artifact: str) -> str:
    """The pinned version of one artifact of a list."""
    return next(a.version for a in read_list(name) if a.name == artifact)


def verify(files: Iterable[Path], sums: dict[str, str]) -> None:
    """Compare files with their checksums; a bad one is deleted and named."""
    bad = []
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != sums.get(file.name):
            file.unlink()
            bad.append(file.name)
    if bad:
        raise StackError("jars", f"wrong checksum, deleted: {', '.join(bad)}", "wardstream up   (fetches it again)")


class _Folder:
    """One list's folder in the cache, with what is known to be good in it."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.path = settings.cache_dir / "jars" / name
        self.marker = self.path / ".verified.json"
        self.sums = read_sums()
        self.artifacts = read_list(name)
        try:
            self.known: dict[str, list[object]] = json.loads(self.marker.read_text())
        except (FileNotFoundError, ValueError):
            self.known = {}

    def _stamp(self, file: str) -> list[object]:
        status = (self.path / file).stat()
        return [self.sums[file], status.st_size, status.st_mtime_ns]

    def missing(self) -> list[Artifact]:
        """What has to be fetched; a file that is there but not known to be good is verified now."""
        present = [a for a in self.artifacts if (self.path / a.file).is_file()]
        unknown = [self.path / a.file for a in present if self.known.get(a.file) != self._stamp(a.file)]
        verify(unknown, self.sums)
        if unknown:
            self.remember()
        return [a for a in self.artifacts if a not in present]

    def remember(self) -> None:
        self.known = {a.file: self._stamp(a.file) for a in self.artifacts if (self.path / a.file).is_file()}
        fresh = self.marker.with_suffix(".part")
        fresh.write_text(json.dumps(self.known))
        fresh.replace(self.marker)


def fetch(settings: Settings, progress: Callable[[str], None] = lambda _: None, names: Iterable[str] = LISTS) -> None:
    """Bring the lists into the cache: fetch what is missing and verify it. Quick when all is there."""
    names = list(names)
    try:
        with locked(settings.cache_dir, "jars", wait=True), ThreadPoolExecutor(len(names)) as pool:
            for job in [pool.submit(_fetch_one, settings, name, progress) for name in names]:
                job.result()
    except OSError as error:
        raise StackError(
            "jars",
            f"cannot write to {settings.cache_dir}: {error.strerror or error}",
            "df -h; make room; wardstream up; or WARDSTREAM_CACHE_DIR=/a/folder/with/room wardstream up",
        ) from error


def _fetch_one(settings: Settings, name: str, progress: Callable[[str], None]) -> None:
    cache = _Folder(settings, name)
    missing = cache.missing()
    if missing:
        progress(f"fetching {len(missing)} file{'s' if len(missing) > 1 else ''} for {name} from the Maven repository")
        # a fetch that failed or was interrupted leaves whole files in this folder, and the next one goes on from them
        partial = settings.cache_dir / f"partial-{name}"
        fetched = ivy.retrieve(settings, missing, partial)
        try:
            verify(fetched, cache.sums)
        except StackError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        cache.path.mkdir(parents=True, exist_ok=True)
        for file in fetched:
            file.replace(cache.path / file.name)
        cache.remember()
        shutil.rmtree(partial)


def unpack(settings: Settings, name: str) -> None:
    """Unpack the archive that is the first line of a list; done once."""
    target = unpacked(settings, name)
    with locked(settings.cache_dir, "jars", wait=True):
        if target.exists():
            return
        fresh = target.with_name(f"{target.name}.part")
        shutil.rmtree(fresh, ignore_errors=True)
        with tarfile.open(paths(settings, name)[0]) as archive:
            archive.extractall(fresh, filter="data")
        fresh.rename(target)


def unpacked(settings: Settings, name: str) -> Path:
    """Where `unpack` puts it."""
    return settings.cache_dir / f"{name}-{read_list(name)[0].version}"


def classpath(settings: Settings, name: str) -> str:
    """A JVM class path of one list's files."""
    return ":".join(str(path) for path in paths(settings, name))


def paths(settings: Settings, name: str) -> list[Path]:
    """The files of one list in the cache, in the list's order."""
    return [settings.cache_dir / "jars" / name / a.file for a in read_list(name)]


def spark_jars(settings: Settings) -> list[Path]:
    """What Spark needs beside the jars of its wheel."""
    return paths(settings, "spark")
