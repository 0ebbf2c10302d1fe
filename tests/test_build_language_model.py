"""Building a language model from text with KenLM's tools (make lm-tools)."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest

from ds2edge.cli import main as cli
from ds2edge.decoder import Decoder, SearchOptions, greedy
from ds2edge.errors import DataError
from ds2edge.language_model import LanguageModel, open_language_model
from ds2edge.text import (
    BLANK_TOKEN,
    english_bigrams,
    english_characters,
    mandarin_characters,
    with_tokens,
)
from ds2edge.training.evaluation.outputs import language_decoder
from ds2edge.training.language_model import read_sentences

TOOLS = Path(__file__).parents[1] / "build" / "tools"
SENTENCES = ["The cat sat on the mat.", "A cat -- the cat! -- ran.", "", "The dog sat."]


def write_text(folder: Path) -> list[Path]:
    plain, packed, zipped = folder / "a.txt", folder / "b.txt.xz", folder / "c.txt.gz"
    plain.write_text("\n".join(SENTENCES))
    packed.write_bytes(lzma.compress("\n".join(SENTENCES).encode()))
    zipped.write_bytes(gzip.compress("\n".join(SENTENCES).encode()))
    return [plain, packed, zipped]


def test_text_is_read_and_normalised_from_any_packing(tmp_path: Path) -> None:
    found = list(read_sentences(write_text(tmp_path), english_characters()))
    assert found == ["the cat sat on the mat", "a cat the cat ran", "the dog sat"] * 3


@pytest.mark.parametrize("name", ["missing.txt", "broken.txt.xz", "folder"])
def test_unreadable_text_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.txt.xz").write_bytes(b"not xz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name):
        list(read_sentences([tmp_path / name], english_characters()))


def test_without_the_tools_the_remedy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(write_text(tmp_path)[0])
    assert cli(["lm", text, "-o", str(tmp_path / "lm"), "--tools", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "make lm-tools" in error


@pytest.mark.system
def test_text_becomes_a_lexicon_and_a_model_that_prefers_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [str(path) for path in write_text(tmp_path)]
    out = tmp_path / "lm"
    small = ["--words", "6", "--order", "3", "--prune", "0"]
    assert cli(["lm", *texts, "-o", str(out), "--tools", str(TOOLS), *small]) == 0
    assert "MB" in capsys.readouterr().out
    made = open_language_model(out)
    words = made.lexicon.read_text().split()
    assert len(words) == 6
    assert {"the", "cat", "sat"} <= set(words)
    assert json.loads((out / "language_model.json").read_text())["text_words"] == 14 * 3
    from ds2edge._native import LanguageModel

    model = LanguageModel(str(made.binary))
    assert model.order == 3
    assert model.score(["the", "cat", "sat"]) > model.score(["sat", "cat", "the"])
    Decoder(english_characters(), words=words, language_model=made.binary)


@pytest.mark.system
def test_text_without_words_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n12 34\n")
    assert cli(["lm", str(path), "-o", str(tmp_path / "lm"), "--tools", str(TOOLS)]) == 2
    assert "no words" in capsys.readouterr().err


HARBOUR = [
    f"the {ship} moored at quay {n}" for ship in ("trawler", "pilot") for n in ("one", "two")
]


def perplexity(made: LanguageModel, sentences: list[str]) -> float:
    from ds2edge._native import LanguageModel as Native

    model = Native(str(made.binary))
    words = [sentence.split() for sentence in sentences]
    return math.exp(-sum(map(model.score, words)) / sum(len(w) + 1 for w in words))


@pytest.mark.system
def test_a_model_is_adapted_to_text_without_any_audio(tmp_path: Path) -> None:
    base, own = tmp_path / "base.txt", tmp_path / "own.txt"
    base.write_text("\n".join(SENTENCES * 20 + ["the one dog sat at two mats"] * 20))
    own.write_text("\n".join(HARBOUR[:3] * 4))
    options = ["--words", "8", "--order", "3", "--prune", "0", "--tools", str(TOOLS)]
    plain, adapted = tmp_path / "plain", tmp_path / "adapted"
    assert cli(["lm", str(base), "-o", str(plain), *options]) == 0
    assert cli(["lm", str(base), "--adapt", str(own), "-o", str(adapted), *options]) == 0
    before, after = open_language_model(plain), open_language_model(adapted)
    assert "trawler" not in before.lexicon.read_text().split()
    assert {"trawler", "pilot", "moored", "quay", "cat"} <= set(after.lexicon.read_text().split())
    assert perplexity(after, HARBOUR[3:]) < 0.5 * perplexity(before, HARBOUR[3:])
    assert perplexity(after, ["the cat sat"]) < 2 * perplexity(before, ["the cat sat"])
    assert after.description["adapted"] == {
        "texts": ["own.txt"],
        "weight": 0.2,
        "text_words": 12 * 6,
    }
    words = after.lexicon.read_text().split()
    Decoder(english_characters(), words=words, language_model=after.binary)


@pytest.mark.system
def test_a_mandarin_model_is_of_characters(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("你好吗。\n你好\n他很好。\n几号\n" * 5)
    command = ["lm", str(text), "-o", str(tmp_path / "lm"), "--tools", str(TOOLS)]
    command += ["--order", "2", "--prune", "0", "--tokens", "mandarin_characters"]
    assert cli(command) == 0
    made, tokens = open_language_model(tmp_path / "lm"), mandarin_characters()
    assert made.words is None

    log_probs = np.full((5, len(tokens)), -12.0, np.float32)
    heard = [
        {"你": 1.0},
        {BLANK_TOKEN: 1.0},
        {"好": 0.48, "号": 0.52},
        {BLANK_TOKEN: 1.0},
        {"吗": 1.0},
    ]
    for frame, said in zip(log_probs, heard, strict=True):
        for token, probability in said.items():
            frame[tokens.tokens.index(token)] = np.log(probability)
    assert greedy(log_probs, tokens) == "你号吗"
    decoder = language_decoder(tmp_path / "lm", tokens, SearchOptions())
    ((best, *_),) = decoder.decode([log_probs])
    assert [word.text for word in best.words] == ["你", "好", "吗"]


@pytest.mark.system
def test_bigram_models_have_language_models_of_words(tmp_path: Path) -> None:
    (text, *_) = write_text(tmp_path)
    command = ["lm", str(text), "-o", str(tmp_path / "lm"), "--tools", str(TOOLS)]
    assert cli([*command, "--order", "2", "--prune", "0", "--tokens", "english_bigrams"]) == 0
    decoder = language_decoder(tmp_path / "lm", english_bigrams(), SearchOptions())
    assert decoder.decode([np.zeros((3, 758), np.float32)])
    with pytest.raises(DataError, match="another token set"):
        language_decoder(tmp_path / "lm", english_characters(), SearchOptions())


@pytest.mark.system
def test_what_fails_leaves_the_model_before(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(SENTENCES * 20))
    command = ["lm", str(text), "-o", str(tmp_path / "lm"), "--tools", str(TOOLS), "--words", "6"]
    assert cli([*command, "--order", "3", "--prune", "0"]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "lm").iterdir()}
    text.write_text("other words\n")
    assert cli([*command, "--order", "3", "--megabytes", "0.000001"]) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "lm").iterdir()} == before


@pytest.mark.system
def test_a_token_more_is_in_the_lexicon(tmp_path: Path) -> None:
    text = tmp_path / "menu.txt"
    text.write_text("Café CAFE\u0301 naïve\n" * 3)
    command = ["lm", str(text), "-o", str(tmp_path / "lm"), "--tools", str(TOOLS), "--token", "é"]
    assert cli(command) == 0
    made = open_language_model(tmp_path / "lm")
    assert made.lexicon.read_text().split() == ["café", "naive"]
    assert made.description["tokens"] == with_tokens(english_characters(), ["é"]).digest


@pytest.mark.parametrize("weight", ["0", "1", "-1", "nan"])
def test_a_weight_is_between_0_and_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], weight: str
) -> None:
    text = str(write_text(tmp_path)[0])
    assert cli(["lm", text, "--adapt", text, f"--weight={weight}", "-o", str(tmp_path / "lm")]) == 2
    assert "--weight needs a number between 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "lm").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--order", "7"], "--order 2 to 6"),
        (["--order", "1"], "--order 2 to 6"),
        (["--prune", "1", "0"], "--prune needs numbers that do not fall"),
        (["--prune", "1"], "the first of them 0"),
        (["--prune", "0", "2", "1"], "got 0 2 1"),
    ],
)
def test_a_model_that_cannot_be_is_refused_before_the_text_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert cli(["lm", str(tmp_path / "none.txt"), *given, "-o", str(tmp_path / "lm")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
