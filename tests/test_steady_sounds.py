"""The corpus without words, and gains drawn for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2edge.features import FeatureSettings
from ds2edge.training import steady_sounds
from ds2edge.training.data.feature_cache import Change, cached_features
from ds2edge.training.data.manifest import Utterance, read_manifest

SPEECH = Path(__file__).parent / "data" / "speech"


def test_a_corpus_of_sounds(tmp_path: Path) -> None:
    assert steady_sounds.main([str(tmp_path / "steady"), "--each", "2"]) == 0
    sounds = read_manifest(tmp_path / "steady" / "manifest.tsv", "train")
    assert len(sounds) == 2 * len(steady_sounds.KINDS)
    for sound in sounds:
        samples, rate = soundfile.read(sound.path)
        assert (rate, sound.text) == (16_000, "")
        assert len(samples) / rate == pytest.approx(sound.seconds, abs=0.01)


@pytest.mark.parametrize("kind", list(steady_sounds.KINDS))
def test_a_sound_is_the_same_for_the_same_seed_and_in_range(kind: str) -> None:
    one, same, other = (steady_sounds.sound(kind, np.random.default_rng(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert len(one) != len(other)
    assert np.isfinite(one).all()
    assert np.abs(one).max() <= 1


def test_hum_is_steady() -> None:
    """Nearly all power lies in the harmonics of one frequency."""
    samples = steady_sounds.sound("tone", np.random.default_rng(3))
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    peak = int(power.argmax())
    assert power[peak - 3 : peak + 4].sum() > 0.9 * power.sum()


def test_gains_shift_the_features_of_a_recording(tmp_path: Path) -> None:
    (utterance, *_) = read_manifest(SPEECH / "manifest.tsv")
    settings = FeatureSettings(floor=-140.0, prior_frames=500, prior_level_frames=500)
    change = Change(levels=(-20.0, -10.0))
    gain = change.gain(utterance)
    assert -20 <= gain <= -10
    assert change.gain(utterance) == gain
    plain, fainter = (
        cached_features([utterance], settings, c, tmp_path, jobs=1)[0] for c in (Change(), change)
    )
    # Before the running mean has followed, the gain is what the frames differ by.
    difference = float(np.median(fainter[0] - plain[0]))
    assert difference == pytest.approx(gain * np.log(10) / 10, rel=0.02)


def test_gains_differ_between_recordings() -> None:
    change = Change(levels=(-30.0, 0.0))
    names = [Utterance(Path(f"{i}.wav"), 1.0, "", "", "train") for i in range(50)]
    assert len({change.gain(name) for name in names}) == 50
