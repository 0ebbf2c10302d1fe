"""Hot phrases: recall of words that lexicon and language model lack, side effects, speed.

The words are those of a split that the language model's text does not have among its most frequent
ones, most spoken first. A language model is built from the text without them, so that nothing but
the boost of `Decoder.with_phrases` speaks for them. The same is done for pairs of words, and for
single words without any lexicon and language model.

recall: share of the phrases' occurrences that are heard where they are said. false: phrases heard
in 10 minutes of audio without them: all recordings, of the other split as well, whose text has
none. far: words that change though they are more than one position away from any phrase that is
heard; apart: those of them that no run of changed words connects with one.

Needs jiwer, KenLM's tools (`make lm-tools`), and matplotlib for --plot.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise, zip_longest
from pathlib import Path

import jiwer
from common import print_table
from decoder_measure import pin
from decoder_problems import bundle_log_probs

from ds2edge import Ds2edgeError
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.decoder import Decoder, LogProbs
from ds2edge.pipeline import load_decoder
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.metrics import word_error_rate
from ds2edge.training.language_model import LanguageModelOptions, build, read_sentences

EXAMPLES = """examples:
  python benchmarks/phrases.py speech/librispeech/manifest.tsv --split dev --other test \\
      --text text/en-books.txt.xz text/en-commonvoice-sentences.txt.xz --plot phrases.png
  python benchmarks/phrases.py speech/librispeech/manifest.tsv --split test --other dev \\
      --text text/en-books.txt.xz text/en-commonvoice-sentences.txt.xz --boosts 0 0.75
  python benchmarks/phrases.py my/manifest.tsv --split test --text my.txt --by phrase \\
      --boosts 5 9 --boost 5
"""
COMMON = 2000  # words so frequent in the text are not hot
SHORTEST = 6  # letters of a hot word
MANY = 1000  # phrases, for the speed
STAND_IN = "zq"  # how words begin that stand in the text for those taken out
AIM_FALSE, AIM_SLOWER = 1.0, 1.3

Column = tuple[str | None, str | None]  # of an alignment: a word of either text


@dataclass(frozen=True)
class Speech:
    """Recordings as the acoustic model hears them, and what was said."""

    log_probs: list[LogProbs]
    texts: list[str]
    seconds: list[float]

    def without(self, phrases: Sequence[str]) -> Speech:
        """The recordings in which no phrase is said."""
        kept = [i for i, text in enumerate(self.texts) if not counted(text, phrases).total()]
        return Speech(
            [self.log_probs[i] for i in kept],
            [self.texts[i] for i in kept],
            [self.seconds[i] for i in kept],
        )

    def joined(self, other: Speech) -> Speech:
        """Both, one after the other."""
        return Speech(
            self.log_probs + other.log_probs,
            self.texts + other.texts,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Score:
    """What a decoder made of the speech."""

    recall: float  # percent of occurrences
    false: float  # in 10 minutes without phrases
    far: int  # words changed more than one position away from a phrase
    apart: int  # of them those in no run of changes with a phrase
    error_rate: float  # percent of words

    def row(self, name: str) -> list[str]:
        """Of the table."""
        return [
            *(name, f"{self.recall:.1f}", f"{self.false:.1f}"),
            *(str(self.far), str(self.apart), f"{self.error_rate:.1f}"),
        ]


@dataclass(frozen=True)
class Study:
    """One kind of phrases for one decoder."""

    name: str
    decoder: Decoder  # without phrases
    phrases: list[str]
    speech: Speech
    silent: Speech  # without the phrases
    boost: Callable[[str, float], float]  # nats, of a phrase and the value of the command line

    def score(self, boost: float | None, base: Sequence[str] | None) -> Score:
        """Recall, false insertions and side effects.

        Args:
            boost: None: without phrases.
            base: what is heard without phrases.
        """
        decoder = self.decoder
        if boost is not None:
            decoder = decoder.with_phrases({p: self.boost(p, boost) for p in self.phrases})
        said = hear(decoder, self.speech)
        quiet = hear(decoder, self.silent)
        false = sum(counted(text, self.phrases).total() for text in quiet)
        changed = [far_changes(b, s, self.phrases) for b, s in zip(base or said, said, strict=True)]
        return Score(
            100 * recall(self.speech.texts, said, self.phrases),
            600 * false / sum(self.silent.seconds),
            sum(far for far, _ in changed),
            sum(apart for _, apart in changed),
            100 * word_error_rate(self.speech.texts, said).rate,
        )


def main() -> int:
    """Print all tables."""
    given = parse()
    bundle = load_bundle(given.bundle)
    speech = load_speech(bundle, given.manifest, given.split, given.cache)
    other = load_speech(bundle, given.manifest, given.other, given.cache)
    words, lexicon, model = without_words(
        given.text, speech.texts, bundle.manifest.tokens, given.words, given.work, given.tools
    )
    decoder = Decoder(
        bundle.manifest.tokens,
        words=lexicon,
        language_model=model,
        options=bundle.manifest.decoder,
    )
    letters = Decoder(bundle.manifest.tokens, options=bundle.manifest.decoder)
    pairs = pairs_with(words, speech.texts)
    everything = speech.joined(other)

    def study(name: str, decoder: Decoder, phrases: list[str]) -> Study:
        return Study(
            name, decoder, phrases, speech, everything.without(phrases), BOOSTS_BY[given.by]
        )

    print(f"words of split {given.split}: {', '.join(words)}\n")
    single = study("words", decoder, words)
    scores = run(single, given.boosts, study("", load_decoder(bundle), words), given.by)
    run(study("pairs of words", decoder, pairs), given.boosts, None, given.by)
    run(study("words, no lexicon and language model", letters, words), given.boosts, None, given.by)
    if given.plot:
        plot(scores, given.by, given.plot)
    pin(given.core)
    report_speed(single, lexicon, given.boost, given.rounds)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="recordings with their texts")
    parser.add_argument("--split", default="test", help="whose words are hot [%(default)s]")
    parser.add_argument("--other", default="dev", help="more audio, without them [%(default)s]")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="of the language model")
    parser.add_argument("--bundle", default="en", help="[%(default)s]")
    parser.add_argument("--words", type=int, default=50, help="that are hot [%(default)s]")
    parser.add_argument(
        "--boosts",
        type=float,
        nargs="+",
        default=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0],
        help="to compare, in nats [0 to 2]",
    )
    parser.add_argument("--boost", type=float, default=0.75, help="of the timing [%(default)s]")
    parser.add_argument("--by", choices=BOOSTS_BY, default="letter", help="boosts [%(default)s]")
    parser.add_argument("--work", type=Path, default=Path("build/phrases"), help="[%(default)s]")
    parser.add_argument("--tools", type=Path, help="folder of lmplz and build_binary [PATH]")
    parser.add_argument("--cache", type=Path, help="keeps log-probabilities, a .npz file")
    parser.add_argument("--plot", type=Path, help="draw recall and false insertions here, a PNG")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing [%(default)s]")
    parser.add_argument("--core", type=int, default=1, help="that is timed on [%(default)s]")
    given = parser.parse_args()
    given.boosts.sort()
    return given


def by_letter(phrase: str, boost: float) -> float:
    """So much for each letter."""
    return boost * len(phrase.replace(" ", ""))


def by_phrase(_: str, boost: float) -> float:
    """The same for each phrase."""
    return boost


BOOSTS_BY: dict[str, Callable[[str, float], float]] = {"letter": by_letter, "phrase": by_phrase}


def load_speech(bundle: Bundle, manifest: Path, split: str, cache: Path | None) -> Speech:
    """A split of the manifest."""
    utterances = read_manifest(manifest, split)
    texts = [normalise(u.text, bundle.manifest.tokens) for u in utterances]
    return Speech(
        bundle_log_probs(bundle, utterances, cache), texts, [u.seconds for u in utterances]
    )


def without_words(
    sources: Sequence[Path],
    texts: Sequence[str],
    tokens: TokenSet,
    number: int,
    work: Path,
    tools: Path | None,
) -> tuple[list[str], list[str], Path]:
    """The hot words, and a lexicon and language model without them; kept in `work`."""
    key = f"{[(p.name, p.stat().st_size) for p in sources]} {texts} {number}"
    folder = work / hashlib.sha256(key.encode()).hexdigest()[:12]
    chosen = folder / "words.json"
    if not chosen.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print("language model without the words: some minutes, once", file=sys.stderr)
        sentences = list(read_sentences(sources, tokens))
        words = choose_words(sentences, texts, number)
        left = folder / "text"
        with left.open("w", encoding="utf-8") as file:
            file.writelines(f"{s}\n" for s in take_out(words, sentences))
        build([left], folder, tokens, LanguageModelOptions(), tools)
        left.unlink()
        chosen.write_text(json.dumps(words), encoding="utf-8")
    lexicon = (folder / "lexicon.txt").read_text(encoding="utf-8").split()
    known = [word for word in lexicon if not word.startswith(STAND_IN)]
    return json.loads(chosen.read_text(encoding="utf-8")), known, folder / "language_model.bin"


def choose_words(sentences: Sequence[str], texts: Sequence[str], number: int) -> list[str]:
    """Long words of the texts that are rare in the sentences; the most spoken first."""
    seen = Counter(word for sentence in sentences for word in sentence.split())
    common = {word for word, _ in seen.most_common(COMMON)}
    said = Counter(word for text in texts for word in text.split())
    rare = [word for word in said if len(word) >= SHORTEST and word not in common]
    return sorted(rare, key=lambda word: (-said[word], word))[:number]


def take_out(words: Sequence[str], sentences: Sequence[str]) -> list[str]:
    """The sentences with another stand-in for each occurrence of a word: too rare to be learnt."""
    hot, numbers = set(words), count()

    def stand_in() -> str:
        return STAND_IN + "".join(chr(ord("a") + int(digit)) for digit in str(next(numbers)))

    return [
        sentence
        if hot.isdisjoint(parts := sentence.split())
        else " ".join(stand_in() if part in hot else part for part in parts)
        for sentence in sentences
    ]


def pairs_with(words: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Each hot word with the word before it, where it is first said; else with the one after."""
    pairs: dict[str, str] = {}
    for text in texts:
        for first, second in pairwise(text.split()):
            if second in words:
                pairs.setdefault(second, f"{first} {second}")
            elif first in words:
                pairs.setdefault(first, f"{first} {second}")
    return sorted(set(pairs.values()))


def hear(decoder: Decoder, speech: Speech) -> list[str]:
    """The text of each recording."""
    found = decoder.decode(speech.log_probs, threads=2)
    return [hypotheses[0].text if hypotheses else "" for hypotheses in found]


def counted(text: str, phrases: Sequence[str]) -> Counter[str]:
    """How often a text has each phrase, whole words only."""
    spaced = " " + text.replace(" ", "  ") + " "
    return Counter({p: n for p in phrases if (n := spaced.count(f" {p.replace(' ', '  ')} "))})


def columns(first: str, second: str) -> list[Column]:
    """Two texts, word by word."""
    if not first or not second:
        return [(w, None) for w in first.split()] + [(None, w) for w in second.split()]
    aligned = jiwer.process_words(first, second)
    found: list[Column] = []
    for chunk in aligned.alignments[0]:
        a = aligned.references[0][chunk.ref_start_idx : chunk.ref_end_idx]
        b = aligned.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx]
        found += zip_longest(a, b)
    return found


def recall(wanted: Sequence[str], said: Sequence[str], phrases: Sequence[str]) -> float:
    """Share of the phrases' occurrences all of whose words are heard in their places."""
    occurrences = found = 0
    for text, heard in zip(wanted, said, strict=True):
        pairs = [(a, a == b) for a, b in columns(text, heard) if a is not None]
        words = [word for word, _ in pairs]
        for phrase in counted(text, phrases):
            parts = phrase.split()
            for at in range(len(words) - len(parts) + 1):
                if words[at : at + len(parts)] == parts:
                    occurrences += 1
                    found += all(hit for _, hit in pairs[at : at + len(parts)])
    return found / max(1, occurrences)


def far_changes(base: str, said: str, phrases: Sequence[str]) -> tuple[int, int]:
    """Changed words beyond the neighbours of the phrases heard, and those in no run with one."""
    aligned = columns(base, said)
    hot = {word for phrase in counted(said, phrases) for word in phrase.split()}
    changed = {i for i, (a, b) in enumerate(aligned) if a != b}
    places = {i for i, (_, b) in enumerate(aligned) if b in hot}
    near = {place + step for place in places for step in (-1, 0, 1)}
    connected = set(near)
    for step in (-1, 1):
        for place in places:
            while (place := place + step) in changed:
                connected.add(place)
    return len(changed - near), len(changed - near - connected)


def run(
    study: Study, boosts: Sequence[float], ceiling: Study | None, by: str
) -> Mapping[float, Score]:
    """Score all boosts and print the table.

    Args:
        ceiling: a decoder that knows the words.
    """
    base = hear(study.decoder, study.speech)
    plain = study.score(None, base)
    scores = {boost: study.score(boost, base) for boost in track(boosts, study.name, len(boosts))}
    said = sum(counted(text, study.phrases).total() for text in study.speech.texts)
    print(
        f"{study.name}: {len(study.phrases)} phrases, said {said} times in "
        f"{sum(study.speech.seconds) / 60:.1f} min, {sum(study.silent.seconds) / 60:.1f} min "
        f"without them (aim: at most {AIM_FALSE:g} false in 10 min)"
    )
    rows = [plain.row("no phrases")]
    if ceiling:
        rows.append(ceiling.score(None, None).row("in lexicon and model"))
    rows += [score.row(f"{boost:g} a {by}") for boost, score in scores.items()]
    print_table(("boost, nats", "recall %", "false/10 min", "far", "apart", "WER %"), rows)
    print()
    return scores


def report_speed(study: Study, lexicon: Sequence[str], boost: float, rounds: int) -> None:
    """Time of decoding with phrases against none; every round runs all, the least counts."""
    rng = random.Random(1)
    many = [" ".join(rng.sample(list(lexicon), 1 + i % 2)) for i in range(MANY)]
    decoders = {
        name: study.decoder.with_phrases({p: study.boost(p, boost) for p in phrases})
        for name, phrases in (
            ("no phrases", []),
            (f"{len(study.phrases)} hot words", study.phrases),
            (f"{MANY} words and pairs of the lexicon", many),
            (f"the hot words and {MANY} more", [*study.phrases, *many]),
        )
    }
    spent = dict.fromkeys(decoders, float("inf"))
    steps = [name for _ in range(rounds) for name in decoders]
    for name in track(steps, "speed", len(steps)):
        began = time.process_time()
        decoders[name].decode(study.speech.log_probs)
        spent[name] = min(spent[name], time.process_time() - began)
    seconds, none = sum(study.speech.seconds), spent["no phrases"]
    rows = [[n, f"{1000 * t / seconds:.2f}", f"{t / none:.2f}"] for n, t in spent.items()]
    print(f"speed, one thread, boost {boost:g} (aim: below {AIM_SLOWER:g} times)")
    print_table(("phrases", "ms for 1 s of audio", "times"), rows)


def plot(scores: Mapping[float, Score], by: str, path: Path) -> None:
    """Recall, word errors and false insertions over the boost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(6.4, 4.0))
    right = left.twinx()
    boosts = list(scores)
    left.plot(boosts, [s.recall for s in scores.values()], "o-", color="C0", label="recall %")
    left.plot(boosts, [s.error_rate for s in scores.values()], "s-", color="C2", label="WER %")
    right.plot(boosts, [s.false for s in scores.values()], "^--", color="C3", label="false")
    right.axhline(AIM_FALSE, color="C3", linewidth=0.5)
    left.set(xlabel=f"boost, nats for each {by}", ylabel="recall, WER (%)", ylim=(0, 100))
    right.set(ylabel="false insertions in 10 min", ylim=(0, 10))
    figure.legend(loc="upper left", bbox_to_anchor=(0.12, 0.88))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except Ds2edgeError as error:
        raise SystemExit(f"phrases.py: {error}") from None
