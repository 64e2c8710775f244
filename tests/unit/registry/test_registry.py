"""The registry client against a small registry of our own: what is a message's fault, and what never is."""

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contracts import made_up
from wardstream.contracts.avro_tree import fingerprint
from wardstream.contracts.codec import BadRecord
from wardstream.contracts.model import load_contracts
from wardstream.registry.client import (
    RegistryLoginError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SchemaSource,
    register_all,
    schema_id,
)
from wardstream.settings import PROJECT_ROOT, Settings


class Registry(ThreadingHTTPServer):
    """As much of the Confluent API as we use; `fail` makes it answer with that status, `plain404` like a proxy."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.levels = {"": "NONE"}
        """By subject; the global one by no name."""
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.fail: list[int] = []
        self.plain404 = False
        self.refuse = False
        self.like_apicurio = False
        self.inherited = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/base"


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _any(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        path, _, query = self.path.removeprefix("/base").partition("?")
        server.inherited = "defaultToGlobal=true" in query
        server.requests.append(f"{self.command} {path}")
        if server.fail:
            return self._answer(server.fail.pop(), {"error_code": 50001})
        if server.plain404:
            return self._answer(404, {"message": "no route"})
        return self._answer(*self._serve(path.strip("/").split("/"), body))

    do_GET = do_POST = do_PUT = _any

    def _serve(self, parts: list[str], body: Any) -> tuple[int, Any]:
        server = self.server
        if parts[0] == "config":
            subject = "".join(parts[1:])
            if body:
                server.levels[subject] = body["compatibility"]
            if subject in server.levels or server.inherited:
                return 200, {"compatibilityLevel": server.levels.get(subject, server.levels[""])}
            if server.like_apicurio:
                return 200, {"compatibilityLevel": "NONE"}
            return 404, {"error_code": 40408}
        if parts[0] == "schemas":
            number = int(parts[2])
            if number >= len(server.schemas):
                return 404, {"error_code": 40403}
            if parts[-1] == "versions":
                return 200, [{"subject": s, "version": 1} for s, ids in server.subjects.items() if number in ids]
            return 200, {"schema": server.schemas[number]}
        known = server.subjects.get(parts[1], [])
        if len(parts) == 2:
            found = [number for number in known if server.schemas[number] == body["schema"]]
            return (200, {"id": found[0]}) if found else (404, {"error_code": 40403 if known else 40401})
        if body is None:
            if not known:
                return 404, {"error_code": 40401}
            if len(parts) == 3:
                return 200, [*range(1, len(known) + 1)]
            number = known[int(parts[3]) - 1]
            return 200, {"id": number, "schema": server.schemas[number]}
        if server.refuse:
            return 409, {"error_code": 409}
        if body["schema"] not in server.schemas:
            server.schemas.append(body["schema"])
        server.subjects.setdefault(parts[1], []).append(server.schemas.index(body["schema"]))
        return 200, {"id": server.subjects[parts[1]][-1]}

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def settings(server: Registry) -> Settings:
    return Settings(schema_registry_url=server.url, schemas_dir=PROJECT_ROOT / "schemas")


CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")


def test_registering_sets_each_subjects_level_and_changes_nothing_the_second_time(server: Registry, settings: Settings):
    server.subjects["invoices-value"] = []
    server.levels["invoices-value"] = "BACKWARD"
    first = register_all(settings)
    assert first.changed
    ours = {f"{topic}-value": "FULL_TRANSITIVE" for topic in CONTRACTS}
    assert server.levels == {"": "NONE", "invoices-value": "BACKWARD", **ours}
    assert set(first.levels_set) == ours.keys()
    assert [(s.subject, s.version, s.new) for s in first.schemas] == [
        (f"{topic}-value", version, True) for topic in sorted(CONTRACTS) for version in CONTRACTS[topic].versions
    ]
    second = register_all(settings)
    assert not second.changed and not second.findings
    assert [s.schema_id for s in second.schemas] == [s.schema_id for s in first.schemas]


def test_a_subject_has_its_level_before_its_first_version(server: Registry, tmp_path: Path):
    two = made_up.write(tmp_path, schemas=[made_up.schema_v1(), made_up.schema_v2()])
    register_all(Settings(schema_registry_url=server.url, schemas_dir=two))
    changes = [line for line in server.requests if line.startswith("PUT") or line.endswith("/versions")]
    assert changes == ["PUT /config/visits-value", *["POST /subjects/visits-value/versions"] * 2]


def test_a_level_that_somebody_chose_is_left_and_reported(server: Registry, settings: Settings):
    register_all(settings)
    server.levels["labs-value"] = "NONE"
    again = register_all(settings)
    assert not again.changed and server.levels["labs-value"] == "NONE"
    [finding] = again.findings
    assert "subject labs-value: compatibility is NONE and not FULL_TRANSITIVE" in finding
    mended = register_all(settings, mend=True)
    assert mended.levels_set == ("labs-value",) and not mended.findings
    assert server.levels["labs-value"] == "FULL_TRANSITIVE"


@pytest.mark.parametrize("like_apicurio", [False, True])
def test_a_level_that_is_only_inherited_is_nobodys_choice(server: Registry, settings: Settings, like_apicurio: bool):
    """As after a Wardstream that set the global level: each subject gets its own, the global one stays."""
    server.like_apicurio = like_apicurio
    register_all(settings)
    server.levels = {"": "FULL_TRANSITIVE"}
    again = register_all(settings)
    assert len(again.levels_set) == len(CONTRACTS) and not again.findings
    assert server.levels[""] == "FULL_TRANSITIVE"


def test_a_refused_schema_says_what_to_do(server: Registry, settings: Settings):
    server.refuse = True
    with pytest.raises(RegistryRefusedError, match=r"v1\.avsc was refused.*contracts check"):
        register_all(settings)


def test_the_id_of_a_schema_is_looked_up_never_registered(server: Registry, settings: Settings):
    labs = CONTRACTS["labs"]
    with pytest.raises(RegistryRefusedError, match="contracts register"):
        schema_id(settings, labs.subject, labs.latest)
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    assert schema_id(settings, labs.subject, labs.latest) == ids["labs-value"]


def source(server: Registry, patience: float = 0.5) -> SchemaSource:
    return SchemaSource(Settings(schema_registry_url=server.url), patience)


def test_lookup_gives_schema_and_fingerprint_and_asks_once(server: Registry, settings: Settings):
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    asked = source(server)
    found = asked.lookup(ids["labs-value"], "labs")
    assert found.schema == CONTRACTS["labs"].latest
    assert found.fingerprint == fingerprint(CONTRACTS["labs"].latest)
    count = len(server.requests)
    assert asked.lookup(ids["labs-value"], "labs") is found
    assert len(server.requests) == count


def test_a_version_that_is_not_deployed_here_is_found_all_the_same(server: Registry, settings: Settings):
    register_all(settings)
    newer = {**CONTRACTS["labs"].latest, "fields": [*CONTRACTS["labs"].latest["fields"], made_up.optional("x", "int")]}
    server.schemas.append(json.dumps(newer))
    server.subjects["labs-value"].append(len(server.schemas) - 1)
    assert source(server).lookup(len(server.schemas) - 1, "labs").schema == newer


@pytest.mark.parametrize("wrong", [99, -1, "patients-value"])
def test_an_id_that_is_not_of_the_topic_is_the_messages_fault(server: Registry, settings: Settings, wrong: Any):
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    with pytest.raises(BadRecord) as caught:
        source(server).lookup(ids.get(wrong, wrong), "labs")
    assert caught.value.reason == "unknown_schema"


def test_a_flood_of_one_bad_id_costs_one_request_and_an_id_registered_later_is_found(
    server: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    asked = source(server)
    for _ in range(100):
        with pytest.raises(BadRecord):
            asked.lookup(2, "labs")
    assert len(server.requests) == 1
    register_all(settings)
    monkeypatch.setattr(asked, "_unknown", {key: at - 3 for key, at in asked._unknown.items()})
    assert asked.lookup(2, "labs").schema == CONTRACTS["labs"].latest


def test_a_new_source_asks_the_registry_of_now(server: Registry, settings: Settings):
    """The library's client remembers; a registry that was restored must be seen all the same."""
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    number = ids["labs-value"]
    assert source(server).lookup(number, "labs").schema == CONTRACTS["labs"].latest
    server.schemas[number] = json.dumps(made_up.schema_v1())
    assert source(server).lookup(number, "labs").schema == made_up.schema_v1()
    server.subjects["labs-value"] = []
    with pytest.raises(BadRecord):
        source(server).lookup(number, "labs")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_told_at_once_and_blames_no_message(server: Registry, settings: Settings, status: int):
    server.fail = [status] * 2
    with pytest.raises(RegistryLoginError, match=f"HTTP {status}, a request without a user is refused"):
        source(server, 20).lookup(1, "labs")
    assert len(server.requests) == 1


def test_failures_are_retried_and_then_raised_but_never_blamed_on_the_message(server: Registry, settings: Settings):
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    server.fail = [503, 500]
    assert source(server, 5).lookup(ids["labs-value"], "labs").schema == CONTRACTS["labs"].latest
    server.fail = [503] * 100
    with pytest.raises(RegistryUnavailableError, match="HTTP 503"):
        source(server).lookup(ids["labs-value"], "labs")


def test_a_404_that_is_not_the_registrys_is_no_verdict(server: Registry):
    server.plain404 = True
    with pytest.raises(RegistryUnavailableError, match="is the URL right"):
        source(server).lookup(1, "labs")


def test_nobody_there():
    with pytest.raises(RegistryUnavailableError, match="is it running"):
        SchemaSource(Settings(schema_registry_url="http://127.0.0.1:1"), 0.2).lookup(1, "labs")


def test_what_a_source_has_learnt_travels_with_it(server: Registry, settings: Settings):
    """To the executors, which then do without the registry."""
    ids = {s.subject: s.schema_id for s in register_all(settings).schemas}
    asked = source(server)
    asked.learn(["labs"], 1.0)
    count = len(server.requests)
    copied = pickle.loads(pickle.dumps(asked))
    assert copied.lookup(ids["labs-value"], "labs") == asked.lookup(ids["labs-value"], "labs")
    assert copied.lookup(ids["labs-value"], "labs").schema == CONTRACTS["labs"].latest
    assert len(server.requests) == count
    copied.lookup(ids["patients-value"], "patients")
    assert len(server.requests) > count


def test_of_an_unregistered_topic_nothing_is_learnt(server: Registry):
    asked = source(server)
    asked.learn(["labs"], 1.0)
    assert not asked._known and len(server.requests) == 1


def test_a_fingerprint_is_of_the_meaning():
    schema = made_up.schema_v1()
    base = fingerprint(schema)
    assert -(2**63) <= base < 2**63
    schema["fields"][0]["doc"] = "other words"
    assert fingerprint(schema) == base
    changed = []
    changes: list[Callable[[Any], Any]] = [
        lambda s: s["fields"][1].update(type={"type": "long", "logicalType": "timestamp-millis"}),
        lambda s: s["fields"][3].update(default=1),
        lambda s: s["fields"][0].update(type="bytes"),
        lambda s: s["fields"].append(made_up.optional("x", "int")),
    ]
    for change in changes:
        other = made_up.schema_v1()
        change(other)
        changed.append(fingerprint(other))
    assert len({base, *changed}) == 5


def test_a_recursive_schema_has_a_fingerprint_too():
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"], "default": None}]}
    assert fingerprint(node) != fingerprint(made_up.schema_v1())
