"""A whole Wardstream for tests: its own stack on free ports, emptied at will, driven as a user drives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from wardstream import stack
from wardstream.contracts.model import load_contracts
from wardstream.database.connection import Connection, connect
from wardstream.database.migrate import migrate, rollback
from wardstream.kafka.broker import Broker, Extent
from wardstream.kafka.topics import create_topics
from wardstream.proof.digest import digest
from wardstream.proof.report import Report
from wardstream.proof.verify import verify
from wardstream.registry.client import register_all
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment

DEADLINE_SECONDS = 180.0


def wait_for(what: str, holds: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until `holds` gives something true, and return it; fails naming what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s in vain for: {what}")


@dataclass
class Hospital:
    """A running stack and what tests do with it."""

    settings: Settings

    def empty(self) -> None:
        """Start over: no rows, no topics; the stream runs on the new ones."""
        stack.stop_part(self.settings, "stream")
        self.drop_everything()
        migrate(self.settings)
        create_topics(self.settings)
        register_all(self.settings)
        stack.start_part(self.settings, "stream")

    def drop_everything(self) -> None:
        """No topics, no schemas and tables of ours in the database."""
        self._delete_topics()
        rollback(self.settings)

    def _delete_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.settings.kafka})
        there = set(admin.list_topics(timeout=15).topics)
        ours = [topic for topic in load_contracts(self.settings.schemas_dir) if topic in there]
        for future in admin.delete_topics(ours).values() if ours else ():
            future.result()
        wait_for("topics to go", lambda: not set(ours) & set(admin.list_topics(timeout=15).topics))

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `wardstream …` to its end."""
        return subprocess.run(self._command(*words), **self._how(), capture_output=True, timeout=600, check=False)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start `wardstream …` and go on."""
        return subprocess.Popen(self._command(*words), **self._how(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "wardstream.cli", *words]

    def _how(self) -> dict[str, Any]:
        return {"cwd": PROJECT_ROOT, "env": {**os.environ, **environment(self.settings)}, "text": True}

    def must(self, *words: str) -> str:
        """Run `wardstream …`, which must succeed; returns what it printed."""
        done = self.cli(*words)
        assert done.returncode == 0, (
            f"wardstream {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def verified(self) -> Report:
        """Wait for the stream, verify, and expect nothing."""
        report = verify(self.settings, DEADLINE_SECONDS)
        assert not report.findings, report.findings
        return report

    def digest(self) -> dict[str, str]:
        """One hash a table of core and mart."""
        with self.connect() as conn:
            return digest(conn)

    def connect(self) -> Connection:
        """A session as the owner."""
        return connect(self.settings.owner_url, "wardstream test")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as the owner."""
        with self.connect() as conn:
            return conn.execute(query, parameters or None).fetchall()

    def committed(self) -> int:
        """Offsets committed so far, over all partitions."""
        return int(self.rows("SELECT coalesce(sum(next_offset), 0) FROM ops.ledger")[0][0])

    def published(self) -> int:
        """Where the topics end now, over all partitions."""
        return sum(extent.end for extent in Broker(self.settings, load_contracts(self.settings.schemas_dir)).extents())

    def extent(self, topic: str, partition: int = 0) -> Extent:
        """Where one partition begins and ends now."""
        extents = Broker(self.settings, load_contracts(self.settings.schemas_dir)).extents()
        return next(e for e in extents if (e.topic, e.partition) == (topic, partition))

    def next_offset(self, topic: str, partition: int = 0) -> int:
        """The ledger's offset of a partition of the topic as it is now."""
        found = self.rows(
            "SELECT next_offset FROM ops.ledger WHERE topic_id = %s AND partition = %s",
            self.extent(topic, partition).topic_id,
            partition,
        )
        return int(found[0][0])

    def caught_up(self) -> None:
        """Wait until the ledger has reached the present ends."""
        end = self.published()
        wait_for(f"the ledger to reach {end}", lambda: self.committed() >= end)


def mimic_folder() -> Path | None:
    """The folder of MIMIC-III CSV files, where there is one."""
    folder = Path(os.environ.get("WARDSTREAM_MIMIC_DIR", PROJECT_ROOT.parent / "shared" / "data" / "mimic-iii-demo"))
    return folder if folder.is_dir() else None
