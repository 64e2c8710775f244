"""What every case is given: the stack, the form, the run's name, and where its figures go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.figures import Better, Figures
from benchmarks.forms import Form
from benchmarks.messages import Run
from benchmarks.own_stack import OwnStack


@dataclass
class Bench:
    """One run."""

    stack: OwnStack
    form: Form
    run: Run
    say: Callable[[str], None]
    figures: Figures = field(default_factory=Figures)
    repetition: int = 0

    def events_of(self, case: str) -> Run:
        """Names for the events of a case in this repetition: no others have them."""
        return self.run.part(f"{case}-{self.repetition}")

    def add(self, name: str, value: float, unit: str, better: Better) -> None:
        """A figure, said at once."""
        self.figures.add(name, value, unit, better)
        self.say(f"  {name:<52} {self.figures.by_name[name].values[-1]:>12,g} {unit}")
