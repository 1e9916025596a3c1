"""`python -m tests.benchmarks [NAME | all]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ._harness import Report, sum_up
from ._picture import draw

if TYPE_CHECKING:
    from ._harness import Figures

HERE = Path(__file__).parent
ALL = "all"


def names() -> list[str]:
    """List the benchmarks there are."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_")
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("name", nargs="?", choices=[*names(), ALL])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--svg", type=Path, help="write a picture of the ratios")
    parser.add_argument("--pin", type=int, help="use this CPU alone")
    options = parser.parse_args()
    if options.name is None:
        print("\n".join(names()))
        return 0

    if options.pin is not None:
        os.sched_setaffinity(0, {options.pin})
    if options.name == ALL:
        runs = run_all(options.rounds)
        print(f"\nall: {sum_up([text for run in runs for text in run['verdicts']])}")
    else:
        runs = [run_one(options.name, options.rounds)]
    if options.json is not None:
        document = runs if options.name == ALL else runs[0]
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if options.svg is not None:
        options.svg.write_text(draw(runs), encoding="utf-8")
    return 0


def run_one(name: str, rounds: int) -> Figures:
    """Run one benchmark here."""
    report = Report(name, rounds)
    module = import_module(f"{__package__}.{name}")
    report.run(module.rows(report))
    return report.figures()


def run_all(rounds: int) -> list[Figures]:
    """Run each benchmark in a process of its own: none inherits threads or loops."""
    runs = []
    with TemporaryDirectory() as folder:
        for name in names():
            path = Path(folder) / f"{name}.json"
            program = [sys.executable, "-m", __package__, name, f"--rounds={rounds}"]
            subprocess.run([*program, f"--json={path}"], check=True)
            print()
            runs.append(json.loads(path.read_text(encoding="utf-8")))
    return runs


if __name__ == "__main__":
    sys.exit(main())
