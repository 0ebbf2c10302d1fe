"""`ds2edge data synth` with the real engines: flite, espeak-ng and festival are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2edge import cli
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.synthesis.engines import ENGINES, Engine, Espeak
from ds2edge.training.synthesis.speak import SAMPLE_RATE, speak

pytestmark = pytest.mark.system

SENTENCE = "the birch canoe slid on the smooth planks"


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("place", [0, -1])  # of voices that may be of different kinds
def test_an_engine_speaks_at_the_rate_asked_for(engine: Engine, place: int) -> None:
    voice = engine.voices("en")[place]
    usual = len(speak(voice, SENTENCE, 1.0, 1.0))
    assert 1.5 < usual / SAMPLE_RATE < 5
    assert 0.55 < len(speak(voice, SENTENCE, 1.0, 1.5)) / usual < 0.8
    assert 0.9 < len(speak(voice, SENTENCE, 1.2, 1.0)) / usual < 1.1


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_text_is_text(engine: Engine, tmp_path: Path) -> None:
    """What looks like an option, markup or Scheme is said, and nothing of it is done."""
    voice, path = engine.voices("en")[0], tmp_path / "made"
    for text in (f'(system "touch {path}")', f"-o {path}", f"`touch {path}`", '<audio src="x"/>'):
        assert len(speak(voice, text, 1.0, 1.0)) > 0.1 * SAMPLE_RATE
    assert not path.exists()


def test_every_voice_of_a_language_is_somebody_else() -> None:
    voices = [Espeak().voices("en")[i] for i in (0, 1, 2, -1)]
    said = {speak(voice, "hello", 1.0, 1.0).tobytes() for voice in voices}
    assert len(said) == len(voices)


def test_a_corpus_of_all_engines(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hello there.\nHow do you do?\n" * 6)
    assert cli.main(["data", "synth", str(tmp_path / "text.txt"), "-o", str(tmp_path / "out")]) == 0
    made = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert len(made) == 12
    engines = {engine.name for engine in ENGINES}
    assert {name for name in engines for u in made if u.speaker.startswith(name)} == engines
    for utterance in made:
        assert np.abs(soundfile.read(utterance.path)[0]).max() > 0.05


def test_mandarin(tmp_path: Path) -> None:
    voice = Espeak().voices("cmn")[0]
    assert len(speak(voice, "你好世界", 1.0, 1.0)) > 0.5 * SAMPLE_RATE
