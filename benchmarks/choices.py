"""What each choice of the model costs and gives: accuracy, size and speed of small models.

Trains rows as techniques.py does, then converts each to int8 and measures its acoustic model in
LiteRT's CompiledModel: one thread, one processor core, rounds of all rows in turn, so that what
else the machine does hits all alike; the time is the processor's.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import print_table  # first: it pins threads
from techniques import quiet_tensorflow, run_arguments, start

from ds2edge.arguments import INTERRUPTED, CommandParser

EPILOG = """examples:
  python benchmarks/choices.py --data speech --out ~/choices --runs ~/techniques
      all rows, but for those that techniques.py has trained there; interrupted, the same command
      goes on, and rows that are done stay
  python benchmarks/choices.py --data speech --out ~/choices --rows 128-units 384-units
      these and what they are compared with
  python benchmarks/choices.py --data speech --out ~/mine --plan mine.toml
      other rows; see benchmarks/choices.toml

in --out:
  choices.md, .png, .jsonl      the table; without size and speed until the last row is trained
  runs/ROW/                     the folder of `ds2edge train`, its terminal.log, evaluation.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser("choices.py", description=__doc__, epilog=EPILOG)
    plan = Path(__file__).with_suffix(".toml")
    parser.add_argument("--plan", type=Path, default=plan, help="rows [choices.toml]")
    parser.add_argument("--runs", type=Path, help="--out of another run, rows of which to take")
    parser.add_argument("--rounds", type=int, default=15, help="of each row [%(default)s]")
    given = run_arguments(parser, arguments)
    if given.rounds < 1:
        parser.error(f"--rounds needs 1 or more, got {given.rounds}")
    with quiet_tensorflow():
        from choices_measure import deployed
        from choices_report import table, write_choices
        from techniques_report import load_results
        from techniques_rows import BASE, read_plan
        from techniques_runner import run
    plan = read_plan(given.plan)
    report = partial(write_choices, marked=plan.marked)
    code = run(plan, given.rows, given.data, given.out, given.jobs, given.runs, report)
    results = load_results(plan.rows, given.out)
    if code == INTERRUPTED or BASE not in [result.row.name for result in results]:
        return code
    logging.disable(logging.WARNING)  # TensorFlow tells of each conversion
    with tempfile.TemporaryDirectory(prefix="ds2edge-choices-") as folder:
        os.environ["DS2EDGE_CACHE"] = str(Path(folder) / "cache")  # packed weights
        found = deployed(results, given.out, Path(folder), given.rounds)
    write_choices(plan.rows, given.out, found, plan.marked)
    print_table(*table(results, found))
    print(f"\n{given.out / 'choices.md'}")
    return code


if __name__ == "__main__":
    start(main)
