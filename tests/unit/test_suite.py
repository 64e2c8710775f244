"""That `make test` leaves no folder of tests out: pytest collects only what `testpaths` names."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_testpaths_names_every_folder_of_tests() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    there = {"/".join(test.relative_to(ROOT).parts[:2]) for test in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(configured) == sorted(there)
