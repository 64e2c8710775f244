"""What only one part needs is installed at its first use: once, exactly as pinned, and again after an interruption."""

import os
import subprocess
from pathlib import Path

import pytest

from wardstream.settings import Settings
from wardstream.stack import environments
from wardstream.stack.errors import StackError
from wardstream.stack.part import Part

ANOTHER = """iniconfig==2.0.0 \\
    --hash=sha256:2d91e135bf72d31a410b17c16da610a82cb55f6b0477d1a902134b24a455b8b3 \\
    --hash=sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374
"""
"""Small, pure, and of another version than ours."""
NOWHERE = "http://127.0.0.1:9/simple"
VERSION = "from importlib.metadata import version; print(version('iniconfig'))"


class MadeUp(Part):
    """A part that needs one package."""

    name = "made-up"

    def __init__(self, requirements: Path) -> None:
        self.requirements = requirements


@pytest.fixture
def part(tmp_path: Path) -> MadeUp:
    (tmp_path / "made-up.txt").write_text(ANOTHER)
    return MadeUp(tmp_path / "made-up.txt")


def installed(settings: Settings, part: Part) -> list[str]:
    """Install a part's packages, and say what a person was told; skips where there is no network."""
    said: list[str] = []
    try:
        environments.install(settings, part, said.append)
    except StackError as error:
        if "cannot be reached" not in error.why or "CI" in os.environ:
            raise
        pytest.skip("no package index can be reached")
    return said


def run(settings: Settings, part: Part, code: str, **env: str) -> str:
    command = [environments.python(settings, part), "-c", code]
    values = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(command, cwd="/", env=values, capture_output=True, text=True, check=True).stdout.strip()


def test_a_part_has_its_own_version_and_may_use_ours_beside_it(settings, part):
    assert len(installed(settings, part)) == 1
    assert run(settings, part, VERSION) == "2.0.0"
    with pytest.raises(subprocess.CalledProcessError):
        run(settings, part, "import wardstream")
    assert run(settings, part, "import wardstream, psycopg; print('both')", **environments.ours()) == "both"
    assert installed(settings, part) == []  # at once


def test_an_environment_whose_python_is_gone_is_made_anew(settings, part):
    installed(settings, part)
    Path(environments.python(settings, part)).unlink()
    assert len(installed(settings, part)) == 1
    assert run(settings, part, VERSION) == "2.0.0"


def test_an_interrupted_installation_is_made_anew_from_what_was_downloaded(settings, part, monkeypatch):
    installed(settings, part)
    place = environments.folder(settings, part)
    (place / ".installed").unlink()
    for file in place.rglob("iniconfig/*.py"):
        file.unlink()
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert len(installed(settings, part)) == 1
    assert run(settings, part, f"import iniconfig; iniconfig.IniConfig; {VERSION}") == "2.0.0"


def test_another_file_is_another_environment(settings, part):
    before = environments.folder(settings, part)
    part.requirements.write_text(ANOTHER + "# and more\n")
    assert environments.folder(settings, part) != before


def test_without_a_network_one_line_says_so(settings, part, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    with pytest.raises(StackError, match="package index cannot be reached") as caught:
        environments.install(settings, part, lambda _: None)
    assert "\n" not in caught.value.why and caught.value.what_to_type.startswith("wardstream up, when connected")
    assert not (environments.folder(settings, part) / ".installed").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ANOTHER.replace("sha256:2d", "sha256:3d").replace("sha256:b6", "sha256:c6"), "(?i)hash"),
        ("iniconfig==2.0.0\n", "hash"),
        ("iniconfig>=2.0.0 --hash=sha256:" + "0" * 64 + "\n", "=="),
    ],
)
def test_what_is_not_pinned_is_refused(settings, part, text, words):
    installed(settings, part)  # so that what follows is not for want of a network
    part.requirements.write_text(text)
    with pytest.raises(StackError, match=words) as caught:
        environments.install(settings, part, lambda _: None)
    assert "\n" not in caught.value.why
    assert not (environments.folder(settings, part) / ".installed").exists()


def test_a_part_without_packages_has_no_environment(settings):
    assert environments.install(settings, Part(), lambda _: None) == "none needed"
    assert not (settings.cache_dir / "environments").exists()
