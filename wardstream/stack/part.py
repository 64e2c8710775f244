"""What a part of the embedded stack is: one object that says all the rest of the stack has to know of it.

A part is a process that the process manager keeps running. `Part` has the defaults; stack/parts/ has one module for
each program, and `stack/parts/__init__.py` lists them. `up`, `down`, `status`, `env`, `logs`, the ports, the memory
limits and the manager's configuration are made from these objects; no other module names a part to treat it in its own
way, but for the stream, which `up` can leave out and of which `status` has figures. How a part is started and watched
is not here: see up.py, manager.py and launch.py.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

from wardstream.settings import Settings
from wardstream.stack.steps import Step

GIB = 2**30


@dataclass(frozen=True)
class Launch:
    """A command to run in the foreground: what `launch.py` turns itself into."""

    argv: list[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None
    """uid and gid to run under; None: ours."""
    orphan_signal: signal.Signals = signal.SIGTERM
    """Sent by the kernel when the process manager dies."""
    nice: int = 0
    """How much it steps back when there is more to do than processors, with all that it starts; 0 to 19."""


@dataclass(frozen=True)
class Page:
    """What a person opens in a browser."""

    title: str
    url: str
    user: str = ""
    secret: str = ""
    """The name of the file in `secrets` that holds the user's password."""
    variable: str = ""
    """`wardstream env` prints WARDSTREAM_<variable>_URL, and _USER and _PASSWORD where there is a login."""


class Part:
    """One part. A subclass sets what differs and says at least its name and how to launch it."""

    name: str
    ports: Sequence[str] = ()
    """Fields of the settings that are its ports; the first is the one to show."""
    own_ports: Mapping[str, int] = MappingProxyType({})
    """Ports that are no fields of the settings, with their defaults; WARDSTREAM_X_PORT sets `x_port` all the same."""
    needs: Sequence[str] = ()
    """Parts, and steps of `up`, that come before it. It stops before the parts among them do."""
    after: Sequence[str] = ()
    """Parts that it can do without, but lets go first at the start."""
    stops_before: Sequence[str] = ()
    """Parts, beside those it needs, that stop after it."""
    optional = False
    """Whether it is there only where WARDSTREAM_WITH or `up --with` names it."""
    jars: Sequence[str] = ()
    """The lists in stack/jars that it needs."""
    requirements: Path | None = None
    """Python packages that only this part needs, with exact versions and hashes: `environments` installs them."""
    logs: Sequence[str] = ()
    """Logs beside its own."""
    ready_seconds = 60.0
    """How long `up` waits until it is ready."""
    stop_signal = signal.SIGTERM
    stop_seconds = 10
    """How long it may take to stop before it is killed."""
    left_at_once = False
    """Whether what it leaves behind is killed without being asked, parents first."""
    follows_settings = True
    """Whether `up` restarts it when its settings changed; otherwise `up` says that `down` has to come first."""
    last_exit_code: int | None = None
    """The exit code after which the process manager does not restart it; None: it always does."""
    server = ""
    """What `status` calls a server elsewhere that stands in for it."""

    def port_numbers(self, settings: Settings) -> dict[str, int]:
        """Its ports by the name of the setting; 0 is none."""
        own = {name: settings.part_ports.get(name, default) for name, default in self.own_ports.items()}
        return {name: int(getattr(settings, name)) for name in self.ports} | own

    def port_variables(self, settings: Settings) -> dict[str, int]:
        """The ports that it listens on, by the environment variable that sets each."""
        return {f"WARDSTREAM_{name.upper()}": port for name, port in self.port_numbers(settings).items() if port}

    def port(self, settings: Settings) -> int | None:
        """The port to show."""
        return next(iter(self.port_variables(settings).values()), None)

    def memory_limit(self, settings: Settings) -> int:
        """How many bytes it may take with all that it starts before it is restarted; 0: as many as it likes."""
        return settings.memory_limit_by_part.get(self.name, self.most_memory(settings))

    def most_memory(self, settings: Settings) -> int:
        """The limit where no setting gives one: generous, for what has gone wrong and not for what is busy."""
        return GIB

    def is_embedded(self, settings: Settings) -> bool:
        """Whether it runs here with these settings, apart from whether somebody asked for an optional part."""
        return True

    def elsewhere(self, settings: Settings) -> str | None:
        """Host and port of the server that the settings name in its place; never a user's name or a password."""
        return None

    def answers_elsewhere(self, settings: Settings) -> bool:
        """Whether that server answers."""
        return False

    def check(self, settings: Settings) -> None:
        """Raise StackError where the settings cannot be right; asked before anything starts, wherever it runs."""

    def version(self) -> str:
        """Its pinned version."""
        raise NotImplementedError

    def steps(self, settings: Settings) -> list[Step]:
        """Steps of `up` that are its own, for `needs`; parts of one program may share a step of the same name."""
        return []

    def prepare(self, settings: Settings) -> None:
        """Make what has to be there before it starts; it does not run yet."""

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        raise NotImplementedError

    def ready(self, settings: Settings) -> bool:
        """Whether it works now; StackError where it never will."""
        raise NotImplementedError

    def started(self, settings: Settings) -> str:
        """What is done once it is ready; gives what to say of it in place of `ready`, if anything."""
        return ""

    def page(self, settings: Settings) -> Page | None:
        """The page that it serves."""
        return None

    def connections(self, settings: Settings) -> dict[str, str]:
        """What `wardstream env` prints of it beside ports and page, also where it runs elsewhere."""
        return {}

    def strays(self, settings: Settings) -> list[psutil.Process]:
        """Processes of it that neither their session nor their environment tells; with the process manager gone."""
        return []
