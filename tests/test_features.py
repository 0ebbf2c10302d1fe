"""Features: against a plain definition, and the same for every cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge.errors import ConfigError
from ds2edge.features import SILENCE, FeatureExtractor, FeatureSettings, mel_bank

SETTINGS = [
    FeatureSettings(),
    FeatureSettings(kind="log_spectrogram", window=320, high=8000.0, prior_frames=5),
    FeatureSettings(bins=20, mean=tuple(np.linspace(-9, -3, 20)), deviation=(2.0,) * 20),
    FeatureSettings(floor=-110.0, prior_level_frames=20, horizon_frames=150),
    FeatureSettings(kind="log_spectrogram", window=319, fft=330, low=0.0, high=8000.0),
]


def plain_features(samples: np.ndarray[Any, Any], s: FeatureSettings) -> np.ndarray[Any, Any]:
    """The definition, frame by frame in float64."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(s.window) / s.window)
    first, last = s.fft_range
    mean = np.array(s.mean or [0.0] * s.size)
    frames, seen = [], 0
    for k in range(-(-len(samples) // s.hop)):
        window = np.zeros(s.window)
        piece = samples[k * s.hop : k * s.hop + s.window]
        window[: len(piece)] = piece
        power = np.abs(np.fft.fft(window * hann, s.fft))[first:last] ** 2 / np.sum(hann**2)
        if s.kind == "log_mel":
            power = power @ mel_bank(s)
        frame = np.log(power + 10 ** (s.floor / 10))
        if frame.max() > np.log(10 ** ((s.floor + SILENCE) / 10)):
            seen += 1
            level = (frame - mean).mean()
            shape = frame - mean - level
            mean = mean + shape / min(s.prior_frames + seen, s.horizon_frames)
            mean = mean + level / min(s.prior_level_frames + seen, s.horizon_frames)
        frames.append((frame - mean) / np.array(s.deviation or [1.0] * s.size))
    return np.array(frames).reshape(-1, s.size)


@pytest.mark.parametrize("config", SETTINGS)
@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 400, 16_000])
def test_equals_the_plain_definition(
    speech: np.ndarray[Any, Any], config: FeatureSettings, length: int
) -> None:
    samples = speech[8000 : 8000 + length]
    found = FeatureExtractor(config, 12).extract(samples)
    assert found.shape == (-(-length // 160), config.size)
    np.testing.assert_allclose(found, plain_features(samples, config), atol=2e-3)


@given(cuts=st.lists(st.integers(0, 16_000), max_size=30), chunk=st.integers(1, 40))
@settings(max_examples=50)
def test_any_cut_gives_the_same_bits(
    speech: np.ndarray[Any, Any], cuts: list[int], chunk: int
) -> None:
    samples = speech[:16_000]
    extractor = FeatureExtractor(FeatureSettings(), chunk)
    state, chunks = extractor.start(), []
    for piece in np.split(samples, sorted(cuts)):
        chunks += extractor.push(state, piece)
    assert all(len(c) == chunk for c in chunks)
    chunks += extractor.finish(state)
    np.testing.assert_array_equal(np.concatenate(chunks), extractor.extract(samples))


@given(
    stretches=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 9_000)), min_size=1),
    config=st.sampled_from(SETTINGS),
    chunk=st.integers(1, 20),
)
@settings(max_examples=30)
def test_recordings_computed_together_have_the_same_bits_as_alone(
    speech: np.ndarray[Any, Any],
    stretches: list[tuple[int, int]],
    config: FeatureSettings,
    chunk: int,
) -> None:
    extractor = FeatureExtractor(config, chunk)
    recordings = [speech[begin : begin + length] for begin, length in stretches]
    states = [extractor.start() for _ in recordings]
    pieces = [
        [*extractor.cut(state, samples), *extractor.cut_rest(state)]
        for state, samples in zip(states, recordings, strict=True)
    ]
    found = [np.zeros((0, config.size), np.float32) for _ in recordings]
    for turn in range(max(map(len, pieces))):
        going = [i for i, one in enumerate(pieces) if turn < len(one)]
        together = extractor.frames([states[i] for i in going], [pieces[i][turn] for i in going])
        for i, frames in zip(going, together, strict=True):
            found[i] = np.concatenate([found[i], frames])
    for samples, frames in zip(recordings, found, strict=True):
        np.testing.assert_array_equal(frames, extractor.extract(samples))


def test_normalisation_looks_at_nothing_later(speech: np.ndarray[Any, Any]) -> None:
    extractor = FeatureExtractor(FeatureSettings(), 10)
    changed = speech.copy()
    changed[16_000:] *= 0.01
    before = (16_000 - 400) // 160  # frames that end before the change
    a, b = extractor.extract(speech), extractor.extract(changed)
    np.testing.assert_allclose(a[:before], b[:before], atol=1e-5)
    assert np.abs(a[before + 3 :] - b[before + 3 :]).max() > 0.1


def test_loudness_fades_from_the_features(speech: np.ndarray[Any, Any]) -> None:
    extractor = FeatureExtractor(FeatureSettings(horizon_frames=200), 10)
    long = np.tile(speech, 4)
    difference = np.abs(extractor.extract(long) - extractor.extract(long * 0.1)).mean(axis=1)
    assert difference[-100:].mean() < 0.2 * difference[:20].mean()  # the floor stays


def test_digital_silence_does_not_move_the_mean(speech: np.ndarray[Any, Any]) -> None:
    extractor = FeatureExtractor(FeatureSettings(), 10)
    pause = np.zeros(16_000 * 20, np.float32)
    paused = extractor.extract(np.concatenate([speech, pause, speech]))
    joined = extractor.extract(np.concatenate([speech, speech]))
    np.testing.assert_allclose(paused[-390:], joined[-390:], atol=0.1)  # the seam counts
    assert paused[len(speech) // 160 + 3 : -400].max() < -0.5


def test_state_does_not_grow(speech: np.ndarray[Any, Any]) -> None:
    extractor = FeatureExtractor(FeatureSettings(), 12)
    state, sizes = extractor.start(), set()
    for _ in range(20):
        extractor.push(state, speech[:19_200])  # a whole number of chunks
        sizes.add(state.nbytes)
    assert len(sizes) == 1


def test_mel_bank_covers_the_band() -> None:
    config = FeatureSettings()
    bank = mel_bank(config)
    np.testing.assert_allclose(bank.sum(axis=0), 1, rtol=1e-5)
    centres = bank.argmax(axis=0)
    assert (np.diff(centres) >= 0).all()
    assert (bank.sum(axis=1) > 0)[2:-2].all()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "mfcc"},
        {"hop": 0},
        {"window": 600},
        {"fft": 513},
        {"low": 7000.0},
        {"prior_frames": 0.0},
        {"horizon_frames": 1.9, "prior_frames": 1.0, "prior_level_frames": 1.0},
        {"prior_level_frames": 600.0},
        {"floor": 1.0},
        {"floor": float("nan")},
        {"mean": [1.0]},
        {"colour": "red"},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FeatureSettings.from_dict(values)


def test_settings_survive_a_round_trip() -> None:
    for config in SETTINGS:
        assert FeatureSettings.from_dict(config.as_dict()) == config
