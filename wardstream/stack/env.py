"""Settings as environment variables, for the parts we start and for children of tests; and texts without passwords.

What a person's shell gets is in access.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import jars
from wardstream.stack.java import java_env

BASE = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "USER")
PASSED_ON = ("WARDSTREAM_", "KAFKA_", "SCHEMA_REGISTRY_", "DATABASE_URL", "SPARK_", "PYTHON")


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of one setting."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"WARDSTREAM_{name.upper()}"


def faults_of_settings(error: ValidationError) -> list[str]:
    """What is wrong with the settings, by environment variable; never a value."""
    fields = Settings.model_fields
    found = []
    for fault in error.errors(include_input=False):
        name = str(fault["loc"][1 if fault["loc"][0] == "part_ports" else 0])
        shown = variable(name, fields[name]) if name in fields else name
        shown = f"WARDSTREAM_{shown.upper()}" if shown.endswith("_port") else shown
        found.append(f"{shown}: {fault['msg'].removeprefix('Value error, ')}")
    return found


def plain(value: object) -> str:
    """A setting's value as text; a secret as itself."""
    if isinstance(value, dict):
        return json.dumps(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def environment(settings: Settings) -> dict[str, str]:
    """Every setting as its environment variable, so that a child process has the same settings object."""
    values = {variable(n, f): plain(getattr(settings, n)) for n, f in type(settings).model_fields.items()}
    if not values["WARDSTREAM_SPARK_JARS"]:
        values["WARDSTREAM_SPARK_JARS"] = ",".join(str(path) for path in jars.spark_jars(settings))
    return values


def stream_environment(settings: Settings) -> dict[str, str]:
    """What the stream gets beside the base: our own variables of the same kinds, the settings, and Java."""
    ours = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    java = java_env(settings)
    logging = {"SPARK_CONF_DIR": str(PROJECT_ROOT / "spark_jobs" / "conf")}
    return {**logging, **ours, **environment(settings), "JAVA_HOME": java["JAVA_HOME"]}


def base_environment(settings: Settings, with_java: bool) -> dict[str, str]:
    """The few variables of our own environment that a server needs; the rest must not change how it behaves."""
    base = {name: os.environ[name] for name in BASE if name in os.environ}
    if with_java:
        base["PATH"] = java_env(settings)["PATH"]
    return base


def redact(text: str, settings: Settings) -> str:
    """Text without the generated passwords, those of the settings, and the password of any address in it."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = text.replace(value.get_secret_value() or "\0", "***")
    # those of another user's stack cannot be in a text of ours
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for file in (settings.state_dir / "secrets").iterdir():
            text = text.replace(file.read_text().strip() or "\0", "***")
    text = re.sub(r"(\bpassword\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", text)
    return re.sub(r"(://[^\s:/@]+):[^\s@]+@", r"\1:***@", text)
