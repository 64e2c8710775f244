"""The report of a run: build/bench/report.json, and the tables that a person reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import machine, ratios, reference
from benchmarks.bench import Bench
from wardstream.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "build" / "bench"
VERSION = 1
"""Of the report's form."""
VERDICTS = {True: "yes", False: "NO", None: ""}


def assemble(
    bench: Bench, calibration: Sequence[Mapping[str, Any]], warnings: Sequence[str], failures: Sequence[str]
) -> dict[str, Any]:
    """All that is known of a run, for JSON."""
    found: dict[str, Any] = {
        "report": VERSION,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "form": bench.form.name,
        "peers": list(bench.form.peers),
        "repetitions": bench.form.repetitions,
        "run": bench.run.name,
        "commit": machine.commit(),
        "machine": machine.describe(),
        "calibration": list(calibration),
        "figures": bench.figures.as_dict(),
        "targets": ratios.evaluate(bench.figures.medians()),
        "warnings": list(warnings),
        "failures": list(failures),
    }
    found["void"], note = reference.faults(found, reference.load())
    found["notes"] = [note] if note else []
    return found


def write(report: Mapping[str, Any], folder: Path) -> Path:
    """Into the folder; gives the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.json"
    file.write_text(json.dumps(report, indent=2) + "\n")
    return file


def read(file: Path) -> dict[str, Any]:
    """A report that was written before; ValueError for one of another form."""
    found: dict[str, Any] = json.loads(file.read_text())
    if found.get("report") != VERSION:
        raise ValueError(f"{file} is no report of this version ({VERSION}) of the benchmark")
    return found


def show(report: Mapping[str, Any], console: Console) -> None:
    """Figures, targets, and what casts doubt on them."""
    where = report["machine"]
    console.print(f"{report['form']} form, commit {report['commit'] or 'unknown'}, {where['class']}", markup=False)
    figures = Table("figure", "median", "unit", "values", box=box.SIMPLE)
    for name, figure in report["figures"].items():
        values = " ".join(f"{value:,g}" for value in figure["values"]) if len(figure["values"]) > 1 else ""
        figures.add_row(name, f"{figure['median']:,g}", figure["unit"], values)
    console.print(figures)
    targets = Table("target", "this run", "must", "holds", "aim", "reached", "before", box=box.SIMPLE)
    for target in report["targets"]:
        value = "not measured" if target["value"] is None else f"{target['value']:,g} {target['unit']}"
        verdicts = VERDICTS[target["holds"]], VERDICTS[target["reaches_aim"]]
        must = f"{target['good']} {target['must']:,g}"
        targets.add_row(target["name"], value, must, verdicts[0], f"{target['aim']:,g}", verdicts[1], target["before"])
    console.print(targets)
    for kind in ("notes", "warnings", "failures"):
        for line in report[kind]:
            console.print(f"{kind.removesuffix('s')}: {line}", markup=False)
    for line in report["void"]:
        console.print(f"THIS RUN IS VOID: {line}", style="red", markup=False)
