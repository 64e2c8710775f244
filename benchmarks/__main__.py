"""`python -m benchmarks run | compare | reference`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import compare as comparing
from benchmarks import peer_runs, reference, report
from benchmarks.cases import CASES
from benchmarks.forms import FORMS
from benchmarks.own_stack import end_on_sigterm
from benchmarks.run import plot
from benchmarks.run import run as run_form
from wardstream.logs import configure_logging
from wardstream.settings import Settings

app = typer.Typer(no_args_is_help=True, help="How fast Wardstream is, beside what people write by hand.")
console = Console(width=140)
FOUND_WORSE = 1

Report = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A report.json.")]


@app.command()
def run(
    form: Annotated[str, typer.Option(help=f"How much: {', '.join(FORMS)}.")] = "long",
    cases: Annotated[str, typer.Option(help="Only these cases of the form, by comma.")] = "",
    peers: Annotated[str, typer.Option(help="Only these peers, by comma; none: no peer.")] = "",
    repetitions: Annotated[int, typer.Option(help="Another number of repetitions; 0: the form's.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of report and plots.")] = report.FOLDER,
    folder: Annotated[Path | None, typer.Option(help="Where the stack's temporary folder lies.")] = None,
    plots: Annotated[bool, typer.Option(help="Draw the plots as well.")] = True,
) -> None:
    """Measure with a stack of its own; exit code 1 where a case failed or the run is void."""
    if form not in FORMS:
        raise typer.BadParameter(f"{form} is none of {', '.join(FORMS)}")
    chosen = FORMS[form]
    if cases:
        chosen = dataclasses.replace(chosen, cases=_listed(cases, tuple(CASES)))
    if peers:
        named = () if peers == "none" else _listed(peers, tuple(peer_runs.MODULES))
        chosen = dataclasses.replace(chosen, peers=named)
    if repetitions:
        chosen = dataclasses.replace(chosen, repetitions=repetitions)
    end_on_sigterm()
    try:
        found = run_form(chosen, typer.echo, folder)
    except KeyboardInterrupt:
        typer.echo("interrupted; the stack is stopped and its folder deleted", err=True)
        raise typer.Exit(130) from None
    file = report.write(found, out)
    report.show(found, console)
    typer.echo(f"report: {file}")
    if plots:
        plot(file, peer_runs.install(Settings(), typer.echo), typer.echo)
    if found["failures"] or found["void"]:
        raise typer.Exit(1)


def _listed(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}")
    return names


@app.command()
def compare(
    before: Report,
    after: Report,
    tolerance: Annotated[float, typer.Option(min=0, help="A change up to this share counts as none.")] = (
        comparing.TOLERANCE
    ),
) -> None:
    """Name what got worse or better from one report to another; exit code 1 where something got worse."""
    found = comparing.compare(report.read(before), report.read(after), tolerance)
    for kind, lines in (("doubt", found.doubts), ("worse", found.worse), ("better", found.better)):
        for line in lines:
            typer.echo(f"{kind:<7} {line}")
    for line in found.missing:
        typer.echo(f"missing {line}")
    if not found.worse and not found.better:
        typer.echo(f"no figure changed by more than {tolerance:.0%}")
    if found.worse:
        raise typer.Exit(FOUND_WORSE)


@app.command("reference")
def keep_reference(of: Report) -> None:
    """Keep the peers of a report as the reference of its machine class and form (benchmarks/reference.json)."""
    found = report.read(of)
    if found["warnings"] or found["failures"]:
        typer.echo("this run has warnings or failures, and is no reference", err=True)
        raise typer.Exit(1)
    typer.echo(f"kept as reference of {reference.keep(found)}")


if __name__ == "__main__":
    configure_logging()
    app()
