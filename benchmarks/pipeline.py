"""From long recordings with rough texts to a better model, and whether it is better.

Runs the commands that anyone would: data align, segment, filter; finetune, convert; evaluate and
compare, with the model before. To have long recordings, the utterances of some speakers are joined,
and a share of the words of their texts is deleted, added and replaced. A tenth of the segments
chooses the epoch; what is evaluated chooses nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from common import print_table
from construction import spoiled

from ds2edge import cli
from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.errors import DataError, Ds2edgeError
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.evaluation.recognised import LANGUAGE_MODEL, read_evaluation, score
from ds2edge.training.evaluation.split import refuse_test_split

RATE = 16_000

EPILOG = """examples:
  python benchmarks/pipeline.py recordings --dev my-voice/manifest.tsv --work /tmp/mine
      recordings of your own, NAME.txt beside each, make the embedded model better, or do they?
  python benchmarks/pipeline.py --join speech/librispeech/manifest.tsv --speaker 1673 \
      --speaker 1919 --speaker 2412 --dev speech/librispeech/manifest.tsv --model base/best.npz \
      --work /tmp/three
      three recordings of eight minutes, for a model that never heard such ones; it takes more:
      --learning-rate 0.001 --epochs 20

The same command goes on where it was stopped.
"""


def main() -> None:
    parser = CommandParser("pipeline.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("recordings", nargs="?", type=Path, help="folder of recordings and texts")
    parser.add_argument("--join", type=Path, metavar="MANIFEST", help="make recordings of it")
    parser.add_argument("--split", default="train", help="of the manifest [%(default)s]")
    parser.add_argument("--speaker", action="append", help="one recording of each; repeat [all]")
    parser.add_argument("--wrong", type=float, default=0.1, help="of their words [%(default)g]")
    parser.add_argument(
        "--dev", type=Path, required=True, metavar="MANIFEST", help="to evaluate, its split dev"
    )
    parser.add_argument("--aligner", default="en", help="bundle to align and filter with [en]")
    parser.add_argument("--model", default="en", help="bundle or checkpoint to begin with [en]")
    parser.add_argument("--learning-rate", default="0.0001", help="[%(default)s]")
    parser.add_argument("--epochs", default="8", help="passes of fine-tuning [%(default)s]")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    given = parser.parse_args()
    recordings = join(given) if given.join else given.recordings
    if not recordings:
        parser.error("needed a folder of recordings, or --join")
    run(recordings, given)
    report(given.work)


def join(given: argparse.Namespace) -> Path:
    """Make the recordings and their texts. Returns: their folder."""
    refuse_test_split(given.split, "fine-tuning")
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in read_manifest(given.join, given.split):
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    if missing := set(given.speaker or ()) - set(by_speaker):
        raise DataError(
            f"{given.join} has no speaker {', '.join(sorted(missing))} in {given.split}"
        )
    folder = given.work / "long"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    words = [word for all_of in by_speaker.values() for u in all_of for word in u.text.split()]
    for speaker in given.speaker or by_speaker:
        write_long(folder / f"{speaker}.flac", by_speaker[speaker])
        texts = [utterance.text.split() for utterance in by_speaker[speaker]]
        lines = spoiled(texts, given.wrong, words, rng)
        text = "\n".join(" ".join(line) for line in lines)
        (folder / f"{speaker}.txt").write_text(text)
    return folder


def write_long(path: Path, utterances: Sequence[Utterance]) -> None:
    if not path.exists():  # another time would be another recording
        samples = np.concatenate([read_audio(utterance.path, RATE) for utterance in utterances])
        soundfile.write(path, samples, RATE)


def run(recordings: Path, given: argparse.Namespace) -> None:
    """Every step."""
    work, like = given.work, ("--like", given.aligner)
    command("data", "align", recordings, "-o", work / "aligned", "--bundle", given.aligner)
    command("data", "segment", work / "aligned", "-o", work / "segments", "--dev-share", "0.1")
    manifest = work / "segments" / "manifest.tsv"
    command("data", "filter", manifest, "-o", work / "clean", "--bundle", given.aligner)
    how = ["--learning-rate", given.learning_rate, "--epochs", given.epochs]
    tuned = work / "run"
    command("finetune", given.model, "--data", work / "clean", "--out", tuned, *how)
    before, after = Path(given.model), work / "after"
    if before.suffix == ".npz":
        before = work / "before"
        make_bundle(given.model, before, *like)
    make_bundle(tuned / "best.npz", after, *like)
    for name, bundle in (("before", before), ("after", after)):
        found = work / f"{name}.json"
        command("evaluate", given.dev, "--split", "dev", "--bundle", bundle, "--json", found)
    command("compare", work / "before.json", work / "after.json")


def make_bundle(checkpoint: object, bundle: Path, *more: str) -> None:
    """Converted once."""
    if not bundle.exists():
        command("convert", checkpoint, "-o", bundle, *more)


def command(*arguments: object) -> None:
    """One of ds2edge's own."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ ds2edge {shlex.join(words)}", flush=True)
    if code := cli.main(words):
        sys.exit(code)


def report(work: Path) -> None:
    """Errors before and after."""
    rows = []
    for name in ("before", "after"):
        scores = score(read_evaluation(work / f"{name}.json").utterances)
        words, errors = scores.words.sum(), scores.word_errors[LANGUAGE_MODEL].sum()
        rows.append([name, str(len(scores)), f"{100 * errors / words:.1f}"])
    print()
    print_table(["model", "recordings", "WER %"], rows)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"pipeline.py: {error}")
