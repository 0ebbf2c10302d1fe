"""What each technique of Deep Speech 2 is worth on two hours of speech: a row, a training run."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ds2edge.arguments import INTERRUPTED, CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.runtimes.stderr import captured_stderr

EPILOG = """examples:
  python benchmarks/techniques.py --data speech --out ~/techniques
      all rows; interrupted, the same command goes on, and rows that are done stay
  python benchmarks/techniques.py --data speech --out ~/techniques --jobs 2
      two rows at a time, on half of the cores each
  python benchmarks/techniques.py --data speech --out ~/techniques --rows simple 2-d
      these and what they are compared with
  python benchmarks/techniques.py --data speech --out ~/mine --plan mine.toml
      another base, other rows; see benchmarks/techniques.toml

in --out:
  techniques.md, .png, .jsonl   the table, so far
  runs/ROW/                     the folder of `ds2edge train`, its terminal.log, evaluation.json
  configs/, data/               what is trained, and on what
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser("techniques.py", description=__doc__, epilog=EPILOG)
    rows = Path(__file__).with_suffix(".toml")
    parser.add_argument("--plan", type=Path, default=rows, help="base and rows [techniques.toml]")
    given = run_arguments(parser, arguments)
    with quiet_tensorflow():
        from common import print_table
        from techniques_report import load_results, table
        from techniques_rows import read_plan
        from techniques_runner import run
    plan = read_plan(given.plan)
    code = run(plan, given.rows, given.data, given.out, given.jobs)
    if code != INTERRUPTED:
        print_table(*table(load_results(plan.rows, given.out)))
        print(f"\n{given.out / 'techniques.md'}")
    return code


def run_arguments(
    parser: CommandParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Those of the parser, and what every benchmark takes that trains rows."""
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and the table")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these [all]")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time [%(default)s]")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error(f"--jobs needs 1 or more, got {given.jobs}")
    return given


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """While it is imported: what it says of the machine; the workers do without it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with captured_stderr():
        yield


def start(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark that trains rows, and end the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        code = main()
    except (Ds2edgeError, OSError) as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None
    raise SystemExit(code)


if __name__ == "__main__":
    start(main)
