"""The storage of Kafka is formatted, whatever id is drawn for the cluster: one of 64 begins like an option."""

import uuid

from tests.integration.stack.conftest import own_settings
from wardstream.stack.parts import kafka


def test_an_id_that_begins_with_a_dash(tmp_path, monkeypatch):
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xfb" * 16))
    settings = own_settings(tmp_path)
    kafka.prepare(settings)
    assert "cluster.id=-" in (kafka.home(settings) / "data" / "meta.properties").read_text()
