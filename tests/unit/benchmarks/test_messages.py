"""The benchmark's events: valid by their contracts, of one run alone, the same again, and as many as were asked for."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.messages import DAY, KEYS, MAKERS, Message, Run
from wardstream.contracts.codec import Decoder, Encoder, split
from wardstream.contracts.model import load_contracts
from wardstream.contracts.validate import Validator

NOW = 1_790_000_000_000_000
CONTRACTS = load_contracts(Path(__file__).parents[3] / "schemas")
COUNT = 3_000


@pytest.mark.parametrize("what", MAKERS)
def test_each_event_is_one_that_the_stream_takes(what):
    encoders = {topic: Encoder(contract.latest, 1) for topic, contract in CONTRACTS.items()}
    decoders = {topic: Decoder(contract.latest) for topic, contract in CONTRACTS.items()}
    validators = {topic: Validator(contract) for topic, contract in CONTRACTS.items()}
    for topic, event in MAKERS[what](Run("a", NOW), COUNT):
        _, body = split(encoders[topic].encode(event))
        assert validators[topic](decoders[topic].decode(body), NOW) is None


@pytest.mark.parametrize("what", MAKERS)
def test_as_many_as_asked_for_and_all_different(what):
    made = list(MAKERS[what](Run("a", NOW), COUNT))
    assert len(made) == len({event["event_id"] for _, event in made}) == COUNT


@pytest.mark.parametrize("what", MAKERS)
def test_the_same_run_says_the_same_and_another_shares_nothing_with_it(what):
    first, again = (list(MAKERS[what](Run("a", NOW), COUNT)) for _ in range(2))
    other = list(MAKERS[what](Run("b", NOW), COUNT))
    assert first == again

    def ids(made: list[Message]) -> set[str]:
        return {event[name] for topic, event in made for name in ("event_id", KEYS[topic])}

    assert not ids(first) & ids(other)


@pytest.mark.parametrize("what", MAKERS)
def test_no_event_is_ahead_of_the_run(what):
    assert all(NOW - 40 * DAY < event["recorded_at"] <= NOW for _, event in MAKERS[what](Run("a", NOW), COUNT))


def test_labs_have_a_key_each_and_the_mix_corrects_some():
    labs = [event["lab_result_id"] for _, event in MAKERS["labs"](Run("a", NOW), COUNT)]
    assert len(set(labs)) == COUNT
    mixed = [event for topic, event in MAKERS["mix"](Run("a", NOW), COUNT) if topic == "labs"]
    corrected = [event for event in mixed if event["kind"] == "corrected"]
    assert 0.01 * len(mixed) < len(corrected) < 0.04 * len(mixed)
    assert len({event["lab_result_id"] for event in mixed}) == len(mixed) - len(corrected)


def test_admissions_are_stays_in_the_order_in_which_they_were_written():
    made = [event for _, event in MAKERS["admissions"](Run("a", NOW), COUNT)]
    written = [event["recorded_at"] for event in made]
    kinds = Counter(event["kind"] for event in made)
    assert written == sorted(written)
    assert min(kinds["admitted"], kinds["transferred"], kinds["discharged"]) > COUNT / 8
    assert min(kinds["cancelled_admit"], kinds["cancelled_discharge"]) > 0


def test_the_mix_has_the_shares_it_says():
    assert Counter(topic for topic, _ in MAKERS["mix"](Run("a", NOW), 1_000)) == {
        "labs": 800,
        "admissions": 120,
        "diagnoses": 60,
        "patients": 20,
    }
