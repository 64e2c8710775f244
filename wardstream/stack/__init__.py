"""The embedded stack: Kafka, registry, PostgreSQL and the stream as local processes, without Docker.

`start` and `stop` are all that most callers need; every function takes the settings, none reads the global ones.
"""

from wardstream.stack.env import environment
from wardstream.stack.errors import StackError
from wardstream.stack.java import java_env
from wardstream.stack.up import pids, start, start_part, stop, stop_part

__all__ = ["StackError", "environment", "java_env", "pids", "start", "start_part", "stop", "stop_part"]
