"""How well the filter tells right transcripts from wrong ones.

The transcripts of a share of the utterances are spoiled: half of them become another one's, half
have a third of their words lost, replaced, or followed by another. The paper's filter brought 17 %
of wrong words down to 5 with more than half of the examples kept (section 5.1).

Needs matplotlib for --plot.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import print_table
from construction import spoiled

from ds2edge import cli
from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.text import normalise
from ds2edge.training.construction.filter_chart import KeptCurve, kept_curve, plot_receiver
from ds2edge.training.data.manifest import read_column, read_manifest, write_manifest
from ds2edge.training.evaluation.listener import open_listener

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)

EPILOG = """examples:
  python benchmarks/transcript_filter.py speech/librispeech/manifest.tsv --split test --plot f.png
  python benchmarks/transcript_filter.py calls.tsv --bundle mine.ds2 --filter mine.json
"""


def main() -> None:
    parser = CommandParser("transcript_filter.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv whose transcripts are right")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--spoiled", type=float, default=0.2, help="share [%(default)g]")
    parser.add_argument("--seed", type=int, default=1, help="which, and how [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--filter", type=Path, help="of train-filter [ds2edge's]")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    given = parser.parse_args()
    tokens = open_listener(given.bundle).tokens
    utterances = read_manifest(given.manifest, given.split)
    said = [normalise(utterance.text, tokens) for utterance in utterances]
    rng = np.random.default_rng(given.seed)
    good = rng.permutation(len(said)) >= round(given.spoiled * len(said))
    words = [word for text in said for word in text.split()]
    texts = [
        text if right else spoiled_text(text, said, words, rng)
        for text, right in zip(said, good, strict=True)
    ]
    with TemporaryDirectory() as folder:
        chances, threshold = filtered(Path(folder), given, texts)
    report(chances, threshold, good, kept_curve(chances, texts, said), given.plot)


def spoiled_text(
    text: str, texts: Sequence[str], words: Sequence[str], rng: np.random.Generator
) -> str:
    """Another one's, or a third of its words wrong; not made as what the filter learned from."""
    while True:
        if rng.random() < 0.5:
            found = texts[int(rng.integers(len(texts)))]
        else:
            found = " ".join(spoiled([text.split()], 1 / 3, words, rng)[0])
        if found not in ("", text):
            return found


def filtered(
    work: Path, given: argparse.Namespace, texts: Sequence[str]
) -> tuple[np.ndarray, float]:
    """The chance of each, by the command that anyone would use, and the least that is kept."""
    utterances = read_manifest(given.manifest, given.split)
    wrong = [
        replace(utterance, text=text, path=utterance.path.resolve())
        for utterance, text in zip(utterances, texts, strict=True)
    ]
    manifest, out = work / "manifest.tsv", work / "out"
    write_manifest(manifest, wrong)
    command = ["data", "filter", str(manifest), "-o", str(out), "--bundle", given.bundle]
    if given.filter:
        command += ["--filter", str(given.filter)]
    if code := cli.main(command):
        sys.exit(code)
    chances: dict[Path, float] = {}
    for name in ("dropped.tsv", "manifest.tsv"):
        values = list(map(float, read_column(out / name, "chance") or []))
        found = read_manifest(out / name) if values else []
        chances |= {u.path.resolve(): value for u, value in zip(found, values, strict=True)}
    return np.array([chances[utterance.path] for utterance in wrong]), min(values)


def report(
    chances: np.ndarray, threshold: float, good: np.ndarray, curve: KeptCurve, path: Path | None
) -> None:
    """A table, and a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    area = plot_receiver(left, chances, good, threshold)
    kept = chances >= threshold
    share = float(kept.mean())
    right.plot(100 * curve.kept, 100 * curve.errors, color="tab:blue", label="ours")
    right.plot(100 * share, 100 * curve.at(share), "ko", label="kept by default")
    right.set(xlabel="transcripts that are kept, %", ylabel="words of them wrong, %", ylim=0)
    right.legend()
    rows = [
        ["all", "100.0", f"{100 * curve.at(1.0):.2f}"],
        ["kept by default", f"{100 * share:.1f}", f"{100 * curve.at(share):.2f}"],
        *([f"the likeliest {s:.0%}", f"{100 * s:.1f}", f"{100 * curve.at(s):.2f}"] for s in SHARES),
        ["the paper, before", "100.0", "17.00"],
        ["the paper, after", "> 50", "5.00"],
    ]
    print_table(["transcripts", "kept %", "words wrong %"], rows)
    print(
        f"{good.sum()} right ones, {kept[good].mean():.1%} of them kept; {(~good).sum()} wrong, "
        f"{kept[~good].mean():.1%} kept; area below the receiver curve {area:.4f}"
    )
    if path:
        figure.savefig(path, dpi=150)
        print(path)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"transcript_filter.py: {error}")
