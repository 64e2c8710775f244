"""The list of parts, and what follows from it: which there are, ports and limits, the order in which they stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from wardstream.settings import PROJECT_ROOT, Settings, memory_bytes
from wardstream.stack import access, env, parts, up
from wardstream.stack.errors import StackError
from wardstream.stack.part import GIB, Page, Part
from wardstream.stack.show import size

DOCS = PROJECT_ROOT / "docs" / "architecture.md"


class Board(Part):
    """Optional, with a port of its own and a page."""

    name = "board"
    optional = True
    own_ports = {"board_port": 18090}  # noqa: RUF012
    needs = ("store",)

    def page(self, settings: Settings) -> Page:
        return Page("Board", f"http://127.0.0.1:{self.port(settings)}", "nurse", "board", variable="BOARD")


class Store(Part):
    """Optional, and needed by the board; it needs Airflow."""

    name = "store"
    optional = True
    needs = ("api-server",)


@pytest.fixture
def more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two more parts in the list."""
    monkeypatch.setattr(parts, "PARTS", [*parts.PARTS, Store(), Board()])
    monkeypatch.setattr(access, "PARTS", parts.PARTS)
    yield


def names(settings: Settings) -> list[str]:
    return [part.name for part in parts.embedded(settings)]


def test_an_optional_part_is_there_when_it_is_asked_for_with_what_it_needs(more, settings):
    assert not {"board", "store"} & set(names(settings))
    assert names(settings.model_copy(update={"with_parts": "store"}))[-1:] == ["store"]
    assert names(settings.model_copy(update={"with_parts": " board, "}))[-2:] == ["store", "board"]
    assert names(settings.model_copy(update={"with_parts": "none"})) == names(settings)


def test_names_that_are_not_there_are_named(more, settings):
    def check(**changes: object) -> None:
        parts.check_names(settings.model_copy(update=changes))

    check(with_parts="board")
    with pytest.raises(StackError, match="bord is no optional part; there are: store, board"):
        check(with_parts="bord")
    with pytest.raises(StackError, match="kafka is no optional part"):
        check(with_parts="kafka")
    with pytest.raises(StackError, match=r"^store: it needs api-server, which this stack does not have"):
        check(with_parts="board", airflow=False)
    with pytest.raises(StackError, match="WARDSTREAM_MEMORY_LIMITS names strem, which is no part; there are: postgres"):
        check(memory_limits="strem=3g")


def test_without_optional_parts_that_is_said(settings):
    with pytest.raises(StackError, match="superset is no optional part; this version has none"):
        parts.check_names(settings.model_copy(update={"with_parts": "superset"}))


def test_what_was_asked_for_last_holds_unless_something_says_otherwise(make_settings, settings, monkeypatch):
    settings.state_dir.mkdir()
    up._remember_optional(settings.model_copy(update={"with_parts": "store,board"}))
    again = make_settings(state_dir=settings.state_dir)
    assert again.optional_parts == {"board", "store"}
    assert make_settings(state_dir=settings.state_dir, with_parts="none").optional_parts == set()
    monkeypatch.setenv("WARDSTREAM_WITH", "store")
    assert make_settings(state_dir=settings.state_dir).optional_parts == {"store"}
    monkeypatch.setenv("WARDSTREAM_WITH", "")
    assert make_settings(state_dir=settings.state_dir).optional_parts == set()


def test_a_port_of_its_own_is_set_like_every_other(make_settings, settings, tmp_path, monkeypatch):
    board = Board()
    assert board.port_variables(settings) == {"WARDSTREAM_BOARD_PORT": 18090}
    file = tmp_path / ".env"
    file.write_text("WARDSTREAM_BOARD_PORT=4711\nWARDSTREAM_KAFKA_PORT=4712\n")
    of_file = Settings(_env_file=file, state_dir=tmp_path)  # type: ignore[call-arg]
    assert board.port(of_file) == 4711 and of_file.part_ports == {"board_port": 4711}
    child = env.environment(of_file)
    monkeypatch.setenv("WARDSTREAM_PART_PORTS", child["WARDSTREAM_PART_PORTS"])
    assert board.port(make_settings()) == 4711
    monkeypatch.setenv("WARDSTREAM_BOARD_PORT", "4713")
    assert board.port(make_settings()) == 4713
    monkeypatch.setenv("WARDSTREAM_BOARD_PORT", "many")
    with pytest.raises(ValidationError) as caught:
        make_settings()
    assert [line.partition(":")[0] for line in env.faults_of_settings(caught.value)] == ["WARDSTREAM_BOARD_PORT"]
    monkeypatch.setenv("WARDSTREAM_BOARD_PORT", "tcp://10.0.0.7:80")  # of a service in Kubernetes
    monkeypatch.setenv("ANOTHER_PORT", "4711")
    assert make_settings().part_ports == {"board_port": 4711}
    monkeypatch.delenv("WARDSTREAM_BOARD_PORT")
    monkeypatch.delenv("WARDSTREAM_PART_PORTS")
    (settings.state_dir / "ports").mkdir(parents=True)
    (settings.state_dir / "ports" / "board.json").write_text('{"board_port": 4714}')
    assert board.port(make_settings(state_dir=settings.state_dir)) == 4714


def test_env_and_the_pages_know_it(more, settings, monkeypatch):
    secrets = settings.state_dir / "secrets"
    secrets.mkdir(parents=True)
    roles = ("wardstream_writer", "wardstream_owner", "wardstream_bi", "airflow_admin", "board")
    for role in roles:
        (secrets / role).write_text(f"{role}-s3cret\n")
    without, asked = settings, settings.model_copy(update={"with_parts": "board"})
    assert not [name for name in access.shell_variables(without) if "BOARD" in name]
    shown = access.shell_variables(asked)
    assert {name: value for name, value in shown.items() if "BOARD" in name} == {
        "WARDSTREAM_BOARD_PORT": "18090",
        "WARDSTREAM_BOARD_URL": "http://127.0.0.1:18090",
        "WARDSTREAM_BOARD_USER": "nurse",
        "WARDSTREAM_BOARD_PASSWORD": "board-s3cret",
    }
    assert shown["WARDSTREAM_AIRFLOW_USER"] == "admin"
    airflow, board, *rest = access.pages(asked)
    assert " ".join(airflow.split()) == "http://127.0.0.1:18080 Airflow: user admin, password airflow_admin-s3cret"
    assert " ".join(board.split()) == "http://127.0.0.1:18090 Board: user nurse, password board-s3cret"
    assert not [line for line in rest if "password" in line] and len(rest) == 2


def test_a_part_stops_before_what_it_needs(settings):
    steps = {part.name: set(up._stop_step(settings, part).needs) for part in parts.PARTS}
    assert steps == {
        "stream": set(),
        "scheduler": set(),
        "dag-processor": set(),
        "api-server": {"scheduler", "dag-processor"},
        "registry": {"stream"},
        "kafka": {"stream"},
        "postgres": {"stream", "registry", "scheduler", "dag-processor", "api-server"},
    }


def test_what_a_part_needs_is_there(settings):
    known = {step.name for step in up._steps(settings, parts.embedded(settings), True, lambda _: None)}
    for part in parts.PARTS:
        assert {*part.needs, *part.after, *part.stops_before} <= known, part.name


@pytest.mark.parametrize(
    ("text", "count"), [("512m", 512 << 20), ("3g", 3 << 30), ("3GB", 3 << 30), ("7", 7 << 20), ("0", 0), ("2k", 2048)]
)
def test_sizes_are_written_as_for_spark(text, count):
    assert memory_bytes(text) == count


def test_a_limit_is_set_or_follows_from_the_settings(make_settings, settings):
    stream, kafka = parts.named("stream"), parts.named("kafka")
    before = stream.memory_limit(settings)
    assert before > 3 * GIB
    assert stream.memory_limit(make_settings(stream_driver_memory="5g")) == before + 4 * GIB
    assert stream.memory_limit(make_settings(stream_max_offsets=1_000_000)) > before + 8 * GIB
    assert parts.named("scheduler").memory_limit(make_settings(daily_driver_memory="2g")) == 5 * GIB
    own = make_settings(memory_limits="stream=9g, kafka=0")
    assert (stream.memory_limit(own), kafka.memory_limit(own)) == (9 * GIB, 0)
    assert kafka.memory_limit(settings) == GIB


@pytest.mark.parametrize("wrong", [{"memory_limits": "stream=much"}, {"stream_driver_memory": "1 lot"}])
def test_a_limit_that_cannot_be_read_is_refused(make_settings, wrong):
    with pytest.raises(ValueError, match="is no size, such as 512m or 3g"):
        make_settings(**wrong)


def test_the_docs_list_the_parts_as_they_are(make_settings, tmp_path: Path):
    settings = make_settings(state_dir=tmp_path)
    lines = ["| part | optional | port | serves | memory limit |", "| --- | --- | --- | --- | --- |"]
    for part in parts.PARTS:
        port, page = next(iter(part.port_variables(settings).items()), None), part.page(settings)
        cells = (
            f"`{part.name}`",
            "yes" if part.optional else "no",
            f"{port[1]}, `{port[0]}`" if port else "none",
            page.title if page else "",
            size(part.memory_limit(settings)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join(lines)
    assert table in DOCS.read_text(), f"docs/architecture.md should have\n{table}"
