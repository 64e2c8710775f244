"""What the fast judge finds plainly good is what `Judge` makes of it, byte for byte; the rest it leaves alone."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import messages as benchmark
from tests.unit.stream.wire import (
    ALSO_LABS,
    CONTRACTS,
    ENCODERS,
    IDS,
    NATIVE,
    NOT_DEPLOYED,
    NOW,
    NOW_US,
    BothJudges,
    Message,
    encoded,
    pieced,
    plain,
    table,
    text,
    varint,
)
from wardstream.contracts.avro_tree import expand
from wardstream.contracts.examples import load_examples
from wardstream.settings import PROJECT_ROOT
from wardstream.sources.sample.events import events as sample
from wardstream.stream.arrow_judge import FEW, FastJudge

MINUTE_US = 60_000_000
SNOWMAN, CLEF, NEXT_LINE, NO_BREAK = "☃", "𝄞", "\x85", "\xa0"
TEXTS = (
    *(
        "",
        "a",
        "sample",
        "archive",
        "east lab",
        " sample",
        "east lab ",
        "A1b",
        "x" * 200,
        "x" * 201,
        CLEF * 200,
        CLEF * 201,
    ),
    *(
        " ",
        "a b",
        " a",
        "a ",
        "a\t",
        "\na",
        NO_BREAK + "a",
        "a" + NEXT_LINE,
        "a\u3000",
        SNOWMAN,
        CLEF,
        "\ufeffa",
        "\x7f",
    ),
    *('"', 'x","kind":"resulted', "back\\slash", "a\0b", "\x1f", "\u2028", "corrected", "admit", "\ufffd", "e\u0301"),
)
LONGS = (
    *(0, 1, -1, 4, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63), NOW_US, NOW_US + 5 * MINUTE_US),
    *(NOW_US + 5 * MINUTE_US + 1, 10_413_792_000_000_000 - 1, 10_413_792_000_000_000, -5_364_662_400_000_000),
)
INTS = (0, 1, -1, 3, 10_000, 10_001, 2**31 - 1, -(2**31), 120_529, 120_530, -62_092)
DOUBLES = (
    *(0.0, -0.0, 1.0, 1e-3, 9.999999999999998e-4, 9_999_999.999999998, 1e7, 1e12, 1.0000000001e12, 0.1, 4.35, 1 / 3),
    *(5e-324, 1e300, float("nan"), float("inf"), float("-inf"), 100.0, 2.0**-9, -123456.789, 123456.7),
)
VALUES = {"string": TEXTS, "long": LONGS, "int": INTS, "double": DOUBLES, "boolean": (True, False)}


@pytest.fixture(scope="module")
def both() -> BothJudges:
    return BothJudges()


def _examples() -> list[tuple[str, bytes]]:
    found = []
    for topic in set(CONTRACTS) - {"wide", "nested"}:
        for example in load_examples(PROJECT_ROOT / "schemas" / topic, CONTRACTS[topic]):
            found.append((topic, ENCODERS[topic, example.version].encode(example.event)))
    return found


EXAMPLES = _examples()


def test_events_as_they_are_sent_are_judged_fast(both: BothJudges):
    """A floor: where next to nothing went that way, the other tests here would show nothing."""
    run = benchmark.Run("floor", NOW_US)
    made = [*benchmark.labs(run, 1000), *benchmark.admissions(run.part("a"), 1000), *benchmark.mix(run.part("m"), 1000)]
    messages: list[Message] = [(topic, ENCODERS[topic, 1].encode(event)) for topic, event in made]
    messages += [(topic, ENCODERS[topic, 1].encode(event)) for topic, event in sample()]
    fast = both.agree(messages, NOW + timedelta(days=400))
    assert sum(fast) > 0.99 * len(messages) > 8000


def test_every_topic_and_version_is_judged_fast_but_nested_ones(both: BothJudges):
    messages: list[Message] = [(topic, encoded(topic, version)) for topic, version in IDS]
    assert both.agree(messages) == [topic in NATIVE for topic, _ in IDS]


def test_two_ids_of_one_meaning_are_read_alike(both: BothJudges):
    body = encoded("labs")[5:]
    ids = (IDS["labs", 1], ALSO_LABS, NOT_DEPLOYED, -1)
    messages: list[Message] = [("labs", b"\0" + one.to_bytes(4, "big", signed=True) + body) for one in ids]
    assert both.agree(messages) == [True, True, False, False]


def _fields(topic: str, version: int) -> dict[str, tuple[str, bool]]:
    """Type on the wire of each field, and whether it may be null."""
    found = {}
    for field in expand(CONTRACTS[topic].versions[version])["fields"]:
        kind = field["type"]
        nullable = isinstance(kind, list)
        found[field["name"]] = ((kind[1] if nullable else kind)["type"], nullable)
    return found


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A good event, some of its values changed to odd ones, and perhaps its bytes."""
    topic, version = draw(st.sampled_from(sorted(IDS)))
    fields = _fields(topic, version)
    event: dict[str, Any] = plain(topic)
    for name in draw(st.lists(st.sampled_from(sorted(set(fields) - {"bed"})), max_size=5, unique=True)):
        kind, nullable = fields[name]
        value = st.sampled_from(VALUES[kind])
        value |= {
            "string": st.text(max_size=12),
            "double": st.floats(),
            "long": st.integers(-(2**63), 2**63 - 1),
            "int": st.integers(-(2**31), 2**31 - 1),
        }.get(kind, value)
        event[name] = draw((st.none() | value) if nullable else value)
    good = ENCODERS[topic, version].encode(_writable(event))
    change = draw(st.sampled_from(["nothing"] * 4 + ["flip", "cut", "more", "insert", "random", "empty"]))
    at = draw(st.integers(0, len(good)))
    some = draw(st.binary(min_size=1, max_size=3))
    return topic, {
        "nothing": good,
        "flip": good[:at] + some + good[at + len(some) :],
        "cut": good[:at],
        "more": good + some,
        "insert": good[:at] + some + good[at:],
        "random": good[:5] + draw(st.binary(max_size=80)),
        "empty": None,
    }[change]


def _writable(event: dict[str, Any]) -> dict[str, Any]:
    return {name: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for name, v in event.items()}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=st.lists(messages(), min_size=20, max_size=120))
def test_both_judges_agree(both: BothJudges, sent: list[Message]):
    both.agree(sent)


@pytest.mark.parametrize("seed", [1, 2])
def test_both_judges_agree_on_many_changed_bytes(both: BothJudges, seed: int):
    """What comes of one or two bytes changed anywhere, in real events of every topic."""
    chance = random.Random(seed)
    facts = chance.choices(sample(), k=3000)
    originals = EXAMPLES + [(topic, ENCODERS[topic, 1].encode(event)) for topic, event in facts]
    originals += [
        ("wide", encoded("wide", 2, tally=5, ratio=0.5, A_first="a", naïve=True, seen_at=1)) for _ in range(500)
    ]
    sent: list[Message] = []
    for topic, value in originals:
        changed = bytearray(value)
        for _ in range(chance.choice((0, 1, 1, 2))):
            changed[chance.randrange(5, len(changed))] = chance.choice(
                (0, 1, 2, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        sent.append((topic, bytes(changed)))
    fast = both.agree(sent, NOW + timedelta(days=400))
    assert 0.2 < sum(fast) / len(sent) < 0.9


WIDE = plain("wide")
HUGE = varint(2**40)
GOLDEN: dict[str, tuple[bool, Message]] = {
    "as it should be": (True, ("labs", encoded("labs", value_number=4.1, flag="H"))),
    "no value": (False, ("labs", None)),
    "empty": (False, ("labs", b"")),
    "the header alone": (False, ("labs", encoded("labs")[:5])),
    "half a header": (False, ("labs", b"\0\0")),
    "another magic byte": (False, ("labs", b"\1" + encoded("labs")[1:])),
    "another topic's message": (False, ("labs", encoded("patients"))),
    "a trailing byte": (False, ("labs", encoded("labs") + b"\0")),
    "a byte too few": (False, ("labs", encoded("labs")[:-1])),
    "an overlong number": (False, ("labs", pieced("labs", 1, plain("labs"), source_seq=varint(7, 4)))),
    "the same number, short": (True, ("labs", pieced("labs", 1, plain("labs"), source_seq=varint(7)))),
    "a number of eleven bytes": (False, ("labs", pieced("labs", 1, plain("labs"), source_seq=b"\x80" * 10 + b"\1"))),
    "a number beyond 64 bits": (
        False,
        ("labs", pieced("labs", 1, plain("labs"), source_seq=b"\xfe" + b"\xff" * 8 + b"\x7f")),
    ),
    "an overlong length": (False, ("labs", pieced("labs", 1, plain("labs"), patient_id=varint(2, 3) + b"P1"))),
    "an overlong index": (False, ("labs", pieced("labs", 1, plain("labs"), flag=b"\x82\0" + text(b"H")))),
    "index out of range": (False, ("labs", pieced("labs", 1, plain("labs"), flag=varint(2) + text(b"H")))),
    "index below zero": (False, ("labs", pieced("labs", 1, plain("labs"), flag=varint(-1) + text(b"H")))),
    "a huge index": (False, ("labs", pieced("labs", 1, plain("labs"), flag=HUGE))),
    "a boolean of two": (False, ("wide", pieced("wide", 2, WIDE, sure=b"\2"))),
    "an int over 32 bits": (False, ("wide", pieced("wide", 2, WIDE, level=varint(2**31)))),
    "the greatest int": (True, ("wide", pieced("wide", 2, WIDE, level=varint(2**31 - 1)))),
    "an int of 35 bits": (False, ("wide", pieced("wide", 2, WIDE, level=b"\xff\xff\xff\xff\x7f"))),
    "a gigabyte claimed": (False, ("labs", pieced("labs", 1, plain("labs"), event_id=varint(2**30))[:12])),
    "more claimed than an int": (False, ("labs", pieced("labs", 1, plain("labs"), event_id=varint(2**31 + 5)))),
    "a length below zero": (False, ("labs", pieced("labs", 1, plain("labs"), event_id=varint(-5)))),
    "bad UTF-8": (False, ("labs", pieced("labs", 1, plain("labs"), patient_id=text(b"P\xff")))),
    "half a letter": (False, ("labs", pieced("labs", 1, plain("labs"), patient_id=text(b"P\xe2\x98")))),
    "a letter over two fields": (
        False,
        ("labs", pieced("labs", 1, plain("labs"), kind=text(b"resulted\xe2"), patient_id=text(b"\x98\x83"))),
    ),
    "an overlong letter": (False, ("labs", pieced("labs", 1, plain("labs"), patient_id=text(b"\xc1\x81")))),
    "a surrogate": (False, ("labs", pieced("labs", 1, plain("labs"), patient_id=text(b"\xed\xa0\x80")))),
    "a pair of surrogates": (
        False,
        ("labs", pieced("labs", 1, plain("labs"), flag=b"\2" + text(b"\xed\xa0\xb4\xed\xb4\x9e"))),
    ),
    "beyond Unicode": (False, ("labs", pieced("labs", 1, plain("labs"), flag=b"\2" + text(b"\xf4\x90\x80\x80")))),
    "beyond the BMP": (True, ("labs", encoded("labs", test_name=CLEF, patient_id=CLEF))),
    "NUL": (False, ("labs", encoded("labs", flag="a\0b"))),
    "a quote": (False, ("labs", encoded("labs", flag='5" wide'))),
    "a field in a text": (False, ("labs", encoded("labs", flag='x","kind":"corrected'))),
    "a backslash": (False, ("labs", encoded("labs", flag="\\"))),
    "a line end": (False, ("labs", encoded("labs", value_text="a\nb"))),
    "a line separator": (True, ("labs", encoded("labs", value_text="a\u2028b\x7f"))),
    "an empty text": (True, ("labs", encoded("labs", flag=""))),
    "an empty id": (False, ("labs", encoded("labs", patient_id=""))),
    "an id of 200 letters": (True, ("labs", encoded("labs", patient_id=SNOWMAN * 200))),
    "an id of 201 letters": (False, ("labs", encoded("labs", patient_id=CLEF * 201))),
    "white space within an id": (True, ("labs", encoded("labs", patient_id=f"P 1{NO_BREAK}2"))),
    "white space around a text": (True, ("labs", encoded("labs", value_text=" 12 "))),
    **{
        f"an id that ends in {space!r}": (False, ("labs", encoded("labs", patient_id="P" + space)))
        for space in (" ", NO_BREAK)
    },
    **{
        f"an id that begins with {s!r}": (False, ("labs", encoded("labs", encounter_id=s + "P")))
        for s in (" ", "\u3000")
    },
    "white space around a source": (False, ("labs", encoded("labs", source="sample "))),
    "a source that is its own authority": (True, ("labs", encoded("labs", source="somebody"))),
    "a source of another authority": (
        True,
        ("labs", encoded("labs", source="east lab", patient_id="p1", lab_result_id="k1")),
    ),
    "ids that count alike": (False, ("labs", encoded("labs", source="east lab", patient_id="P1", lab_result_id="k1"))),
    "a kind that is none": (False, ("labs", encoded("labs", kind="made up"))),
    "a key that is missing": (False, ("labs", encoded("labs", lab_result_id=None))),
    "what its kind needs is missing": (False, ("admissions", encoded("admissions", kind="transferred"))),
    "five minutes ahead": (True, ("labs", encoded("labs", recorded_at=NOW_US + 5 * MINUTE_US))),
    "more than five minutes ahead": (False, ("labs", encoded("labs", recorded_at=NOW_US + 5 * MINUTE_US + 1))),
    "ahead, and historical": (True, ("labs", encoded("labs", recorded_at=NOW_US + 9 * MINUTE_US, source="archive"))),
    "the time zero": (True, ("labs", encoded("labs", event_time=0))),
    "a time before 1970": (True, ("labs", encoded("labs", event_time=-1, collected_at=-5_364_662_400_000_000))),
    "a time before 1800": (False, ("labs", encoded("labs", collected_at=-5_364_662_400_000_001))),
    "the least time": (False, ("labs", encoded("labs", recorded_at=-(2**63)))),
    "the greatest time": (False, ("labs", encoded("labs", event_time=2**63 - 1))),
    "a time without bounds of its own": (True, ("wide", encoded("wide", 2, seen_at=-62_135_596_800_000_000))),
    "a time before the year 1": (False, ("wide", encoded("wide", 2, seen_at=-62_135_596_800_000_001))),
    "a sequence below zero": (False, ("labs", encoded("labs", source_seq=-1))),
    "not a number": (False, ("labs", encoded("labs", value_number=float("nan")))),
    "infinite": (False, ("labs", encoded("labs", value_number=float("-inf")))),
    "not a number, and no bounds": (False, ("wide", encoded("wide", 2, ratio=float("nan")))),
    "infinite, and no bounds": (False, ("wide", encoded("wide", 2, ratio=float("inf")))),
    "zero": (True, ("labs", encoded("labs", value_number=0.0))),
    "minus zero": (True, ("labs", encoded("labs", value_number=-0.0))),
    "a thousandth": (True, ("labs", encoded("labs", value_number=-0.001))),
    "less than a thousandth": (True, ("labs", encoded("labs", value_number=9.999999999999998e-4))),
    "less than ten millions": (True, ("labs", encoded("labs", value_number=9_999_999.999999998))),
    "ten millions": (True, ("labs", encoded("labs", value_number=1e7))),
    "defaults": (True, ("wide", encoded("wide", 2, A_first="none", level=3, sure=True))),
    "no defaults": (True, ("wide", encoded("wide", 2, A_first="", level=0, sure=False, tally=3, Tally=4, naïve=False))),
    "nested": (False, ("nested", encoded("nested", bed={"room": "1"}))),
}


def test_each_case_goes_its_way_and_both_judges_agree(both: BothJudges):
    fast = both.agree([message for _, message in GOLDEN.values()])
    went = dict(zip(GOLDEN, fast, strict=True))
    assert went == {name: expected for name, (expected, _) in GOLDEN.items()}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    numbers=st.lists(
        st.floats(1e-3, 1e7, exclude_max=True)
        | st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
        | st.decimals(0, 10_000, places=3).map(float),
        min_size=50,
        max_size=500,
    )
)
def test_doubles_are_written_as_python_writes_them(both: BothJudges, numbers: list[float]):
    both.agree([("wide", encoded("wide", 2, ratio=number)) for number in numbers])


def test_a_broker_time_out_of_bounds_raises_nothing(both: BothJudges):
    greatest = NOW.replace(year=9999)
    both.agree([("labs", encoded("labs")), ("labs", encoded("labs", recorded_at=2**63 - 1))], greatest)


@pytest.mark.parametrize(("count", "asked"), [(FEW, 1), (FEW - 1, FEW - 1)])
def test_the_judge_of_single_messages_is_asked_for_the_rest_and_for_few(both: BothJudges, count: int, asked: int):
    fast = FastJudge(both.fast.judge)
    slowly = fast._slowly
    seen: list[pa.RecordBatch] = []

    def count_them(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        asked_for = list(batches)
        seen.extend(asked_for)
        return slowly(asked_for)

    fast._slowly = count_them
    good: Message = ("labs", encoded("labs"))
    sent: list[Message] = [good] * (count - 1) + [("labs", encoded("labs") + b"\0")]
    assert fast(table(sent, NOW)).num_rows == count
    assert sum(batch.num_rows for batch in seen) == asked


def test_what_fails_in_columns_is_judged_one_by_one(both: BothJudges, caplog: pytest.LogCaptureFixture):
    fast = FastJudge(both.fast.judge)

    def fails(messages: pa.RecordBatch) -> Iterator[Any]:
        raise pa.ArrowInvalid("PATIENT-4711")

    fast._versions = [fails]  # type: ignore[list-item]
    found = fast(table([("labs", encoded("labs"))] * FEW, NOW))
    assert found["content_hash"].null_count == 0
    assert "ArrowInvalid" in caplog.text and "4711" not in caplog.text
