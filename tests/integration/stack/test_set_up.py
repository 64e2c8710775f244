"""The first start without a network, with one that is lost in the middle, on a disk without room: and then again.

The mirror serves the jars of Spark's list from this user's cache, so that what is fetched is the real thing.
"""

import contextlib
import http.server
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.stack.conftest import free_ports, own_settings
from tests.integration.stack.machine import command
from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import ivy, jars, paths
from wardstream.stack.errors import StackError
from wardstream.stack.parts import postgres

LIST = ["spark"]


class Mirror:
    """A Maven repository on a port of its own, which can be away, silent, or lost after some files."""

    def __init__(self, source: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.served: list[str] = []
        self.most = 1000
        self._source = source

    @contextlib.contextmanager
    def open(self, answers: bool = True) -> Iterator[None]:
        """Inside: it can be reached."""
        mirror, over = self, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(b"")

            def do_GET(self) -> None:
                self._answer((mirror._source / Path(self.path).name).read_bytes())

            def _answer(self, body: bytes) -> None:
                if not answers:
                    over.wait()
                if len(mirror.served) >= mirror.most or not answers:
                    self.connection.close()  # as when the network goes
                    return
                size = (mirror._source / Path(self.path).name).stat().st_size
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(body)
                if body:
                    mirror.served.append(Path(self.path).name)

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                over.set()
                server.shutdown()
                thread.join()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    ours = own_settings(tmp_path)
    jars.fetch(ours, names=LIST)
    return Mirror(ours.cache_dir / "jars" / LIST[0])


def _empty_cache(folder: Path, mirror: Mirror) -> Settings:
    return own_settings(folder, cache_dir=folder / "cache", maven_repository=mirror.url)


def test_without_a_network_one_line_says_so_and_a_repeat_goes_on(tmp_path, mirror):
    settings = _empty_cache(tmp_path, mirror)
    with pytest.raises(StackError, match="cannot be reached") as caught:
        jars.fetch(settings, names=LIST)
    assert "\n" not in caught.value.why and caught.value.what_to_type.startswith("wardstream up, when connected")
    wanted = sorted(artifact.file for artifact in jars.read_list(LIST[0]))
    mirror.most = 3
    with mirror.open(), pytest.raises(StackError):
        jars.fetch(settings, names=LIST)
    assert len(mirror.served) == 3
    mirror.most = 1000
    with mirror.open():
        jars.fetch(settings, names=LIST)
    assert sorted(mirror.served) == wanted  # each once: what had come before was not asked for again
    assert all(path.is_file() for path in jars.spark_jars(settings))
    assert not list(settings.cache_dir.glob("partial-*"))


def test_a_host_that_says_nothing_is_not_waited_for(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(ivy, "READ_MS", 300)
    with mirror.open(answers=False), pytest.raises(StackError, match="cannot be reached"):
        jars.fetch(_empty_cache(tmp_path, mirror), names=LIST)


@pytest.fixture
def disk() -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A folder on a small disk of its own that everybody may enter, and a way to make it larger."""
    folder = Path(tempfile.mkdtemp(prefix="small disk ", dir="/var/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("needs root and the right to mount, for a small disk")

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    yield folder, resize
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def _fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    return folder / "filler"


def test_no_room_for_the_downloads(disk, mirror):
    folder, resize = disk
    settings = _empty_cache(folder, mirror)
    with mirror.open():
        filler = _fill(folder)
        with pytest.raises(StackError, match=f"cannot write to {settings.cache_dir}: No space left on device"):
            jars.fetch(settings, names=LIST)
        filler.unlink()
        with pytest.raises(StackError, match=f"no space left on the disk for {settings.cache_dir}") as caught:
            jars.fetch(settings, names=LIST)
        assert "df -h" in caught.value.what_to_type
        resize("200m")
        jars.fetch(settings, names=LIST)
    assert all(path.is_file() for path in jars.spark_jars(settings))


def test_no_room_for_the_state(disk):
    folder, resize = disk
    settings = own_settings(folder)
    settings.state_dir.mkdir()
    try:
        filler = _fill(folder)
        answer = command(settings, "up")
        assert answer.returncode == 1
        assert "no space left on the disk" in answer.stderr and "df -h" in answer.stderr
        assert "Traceback" not in answer.stderr
        filler.unlink()
        resize("24m")
        with pytest.raises(StackError, match="postgres: no space left on the disk"):
            stack.start_part(settings, "postgres")
        resize("400m")
        stack.start_part(settings, "postgres")
        with postgres.connect(settings) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        stack.stop(settings)
        paths.remove(settings)
