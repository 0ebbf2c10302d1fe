"""Word errors with recorded noise mixed in, at several signal-to-noise ratios; of some models."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import common  # first: it pins threads
import numpy as np
from numpy.typing import NDArray

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.decoder import LogProbs
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.training.augmentation.noise import (
    NoiseBank,
    add_noise,
    draw_pieces,
    noise_bank,
    noise_of,
)
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.evaluate import recognise, record_looks
from ds2edge.training.evaluation.outputs import Recogniser, open_recogniser
from ds2edge.training.evaluation.recognised import WAY_NAMES, score, summary, with_interval
from ds2edge.training.evaluation.sources import Source, read_sources
from ds2edge.training.files import partial_file

CLEAN = float("inf")

Samples = NDArray[np.float32]

EPILOG = """examples:
  python benchmarks/noise_robustness.py speech/librispeech/manifest.tsv:dev \\
      --noise speech/noise/manifest.tsv:train
      the embedded model, clean and at 20, 10 and 0 dB
  python benchmarks/noise_robustness.py speech/librispeech/manifest.tsv:test \\
      --noise speech/noise/manifest.tsv:test --bundle plain --bundle noisy --plot noise.png
      two models on the same sounds

The same seed mixes the same noises into the same recordings at every ratio and for every model. The
ratio is that of `ds2edge data augment`: active speech to the noise over the whole recording. Looks
at a test split are logged, see `ds2edge evaluate --test-log`.
"""


@dataclass(frozen=True)
class Found:
    """Figures of one model at one ratio."""

    bundle: str
    snr: float  # dB; infinite: clean
    figures: dict[str, Any]  # as `summary`

    @property
    def where(self) -> str:
        return named(self.snr)


def main() -> None:
    given = arguments()
    sources = split_of(given.speech)[:: given.every]
    found: list[Found] = []
    for bundle in given.bundle or ["en"]:
        recogniser = open_recogniser(bundle)
        bank = bank_of(given.noise, recogniser.listener.sample_rate)
        for snr in (CLEAN, *given.snr):
            found.append(Found(bundle, snr, measured(recogniser, sources, bank, snr, given.seed)))
    words, count = found[0].figures["words"], len(sources)
    print(f"{given.speech}, {count} utterances, {words} words; noise: {given.noise}\n")
    common.print_table(["model", "WER %", *dict.fromkeys(f.where for f in found)], rows_of(found))
    if given.plot:
        draw(given.plot, found)


def arguments() -> argparse.Namespace:
    parser = CommandParser("noise_robustness.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("speech", metavar="MANIFEST:SPLIT", help="what is said")
    parser.add_argument("--noise", required=True, metavar="MANIFEST:SPLIT", help="mixed in")
    parser.add_argument(
        "--bundle",
        action="append",
        metavar="NAME",
        help="bundle, or checkpoint (.npz), to measure; may be repeated [en]",
    )
    parser.add_argument(
        "--snr", type=float, nargs="+", default=[20.0, 10.0, 0.0], metavar="DB", help="[20 10 0]"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="Nth utterance only")
    parser.add_argument("--seed", type=int, default=1, help="of the noises [%(default)s]")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG to draw")
    given = parser.parse_args()
    if given.every < 1 or given.seed < 0:
        parser.error("--every needs 1 or more, and --seed 0 or more")
    return given


def split_of(name: str) -> list[Source]:
    """The utterances of MANIFEST:SPLIT, or of MANIFEST."""
    manifest, _, split = name.rpartition(":")
    return read_sources([Path(manifest or name)], split if manifest else None)


@cache
def bank_of(name: str, rate: int) -> NoiseBank:
    """The noises of MANIFEST:SPLIT. Also those for testing: nothing is learned from them here."""
    manifest, _, split = name.rpartition(":")
    return noise_bank(read_manifest(manifest or name, split if manifest else None), rate)


def measured(
    recogniser: Recogniser, sources: Sequence[Source], bank: NoiseBank, snr: float, seed: int
) -> dict[str, Any]:
    """Figures of one model at one ratio, as `summary`; a look at a test split is written down."""
    utterances = [source.utterance for source in sources]
    doing = f"{recogniser.listener.name}, {named(snr)}"
    outputs = track(log_probs(recogniser, sources, bank, snr, seed), doing, len(sources))
    said = recognise(utterances, outputs, recogniser.tokens, recogniser.searches)
    figures = summary(score(said))
    sets = [source._replace(set=f"{source.set} with noise, {named(snr)}") for source in sources]
    looks = {one.set: figures for one in sets}
    record_looks("noise_robustness.py", sets, recogniser.facts, looks)
    return figures


def log_probs(
    recogniser: Recogniser, sources: Sequence[Source], bank: NoiseBank, snr: float, seed: int
) -> Iterator[LogProbs]:
    """What the model makes of each recording."""
    listener = recogniser.listener
    for begin in range(0, len(sources), listener.together):
        numbers = range(begin, min(begin + listener.together, len(sources)))
        some = [noisy(sources[i], bank, snr, [seed, i], listener.sample_rate) for i in numbers]
        yield from listener.log_probs(some)


def noisy(source: Source, bank: NoiseBank, snr: float, seed: list[int], rate: int) -> Samples:
    """A recording with the noise that its seed draws."""
    samples = read_audio(source.utterance.path, rate)
    if snr == CLEAN:
        return samples
    pieces = draw_pieces(bank, np.random.default_rng(seed))
    return add_noise(samples, noise_of(bank, pieces, len(samples), rate), snr, rate)


def named(snr: float) -> str:
    """For tables."""
    return "clean" if snr == CLEAN else f"{snr:g} dB"


def rows_of(found: Sequence[Found]) -> list[list[str]]:
    """A row for each model and way of decoding."""
    rows = []
    for bundle in dict.fromkeys(one.bundle for one in found):
        own = [one for one in found if one.bundle == bundle]
        for way in (way for way in WAY_NAMES if way in own[0].figures):
            cells = [with_interval(one.figures[way], "wer") for one in own]
            rows.append([bundle, WAY_NAMES[way], *cells])
    return rows


def draw(path: Path, found: Sequence[Found]) -> None:
    """WER over the ratio with intervals: a line for each model and way of decoding."""
    from ds2edge.training.plots import new_figure

    figure, axes = new_figure(6.5, 4)
    bundles = list(dict.fromkeys(one.bundle for one in found))
    ratios = sorted({one.snr for one in found if one.snr != CLEAN})
    places = {snr: float(i) for i, snr in enumerate([*ratios, CLEAN])}
    for number, bundle in enumerate(bundles):
        own = sorted((one for one in found if one.bundle == bundle), key=lambda one: one.snr)
        ways = [way for way in WAY_NAMES if way in own[0].figures]
        for way, style in zip(ways, ("--", "-", ":"), strict=False):
            rates = np.array([one.figures[way]["wer"] for one in own])
            x = [places[one.snr] + 0.06 * (number - (len(bundles) - 1) / 2) for one in own]
            label = f"{bundle}, {WAY_NAMES[way]}"
            line = axes.plot(x, rates, style, color=f"C{number}", marker="o", label=label)[0]
            intervals = [one.figures[way]["wer_interval"] for one in own]
            for at, interval in zip(x, intervals, strict=True):
                if interval:
                    axes.plot([at, at], interval, color=line.get_color(), alpha=0.5)
    axes.set_xticks(list(places.values()), [named(snr) for snr in places])
    axes.set(xlabel="speech over noise", ylabel="WER, %", ylim=(0, None))
    axes.legend(fontsize=8)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=120)


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"noise_robustness.py: {error}") from None
