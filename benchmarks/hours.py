"""Error rate as a function of the hours of training speech, beside the paper's curve.

One model is trained on a part of the corpora, on twice as much, and so on. The parts are nested and
have every speaker in like proportion; dev is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from common import print_table  # first: it pins threads
from techniques import quiet_tensorflow, run_arguments, start

from ds2edge.arguments import INTERRUPTED, CommandParser

EPILOG = """examples:
  python benchmarks/hours.py --data speech --out ~/hours --estimate
      which rows there are, and what each would take
  python benchmarks/hours.py --data speech --out ~/hours --language-model en
      all rows, the cheapest first; interrupted, the same command goes on, and rows that are done
      stay
  python benchmarks/hours.py --data speech --out ~/hours --rows 0.27h 0.55h
      these; the others may follow

in --out:
  hours.md, .png, .jsonl        what is done so far
  runs/ROW/                     the folder of `ds2edge train`, its terminal.log, evaluation.json
  configs/, data/               what is trained, and on what
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser("hours.py", description=__doc__, epilog=EPILOG)
    plan = Path(__file__).with_suffix(".toml")
    parser.add_argument("--plan", type=Path, default=plan, help="model and parts [hours.toml]")
    parser.add_argument(
        "--language-model", metavar="MODEL", help="folder of `ds2edge lm`, or a bundle that has one"
    )
    parser.add_argument("--alpha", type=float, help="weight of the language model")
    parser.add_argument("--beta", type=float, help="added for each word")
    parser.add_argument(
        "--start", type=Path, help="checkpoint whose weights each row begins with [random]"
    )
    parser.add_argument("--tokens", type=Path, help="of all rows [those of the plan]")
    parser.add_argument("--estimate", action="store_true", help="say what it takes, and stop")
    given = run_arguments(parser, arguments)
    with quiet_tensorflow():
        from hours_report import load_hours, table, write_hours
        from hours_rows import evaluation_options, parts_of, read_hours, row_of, write_part
        from techniques_rows import Plan, prepare_row
        from techniques_runner import Runner

        from ds2edge.training.checkpoint import load_checkpoint
    hours = read_hours(given.plan)
    if given.start:  # its weights know no other statistics of the features
        features = load_checkpoint(given.start).config.features
        hours = replace(hours, base=replace(hours.base, features=features))
    parts = parts_of(hours, given.data)
    rows = {part.name: row_of(part, hours.base) for part in parts}
    chosen = Plan(hours.base, tuple(rows.values())).chosen(given.rows)
    chosen_parts = [part for part in parts if rows[part.name] in chosen]
    minutes = [part.minutes(hours.speed) for part in chosen_parts]
    cells = [
        [part.name, str(len(part)), str(part.passes), f"{each:.0f}"]
        for part, each in zip(chosen_parts, minutes, strict=True)
    ]
    print_table(["row", "recordings", "passes", "core minutes, about"], cells)
    print(f"in all about {sum(minutes):.0f} core minutes\n", flush=True)
    if given.estimate:
        return 0
    begin: list[object] = ["--start", given.start] if given.start else []
    begin += ["--tokens", given.tokens] if given.tokens else []
    options = evaluation_options(given.language_model, given.alpha, given.beta, given.out)
    for part in chosen_parts:
        write_part(part, given.out)
        prepare_row(rows[part.name], hours.base, given.out)
    report = partial(write_hours, hours.base)
    runner = Runner(chosen, [*rows.values()], given.out, given.jobs, report, begin, options)
    code = runner.run()
    if code != INTERRUPTED:
        write_hours(hours.base, [*rows.values()], given.out)
        print_table(*table(load_hours(hours.base, [*rows.values()], given.out)))
        print(f"\n{given.out / 'hours.md'}")
    return code


if __name__ == "__main__":
    start(main)
