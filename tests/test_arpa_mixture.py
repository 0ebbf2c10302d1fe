"""Two n-gram models as one: against probabilities that are added word by word."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from ds2edge.errors import DataError
from ds2edge.training.arpa_mixture import mix_arpa

WORDS = ("a", "b", "c", "d")  # and the end of the sentence

# Without a context both sum up to one, where the second gives "a" and "d", which it never saw, the
# probability of <unk> each.
FIRST = """\\data\\
ngram 1=7
ngram 2=5
ngram 3=2

\\1-grams:
-1\t<unk>\t0
-99\t<s>\t-0.2
-0.69897\ta\t-0.30103
-0.69897\tb\t-0.1
-1\tc
-0.69897\td
-0.52288\t</s>

\\2-grams:
-0.30103\t<s> a\t-0.2
-0.39794\ta b\t-0.1
-0.69897\ta a
-0.52288\tb c
-0.69897\tb </s>

\\3-grams:
-0.09691\t<s> a b
-0.22185\ta b c

\\end\\
"""
SECOND = """\\data\\
ngram 1=5
ngram 2=2
ngram 3=1

\\1-grams:
-1\t<unk>\t0
-99\t<s>\t-0.3
-0.39794\tc\t-0.2
-0.69897\tb\t0
-0.69897\t</s>

\\2-grams:
-0.22185\t<s> c\t-0.1
-0.15490\tc b

\\3-grams:
-0.04576\t<s> c b

\\end\\
"""

Table = dict[tuple[str, ...], tuple[float, float]]


def table(text: str) -> Table:
    """Probability and back-off of every n-gram."""
    found: Table = {}
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) >= 2:
            back_off = float(columns[2]) if len(columns) > 2 else 0.0
            found[tuple(columns[1].split())] = (10 ** float(columns[0]), 10**back_off)
    return found


def probability(model: Table, context: tuple[str, ...], word: str) -> float:
    """By the definition of a back-off model."""
    word = word if (word,) in model else "<unk>"
    if (*context, word) in model:
        return model[*context, word][0]
    return model.get(context, (0, 1.0))[1] * probability(model, context[1:], word)


@pytest.fixture
def mixed(tmp_path: Path) -> Table:
    (tmp_path / "a").write_text(FIRST)
    (tmp_path / "b").write_text(SECOND)
    mix_arpa(tmp_path / "a", tmp_path / "b", 0.3, tmp_path / "out")
    return table((tmp_path / "out").read_text())


def test_the_probabilities_of_the_ngrams_of_both_are_exact(mixed: Table) -> None:
    first, second = table(FIRST), table(SECOND)
    assert {n for n in (*first, *second) if n != ("<s>",)} <= set(mixed)
    for *context, word in set(mixed) - {("<s>",)}:
        wanted = 0.7 * probability(first, tuple(context), word)
        wanted += 0.3 * probability(second, tuple(context), word)
        assert mixed[*context, word][0] == pytest.approx(wanted, rel=1e-4), (context, word)


def test_what_follows_any_context_sums_up_to_one(mixed: Table) -> None:
    words = (*WORDS, "</s>")
    contexts = [c for n in (0, 1, 2) for c in itertools.product(("<s>", *WORDS), repeat=n)]
    for context in contexts:
        total = sum(probability(mixed, context, word) for word in words)
        assert total == pytest.approx(1, abs=1e-4), context
    assert sum(mixed[n][1] != 1.0 for n in mixed if n in contexts) >= 6


@pytest.mark.parametrize("ends", [("<s> c b",), ("<s> c b", "<s> c\t-0.1", "c b")])
def test_a_model_may_have_no_ngrams_of_a_length(tmp_path: Path, ends: tuple[str, ...]) -> None:
    lines = [line for line in SECOND.splitlines() if not line.endswith(ends)]
    (tmp_path / "a").write_text(FIRST)
    (tmp_path / "b").write_text("\n".join(lines))
    mix_arpa(tmp_path / "a", tmp_path / "b", 0.3, tmp_path / "out")
    found = table((tmp_path / "out").read_text())
    assert ("<s>", "a", "b") in found
    assert ("<s>", "c", "b") not in found
    assert (("<s>", "c") in found) is (len(ends) == 1)


def test_the_counts_are_those_of_the_lists(tmp_path: Path, mixed: Table) -> None:
    lines = (tmp_path / "out").read_text().splitlines()
    counts = [int(line.split("=")[1]) for line in lines if line.startswith("ngram ")]
    assert counts == [sum(len(n) == length for n in mixed) for length in (1, 2, 3)]
    assert lines[-1] == "\\end\\"


def test_the_native_model_reads_it(tmp_path: Path, mixed: Table) -> None:
    from ds2edge._native import LanguageModel

    (tmp_path / "out").rename(tmp_path / "m.arpa")
    model = LanguageModel(str(tmp_path / "m.arpa"))
    assert model.order == 3
    wanted = 1.0
    sentence: tuple[str, ...] = ("<s>",)
    for word in ("a", "b", "c", "</s>"):
        wanted *= probability(mixed, sentence[-2:], word)
        sentence += (word,)
    assert model.score(["a", "b", "c"]) == pytest.approx(math.log(wanted), rel=1e-3)


@pytest.mark.parametrize(
    ("second", "said"),
    [("nothing\n", "is no ARPA model"), (SECOND.split("\\3-")[0], "order 3, .*/b 2")],
)
def test_models_that_cannot_be_mixed_are_named(tmp_path: Path, second: str, said: str) -> None:
    (tmp_path / "a").write_text(FIRST)
    (tmp_path / "b").write_text(second)
    with pytest.raises(DataError, match=said):
        mix_arpa(tmp_path / "a", tmp_path / "b", 0.3, tmp_path / "out")
