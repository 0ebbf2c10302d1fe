"""Building a language model from text with KenLM's tools (make lm-tools)."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from ds2edge.cli import main as cli
from ds2edge.decoder import Decoder
from ds2edge.errors import DataError
from ds2edge.text import english_characters
from ds2edge.training.language_model import open_language_model, read_sentences

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
