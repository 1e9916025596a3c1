"""`python -m tests.benchmarks [NAME]`."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from ._harness import Report

HERE = Path(__file__).parent


def names() -> list[str]:
    """List the benchmarks there are."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_")
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("name", nargs="?", choices=names())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--pin", type=int, help="use this CPU alone")
    options = parser.parse_args()
    if options.name is None:
        print("\n".join(names()))
        return 0

    if options.pin is not None:
        os.sched_setaffinity(0, {options.pin})
    report = Report(options.name, options.rounds)
    module = import_module(f"{__package__}.{options.name}")
    report.run(module.rows(report))
    if options.json is not None:
        report.write(options.json)
    return 0


sys.exit(main())
