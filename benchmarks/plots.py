"""Plots of a report as PNG files: `python -m benchmarks.plots REPORT FOLDER`, in the benchmark's own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OURS, OTHERS = "#1f6f8b", "#b8b8b8"
Medians = dict[str, float]


def throughput(medians: Medians, folder: Path) -> Path | None:
    """Events a second of the stream and of each peer, by backlog."""
    suffix = ".events_per_second"
    bars = [
        (name.removeprefix("backlog_").removesuffix(suffix), value)
        for name, value in medians.items()
        if name.startswith("backlog_") and name.endswith(suffix) and ".publisher." not in name
    ]
    if not bars:
        return None
    bars.reverse()
    figure, axes = plt.subplots(figsize=(8, 1 + 0.35 * len(bars)))
    names, values = [name for name, _ in bars], [value for _, value in bars]
    shown = axes.barh(names, values, color=[OURS if name.endswith(".stream") else OTHERS for name in names])
    axes.bar_label(shown, [f" {value:,.0f}" for value in values])
    axes.set_xlabel("events a second")
    axes.margins(x=0.15)
    return _saved(figure, folder / "throughput.png")


def latency(medians: Medians, folder: Path) -> Path | None:
    """p50, p95 and p99 by rate."""
    rates = sorted({int(name.split(".")[1]) for name in medians if name.startswith("latency.")})
    if not rates:
        return None
    figure, axes = plt.subplots(figsize=(7, 4))
    for percent in ("p50", "p95", "p99"):
        axes.plot(
            [f"{rate:,}/s" for rate in rates], [medians[f"latency.{r}.{percent}"] for r in rates], "o-", label=percent
        )
    axes.set_ylabel("milliseconds from produce() to commit")
    axes.set_ylim(bottom=0)
    axes.legend()
    return _saved(figure, folder / "latency.png")


def growth(medians: Medians, folder: Path) -> Path | None:
    """Microseconds an event by rows stored."""
    found = {
        int(name.split(".")[1]): value
        for name, value in medians.items()
        if name.startswith("growth.") and name.endswith(".commit_us_per_event")
    }
    if not found:
        return None
    figure, axes = plt.subplots(figsize=(7, 4))
    rows = sorted(found)
    axes.plot(rows, [found[number] for number in rows], "o-", color=OURS)
    axes.set_xscale("log")
    axes.set_xlabel("rows stored")
    axes.set_ylabel("microseconds of commit an event")
    axes.set_ylim(bottom=0)
    return _saved(figure, folder / "growth.png")


def _saved(figure: Any, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file


def main(report: Path, folder: Path) -> None:
    """Draw what the report has figures for."""
    medians = {name: figure["median"] for name, figure in json.loads(report.read_text())["figures"].items()}
    for draw in (throughput, latency, growth):
        if file := draw(medians, folder):
            sys.stdout.write(f"plot: {file}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
