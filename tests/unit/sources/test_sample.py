"""The shipped sample: enough of everything, repeatable, accepted by the contracts, and never from the future."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from wardstream.contracts.codec import Decoder, Encoder, split
from wardstream.contracts.model import load_contracts
from wardstream.contracts.validate import Validator
from wardstream.settings import PROJECT_ROOT
from wardstream.sources.sample.events import ANCHOR, DAYS, AnchorError, events

CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")
SAMPLE = events()


def test_enough_people_and_events():
    assert len({event["patient_id"] for topic, event in SAMPLE if topic == "patients"}) >= 250
    assert len(SAMPLE) >= 6_000


def test_every_kind_of_every_contract_occurs_but_cancelled_patients():
    kinds = {(topic, event["kind"]) for topic, event in SAMPLE}
    topics = {topic for topic, _ in SAMPLE}  # a topic of your own is not in it
    expected = {(topic, kind) for topic, contract in CONTRACTS.items() for kind in contract.kinds if topic in topics}
    assert expected - kinds == {("patients", "cancelled"), ("admissions", "updated")}


def test_what_the_platform_must_get_right_is_in_it():
    admissions = [event for topic, event in SAMPLE if topic == "admissions"]
    cancellations = [event for event in admissions if event["kind"].startswith("cancelled_")]
    assert {bool(event.get("cancels_event_id")) for event in cancellations} == {True, False}
    named = {event["cancels_event_id"] for event in cancellations if "cancels_event_id" in event}
    assert named <= {event["event_id"] for event in admissions}
    assert any(event.get("ed_arrival_time") for event in admissions)
    discharges = Counter(event["encounter_id"] for event in admissions if event["kind"] == "discharged")
    assert max(discharges.values()) == 2
    stays = {event["encounter_id"] for event in admissions if event["kind"] == "admitted"}
    assert 5 <= len(stays - discharges.keys()) <= 100  # open, or cancelled


def test_the_same_seed_and_anchor_give_the_same_events():
    assert events() == SAMPLE
    assert events(seed=2) != SAMPLE
    other = events(anchor=ANCHOR - timedelta(days=1))
    assert not {event["event_id"] for _, event in other} & {event["event_id"] for _, event in SAMPLE}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_event_is_accepted_at_the_time_it_was_recorded(seed: int):
    made = events(seed)
    assert len(made) >= 6_000
    assert len({event["event_id"] for _, event in made}) == len(made)
    encoders = {topic: Encoder(contract.latest, 1) for topic, contract in CONTRACTS.items()}
    decoders = {topic: Decoder(contract.latest) for topic, contract in CONTRACTS.items()}
    validators = {topic: Validator(contract) for topic, contract in CONTRACTS.items()}
    for topic, event in made:
        decoded = decoders[topic].decode(split(encoders[topic].encode(event))[1])
        assert validators[topic](decoded, decoded["recorded_at"]) is None


def test_times_lie_in_the_days_before_the_anchor_and_in_order():
    recorded = [event["recorded_at"] for _, event in SAMPLE]
    assert recorded == sorted(recorded)
    assert recorded[-1] <= ANCHOR <= datetime.now(UTC)
    assert recorded[0] >= ANCHOR - timedelta(days=DAYS)


def test_an_anchor_ahead_of_the_clock_is_refused():
    with pytest.raises(AnchorError, match="give an earlier one"):
        events(anchor=datetime.now(UTC) + timedelta(hours=1))
