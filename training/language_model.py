"""`ds2edge lm TEXT...`: a pruned, quantised KenLM binary and its lexicon from text."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ds2edge.arguments import CommandParser
from ds2edge.bundle import LANGUAGE_MODEL, LEXICON
from ds2edge.errors import ConfigError, DataError, MissingExtraError
from ds2edge.language_model import DESCRIPTION_FILE, LanguageModel
from ds2edge.text import TokenSet, normalise
from ds2edge.training.arpa_mixture import mix_arpa
from ds2edge.training.data.spelling import (
    add_token_arguments,
    given_tokens,
    unknown_characters,
)
from ds2edge.training.size_budget import Pruning, prune_to_fit
from ds2edge.training.texts.prepare import checked_lines

log = logging.getLogger(__name__)

NAMED_CHARACTERS = 5  # in a message
MOST_ORDER = 6  # that the decoder loads: native/kenlm.cmake

EPILOG = """examples:
  ds2edge lm books.txt.xz sentences.txt -o lm-en
      lexicon of the 80,000 most frequent words and a 4-gram model of them
  ds2edge lm books.txt.xz -o lm-en --megabytes 10
      as exact as ten megabytes allow
  ds2edge lm books.txt.xz -o lm-en --words 200000 --order 5 --prune 0 0 1 1 2
      larger and more exact
  ds2edge lm books.txt.xz --adapt letters.txt -o lm-mine
      adapted to text of yours: all its words are in the lexicon, and a fifth of each probability
      comes from it; more where it is all that is ever said: --weight 0.5
  ds2edge lm novels.txt --tokens mandarin_characters --order 5 -o lm-zh
      of characters, for a Mandarin model
  ds2edge lm books.txt.xz --token é -o lm-mine
      for a model that `ds2edge finetune --token é` gave a token more

Adapting needs text of the language at large, too: a bundle holds its model, not its text. With a
bundle alone, give words and phrases when transcribing: --add-words, --boost.

needs KenLM's lmplz and build_binary; from a checkout of ds2edge, make lm-tools builds them.
"""


@dataclass(frozen=True)
class LanguageModelOptions:
    """How large and how exact a language model is."""

    words: int = 80_000  # most frequent words of the text, and only these
    order: int = 4  # of the n-grams
    prune: Pruning = (0, 1, 2, 3)  # n-grams seen no more often are dropped, by order
    megabytes: float = 0.0  # of the binary, at most: `prune` is chosen; 0: any
    probability_bits: int = 8  # of the quantised probabilities
    backoff_bits: int = 7  # of the quantised back-offs
    pointer_bits: int = 22  # of the trie's compressed pointers, at most
    adapted_prune: Pruning = (0, 0, 1)  # as `prune`, of the text that is adapted to
    weight: float = 0.2  # of that text in every probability

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1:
            raise ConfigError(f"--weight needs a number between 0 and 1, got {self.weight}")
        for prune in (self.prune, self.adapted_prune):
            if not prune or prune[0] != 0 or list(prune) != sorted(prune):
                raise ConfigError(
                    "--prune needs numbers that do not fall, the first of them 0 for words are "
                    f"never dropped; got {' '.join(map(str, prune))}"
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge lm` command."""
    defaults = LanguageModelOptions()
    parser = CommandParser(
        "ds2edge lm",
        description="Build a language model and lexicon from text, one sentence a line.",
        epilog=EPILOG,
    )
    parser.add_argument("texts", nargs="+", type=Path, help="text, plain or .xz or .gz")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--adapt", nargs="+", type=Path, default=[], metavar="TEXT", help="text of the kind to hear"
    )
    parser.add_argument(
        "--weight", type=float, default=defaults.weight, help="of --adapt, 0 to 1 [%(default)s]"
    )
    of_tokens = "that the model has; of Mandarin, a model of characters is built [%(default)s]"
    add_token_arguments(parser, of_tokens)
    parser.add_argument("--words", type=int, default=defaults.words, help="[%(default)s]")
    parser.add_argument("--order", type=int, default=defaults.order, help="[%(default)s]")
    parser.add_argument("--prune", type=int, nargs="+", default=defaults.prune, help="[0 1 2 3]")
    parser.add_argument(
        "--megabytes",
        type=float,
        default=0.0,
        metavar="MB",
        help="of the model, at most: it is pruned as little as that allows [what --prune gives]",
    )
    parser.add_argument("--tools", type=Path, help="folder of lmplz and build_binary [PATH]")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if given.megabytes < 0 or given.words < 1 or not 2 <= given.order <= MOST_ORDER:
        raise ConfigError(
            f"needed: --words 1 or more, --order 2 to {MOST_ORDER}, --megabytes above 0; "
            f"got {given.words}, {given.order}, {given.megabytes:g}"
        )
    options = LanguageModelOptions(
        given.words, given.order, tuple(given.prune), given.megabytes, weight=given.weight
    )
    tokens = given_tokens(given)
    made = build(given.texts, given.out, tokens, options, given.tools, given.adapt)
    paths = [path for path in (made.binary, made.lexicon) if path.exists()]
    sizes = {path.name: path.stat().st_size for path in paths}
    print(", ".join(f"{name}: {size / 1e6:.2f} MB" for name, size in sizes.items()))
    return 0


def build(
    texts: Sequence[Path],
    out: Path,
    tokens: TokenSet,
    options: LanguageModelOptions,
    tools: Path | None = None,
    adapt: Sequence[Path] = (),
) -> LanguageModel:
    """Build lexicon and model; of a token set without a space, a model of its tokens alone.

    Args:
        tools: folder of lmplz and build_binary; None: they are on the PATH.
        adapt: more text, whose model is mixed in: see `ds2edge.training.arpa_mixture`. To repeat it
            among the other text does less good: only the longest n-grams count what is repeated.

    Raises:
        DataError: a text cannot be read or holds no words, or KenLM refuses it.
        MissingExtraError: lmplz or build_binary is not installed.
    """
    lmplz, build_binary = (_tool(name, tools) for name in ("lmplz", "build_binary"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        sentences, adapted = Path(folder) / "text", Path(folder) / "adapted"
        counts, own = _write(texts, tokens, sentences), _write(adapt, tokens, adapted)
        frequent = [word for word, _ in counts.most_common(options.words)]
        words = sorted({*frequent, *own})
        lexicon, binary = (Path(folder) / name for name in (LEXICON, LANGUAGE_MODEL))
        lexicon.write_text("\n".join(words) + "\n", encoding="utf-8")

        def make(prune: Pruning) -> float:
            arpa = Path(folder) / "arpa"
            if adapt:
                parts = Path(folder) / "arpa0", Path(folder) / "arpa1"
                pad = ("--vocab_pad", len(words))  # both share out to all words that they never saw
                _run_lmplz(lmplz, sentences, lexicon, parts[0], options.order, prune, pad)
                own_prune = options.adapted_prune
                _run_lmplz(lmplz, adapted, lexicon, parts[1], options.order, own_prune, pad)
                mix_arpa(*parts, options.weight, arpa)
            else:
                _run_lmplz(lmplz, sentences, lexicon, arpa, options.order, prune)
            bits = ("-q", options.probability_bits, "-b", options.backoff_bits)
            _run([build_binary, "-s", *bits, "-a", options.pointer_bits, "trie", arpa, binary])
            megabytes = binary.stat().st_size / 1e6
            log.info("pruned %s: %.2f MB", " ".join(map(str, prune)), megabytes)
            return megabytes

        prune = options.prune
        if options.megabytes:
            prune = prune_to_fit(make, options.megabytes)
        make(prune)
        covered = sum(counts[word] for word in words) / counts.total()
        description = {
            "tokens": tokens.digest,
            "order": options.order,
            "of": "tokens" if tokens.space is None else "words",
            "words": len(words),
            "prune": prune,
            "sources": [path.name for path in texts],
            "text_words": counts.total(),
            "coverage": round(covered, 5),
        }
        if adapt:
            adapted_to = {"texts": [path.name for path in adapt], "weight": options.weight}
            description["adapted"] = {**adapted_to, "text_words": own.total()}
        # What was there before stays until all of the new one is there.
        os.replace(binary, out / LANGUAGE_MODEL)
        if tokens.space is None:
            (out / LEXICON).unlink(missing_ok=True)
        else:
            os.replace(lexicon, out / LEXICON)
        text = json.dumps(description, indent=1) + "\n"
        (out / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return LanguageModel(out, description)


def read_sentences(texts: Sequence[Path], tokens: TokenSet, again: bool = False) -> Iterator[str]:
    """Normalised sentences of text files, empty ones left out.

    Of letters and numerals that no token stands for nothing is left; where no spaces are written,
    nothing of their sentence: what is left, joined, would be another one. How many sentences had
    some is told when a text is over.

    Args:
        again: what there is to tell has been told.

    Raises:
        DataError: a text cannot be read, or is in a script that the tokens lack.
    """
    for path in texts:
        strange, characters = 0, Counter[str]()
        for line in checked_lines(path, tokens):
            if unknown := unknown_characters(line, tokens):
                strange += 1
                characters.update(unknown)
            if unknown and tokens.space is None:
                continue
            if sentence := normalise(line, tokens):
                yield sentence
        if strange and not again:
            _tell_strange(path, strange, characters, tokens)


def _tell_strange(path: Path, sentences: int, found: Counter[str], tokens: TokenSet) -> None:
    some = ", ".join(f"{c!r} {n:,} times" for c, n in found.most_common(NAMED_CHARACTERS))
    left_out = "and are left out" if tokens.space is None else "which are left out of them"
    numerals = tokens.space is None and any(map(str.isdigit, found))
    log.warning(
        "%s: %s sentences have characters that no token stands for, %s: %s%s",
        *(path, f"{sentences:,}", left_out, some),
        "; numerals are spelled out by: ds2edge data text --numerals" if numerals else "",
    )


def _write(texts: Sequence[Path], tokens: TokenSet, path: Path) -> Counter[str]:
    """The sentences of texts in one file, or their tokens where nothing stands between words.

    Returns: how often each word, or token, is in them.
    """
    counts = Counter[str]()
    with path.open("w", encoding="utf-8") as file:
        for sentence in read_sentences(texts, tokens):
            words = tokens.words(sentence)
            counts.update(words)
            file.write(" ".join(words) + "\n")
        if texts and not counts:
            raise DataError(f"no words in {', '.join(map(str, texts))}")
        if texts and tokens.space is None:  # a decoder needs a model that knows every token
            unseen = [token for token in tokens.tokens[1:] if token not in counts]
            file.writelines(f"{token}\n" for token in unseen)
            counts.update(unseen)
    return counts


def _run_lmplz(
    lmplz: str,
    sentences: Path,
    lexicon: Path,
    arpa: Path,
    order: int,
    prune: tuple[int, ...],
    more: Sequence[object] = (),
) -> None:
    thresholds = (prune + prune[-1:] * order)[:order]
    _run(
        [
            *(lmplz, "-o", order, "--prune", *thresholds, "--limit_vocab_file", lexicon),
            *("--text", sentences, "--arpa", arpa, "-T", arpa.parent, "-S", "1G"),
            *("--discount_fallback",),  # little text has no n-grams of some counts
            *more,
        ]
    )


def _tool(name: str, folder: Path | None) -> str:
    found = shutil.which(name, path=str(folder) if folder else None)
    if not found:
        raise MissingExtraError(
            f"KenLM's {name} is not in {folder or 'PATH'}; build it with `make lm-tools` in a "
            "checkout of ds2edge (needs Boost) and give its folder with --tools"
        )
    return found


def _run(command: Sequence[object]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()[-40:])
        raise DataError(f"{Path(str(command[0])).name} failed: {reason}")
