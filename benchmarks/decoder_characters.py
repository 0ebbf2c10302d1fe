"""The problem of 5,000 characters: token set, texts and a character language model."""

from __future__ import annotations

import lzma
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from decoder_problems import MANDARIN_VOICE, Problem, shortened, synthetic_mandarin

from ds2edge.errors import DataError
from ds2edge.text import BLANK_TOKEN, TokenSet

SIZE = 5000  # tokens, the blank included
ORDER = 5
FIRST, LAST = "\u4e00", "\u9fff"  # of the CJK block


def mandarin_problem(
    text: Path | None, tools: Path | None, folder: Path, seconds: tuple[float, float]
) -> Problem:
    """Sentences of `text`, or made-up ones; the language model is built from all the others.

    Args:
        tools: folder of KenLM's lmplz and build_binary; without them there is no language model.
        folder: where the language model is written.
        seconds: of speech to tune on and to test on.
    """
    sentences = read_sentences(text) if text else invented_sentences(40_000)
    random.Random(1).shuffle(sentences)
    tune = shortened(sentences, MANDARIN_VOICE, seconds[0])
    test = shortened(sentences[len(tune) :], MANDARIN_VOICE, seconds[1])
    learned = sentences[len(tune) + len(test) :]
    tokens = character_tokens(sentences)
    known = set(tokens.tokens)
    tune, test = ([s for s in part if known.issuperset(s)] for part in (tune, test))
    return synthetic_mandarin(tokens, build_model(learned, tools, folder), tune, test)


def read_sentences(path: Path) -> list[str]:
    """The Chinese characters of each line, without repeats of a whole line."""
    opened = lzma.open if path.suffix == ".xz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            lines = ["".join(c for c in line if FIRST <= c <= LAST) for line in file]
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    return [line for line in dict.fromkeys(lines) if len(line) >= 4]


def invented_sentences(count: int) -> list[str]:
    """Sentences of a language in which each character has few successors."""
    rng = random.Random(2)
    characters = [chr(ord(FIRST) + i) for i in range(4000)]
    weights = [1 / (i + 10) for i in range(len(characters))]
    following = {c: rng.choices(characters, weights, k=25) for c in characters}
    sentences = []
    for _ in range(count):
        sentence = rng.choices(characters, weights)
        while len(sentence) < rng.randint(8, 24):
            sentence.append(following[sentence[-1]][min(24, int(rng.expovariate(0.15)))])
        sentences.append("".join(sentence))
    return sentences


def character_tokens(sentences: Sequence[str]) -> TokenSet:
    """The most frequent characters, filled up with others."""
    counts = Counter("".join(sentences))
    characters = [c for c, _ in counts.most_common(SIZE - 1)]
    others = (chr(i) for i in range(ord(FIRST), ord(LAST)) if chr(i) not in counts)
    characters += [next(others) for _ in range(SIZE - 1 - len(characters))]
    return TokenSet((BLANK_TOKEN, *sorted(characters)))


def build_model(sentences: Sequence[str], tools: Path | None, folder: Path) -> Path | None:
    """A character 5-gram by KenLM, or None if its tools are not there."""
    found = [shutil.which(t, path=tools and str(tools)) for t in ("lmplz", "build_binary")]
    if None in found:
        print(f"no lmplz or build_binary in {tools or 'PATH'}: no character model", file=sys.stderr)
        return None
    text, arpa, binary = (folder / name for name in ("text", "arpa", "characters.bin"))
    text.write_text("".join(" ".join(s) + "\n" for s in sentences), encoding="utf-8")
    lmplz = [found[0], "-o", ORDER, "--prune", 0, 0, 1, 1, 2, "--discount_fallback"]
    _run([*lmplz, "--text", text, "--arpa", arpa, "-T", folder, "-S", "500M"])
    _run([found[1], "-s", "-q", 8, "-b", 7, "-a", 22, "trie", arpa, binary])
    return binary


def _run(command: Sequence[object]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"{command[0]} failed: {' '.join(done.stderr.split()[-40:])}")
