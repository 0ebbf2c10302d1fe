"""Damaged KenLM files: an error that names the file, or a model that answers; never a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import _native

FOLDER = Path(__file__).parent / "data" / "kenlm"
LAYOUTS = ["probing", "rest_probing", "trie", "quant_trie", "array_trie", "quant_array_trie"]
HEADER = 88  # bytes that all binaries begin with; after them come order, layout and counts

# Loads the file in its first argument over and over, each time with other damage: a line with
# changes "position value ..." or "cut size" is answered with what became of it. In a process of
# its own, so that a crash is a failed test and not the end of pytest.
PROGRAM = """
import math, sys
from pathlib import Path
from ds2edge.decoder import Decoder
from ds2edge.errors import DecoderError
from ds2edge.text import english_characters
from ds2edge import _native

whole, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
words = ["a", "ab", "all", "ball", "call", "la"]
for line in sys.stdin:
    kind, *numbers = line.split()
    content = bytearray(whole)
    if kind == "cut":
        del content[int(numbers[0]):]
    else:
        for at, value in zip(numbers[::2], numbers[1::2]):
            content[int(at) % len(content)] ^= int(value)
    path.write_bytes(content)
    try:
        decoder = Decoder(english_characters(), words=words, language_model=path)
    except DecoderError as error:
        assert str(path) in str(error), error
        answer = "refused"
    else:
        model = _native.LanguageModel(str(path))
        scores = [model.score([a, b, c]) for a in words for b in words for c in words]
        answer = "answers" if all(map(math.isfinite, scores)) else "no number"
    print(answer, flush=True)
"""


class Loader:
    """The process that loads damaged copies of one file."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.size = source.stat().st_size
        command = [sys.executable, "-c", PROGRAM, str(source), str(folder / "damaged.binary")]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,  # where no checkout hides what is installed
        )

    def load(self, damage: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(damage + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, f"crashed with exit code {self.process.wait()} by: {damage}"
        return answer


@pytest.fixture(scope="module", params=LAYOUTS)
def loader(request, tmp_path_factory):
    made = Loader(FOLDER / f"small.{request.param}", tmp_path_factory.mktemp("damaged"))
    yield made
    made.process.communicate()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sound_files_of_all_layouts_score_like_the_arpa_file(layout: str) -> None:
    arpa = _native.LanguageModel(str(FOLDER / "small.arpa"))
    model = _native.LanguageModel(str(FOLDER / f"small.{layout}"))
    tolerance = 0.5 if "quant" in layout else 1e-5
    for words in (["a", "ab", "all"], ["la", "la"], ["zebra"], []):
        assert model.score(words) == pytest.approx(arpa.score(words), abs=tolerance)


def test_whole_it_answers_and_cut_off_anywhere_it_is_refused(loader) -> None:
    assert loader.load("flip") == "answers"
    for size in range(0, loader.size, 7):
        assert loader.load(f"cut {size}") == "refused", size
    assert loader.load(f"cut {loader.size - 1}") == "refused"


flips = st.lists(st.tuples(st.integers(HEADER, 2000), st.integers(1, 255)), min_size=1, max_size=4)


@given(flips=flips)
@settings(max_examples=150)
def test_changed_bytes_are_refused_or_answer(loader, flips: list[tuple[int, int]]) -> None:
    damage = " ".join(f"{at} {value}" for at, value in flips)
    assert loader.load(f"flip {damage}") in ("refused", "answers")


def test_each_byte_of_the_header(loader) -> None:
    for at in range(HEADER + 48):
        for value in (1, 128, 255):
            assert loader.load(f"flip {at} {value}") in ("refused", "answers")
