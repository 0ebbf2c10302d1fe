"""Long recordings in which people take turns."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2edge.audio_file import read_audio
from ds2edge.errors import DataError
from ds2edge.training import turns
from ds2edge.training.data.manifest import Utterance, read_manifest, write_manifest

RATE = 16_000
TONES = {"low": 200.0, "high": 2000.0}  # Hz, of each speaker


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two speakers, each a tone of three seconds."""
    made = []
    for speaker, tone in TONES.items():
        for i in range(3):
            path = tmp_path / f"{speaker}-{i}.wav"
            wave = 0.1 * np.sin(2 * np.pi * tone * np.arange(3 * RATE) / RATE)
            soundfile.write(path, wave, RATE)
            made.append(Utterance(path, 3.0, f"{speaker} {i}", speaker, "train"))
    made.append(Utterance(tmp_path / "missing.wav", 3.0, "never", "other", "test"))
    write_manifest(tmp_path / "manifest.tsv", made)
    return tmp_path / "manifest.tsv"


def test_texts_say_who_is_heard_in_which_order(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "turns"
    assert turns.main([str(speech), "-o", str(out), "--hours", "0.05"]) == 0
    made = read_manifest(out / "manifest.tsv")
    assert len(made) == 8
    assert {u.split for u in made} == {"train"}
    heard = set()
    for utterance in made:
        samples = read_audio(utterance.path, RATE)
        assert len(samples) / RATE == pytest.approx(utterance.seconds, abs=0.01)
        assert 14 <= utterance.seconds <= turns.LONGEST
        said = utterance.text.split()[::2]
        heard.add(tuple(said))
        assert set(utterance.speaker.split("+")) == set(said)
        assert tones(samples) == said
    assert len(heard) > 4
    assert {speaker for said in heard for speaker in said} == set(TONES)


def test_turns_differ_in_level_and_pauses_are_not_silent(speech: Path) -> None:
    rng = np.random.default_rng(3)
    some = [samples for samples, _ in turns.turns_of(turns.voices_of([speech]), rng)]
    levels = [20 * np.log10(np.abs(samples).max()) for samples in some]
    assert max(levels) - min(levels) > 1
    whole = turns.joined(some, rng)
    assert np.abs(whole).max() <= 1
    assert len(whole) > sum(map(len, some))
    assert np.count_nonzero(whole == 0) < 0.1 * len(whole)


def test_the_same_seed_makes_the_same(speech: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        command = [str(speech), "-o", str(tmp_path / name), "--hours", "0.02", "--seed", seed]
        assert turns.main(command) == 0
    texts = [[u.text for u in read_manifest(tmp_path / n / "manifest.tsv")] for n in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_without_texts_there_is_nothing_to_join(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [Utterance(tmp_path / "a.wav", 1, "", "a", "train")])
    with pytest.raises(DataError, match="no utterance of split train with a text"):
        turns.voices_of([tmp_path / "manifest.tsv"])


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, out = tmp_path / "manifest.tsv", str(tmp_path / "turns")
    assert turns.main([str(missing), "-o", out]) == 2
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    write_manifest(missing, [Utterance(tmp_path / "a.wav", 1, "text", "a", "train")])
    assert turns.main([str(missing), "-o", out]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "manifest.tsv" in first
    assert "manifest.tsv, line 2" in second


def tones(samples: np.ndarray) -> list[str]:
    """Whose tone is heard in each half second, every run of five to seven as one turn."""
    named = []
    for begin in range(0, len(samples) - RATE // 2, RATE // 2):
        spectrum = np.abs(np.fft.rfft(samples[begin : begin + RATE // 2]))
        named.append(min(TONES, key=lambda name: abs(TONES[name] - 2 * int(spectrum.argmax()))))
    runs = [(name, len(list(group))) for name, group in groupby(named)]
    return [name for name, length in runs for _ in range(round(length / 6.5))]
