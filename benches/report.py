"""Rows, bars and the one table that `make bench` prints."""

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Bar:
    """What a figure is held to: `>=` or `<=` a limit."""

    sense: str
    limit: float
    unit: str = ""

    def met_by(self, figure):
        return figure >= self.limit if self.sense == ">=" else figure <= self.limit

    def __str__(self):
        sign = "≥" if self.sense == ">=" else "≤"
        return f"{sign} {number(self.limit)}{' ' + self.unit if self.unit else ''}"


@dataclass
class Row:
    """One measured figure. `figure` is what the bar is held against; `None` when it could not be taken."""

    name: str
    figure: float | None
    bar: Bar | None
    gateway: str = ""
    reference: str = ""
    note: str = ""
    other_cores: float = 0.0
    raw: dict = field(default_factory=dict)

    @property
    def verdict(self):
        if self.figure is None:
            return "FAILED"
        if self.bar is None:
            return ""
        return "met" if self.bar.met_by(self.figure) else "MISSED"


def failed(name, reason):
    return Row(name, None, None, note=str(reason).replace("\n", " ")[:300])


def number(value):
    """As many digits as say something: 12,345 or 123 or 12.3 or 0.87."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows):
    """The rows as aligned text."""
    head = ["measurement", "patchbay", "bare reference", "figure", "bar", "", "note"]
    lines = [head]
    for row in rows:
        unit = f" {row.bar.unit}" if row.bar and row.bar.unit else ""
        figure = "-" if row.figure is None else number(row.figure) + unit
        notes = [row.note] if row.note else []
        if row.other_cores > 0.2:
            notes.append(f"disturbed: other programs used {row.other_cores} cores")
        lines.append([row.name, row.gateway, row.reference, figure, str(row.bar or ""), row.verdict, "; ".join(notes)])
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def machine():
    """What a reader needs to know before comparing two files."""
    here = Path(__file__).resolve().parent
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "commit": commit.stdout.strip(), "cores": os.cpu_count(),
            "kernel": platform.release(), "machine": platform.machine(), "load_average": os.getloadavg()}


def write(path, about, rows):
    """One JSON object a line: the sitting first, then every row with all that the tools said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as out:
        out.write(json.dumps({"sitting": about}) + "\n")
        for row in rows:
            out.write(json.dumps({**asdict(row), "verdict": row.verdict}) + "\n")
