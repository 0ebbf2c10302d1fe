"""What each technique of Deep Speech 2 is worth on two hours of speech: a row, a training run."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ds2edge.arguments import CommandParser
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
    given = _arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with captured_stderr():  # what TensorFlow says of the machine; the workers do without it
        from techniques_runner import run
    return run(given.plan, given.rows, given.data, given.out, given.jobs)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("techniques.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and the table")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these [all]")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time [%(default)s]")
    plan = Path(__file__).with_suffix(".toml")
    parser.add_argument("--plan", type=Path, default=plan, help="base and rows [techniques.toml]")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error(f"--jobs needs 1 or more, got {given.jobs}")
    return given


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except (Ds2edgeError, OSError) as error:
        raise SystemExit(f"techniques.py: {error}") from None
    raise SystemExit(code)
