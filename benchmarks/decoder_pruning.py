"""What pruning costs: errors and time of the search with every token, and with the likeliest.

The paper keeps the fewest characters that reach a probability of 0.99, at most 40: its Mandarin
error rate then changes by 0.1 to 0.3 % of itself, and the language model is asked 150 times less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import common  # first: it pins threads
from decoder_characters import mandarin_problem
from decoder_measure import pin
from decoder_peers import CHARACTER_WEIGHTS
from decoder_problems import MANDARIN_BEAM, Problem, Speech, real_problem

from ds2edge.arguments import CommandParser
from ds2edge.bundle import load_bundle
from ds2edge.decoder import Decoder, SearchOptions
from ds2edge.errors import ConfigError, Ds2edgeError
from ds2edge.pipeline import decode_all
from ds2edge.progress import track
from ds2edge.training.evaluation.bootstrap import paired
from ds2edge.training.evaluation.metrics import Counts, character_counts, character_errors

LEAST_CHARACTERS = 5000

EXAMPLES = """examples:
  python benchmarks/decoder_pruning.py --characters sentences-zh.txt.xz --tools build/tools
      synthetic speech of 5,000 characters, with a language model of the sentences
  python benchmarks/decoder_pruning.py --bundle zh speech/synthetic/manifest.tsv --split test
      recordings, as a bundle hears them
"""


@dataclass(frozen=True)
class Pruning:
    """What the search leaves out."""

    name: str
    cutoff: float
    top: int
    threshold: float


@dataclass(frozen=True)
class Found:
    """What the search made of all utterances with a pruning."""

    pruning: Pruning
    milliseconds: float  # CPU time for a second of audio
    errors: Counts  # of characters, by utterance


def prunings(tokens: int, threshold: float) -> list[Pruning]:
    """From none to all that a bundle does."""
    endless = 1000.0
    return [
        Pruning("none", 1.0, tokens, endless),
        Pruning("0.99, 40: the paper's", 0.99, 40, endless),
        Pruning(f"and {threshold:g} nats below the best", 0.99, 40, threshold),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    if bool(given.bundle) != bool(given.manifest):
        raise ConfigError("needed: --bundle with a manifest, or neither")
    pin(given.core)
    with tempfile.TemporaryDirectory() as folder:
        problem = _problem(given, Path(folder))
        weights = choose_weights(problem, given.beam)
        found = [
            measure(problem, pruning, weights, given.beam)
            for pruning in prunings(len(problem.tokens), given.threshold)
        ]
    print_found(problem, found, weights, given.beam)


def choose_weights(problem: Problem, beam: int) -> tuple[float, float]:
    """Alpha and beta of fewest errors on the tuning split, pruned as a bundle does."""
    if not problem.language_model:
        return 0.0, 0.0
    pruning = prunings(len(problem.tokens), SearchOptions().threshold)[-1]
    tried = track(CHARACTER_WEIGHTS, "weights", len(CHARACTER_WEIGHTS))
    errors = {w: _decoded(problem, problem.tune, pruning, w, beam)[0].sum() for w in tried}
    return min(errors, key=lambda w: errors[w])


def measure(problem: Problem, pruning: Pruning, weights: tuple[float, float], beam: int) -> Found:
    """The test split with a pruning."""
    errors, seconds = _decoded(problem, problem.test, pruning, weights, beam)
    return Found(pruning, 1000 * seconds / problem.test.seconds, errors)


def _decoded(
    problem: Problem, speech: Speech, pruning: Pruning, weights: tuple[float, float], beam: int
) -> tuple[Counts, float]:
    """Errors of each utterance, and the CPU seconds of all."""
    options = SearchOptions(
        beam=beam,
        alpha=weights[0],
        beta=weights[1],
        cutoff=pruning.cutoff,
        top=pruning.top,
        threshold=pruning.threshold,
    )
    decoder = Decoder(
        problem.tokens, words=problem.words, language_model=problem.language_model, options=options
    )
    began = time.process_time()
    found = [decode_all(decoder, block) for block in speech.log_probs]
    seconds = time.process_time() - began
    said = [problem.tokens.join(word.text for word in words) for words in found]
    return character_errors(speech.wanted, said), seconds


def print_found(
    problem: Problem, found: Sequence[Found], weights: tuple[float, float], beam: int
) -> None:
    """The table, and what it is worth."""
    lengths = character_counts(problem.test.wanted)
    total, none = int(lengths.sum()), found[0]
    print(
        f"{problem.name}: {total:,} characters, {problem.test.seconds:.0f} s, beam {beam}, "
        f"alpha {weights[0]:g}, beta {weights[1]:g}\n"
    )
    rows = []
    for one in found:
        row = [one.pruning.name, f"{100 * one.errors.sum() / total:.3f}"]
        more, interval = "", ""
        if one is not none:
            more = f"{100 * (one.errors.sum() / max(1, none.errors.sum()) - 1):+.2f} %"
            between = paired(none.errors, one.errors, lengths).interval
            interval = f"{100 * between.low:+.3f} to {100 * between.high:+.3f}" if between else ""
        faster = f"x {none.milliseconds / one.milliseconds:.0f}" if one is not none else ""
        rows.append([*row, more, interval, f"{one.milliseconds:.3f}", faster])
    header = ["pruning", "CER %", "relative", "points, 95 %", "ms/s", "faster"]
    common.print_table(header, rows)
    if total < LEAST_CHARACTERS:
        print(
            f"\n{total:,} characters are few: {LEAST_CHARACTERS:,} or more tell such a difference"
        )


def _problem(given: argparse.Namespace, folder: Path) -> Problem:
    seconds = (given.tune_seconds, given.seconds)
    if given.bundle:
        splits = (given.tune_split, given.split)
        return real_problem(load_bundle(given.bundle), given.manifest, splits, seconds, None)
    return mandarin_problem(given.characters, given.tools, folder, seconds)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("decoder_pruning.py", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("manifest", type=Path, nargs="?", help="of recordings, for --bundle")
    parser.add_argument("--bundle", metavar="PATH", help="what hears them")
    parser.add_argument("--split", default="test", help="to report [%(default)s]")
    parser.add_argument("--tune-split", default="dev", help="to choose weights on [%(default)s]")
    parser.add_argument("--characters", type=Path, help="Chinese text, one sentence a line")
    parser.add_argument("--tools", type=Path, help="folder of lmplz and build_binary [PATH]")
    parser.add_argument("--seconds", type=float, default=1100, help="to report on [%(default)g]")
    parser.add_argument("--tune-seconds", type=float, default=60, help="[%(default)g]")
    parser.add_argument("--beam", type=int, default=MANDARIN_BEAM, help="[%(default)s]")
    parser.add_argument(
        "--threshold", type=float, default=SearchOptions().threshold, help="nats [%(default)g]"
    )
    parser.add_argument("--core", type=int, default=1, help="that all runs on [%(default)s]")
    return parser


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"decoder_pruning.py: {error}") from None
