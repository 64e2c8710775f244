"""Small worlds in which everything collides: few stays, movements, results, event ids and instants, many facts.

A world is some facts and a second way to receive them: shuffled, some more than once, cut into batches.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, event, hour, lab, stay

EVENT_IDS = [f"e{number}" for number in range(8)]  # few: one id with two bodies, and cancellations that hit something
INSTANTS = [0.0, 1.0, 30.0]
ADMISSION_KINDS = [
    "admitted",
    "updated",
    "transferred",
    "transferred",
    "discharged",
    "cancelled_admit",
    "cancelled_transfer",
    "cancelled_discharge",
]
UNCANCELLED = [kind for kind in ADMISSION_KINDS if not kind.startswith("cancelled")]
LAB_VALUES = [None, 0.0, -0.0, 4.1]
SENDERS = ["test", "test", "other"]
"""Neither is listed in schemas/sources.yaml, so each is its own authority: their equal ids name two things."""


@dataclass(frozen=True)
class World:
    """Facts in the order they were drawn, and another arrival of the same: batches of their indices."""

    facts: tuple[Fact, ...]
    batches: tuple[tuple[int, ...], ...]

    def again(self) -> list[list[Fact]]:
        """The other arrival."""
        return [[self.facts[index] for index in batch] for batch in self.batches]


ONE_ID_TWO_BODIES = World(
    (lab("e", "resulted", 1, value_number=1.0), lab("e", "resulted", 1, value_number=2.0)),
    ((1, 0),),
)
TWO_BODIES_IN_TWO_BATCHES = World(
    (lab("e", "resulted", 1, value_number=1.0), lab("e", "resulted", 1, value_number=2.0)),
    ((0,), (1,)),
)
MINUS_ZERO = World(
    (lab("e", "resulted", 1, value_number=0.0), lab("f", "resulted", 1, value_number=-0.0)),
    ((0,), (1,)),
)
CANCELLED = World((stay("a", "admitted", 0), stay("b", "cancelled_admit", 1)), ((0,), (1,)))
CANCELLED_BEFORE_IT_IS_KNOWN = World(
    (stay("a", "admitted", 0), stay("b", "admitted", 0, 2), stay("c", "cancelled_admit", 3, cancels_event_id="a")),
    ((2,), (1, 1), (0,)),
)


@st.composite
def admissions(draw: st.DrawFn, kinds: list[str]) -> Fact:
    """Any fact of these kinds of one of two stays of each sender."""
    kind = draw(st.sampled_from(kinds))
    more = {
        "source": draw(st.sampled_from(SENDERS)),
        "encounter_id": draw(st.sampled_from(["E1", "E1", "E2", "\u2003E1\n"])),
        "patient_id": draw(st.sampled_from(["P1", "P2"])),
        "ward": draw(st.sampled_from([None, "A", "B"])),
        "source_seq": draw(st.sampled_from([0, 0, 1])),
    }
    if kind == "transferred":
        more["movement_id"] = draw(st.sampled_from(["M1", "M2", "M3"]))
    elif kind.startswith("cancelled"):
        more["cancels_event_id"] = draw(st.sampled_from([None, *EVENT_IDS]))
    else:
        more["service"] = draw(st.sampled_from(["MED", "SURG"]))
    at, recorded = draw(st.sampled_from(INSTANTS)), draw(st.sampled_from(INSTANTS))
    return "admissions", event(draw(st.sampled_from(EVENT_IDS)), kind, at, recorded, **more)


@st.composite
def labs(draw: st.DrawFn) -> Fact:
    """Any fact of one of two results of each sender."""
    more = {
        "source": draw(st.sampled_from(SENDERS)),
        "lab_result_id": draw(st.sampled_from(["L1", "L2", "L1 "])),
        "value_number": draw(st.sampled_from(LAB_VALUES)),
        "source_seq": draw(st.sampled_from([0, 0, 1])),
        "reported_at": hour(2),
    }
    kind = draw(st.sampled_from(["resulted", "corrected", "cancelled"]))
    at, recorded = draw(st.sampled_from(INSTANTS)), draw(st.sampled_from(INSTANTS))
    return "labs", event(draw(st.sampled_from(EVENT_IDS)), kind, at, recorded, **more)


@st.composite
def plain(draw: st.DrawFn) -> Fact:
    """Any fact of one diagnosis or one person of each sender."""
    topic, kinds = draw(
        st.sampled_from(
            [("diagnoses", ["recorded", "corrected", "cancelled"]), ("patients", ["registered", "updated"])]
        )
    )
    more = {"source": draw(st.sampled_from(SENDERS)), "patient_id": draw(st.sampled_from(["P1", " P1"]))}
    if topic == "diagnoses":
        more |= {"diagnosis_id": "D1", "encounter_id": "E1", "code": draw(st.sampled_from(["I10", "E119"]))}
    recorded = draw(st.sampled_from(INSTANTS))
    return topic, event(draw(st.sampled_from(EVENT_IDS)), draw(st.sampled_from(kinds)), 1.0, recorded, **more)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Facts, and another arrival of them; in every second world nothing of a stay is cancelled: those are not folded by
    the definition."""
    kinds = draw(st.sampled_from([ADMISSION_KINDS, UNCANCELLED]))
    facts = draw(st.lists(admissions(kinds), min_size=2, max_size=12)) + draw(st.lists(labs() | plain(), max_size=6))
    repeated = draw(st.lists(st.sampled_from(range(len(facts))), max_size=4))
    order = draw(st.permutations([*range(len(facts)), *repeated]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1), max_size=3)))
    batches = [tuple(order[a:b]) for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    return World(tuple(facts), tuple(batches))


def strangers(bench: Bench, world: World) -> list[str]:
    """Rows of core that one sender's facts give alone and not beside those of the other, or the other way round."""
    bench.empty()
    bench.commit(*world.facts)
    together = rows_of_core(bench)
    alone: set[tuple[str, str]] = set()
    for sender in sorted(set(SENDERS)):
        bench.empty()
        bench.commit(*(fact for fact in world.facts if fact[1]["source"] == sender))
        alone |= rows_of_core(bench)
    return [f"{table}: {row}" for table, row in sorted(together ^ alone)]


def rows_of_core(bench: Bench) -> set[tuple[str, str]]:
    """Every row of core as text, with its table."""
    tables = [refold.fold.table for refold in bench.auditor]
    return {(table, row) for table in tables for (row,) in bench.rows(f"SELECT t::text FROM core.{table} AS t")}


def faults(bench: Bench, world: World) -> list[str]:
    """Where the law does not hold: tables whose digest depends on the arrival, and rows that are not as folded."""
    bench.empty()
    bench.commit(*world.facts)
    first, found = bench.digest(), bench.not_as_folded()
    bench.empty()
    for facts in world.again():
        bench.commit(*facts)
    second = bench.digest()
    found += [f"{table}: the digest differs" for table in first if first[table] != second[table]]
    return found + bench.not_as_folded()
