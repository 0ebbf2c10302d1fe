"""`ds2edge tune MANIFEST`: decoder weights and the label prior's, chosen on the dev split."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ds2edge.arguments import CommandParser
from ds2edge.bundle import LANGUAGE_MODEL as MODEL_FILE
from ds2edge.bundle_archive import file_digest
from ds2edge.decoder import Decoder, LogProbs, SearchOptions
from ds2edge.errors import ConfigError
from ds2edge.progress import track
from ds2edge.text import normalise
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.bootstrap import Interval
from ds2edge.training.evaluation.evaluate import check_folders
from ds2edge.training.evaluation.metrics import Counts, word_counts, word_errors
from ds2edge.training.evaluation.outputs import (
    Recogniser,
    add_model_arguments,
    open_recogniser,
)
from ds2edge.training.evaluation.prior import label_prior, subtract_prior
from ds2edge.training.evaluation.recognised import LANGUAGE_MODEL
from ds2edge.training.evaluation.search import KnownErrors, Setting, Trial, Tuned, search
from ds2edge.training.evaluation.sources import Source, read_sources
from ds2edge.training.evaluation.split import data_digest, refuse_test_split

TRIALS = 100
FEW_TRIALS = 40  # without a prior: two weights to find, not three
PLOTS = (".png", ".svg", ".pdf")

EPILOG = """examples:
  ds2edge tune speech/librispeech/manifest.tsv --bundle my-bundle --plot weights.png
      alpha, beta and the weight of the label prior, on split dev
  ds2edge tune dev.tsv --checkpoint best.npz --language-model lm-en --study weights.study
      a checkpoint; interrupted, the same command goes on
  ds2edge convert best.npz -o en --language-model lm-en --dev dev.tsv --prior-weight 0.4
      what to do with the label prior's weight; alpha and beta are then tuned again, for int8
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge tune` command."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(format="ds2edge: %(message)s")
    refuse_test_split(given.split, "tuning")
    if given.plot and given.plot.suffix not in PLOTS:
        raise ConfigError(f"--plot needs a name in {', '.join(PLOTS)}, got {given.plot}")
    check_folders(given.plot, given.study)
    if given.trials < 1 or given.seed < 0:
        raise ConfigError(
            f"--trials needs 1 or more and --seed 0 or more, got {given.trials}, {given.seed}"
        )
    sources = read_sources(given.manifests, given.split)
    changes = {} if given.beam is None else {"beam": given.beam}
    recogniser = open_recogniser(given.checkpoint or given.bundle, given.language_model, changes)
    decoder = recogniser.searches.get(LANGUAGE_MODEL)
    if not decoder:
        name = recogniser.listener.name
        raise ConfigError(f"{name} has no language model; give --language-model FOLDER")
    key = _key(recogniser, given.language_model, sources, decoder.options)
    known = KnownErrors(given.study, key)
    utterances = [source.utterance for source in sources]
    log_probs = track(recogniser.log_probs(utterances), "listening", len(utterances))
    tuned = tune(
        decoder,
        [normalise(u.text, recogniser.tokens) for u in utterances],
        list(log_probs),
        trials=given.trials,
        seed=given.seed,
        prior=not given.no_prior,
        known=known,
    )
    print(report(tuned))
    if given.plot:
        from ds2edge.training.evaluation.charts import tuning_chart

        tuning_chart(tuned, given.plot)
    return 0


def tune(
    decoder: Decoder,
    wanted: Sequence[str],
    blocks: Sequence[LogProbs],
    *,
    trials: int = FEW_TRIALS,
    seed: int = 0,
    prior: bool = False,
    known: KnownErrors | None = None,
) -> Tuned:
    """Decode with one setting after the other, the decoder's own first.

    Args:
        wanted: what is said in each recording, normalised.
        blocks: log-probabilities of each.
        trials, seed, prior, known: see `search`.
    """
    log_prior, words = label_prior(blocks), word_counts(wanted)
    threads = len(os.sched_getaffinity(0))

    def count_errors(setting: Setting) -> Counts:
        one = _with_weights(decoder, setting)
        divided = [subtract_prior(block, log_prior, setting.prior) for block in blocks]
        best = (best for best, *_ in one.decode(divided, threads=threads))
        said = [decoder.tokens.join(word.text for word in each.words) for each in best]
        return word_errors(wanted, said)

    start = Setting(decoder.options.alpha, decoder.options.beta)
    return search(
        count_errors,
        words,
        trials=trials,
        seed=seed,
        start=start,
        prior=prior,
        known=known,
    )


def tuned_decoder(
    decoder: Decoder, utterances: Sequence[Utterance], blocks: Sequence[LogProbs]
) -> Decoder:
    """The decoder with the alpha and beta that recordings choose: the tuning of `convert`."""
    wanted = [normalise(utterance.text, decoder.tokens) for utterance in utterances]
    return _with_weights(decoder, tune(decoder, wanted, blocks).chosen.setting)


def report(tuned: Tuned) -> str:
    """What was found, for people."""
    alike = [trial.setting for trial in tuned.alike]
    ranges = (f"{name} {_range([getattr(s, name) for s in alike])}" for name in Setting._fields)
    lines = [
        f"first    {_shown(tuned, tuned.trials[0])}",
        f"best     {_shown(tuned, tuned.best)}",
        f"alike    {len(alike)} of {len(tuned.trials)} settings, within one standard error of the "
        f"best: {', '.join(ranges)}",
        f"chosen   {_shown(tuned, tuned.chosen)}, the middle of them",
        "in brackets: 95 % intervals, bootstrap samples of utterances",
    ]
    if weight := tuned.chosen.setting.prior:
        lines.append(f"for the label prior: ds2edge convert --prior-weight {weight:g} --dev ...")
    return "\n".join(lines)


def _parser() -> CommandParser:
    parser = CommandParser(
        "ds2edge tune",
        usage="%(prog)s [options] MANIFEST [MANIFEST ...]",
        description="Find the decoder weights of least word error rate, and how sure they are.",
        epilog=EPILOG,
    )
    parser.add_argument("manifests", metavar="MANIFEST", nargs="+", type=Path, help="manifest.tsv")
    parser.add_argument("--split", default="dev", help="of it, never test [dev]")
    add_model_arguments(parser)
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried [%(default)s]")
    parser.add_argument("--no-prior", action="store_true", help="alpha and beta alone")
    parser.add_argument("--study", type=Path, metavar="FILE", help="keep trials there, and go on")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="error rate over the weights; png, svg or pdf"
    )
    return parser


def _with_weights(decoder: Decoder, setting: Setting) -> Decoder:
    """With alpha and beta of a setting; the prior's weight is the model's affair."""
    options = replace(decoder.options, alpha=setting.alpha, beta=setting.beta)
    return decoder.with_options(options)


def _shown(tuned: Tuned, trial: Trial) -> str:
    s, interval = trial.setting, tuned.interval(trial)
    return (
        f"alpha {s.alpha:g}, beta {s.beta:g}, prior {s.prior:g}: "
        f"WER {100 * tuned.rate(trial):.2f} %{_bracketed(interval)}"
    )


def _bracketed(interval: Interval | None) -> str:
    return f" ({100 * interval.low:.1f}-{100 * interval.high:.1f})" if interval else ""


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _key(
    recogniser: Recogniser,
    language_model: Path | None,
    sources: Sequence[Source],
    options: SearchOptions,
) -> str:
    """All that the errors of a setting depend on."""
    data = data_digest((s.path, s.utterance.text) for s in sources)
    language = file_digest(language_model / MODEL_FILE) if language_model else ""
    return f"{recogniser.listener.digest} {language} {data} {options}"
