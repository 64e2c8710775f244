"""PostgreSQL where its unprivileged user reaches neither the venv nor the state folder (a root with a private home)."""

import subprocess

from tests.integration.stack.conftest import own_settings
from wardstream.stack import paths
from wardstream.stack.parts import postgres


def test_the_copied_binaries_make_a_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "others_can_reach", lambda _: False)
    settings = own_settings(tmp_path)
    try:
        postgres.prepare(settings)
        binary = postgres.binaries(settings) / "postgres"
        assert subprocess.run([binary, "--version"], capture_output=True, check=True).stdout
        data = postgres.home(settings) / "data"
        assert (data / "PG_VERSION").read_text().strip() == postgres.version().split(".")[0]
        if postgres.user() is not None:
            for place in (binary, data):
                assert place.is_relative_to(paths.outside_dir(settings))
            assert str(paths.outside_dir(settings)) in (settings.state_dir / "outside.txt").read_text()
    finally:
        paths.remove(settings)
    assert not paths.outside_dir(settings).exists()
