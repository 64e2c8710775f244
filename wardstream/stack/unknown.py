"""Variables that look like settings and are none: a misspelt one would else be ignored without a word."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

from dotenv import dotenv_values

from wardstream.settings import Settings
from wardstream.stack.env import variable
from wardstream.stack.parts import PARTS

NO_SETTINGS = {"WARDSTREAM_PART", "WARDSTREAM_BI_DATABASE_URL", "WARDSTREAM_MIMIC_DIR", "WARDSTREAM_SCREENSHOTS"}
"""Read elsewhere: by the launcher, by BI tools that `wardstream env` serves, by tests."""
LOGINS = ("URL", "USER", "PASSWORD")
SERVICES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)$")
"""What Kubernetes sets for a service whose name begins with ours."""


def set_now() -> set[str]:
    """The names that the environment and `.env` give a value."""
    file = Settings.model_config.get("env_file")
    return {*os.environ, *dotenv_values(str(file) if file else None)}


def unknown_variables(settings: Settings, names: Iterable[str]) -> list[str]:
    """One sentence for each WARDSTREAM_ name that is no setting, with the one that it may be meant for."""
    known = {variable(name, field) for name, field in Settings.model_fields.items()} | NO_SETTINGS
    for part in PARTS:
        known |= part.port_variables(settings).keys()
        page = part.page(settings)
        known |= {f"WARDSTREAM_{page.variable}_{what}" for what in LOGINS} if page and page.variable else set()
    return [
        f"{name} is no setting of Wardstream and is ignored" + (f"; did you mean {near[0]}?" if near else "")
        for name in sorted(set(names) - known)
        if name.startswith("WARDSTREAM_") and not SERVICES.search(name)
        for near in [difflib.get_close_matches(name, known, 1, 0.85)]
    ]
