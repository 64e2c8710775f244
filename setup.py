"""What pyproject.toml cannot say: contracts, SQL, DAGs and docs, which lie beside the package, travel inside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TRAVEL = ("schemas", "sql", "dags", "docs")


class BuildWithFiles(build_py):
    """Copies them to wardstream/home, where `wardstream.settings` looks for them when there is no clone."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            home = Path(self.build_lib, "wardstream", "home")
            for folder in TRAVEL:
                shutil.copytree(folder, home / folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithFiles})
