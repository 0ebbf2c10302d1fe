"""What is evaluated, apart by what training heard of it; mixed error rates are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ds2edge.decoder import Decoder
from ds2edge.text import TokenSet
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.evaluate import recognise
from ds2edge.training.evaluation.recognised import score
from ds2edge.training.evaluation.sources import Source, parted, training_texts
from ds2edge.training.language_model import read_sentences

TOKENS = TokenSet(("<blank>", *"cn今天气好人"))


def source(text: str) -> Source:
    return Source("zh test", f"{text}.wav", Utterance(Path(f"{text}.wav"), 1.0, text, "", "test"))


def test_texts_are_told_apart_by_what_training_heard() -> None:
    sources = [source(text) for text in ("今天。", "天今", "好人", "")]
    found = [one.set for one in parted(sources, ["今天", "气", ""], TOKENS)]
    assert found == [
        "zh test, text heard in training",
        "zh test, new text",
        "zh test, characters never heard",
        "zh test, text heard in training",
    ]
    assert [one.path for one in parted(sources, [], TOKENS)] == [one.path for one in sources]


def test_only_what_was_trained_on_is_seen(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(
        "path\tseconds\ttext\tspeaker\tsplit\na\t1\t今天\tx\ttrain\nb\t1\t好人\tx\ttest\n"
    )
    assert training_texts([manifest]) == ["今天"]


def test_characters_without_a_token_are_errors() -> None:
    said = Utterance(Path("x.wav"), 1.0, "今天囧3", "me", "test")
    (found,) = recognise([said], [spell("今天")], TOKENS, {})
    assert found.wanted == "今天囧3"
    assert score([found]).character_errors["greedy"].tolist() == [2]
    (one,) = parted([source("囧")], ["今天"], TOKENS)
    assert one.set == "zh test, characters never heard"


def spell(text: str) -> np.ndarray:
    """Log-probabilities that say a text, each token for two frames and then a blank."""
    path = [frame for token in TOKENS.encode(text) for frame in (token, token, 0)]
    log_probs = np.full((len(path), len(TOKENS)), -12.0, np.float32)
    log_probs[range(len(path)), path] = 0.0
    return log_probs


def test_errors_of_mandarin_are_mixed_ones() -> None:
    said = Utterance(Path("x.wav"), 1.0, "今天CNN气", "me", "test")
    (found,) = recognise([said], [spell("今天cn气")], TOKENS, {"letters": Decoder(TOKENS)})
    assert found.wanted == "今天cnn气"
    assert found.said == {"greedy": "今天cn气", "letters": "今天cn气"}
    scores = score([found])
    assert (scores.words.tolist(), scores.word_errors["letters"].tolist()) == ([4], [1])
    assert (scores.characters.tolist(), scores.character_errors["greedy"].tolist()) == ([6], [1])


@pytest.mark.parametrize("text", ["看 CNN 的人", "cn今"])
def test_latin_letters_survive_on_the_way_to_the_models(tmp_path: Path, text: str) -> None:
    """Code-switching: what is read for language models and synthesis has them."""
    tokens = TokenSet(("<blank>", *"cn看的人今"))
    (tmp_path / "text").write_text(text)
    (sentence,) = read_sentences([tmp_path / "text"], tokens)
    assert sentence == text.replace(" ", "").lower()
    assert tokens.decode(tokens.encode(sentence)) == sentence
    assert tokens.words(sentence) == list(sentence)
    assert tokens.join(tokens.words(sentence)) == sentence
