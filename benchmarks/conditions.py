"""Word errors in many conditions, of several models: noise, loudness, recordings of minutes.

Every model hears the same sounds and has the same decoder: the bundle's, with its lexicon and
language model. A checkpoint is heard in float32 and offline; where the bundle's output layer
divides the label prior out, as much is taken from the checkpoint's outputs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import common  # first: it pins threads
import numpy as np
from noise_robustness import bank_of, noisy, split_of
from numpy.typing import NDArray

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.decoder import Decoder, LogProbs
from ds2edge.errors import Ds2edgeError
from ds2edge.pipeline import load_decoder
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.bootstrap import paired
from ds2edge.training.evaluation.evaluate import recognise, record_looks
from ds2edge.training.evaluation.listener import Listener, bundle_listener, open_listener
from ds2edge.training.evaluation.metrics import word_counts, word_errors
from ds2edge.training.evaluation.prior import label_prior, subtract_prior
from ds2edge.training.evaluation.recognised import (
    GREEDY,
    LANGUAGE_MODEL,
    ModelFacts,
    Recognised,
    score,
    summary,
    with_interval,
)
from ds2edge.training.evaluation.sources import Source
from ds2edge.training.files import partial_file

EPILOG = """examples:
  python benchmarks/conditions.py speech/librispeech/manifest.tsv:test \\
      --noise speech/noise/manifest.tsv:test --model teacher=teacher.npz --model student=student.npz
      the embedded bundle's int8 model beside checkpoints of teacher and student
  python benchmarks/conditions.py mine.tsv --noise noise.tsv --bundle my.ds2 --plot conditions.png

Looks at a test split are logged, as those of `ds2edge evaluate` are.
"""
RATIOS = (20.0, 10.0, 0.0)  # dB of speech over noise
GAINS = (-30.0, 10.0)  # dB; what is louder than full scale is clipped
LONG = 480.0  # seconds of recordings that are joined
PAUSE = 0.5  # seconds between them
INT8 = "int8"  # the bundle's

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Condition:
    """One way in which the recordings are heard."""

    name: str
    sounds: Callable[[int, int], Samples]  # number and rate to the samples of a recording
    wanted: tuple[Utterance, ...]  # what is said in each


@dataclass(frozen=True)
class Model:
    """What is compared."""

    name: str
    listener: Listener
    shift: Callable[[LogProbs], LogProbs] = lambda log_probs: log_probs


def main() -> int:
    given = arguments()
    bundle = load_bundle(given.bundle)
    sources = split_of(given.speech)[:: given.every]
    conditions = list(all_conditions(sources, given))
    models = [Model(INT8, bundle_listener(bundle))]
    models += [opened(name, path, bundle, conditions[0]) for name, path in given.model]
    decoder = load_decoder(bundle)
    found = {
        (condition.name, model.name): heard(model, decoder, condition)
        for model in models
        for condition in conditions
    }
    figures = {key: summary(score(one)) for key, one in found.items()}
    record(sources, models, figures)
    print(f"{given.speech}, {len(sources)} utterances; noise: {given.noise}\n")
    common.print_table(*table(figures, [model.name for model in models]))
    print("WER in percent; in brackets: 95 % intervals, bootstrap samples of recordings\n")
    if len(models) > 1:
        common.print_table(*comparisons(found, [model.name for model in models]))
        print("WER with the language model: more points, and relatively more\n")
    if given.json:
        rows = [{"condition": c, "model": m, **value} for (c, m), value in figures.items()]
        with partial_file(given.json, sync=False) as file:
            file.write(json.dumps(rows, indent=1).encode() + b"\n")
    if given.plot:
        draw(given.plot, figures, [model.name for model in models])
        print(f"plot: {given.plot}")
    return 0


def arguments() -> argparse.Namespace:
    parser = CommandParser("conditions.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("speech", metavar="MANIFEST:SPLIT", help="what is said")
    parser.add_argument("--noise", required=True, metavar="MANIFEST:SPLIT", help="mixed in")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        type=_named,
        metavar="NAME=FILE",
        help="another model, of a checkpoint, .npz; may be repeated",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="Nth utterance only")
    parser.add_argument("--seed", type=int, default=1, help="of the noises [%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, to write")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="to draw")
    given = parser.parse_args()
    if given.every < 1 or given.seed < 0:
        parser.error("--every needs 1 or more, and --seed 0 or more")
    return given


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path.endswith(".npz"):
        raise argparse.ArgumentTypeError(f"needed NAME=FILE.npz, got {text!r}")
    return name, path


def all_conditions(sources: Sequence[Source], given: argparse.Namespace) -> Iterator[Condition]:
    """Clean first."""
    utterances = tuple(source.utterance for source in sources)

    def clean(number: int, rate: int) -> Samples:
        return read_audio(utterances[number].path, rate)

    yield Condition("clean", clean, utterances)
    for ratio in RATIOS:

        def with_noise(number: int, rate: int, ratio: float = ratio) -> Samples:
            bank = bank_of(given.noise, rate)
            return noisy(sources[number], bank, ratio, [given.seed, number], rate)

        yield Condition(f"noise, {ratio:g} dB", with_noise, utterances)
    for gain in GAINS:

        def at_gain(number: int, rate: int, gain: float = gain) -> Samples:
            return louder(clean(number, rate), gain)

        yield Condition(f"gain {gain:+g} dB", at_gain, utterances)
    groups = long_recordings(utterances)

    def joined(number: int, rate: int) -> Samples:
        pause = np.zeros(round(PAUSE * rate), np.float32)
        parts = [part for u in groups[number] for part in (read_audio(u.path, rate), pause)]
        return np.concatenate(parts)

    yield Condition("8 minutes", joined, tuple(as_one(group) for group in groups))


def louder(samples: Samples, gain: float) -> Samples:
    """As 16-bit recordings of that gain, in dB: clipped, and with their steps."""
    steps = np.round(np.clip(samples * 10 ** (gain / 20), -1, 1) * 32767)
    return np.asarray(steps / 32767, np.float32)


def long_recordings(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    """Utterances of a speaker in a row, until they last `LONG` seconds; the rest is shorter."""
    groups: list[list[Utterance]] = []
    for utterance in sorted(utterances, key=lambda one: one.speaker):  # stable
        group = groups[-1] if groups else []
        fits = sum(u.seconds + PAUSE for u in group) + utterance.seconds <= LONG
        if group and group[0].speaker == utterance.speaker and fits:
            group.append(utterance)
        else:
            groups.append([utterance])
    return groups


def as_one(group: Sequence[Utterance]) -> Utterance:
    """Utterances that were joined."""
    text = " ".join(utterance.text for utterance in group)
    seconds = sum(utterance.seconds + PAUSE for utterance in group)
    return replace(group[0], text=text, seconds=seconds)


def opened(name: str, path: str, bundle: Bundle, clean: Condition) -> Model:
    """A model to compare; the label prior of a checkpoint is measured on the clean recordings.

    Raises:
        Ds2edgeError: it cannot be read, or has other tokens than the bundle.
    """
    listener = open_listener(path)
    if listener.tokens.digest != bundle.manifest.tokens.digest:
        raise Ds2edgeError(f"{path} has other tokens than {bundle.manifest.name}")
    weight = bundle.manifest.training.get("prior_weight") or 0.0
    if not weight:
        return Model(name, listener)
    prior = label_prior(list(outputs(listener, clean, f"{name}, label prior")))
    return Model(name, listener, lambda log_probs: subtract_prior(log_probs, prior, weight))


def heard(model: Model, decoder: Decoder, condition: Condition) -> list[Recognised]:
    """What a model makes of a condition's recordings, greedily and with the language model."""
    doing = f"{model.name}, {condition.name}"
    blocks = map(model.shift, outputs(model.listener, condition, doing))
    searches = {LANGUAGE_MODEL: decoder}
    return recognise(condition.wanted, blocks, model.listener.tokens, searches)


def outputs(listener: Listener, condition: Condition, doing: str) -> Iterator[LogProbs]:
    """What it hears in each recording."""
    count = len(condition.wanted)

    def all_of_them() -> Iterator[LogProbs]:
        for begin in range(0, count, listener.together):
            numbers = range(begin, min(begin + listener.together, count))
            yield from listener.log_probs(
                [condition.sounds(i, listener.sample_rate) for i in numbers]
            )

    return track(all_of_them(), doing, count)


def record(sources: Sequence[Source], models: Sequence[Model], figures: dict[Any, Any]) -> None:
    """Write down the looks at a test split."""
    for (condition, name), found in figures.items():
        listener = next(model.listener for model in models if model.name == name)
        sets = [source._replace(set=f"{source.set}, {condition}") for source in sources]
        facts = ModelFacts(listener.name, listener.digest)
        record_looks("conditions.py", sets, facts, {one.set: found for one in sets})


def table(
    figures: dict[tuple[str, str], dict[str, Any]], models: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """A row for each condition, two columns for each model."""
    header = ["", *(f"{name}{way}" for name in models for way in (" greedy", " with LM"))]
    rows = []
    for condition in dict.fromkeys(condition for condition, _ in figures):
        own = [figures[condition, name][way] for name in models for way in (GREEDY, LANGUAGE_MODEL)]
        rows.append([condition, *(with_interval(one, "wer") for one in own)])
    return header, rows


def comparisons(
    found: dict[tuple[str, str], list[Recognised]], models: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """A row for each condition, a column for each pair of models, with the language model."""
    pairs = list(combinations(models, 2))
    conditions = dict.fromkeys(condition for condition, _ in found)
    rows = [
        [condition, *(compared(found[condition, a], found[condition, b]) for a, b in pairs)]
        for condition in conditions
    ]
    return ["", *(f"{first} against {second}" for first, second in pairs)], rows


def compared(one: Sequence[Recognised], other: Sequence[Recognised]) -> str:
    """How much more one model errs than another on the same recordings."""
    wanted = [utterance.wanted for utterance in one]
    errors, fewer = (
        word_errors(wanted, [utterance.said[LANGUAGE_MODEL] for utterance in side])
        for side in (one, other)
    )
    more = paired(fewer, errors, word_counts(wanted))
    low, high = more.interval or (float("nan"), float("nan"))
    relative = errors.sum() / max(1, fewer.sum()) - 1
    return f"{100 * more.rate:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}), {relative:+.1%}"


def draw(path: Path, figures: dict[tuple[str, str], dict[str, Any]], models: Sequence[str]) -> None:
    """WER with the language model: a group of bars for each condition."""
    from ds2edge.training.plots import new_figure

    names = list(dict.fromkeys(condition for condition, _ in figures))
    figure, axes = new_figure(2 + 1.2 * len(names), 4)
    width = 0.8 / len(models)
    for number, model in enumerate(models):
        at = [i + width * (number - (len(models) - 1) / 2) for i in range(len(names))]
        own = [figures[name, model][LANGUAGE_MODEL] for name in names]
        axes.bar(at, [one["wer"] for one in own], 0.9 * width, label=model, color=f"C{number}")
        for x, one in zip(at, own, strict=True):
            if one["wer_interval"]:
                axes.plot([x, x], one["wer_interval"], color="black", linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="WER with the language model, %", ylim=(0, None))
    axes.legend(fontsize=8)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=120)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Ds2edgeError, OSError) as error:
        print(f"conditions.py: {error}", file=sys.stderr)
        sys.exit(2)
