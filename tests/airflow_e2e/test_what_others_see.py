"""What somebody else on the network, in the logs and in the process table sees of it: nothing. The last file: it ends
the stack, and reads the logs of all that the other files of this folder did.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import psutil
from confluent_kafka import Producer

from tests.airflow_e2e.clinic import Clinic
from tests.integration.stack.machine import LOOPBACK, in_the_process_table, listening, sockets, texts_of_database
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import Contract, load_contracts
from wardstream.registry.client import schema_id
from wardstream.sources.sample import events as sample
from wardstream.stack import manager
from wardstream.stack.parts.postgres import AIRFLOW_DATABASE

NAME = "Zaphkiel-Quibbleworth"
NUMBER = 481516.2342
ENVELOPE = {"kind", "source"}


def test_nothing_listens_beyond_loopback(clinic: Clinic) -> None:
    """All parts with the stream's JVM, and what is there for the length of a task only: the batch job with its own."""
    found: set[tuple[str, int]] = set()
    names: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if clinic.belongs(process):
                        found.update(sockets(process))
                        job = process.name() == "java" and "spark_jobs/daily.py" in " ".join(process.cmdline())
                        names.add("batch job" if job else process.name())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        day = str(clinic.rows("SELECT max(day) FROM ops.day_versions")[0][0])
        clinic.green("spark_processing_dag", first_day=day, last_day=day, all_days=True)
    finally:
        over.set()
        thread.join()
    found |= listening(clinic.settings)
    assert names >= {"batch job", "java", "postgres"}
    assert {address for address, _ in found} <= LOOPBACK, found
    (driver,) = clinic.drivers()
    jvm = {port for _, port in sockets(driver)}
    own = clinic.settings
    ports = {own.postgres_port, own.kafka_port, own.kafka_controller_port, own.registry_port, own.airflow_port}
    assert jvm and jvm | ports | {own.registry_management_port} <= {port for _, port in found}


def publish_somebody(clinic: Clinic) -> None:
    """To each topic events about one person that has a name: a good one, twice, and ones that are refused."""
    settings = clinic.settings
    producer = Producer({"bootstrap.servers": settings.kafka})
    for topic, contract in load_contracts(settings.schemas_dir).items():
        number = schema_id(settings, contract.subject, contract.latest)
        encoder = Encoder(contract.latest, number)
        example = next(iter(load_examples(settings.schemas_dir / topic, contract)))
        somebody = _named(contract, example.event)
        good = encoder.encode(somebody)
        wrong_kind = encoder.encode({**somebody, "kind": NAME})
        # PostgreSQL takes no NUL in a text
        unstorable = encoder.encode({**somebody, "event_id": f"{NAME}-2", "source": f"{NAME}\0"})
        for value in (
            good,
            good,
            good + NAME.encode(),
            good[:5] + NAME.encode(),
            NAME.encode(),
            wrong_kind,
            unstorable,
        ):
            producer.produce(topic, value, key=NAME.encode())
    assert producer.flush(30) == 0
    clinic.caught_up()


def _named(contract: Contract, event: dict[str, Any]) -> dict[str, Any]:
    """The event with the name in each text and the number in each number that is not an integer."""
    changed = dict(event)
    for field in contract.fields:
        value = event.get(field.name)
        if isinstance(value, str) and field.name not in ENVELOPE:
            changed[field.name] = f"{NAME}-{field.name}"
        if isinstance(value, float):
            changed[field.name] = NUMBER
    return changed


def written(clinic: Clinic) -> Iterator[tuple[str, str]]:
    """Where, and the text: every log of every part and task, the alerts, and Airflow's database."""
    place = clinic.settings.state_dir
    for log in [*(place / "logs").iterdir(), *(place / "airflow" / "logs").rglob("*")]:
        if log.is_file():
            yield str(log.relative_to(place)), log.read_text(errors="replace")
    yield "alerts", str(clinic.webhook.got)
    yield "Airflow's database", "\n".join(texts_of_database(clinic.settings, AIRFLOW_DATABASE))


def test_logs_hold_no_patient_data(clinic: Clinic) -> None:
    publish_somebody(clinic)
    refused = clinic.rows("SELECT count(*), count(DISTINCT reason) FROM ops.quarantine WHERE key LIKE 'Zaphkiel%'")
    assert refused[0][0] >= 4 * 4 and refused[0][1] >= 4, refused

    facts = [event for _, event in sample.events()]
    texts = {(name, value) for event in facts for name, value in event.items() if isinstance(value, str)}
    ids = {value for name, value in texts if name.endswith("_id")}
    births = {str(value) for event in facts for value in event.values() if type(value) is date}
    results = {value for name, value in texts if name == "value_text"}
    phrases = {value for name, value in texts if " " in value and name not in ENVELOPE}
    assert min(len(ids), 20 * len(births), 50 * len(results), 500 * len(phrases)) > 5000

    read = list(written(clinic))
    names = " ".join(name for name, _ in read)
    for wanted in ("stream.log", "postgres.log", "kafka.log", "registry.log", "scheduler.log", "task_id=build"):
        assert wanted in names
    assert any(re.search(r"batch \d+ of ", text) for _, text in read)
    for where, text in read:
        tokens = set(re.findall(r"[A-Za-z0-9-]+", text))
        assert not tokens & (ids | births), where
        # a number alone may be a duration; in quotes it would be a value
        assert not set(re.findall(r"""['"]([^'"\s]+)['"]""", text)) & results, where
        assert not [phrase for phrase in phrases if phrase in text], where
        assert NAME.split("-")[0] not in text and str(NUMBER) not in text, where


def test_down_after_a_killed_process_manager_leaves_nothing(clinic: Clinic) -> None:
    assert len(clinic.drivers()) == 1
    pid = manager.manager_pid(clinic.settings)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    clinic.must("down")
    assert not in_the_process_table(clinic.settings)
