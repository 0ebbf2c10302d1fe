"""What does fine-tuning on minutes of one speaker give? Word errors before and after, of all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import print_table  # first: it pins threads

from ds2edge import cli
from ds2edge.arguments import CommandParser
from ds2edge.errors import DataError, Ds2edgeError
from ds2edge.training.data.manifest import Utterance, read_manifest, write_manifest
from ds2edge.training.evaluation.bootstrap import Bootstrap
from ds2edge.training.evaluation.evaluate import evaluate
from ds2edge.training.evaluation.outputs import open_recogniser
from ds2edge.training.evaluation.recognised import (
    LANGUAGE_MODEL,
    WAY_NAMES,
    all_figures,
    score,
    with_interval,
)
from ds2edge.training.evaluation.sources import Source, read_sources
from ds2edge.training.evaluation.split import refuse_test_split

EPILOG = """examples:
  python benchmarks/fine_tuning.py speech/librispeech/manifest.tsv --split dev --speaker 1462 \\
      --minutes 4 --other speech/digits/manifest.tsv:train --work /tmp/fine-tuning
      the embedded model on four minutes of a speaker that it never heard, then on what else she
      said, and on other people
  python benchmarks/fine_tuning.py ... --minutes 4 --keep speech/librispeech --work /tmp/kept
      the same with other recordings mixed in
  python benchmarks/fine_tuning.py ... --second --work /tmp/second
      learns from what was measured before, and measures what was learned from

The same command goes on where it was stopped. The split test is refused: what is found here may
decide something.
"""


def main() -> None:
    given = arguments()
    refuse_test_split(given.split, "fine-tuning")
    own = [u for u in read_manifest(given.manifest, given.split) if u.speaker == given.speaker]
    learned, rest = divided(own, given.minutes, given.second)
    work = given.work.resolve()
    data = write_corpus(work / "data", learned, "train")
    measured = {"other recordings of the speaker": write_corpus(work / "rest", rest, given.split)}
    sets = {name: read_sources([path], given.split) for name, path in measured.items()}
    for other in given.other:
        path, split = other.rsplit(":", 1)
        refuse_test_split(split, "fine-tuning")
        some = [
            s for s in read_sources([Path(path)], split) if s.utterance.speaker != given.speaker
        ]
        sets[f"others: {some[0].set}"] = some[:: max(1, len(some) // given.most)]
    bundle = work / "bundle"
    if not bundle.exists():
        fine_tune(given, data, work)
    minutes = sum(u.seconds for u in learned) / 60
    print(f"{given.model}, {minutes:.1f} minutes of speaker {given.speaker}\n")
    before, after = (figures(str(model), sets) for model in (given.model, bundle))
    header = ["WER %", "utterances", "words", "decoder", "before", "after"]
    rows = [
        [name, str(len(sets[name])), words, way, was, now]
        for (name, words, way, was), (_, _, _, now) in zip(before, after, strict=True)
    ]
    print_table(header, rows)


def arguments() -> argparse.Namespace:
    parser = CommandParser("fine_tuning.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv that has the speaker")
    parser.add_argument("--split", default="train", help="of it, not test [%(default)s]")
    parser.add_argument("--speaker", required=True, help="whom to learn from")
    parser.add_argument("--minutes", type=float, default=10.0, help="of it [%(default)g]")
    parser.add_argument("--second", action="store_true", help="the last minutes, not the first")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="MANIFEST:SPLIT",
        help="whom to measure besides, but for the speaker; may be repeated",
    )
    parser.add_argument("--most", type=int, default=200, help="utterances of each [%(default)s]")
    parser.add_argument("--keep", action="append", default=[], metavar="FOLDER", help="mixed in")
    parser.add_argument("--model", default="en", help="bundle to begin with [%(default)s]")
    parser.add_argument("--learning-rate", help="[that of ds2edge finetune]")
    parser.add_argument("--epochs", help="[those of ds2edge finetune]")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    return parser.parse_args()


def divided(
    own: Sequence[Utterance], minutes: float, second: bool
) -> tuple[list[Utterance], list[Utterance]]:
    """The first minutes, or the last, and the rest."""
    learned: list[Utterance] = []
    rest: list[Utterance] = []
    left = 60 * minutes
    for utterance in reversed(own) if second else own:
        (learned if left > 0 else rest).append(utterance)
        left -= utterance.seconds
    if not learned or not rest:
        raise DataError(f"{len(own)} recordings of the speaker are not enough for both parts")
    return learned, rest


def write_corpus(folder: Path, utterances: Sequence[Utterance], split: str) -> Path:
    """A manifest of its own. Returns: its path."""
    path = folder / "manifest.tsv"
    write_manifest(path, [replace(u, path=u.path.resolve(), split=split) for u in utterances])
    return path


def fine_tune(given: argparse.Namespace, data: Path, work: Path) -> None:
    """Fine-tune and convert, with the commands that anyone would use."""
    command = ["finetune", given.model, "--data", str(data.parent), "--out", str(work / "run")]
    for folder in given.keep:
        command += ["--keep", folder]
    for name in ("learning_rate", "epochs"):
        if value := getattr(given, name):
            command += ["--" + name.replace("_", "-"), value]
    convert = ["convert", str(work / "run" / "best.npz"), "-o", str(work / "bundle")]
    for one in (command, [*convert, "--like", given.model]):
        if code := cli.main(one):
            raise SystemExit(code)


def figures(model: str, sets: dict[str, list[Source]]) -> list[tuple[str, str, str, str]]:
    """Of each set and way of decoding: name, words, way, WER with its interval."""
    recogniser, rows = open_recogniser(model), []
    for name, sources in sets.items():
        found = all_figures(score(evaluate(recogniser, sources)), Bootstrap())["all"]
        for way in (way for way in WAY_NAMES if way in found):
            shown = "language model" if way == LANGUAGE_MODEL else way
            rows.append((name, str(found["words"]), shown, with_interval(found[way], "wer")))
    return rows


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"fine_tuning.py: {error}") from None
