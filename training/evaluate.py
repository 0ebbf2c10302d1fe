"""`ds2edge evaluate MANIFEST`: word and character error rates of a bundle."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.decoder import Decoder, LogProbs, SearchOptions, greedy
from ds2edge.pipeline import decode_all, load_decoder, load_pipeline
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.manifest import Utterance, read_manifest
from ds2edge.training.metrics import character_error_rate, word_error_rate

EPILOG = """examples:
  ds2edge evaluate speech/librispeech/manifest.tsv --split test
      the embedded English bundle, greedy and with its language model
  ds2edge evaluate dev.tsv --bundle my-bundle --alpha 0.6 --beta 1.5 --json dev.jsonl
      other decoder weights, and what was recognised, utterance by utterance
"""


@dataclass(frozen=True)
class Recognised:
    """One utterance and what the two ways of decoding made of it."""

    path: str
    wanted: str
    greedy: str
    language_model: str


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge evaluate` command."""
    parser = CommandParser(
        "ds2edge evaluate",
        description="Error rates of a bundle on the recordings of a manifest.",
        epilog=EPILOG,
    )
    parser.add_argument("manifest", type=Path, help="manifest.tsv")
    parser.add_argument("--split", help="only this split of it")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--alpha", type=float, help="weight of the language model")
    parser.add_argument("--beta", type=float, help="added for each word")
    parser.add_argument("--beam", type=int, help="hypotheses kept")
    parser.add_argument("--json", type=Path, help="write one JSON object an utterance here")
    given = parser.parse_args(arguments)
    bundle = load_bundle(given.bundle)
    named = {name: getattr(given, name) for name in ("alpha", "beta", "beam")}
    changed = {name: value for name, value in named.items() if value is not None}
    decoder = load_decoder(bundle, replace(bundle.manifest.decoder, **changed))
    found = evaluate(bundle, decoder, read_manifest(given.manifest, given.split))
    if given.json:
        lines = (json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in found)
        given.json.write_text("".join(lines), encoding="utf-8")
    print(table(summary(found)))
    return 0


def evaluate(bundle: Bundle, decoder: Decoder, utterances: Sequence[Utterance]) -> list[Recognised]:
    """Recognise every utterance, as streaming would, greedily and with the language model."""
    pipeline, rate = load_pipeline(bundle), bundle.manifest.features.sample_rate
    log_probs = (pipeline.log_probs(read_audio(u.path, rate)) for u in utterances)
    return recognise(decoder, utterances, track(log_probs, "recognising", len(utterances)))


def recognise(
    decoder: Decoder, utterances: Sequence[Utterance], log_probs: Iterable[LogProbs]
) -> list[Recognised]:
    """Decode each utterance's log-probabilities in both ways."""
    return [
        Recognised(
            utterance.path.name,
            normalise(utterance.text, decoder.tokens),
            greedy(block, decoder.tokens),
            " ".join(word.text for word in decode_all(decoder, block)),
        )
        for utterance, block in zip(utterances, log_probs, strict=True)
    ]


def summary(found: Sequence[Recognised]) -> dict[str, Any]:
    """WER and CER in percent, both ways: what model cards and tables show."""
    wanted = [r.wanted for r in found]
    ways = {
        "greedy": [r.greedy for r in found],
        "language_model": [r.language_model for r in found],
    }
    return {
        "utterances": len(found),
        **{
            way: {
                "wer": word_error_rate(wanted, said).percent,
                "cer": character_error_rate(wanted, said).percent,
            }
            for way, said in ways.items()
        },
    }


def table(figures: dict[str, Any]) -> str:
    """`summary` for people."""
    rows = [f"{figures['utterances']} utterances         WER %   CER %"]
    for way, name in (("greedy", "greedy"), ("language_model", "with language model")):
        rows.append(f"{name:<22}{figures[way]['wer']:8.2f}{figures[way]['cer']:8.2f}")
    return "\n".join(rows)


def tune(
    decoder: Decoder, tokens: TokenSet, utterances: Sequence[Utterance], blocks: Sequence[LogProbs]
) -> tuple[SearchOptions, list[tuple[float, float, float]]]:
    """The alpha and beta of least word error rate, by a grid.

    Returns: the best options, and (alpha, beta, WER) of every point.
    """
    wanted = [normalise(u.text, tokens) for u in utterances]
    alphas = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
    betas = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    grid = list(itertools.product(alphas, betas))
    tried = []
    for alpha, beta in track(grid, "tuning", len(grid)):
        one = decoder.with_options(replace(decoder.options, alpha=alpha, beta=beta))
        said = [" ".join(w.text for w in decode_all(one, block)) for block in blocks]
        tried.append((alpha, beta, word_error_rate(wanted, said).rate))
    alpha, beta, _ = min(tried, key=lambda point: point[2])
    return replace(decoder.options, alpha=alpha, beta=beta), tried
