"""`ds2edge lm TEXT...`: a pruned, quantised KenLM binary and its lexicon from text."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ds2edge.arguments import CommandParser
from ds2edge.bundle import LANGUAGE_MODEL, LEXICON
from ds2edge.errors import DataError, MissingExtraError
from ds2edge.text import TokenSet, english_characters, normalise

DESCRIPTION_FILE = "language_model.json"

EPILOG = """examples:
  ds2edge lm books.txt.xz sentences.txt -o lm-en
      lexicon of the 80,000 most frequent words and a 4-gram model of them
  ds2edge lm books.txt.xz -o lm-en --words 200000 --order 5 --prune 0 0 1 1 2
      larger and more exact

needs KenLM's lmplz and build_binary; from a checkout of ds2edge, make lm-tools builds them.
"""


@dataclass(frozen=True)
class LanguageModelOptions:
    """How large and how exact a language model is."""

    words: int = 80_000  # most frequent words of the text, and only these
    order: int = 4  # of the n-grams
    prune: tuple[int, ...] = (0, 1, 2, 3)  # n-grams seen no more often are dropped, by order
    probability_bits: int = 8  # of the quantised probabilities
    backoff_bits: int = 7  # of the quantised back-offs
    pointer_bits: int = 22  # of the trie's compressed pointers, at most


@dataclass(frozen=True)
class LanguageModel:
    """A language model folder: what `convert` puts into a bundle."""

    folder: Path
    description: dict[str, Any]  # token digest, order, words, sources

    @property
    def lexicon(self) -> Path:
        return self.folder / LEXICON

    @property
    def binary(self) -> Path:
        return self.folder / LANGUAGE_MODEL


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
    parser.add_argument("--words", type=int, default=defaults.words, help="[%(default)s]")
    parser.add_argument("--order", type=int, default=defaults.order, help="[%(default)s]")
    parser.add_argument("--prune", type=int, nargs="+", default=defaults.prune, help="[0 1 2 3]")
    parser.add_argument("--tools", type=Path, help="folder of lmplz and build_binary [PATH]")
    given = parser.parse_args(arguments)
    options = LanguageModelOptions(given.words, given.order, tuple(given.prune))
    made = build(given.texts, given.out, english_characters(), options, given.tools)
    sizes = {path.name: path.stat().st_size for path in (made.binary, made.lexicon)}
    print(", ".join(f"{name}: {size / 1e6:.2f} MB" for name, size in sizes.items()))
    return 0


def build(
    texts: Sequence[Path],
    out: Path,
    tokens: TokenSet,
    options: LanguageModelOptions,
    tools: Path | None = None,
) -> LanguageModel:
    """Build lexicon and model.

    Raises:
        DataError: a text cannot be read or holds no words, or KenLM refuses it.
        MissingExtraError: lmplz or build_binary is not installed.
    """
    lmplz, build_binary = (_tool(name, tools) for name in ("lmplz", "build_binary"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        sentences, counts = Path(folder) / "text", Counter[str]()
        with sentences.open("w", encoding="utf-8") as file:
            for sentence in read_sentences(texts, tokens):
                counts.update(sentence.split())
                file.write(sentence + "\n")
        if not counts:
            raise DataError(f"no words in {', '.join(map(str, texts))}")
        words = sorted(word for word, _ in counts.most_common(options.words))
        (out / LEXICON).write_text("\n".join(words) + "\n", encoding="utf-8")
        _run_lmplz(lmplz, sentences, out / LEXICON, Path(folder), options)
        _run(
            [
                *(build_binary, "-s", "-q", options.probability_bits, "-b", options.backoff_bits),
                *("-a", options.pointer_bits, "trie", Path(folder) / "arpa", out / LANGUAGE_MODEL),
            ]
        )
    covered = sum(counts[word] for word in words) / counts.total()
    description = {
        "tokens": tokens.digest,
        "order": options.order,
        "words": len(words),
        "prune": options.prune,
        "sources": [path.name for path in texts],
        "text_words": counts.total(),
        "coverage": round(covered, 5),
    }
    (out / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return LanguageModel(out, description)


def open_language_model(folder: Path) -> LanguageModel:
    """The language model in a folder that `ds2edge lm` wrote.

    Raises:
        DataError: something is missing.
    """
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no language model of `ds2edge lm`: {error}") from None
    made = LanguageModel(folder, description)
    for path in (made.lexicon, made.binary):
        if not path.is_file():
            raise DataError(f"{folder} has no {path.name}; build it again with `ds2edge lm`")
    return made


def read_sentences(texts: Sequence[Path], tokens: TokenSet) -> Iterator[str]:
    """Normalised sentences of text files, empty ones left out."""
    for path in texts:
        try:
            with _open_text(path) as file:
                for line in file:
                    if sentence := normalise(line, tokens):
                        yield sentence
        except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
            raise DataError(f"cannot read text {path}: {error}") from None


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _run_lmplz(
    lmplz: str, sentences: Path, lexicon: Path, folder: Path, options: LanguageModelOptions
) -> None:
    prune = (options.prune + options.prune[-1:] * options.order)[: options.order]
    _run(
        [
            *(lmplz, "-o", options.order, "--prune", *prune, "--limit_vocab_file", lexicon),
            *("--text", sentences, "--arpa", folder / "arpa", "-T", folder, "-S", "1G"),
            *("--discount_fallback",),  # little text has no n-grams of some counts
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
