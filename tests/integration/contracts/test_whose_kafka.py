"""Two stacks on one machine: what is meant for one is not written into the other's Kafka."""

from itertools import islice
from pathlib import Path

import pytest

from tests.integration.stack.conftest import free_ports
from wardstream.contracts.model import Contract
from wardstream.kafka.broker import Broker
from wardstream.settings import Settings
from wardstream.sources.replay_commands import publish
from wardstream.sources.sample import events as sample
from wardstream.stack.errors import StackError
from wardstream.stack.parts.kafka import check_ours


def test_the_kafka_of_another_stack_is_not_written_to(
    settings: Settings, contracts: dict[str, Contract], tmp_path: Path
):
    before = Broker(settings, contracts).extents()
    # as in a second clone whose stack never started, and whose ports are the same
    second = settings.model_copy(update={"state_dir": tmp_path / "state"})
    with pytest.raises(StackError, match=f"port {settings.kafka_port} belongs to the Kafka of another stack"):
        publish(second, islice(sample.events(), 1))
    assert Broker(settings, contracts).extents() == before


def test_ours_and_one_that_settings_name_and_one_that_is_away_are_fine(settings: Settings, tmp_path: Path):
    check_ours(settings)
    elsewhere = {"state_dir": tmp_path / "state", "kafka_bootstrap_servers": settings.kafka}
    check_ours(settings.model_copy(update=elsewhere))
    check_ours(settings.model_copy(update={"state_dir": tmp_path / "state", "kafka_port": free_ports(1)[0]}))
